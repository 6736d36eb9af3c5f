"""What is known of one well: its images, its attempts, its ledger entry, its plate, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline.cells.layout import publication_key
from pipeline.diagnosis import next_move
from pipeline.errors import ConfigError, NotFound
from pipeline.measure.well import input_digest
from pipeline.results import ledger
from pipeline.results.plan import read_findings, read_well_sites
from pipeline.results.records import read_record
from pipeline.results.run import Run
from pipeline.screen import Plate, well_name, well_position
from pipeline.screen.columns import BATCH, PLATE, WELL
from pipeline.screen.tables import nearest


def why(run: Run, plate: str, well: str) -> Iterator[str]:
    """Lines about a well. `plate`: its name or batch/plate. Raises `ConfigError` for a plate or well that is not."""
    where, well = _plate(run, plate), _well(well)
    own = run.wells[(run.wells[BATCH] == where.batch) & (run.wells[PLATE] == where.plate)]
    rows = own[own[WELL] == well]
    if rows.empty:
        raise ConfigError(f"{where} has no well {well} in the plan.{nearest(well, list(own[WELL]))}")
    row = rows.iloc[0]
    try:
        planned = read_well_sites(run.storage, where, well)
    except NotFound:
        planned = []
    entry = ledger.read_entry(run.storage, run.measuring12, where, well)
    yield f"{where} {well}: {_state(entry, int(row['sites']), str(row['excluded']))}"
    yield from (f"  finding: {line}" for line in _findings(run, where, well))
    if entry is not None:
        yield from _of_entry(entry)
        if planned and input_digest(run, planned) != entry["input"]:
            yield "  It was measured from other images than there are now. `retry --replaced` has it measured again."
    for attempt in _attempts(run, where, well):
        began = datetime.fromtimestamp(attempt["started"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        took, memory = attempt["seconds"], attempt["peak_memory_mb"]
        yield f"  attempt of {began} on {attempt['worker']}: {attempt['outcome']} after {took:.0f} s, {memory:,.0f} MB"
    published = read_record(run.storage, publication_key(where))
    if published is None:
        yield "  The plate is not published yet."
    else:
        yield f"  The plate is {'published' if published['inputs'] is not None else 'being published anew'}."
    yield f"  Next: {_next(entry, str(row['excluded']), int(row['sites']))}"


def _plate(run: Run, name: str) -> Plate:
    found = [plate for plate in run.plates if name in (plate.plate, plate.key)]
    if len(found) == 1:
        return found[0]
    names = [text for plate in run.plates for text in (plate.plate, plate.key)]
    hint = f" Say which: {', '.join(plate.key for plate in found)}." if found else nearest(name, names)
    raise ConfigError(f"There is {'more than one' if found else 'no'} plate {name!r} at {run.storage.location}.{hint}")


def _well(name: str) -> str:
    try:
        return well_name(*well_position(name))
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def _state(entry: ledger.Entry | None, sites: int, excluded: str) -> str:
    if excluded:
        return f"excluded ({excluded})"
    if entry is None:
        return f"not measured yet; {sites} sites are planned" if sites else "no images of it were found"
    used = f"{len(entry['sites_used'])} of {sites} sites used"
    return f"{entry['state'].replace('_', ' ')}: {entry['n_cells']:,} cells, {used}"


def _findings(run: Run, plate: Plate, well: str) -> Iterator[str]:
    table = read_findings(run.storage)
    own = table[(table["batch"] == plate.batch) & (table["plate"] == plate.plate) & (table["well"] == well)]
    yield from own["what"].astype(str)


def _of_entry(entry: ledger.Entry) -> Iterator[str]:
    if entry["reason"]:
        yield f"  {entry['reason']}"
    for kind, verb in (("sites_failed", "failed"), ("sites_flagged", "was skipped by the pipeline")):
        for site in entry[kind]:  # type: ignore[literal-required]
            yield f"  site {site['site']} {verb}: {site['reason']}"
    if entry["n_unmatched"]:
        yield f"  {entry['n_unmatched']:,} objects belong to no whole cell and were left out"


def _attempts(run: Run, plate: Plate, well: str) -> list[dict[str, Any]]:
    found = ledger.read_attempts(run.storage, run.measuring12, [plate], f"{plate.key}/{well}.")
    return sorted(found, key=lambda attempt: attempt["started"])


def _next(entry: ledger.Entry | None, excluded: str, sites: int) -> str:
    if excluded:
        return "take it out of `subset.exclude` and `run`, to have it back."
    if entry is None:
        return "`run` measures it." if sites else "see that its images are where the others are, and `run`."
    reason = ledger.why(entry)
    return next_move(reason) if reason else "nothing; it is as it should be."
