"""One well from keys to a committed shard: read, check, correct, measure, join, encode, put, ledger."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import time
import uuid
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil

from pipeline import cells, illumination
from pipeline.cells.layout import publication_key
from pipeline.config import differences, digest
from pipeline.engines import Engine, SiteMeasurements, open_engine
from pipeline.errors import (
    Away,
    EngineError,
    ImageError,
    Incomplete,
    PipelineError,
    SettingsDiffer,
    SiteFlagged,
    StoreError,
)
from pipeline.images import REVISION, prefetch
from pipeline.measure.inputs import SiteInputs
from pipeline.measure.preview import encode_preview
from pipeline.results import ledger
from pipeline.results.plan import SitePlan, read_well_sites, site_plans
from pipeline.results.records import begin
from pipeline.results.run import Run, open_run
from pipeline.screen import Plate
from pipeline.screen.columns import BATCH, PLATE, SITE, WELL
from pipeline.storage import Location


def measure_well(results: Location, batch: str, plate: str, well: str) -> dict[str, Any]:
    """Measure every site of a well and commit the result. A well that is done already is left as it is.

    A site that cannot be used is that site's failure, in the ledger with its reason; the rest of the well goes on.
    Failures that may pass (a throttled store) are raised, so that the executor tries the well again.
    """
    run, where = open_run(results), Plate(batch, plate)
    entry = ledger.read_entry(run.storage, run.measuring12, where, well)
    if entry is not None:
        return _summary(entry)
    engine = _engine(run)

    started, attempt = time.time(), uuid.uuid4().hex[:12]
    outcome = "raised"
    try:
        entry = _measure(run, engine, where, well)
        outcome = entry["state"]
    finally:
        log = {"batch": batch, "plate": plate, "well": well, "outcome": outcome, "started": started}
        log |= {"seconds": time.time() - started, "peak_memory_mb": _peak_memory_mb()}
        log |= {"worker": f"{platform.node()}:{os.getpid()}"}
        ledger.write_attempt(run.storage, where, well, attempt, log)
    return _summary(entry)


def set_aside(run: Run, plate: Plate, well: str, error: PipelineError) -> bool:
    """Enter a well that cannot be measured in the ledger as failed, so that its plate can be published without it.

    Only where the well is to blame: its plate's images cannot be used, it holds more cells than the store has room for,
    or it keeps killing its worker. What is the
    machine's or the store's fault (no CellProfiler, no access, throttled for too long) leaves the well open, for the
    next `run`; then the answer is False.
    """
    if isinstance(error, Away):  # nor would it answer us
        return False
    if ledger.is_finished(run.storage, run.measuring12, plate, well):  # another attempt made it
        return True
    if error.kind not in ("image", "too_many_cells", "worker_died"):
        return False
    entry = ledger.empty_entry(plate, well, input_digest(run, read_well_sites(run.storage, plate, well)))
    entry["reason"] = f"{error.kind}: {error}"
    ledger.write_entry(run.storage, run.measuring12, entry)
    return True


def input_digest(run: Run, planned: list[SitePlan]) -> str:
    """Names what a well is measured from: its images as they were planned."""
    return digest([[site.site, *site.files(run.record["inputs"]).values()] for site in planned])


def replaced_wells(run: Run, sites: pd.DataFrame, plate: Plate, listed: Mapping[str, ledger.Listed]) -> Iterator[str]:
    """The measured wells of a plate whose images are other files now. `sites`: see `Plan.plate_sites`."""
    own = sites[(sites[BATCH] == plate.batch) & (sites[PLATE] == plate.plate)]
    for well, rows in own.groupby(WELL, sort=False):
        if str(well) in listed:
            planned = site_plans(plate, str(well), rows.to_dict("records"))
            if input_digest(run, planned)[:12] != listed[str(well)].input12:
                yield str(well)


def _measure(run: Run, engine: Engine, plate: Plate, well: str) -> ledger.Entry:
    planned = read_well_sites(run.storage, plate, well)
    if not planned:
        raise Incomplete(f"{plate} {well} has no images in the plan now: another run planned anew. Run again.")
    schema = cells.read_schema(run.storage)
    entry = ledger.empty_entry(plate, well, input_digest(run, planned))
    entry["illumination"] = illumination.digest_of(run, plate)
    measured: list[cells.SiteCells] = []
    image_rows: list[dict[str, Any]] = []
    others: dict[int, cells.OtherObjects] = {}
    for site, result in _measured_sites(run, engine, plate, well, planned, schema):
        if isinstance(result, PipelineError):
            kind = "sites_flagged" if isinstance(result, SiteFlagged) else "sites_failed"
            entry[kind].append({"site": site, "kind": result.kind, "reason": str(result)})  # type: ignore[literal-required]
            continue
        joined, measurements = result
        measured.append(joined)
        image_rows.append({SITE: site, **measurements.image})
        others[site] = cells.other_objects(measurements, schema)

    if measured:
        encoded = cells.encode_well(schema, measured)
        # A worker that was paused may wake up when another has finished its well: what is in the ledger stays.
        is_done = partial(_is_done, run, plate, well)
        cells.put_well(run.storage, plate, well, encoded, has_entry=is_done)
        cells.put_image_measurements(run.storage, plate, well, image_rows)
        cells.put_object_measurements(run.storage, plate, well, others)
        entry["state"] = "measured" if encoded.n_cells else "no_cells"
        entry["sites_used"] = [site.site for site in measured]
        entry["n_cells"], entry["n_unmatched"] = encoded.n_cells, encoded.n_unmatched
        entry["n_infinite"] = encoded.n_infinite
        entry["cells_per_site"] = {str(site): count for site, count in encoded.cells_per_site.items()}
        entry["stored"], entry["content"], entry["size"] = encoded.stored, encoded.content, len(encoded.data or b"")
    elif entry["sites_flagged"] and not entry["sites_failed"]:
        entry["state"] = "flagged"
    ledger.write_entry(run.storage, run.measuring12, entry)
    return entry


def _is_done(run: Run, plate: Plate, well: str) -> bool:
    """Whether the well's other shard stays. If not, it was opened again: from now on, and until its plate is published
    anew, nobody is to read the new cells by the old counts."""
    if ledger.is_finished(run.storage, run.measuring12, plate, well):
        return True
    begin(run.storage, publication_key(plate))
    return False


def _measured_sites(
    run: Run, engine: Engine, plate: Plate, well: str, planned: list[SitePlan], schema: cells.Schema
) -> Iterator[tuple[int, tuple[cells.SiteCells, SiteMeasurements] | PipelineError]]:
    """Each site with its cells and all that was measured, or with the error that is this site's own."""
    inputs = SiteInputs(run, plate, engine.inputs)
    is_pictured = False
    for planned_site, images in prefetch(planned, inputs.read):
        site = planned_site.site
        if isinstance(images, ImageError):
            yield site, images
            continue
        try:
            measurements = _measure_site(engine, inputs.complete(images))
            joined = cells.assemble_site(site, measurements, schema)
        except (EngineError, StoreError) as error:
            yield site, error
            continue
        if not is_pictured:
            preview = encode_preview(images, measurements.labels)
            run.storage.put(f"previews/{plate.key}/{well}.npz", preview)
            is_pictured = True
        yield site, (joined, measurements)


def _measure_site(engine: Engine, images: dict[str, np.ndarray]) -> SiteMeasurements:
    try:
        return engine.measure(images)
    except EngineError as error:
        if not error.retry:
            raise
        # A crash or a hang may have been the machine's; the same site again, in a new process, tells.
        return engine.measure(images)


@lru_cache(maxsize=1)
def _open_engine(
    kind: str,
    cppipe: str,
    rules: tuple[tuple[str, str], ...],
    compartments: tuple[str, ...],
    capacity: int,
    **limits: Any,
) -> _Opened:
    engine = open_engine(kind, cppipe, rules=dict(rules), **limits)
    return _Opened(engine, cells.Schema.from_features(engine.features, compartments, capacity).digest)


class _Opened(NamedTuple):
    engine: Engine
    schema: str


def _engine(run: Run) -> Engine:
    """This process's engine, opened once and kept over wells.

    Raises `SettingsDiffer`, with both values, where it would measure otherwise than the run began.
    """
    limits = run.config.limits
    opened = _open_engine(
        run.config.engine.kind,
        run.cppipe,
        tuple(run.rules.items()),
        run.config.cells.compartments,
        run.config.cells.capacity,
        time_limit_seconds=limits.site_seconds,
        memory_limit_gb=limits.engine_memory_gb,
        recycle_after_sites=limits.recycle_after_sites,
    )
    here = {"engine_version": opened.engine.version, "schema": opened.schema, "image_reading": REVISION}
    if found := differences(here, {name: run.record["measuring"][name] for name in here}):
        raise SettingsDiffer(
            f"This worker ({platform.node()}) would measure otherwise than the run at {run.storage.location} began. "
            "What differs:\n" + "\n".join(f"  {line}" for line in found) + "\nIt measured nothing. Start workers of "
            "the version that the run began with; `run --new-measuring` measures anew with this one."
        )
    return opened.engine


def _summary(entry: ledger.Entry) -> dict[str, Any]:
    return {"state": entry["state"], "sites": len(entry["sites_used"]), "why": ledger.why(entry)}


def _peak_memory_mb() -> float:
    """Peak resident memory of this process and of its engine's, which is a child of it."""
    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            peaks.append(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]))
    return sum(peaks) / 1024
