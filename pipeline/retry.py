"""Opening wells again, so that the next `run` measures them anew."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeline.errors import ConfigError, EngineError, ImageError, PipelineError, StoreError
from pipeline.measure import replaced_wells
from pipeline.results import ledger
from pipeline.results.plan import read_sites
from pipeline.results.run import Run
from pipeline.screen import Plate, well_name, well_position
from pipeline.screen.columns import WELL
from pipeline.screen.plates import plate_list
from pipeline.screen.tables import nearest


def _kinds(error: type[PipelineError]) -> list[str]:
    return [error.kind, *(kind for below in error.__subclasses__() for kind in _kinds(below))]


#: what the ledger can say of a well or site that failed
KINDS = ["failed", *(kind for error in (ImageError, EngineError, StoreError) for kind in _kinds(error)), "worker_died"]


def retry(
    run: Run,
    *,
    replaced: bool = False,
    kinds: Collection[str] = (),
    plates: Collection[str] = (),
    wells: Collection[str] = (),
) -> dict[Plate, list[str]]:
    """Take the ledger entries of wells away; returns the wells that were opened, by plate.

    All that is said must hold: `replaced`: the plan's images are others than the well was measured from; `kinds`: of
    failure, e.g. "worker_died", of the well or of one of its sites, or "failed" for any; `plates`: names or
    batch/plate; `wells`: names. Raises `ConfigError` where nothing is said, and for a plate, well or kind that there is
    not.
    """
    if not (replaced or kinds or plates or wells):
        raise ConfigError("Say which wells to measure again: by plate, by well, by kind of failure, or `--replaced`.")
    chosen = [plate for plate in run.plates if not plates or {plate.plate, plate.key} & set(plates)]
    named = [name for plate in run.plates for name in (plate.plate, plate.key)]
    _check_names("plate", plates, named, run)
    here = run.wells[[plate in chosen for plate in plate_list(run.wells)]]
    wells = {_full_name(name) for name in wells}
    _check_names("well", wells, sorted(set(here[WELL])), run)
    _check_names("kind of failure", kinds, KINDS, run)
    opened: dict[Plate, list[str]] = {}
    for plate in chosen:
        found = list(_fitting(run, plate, replaced, set(kinds), wells))
        for well in found:
            ledger.remove_entry(run.storage, run.measuring12, plate, well)
        if found:
            opened[plate] = found
    return opened


def _check_names(what: str, names: Collection[str], known: Collection[str], run: Run) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no {what} {name!r} at {run.storage.location}.{nearest(name, known)}")


def _full_name(well: str) -> str:
    try:
        return well_name(*well_position(well))
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def _fitting(run: Run, plate: Plate, replaced: bool, kinds: set[str], wells: set[str]) -> Iterator[str]:
    listed = ledger.listed_wells(run.storage, run.measuring12, plate)
    others = set(replaced_wells(run, read_sites(run.storage, plate), plate, listed)) if replaced else set()
    failed = _failures(run, plate) if kinds else {}
    for well in sorted(listed):
        is_other = not replaced or well in others
        has_failed = not kinds or bool(failed.get(well, set()) & kinds)
        if is_other and has_failed and (not wells or well in wells):
            yield well


def _failures(run: Run, plate: Plate) -> dict[str, set[str]]:
    """Well -> the kinds of what failed in it."""
    found = {}
    for entry in ledger.read_entries(run.storage, plate, run.measuring12):
        kinds = {site["kind"] for site in entry["sites_failed"]}
        if entry["state"] == "failed":
            kinds |= {"failed", entry["reason"].partition(":")[0]} - {""}
        found[entry["well"]] = kinds
    return found
