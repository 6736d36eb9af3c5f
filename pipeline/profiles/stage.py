"""The profile stage of a run: a task for each plate, then one for each batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline import __version__, cells
from pipeline.config import digest
from pipeline.errors import Incomplete
from pipeline.plan.checks import FEWEST_CONTROLS, few_controls
from pipeline.profiles.columns import feature_names
from pipeline.profiles.files import SELECTED_LEVELS, profile_key, read_profile, write_profile
from pipeline.profiles.normalize import NEGATIVE_CONTROLS, normalize
from pipeline.profiles.select import select_features
from pipeline.profiles.wells import annotate, well_profiles
from pipeline.results.records import MISSING, Standing, begin, compare, finish, read_record, standing
from pipeline.results.run import Run, open_run
from pipeline.screen import Plate
from pipeline.screen.columns import BATCH, CELLS, PLATE, PREFIX, WELL
from pipeline.screen.spelling import is_negcon
from pipeline.storage import Location

#: level -> the wells that are its reference
REFERENCES = {"normalized": "all", "normalized_negcon": NEGATIVE_CONTROLS}


#: raised where the code gives other numbers from the same cells and settings
REVISION = 1


def profile_plate(results: Location, batch: str, plate: str) -> dict[str, Any]:
    """Make the profiles of a published plate, annotated and normalised: four tables, and a record of them last.

    A plate whose profiles are current is left as it is. A plate without negative controls that have cells gets no
    `_normalized_negcon`, nor does one with a single one, whose MAD is 0; one without any cells gets no normalised table
    at all. The record's `levels` says which there are, `missing` why others are not, and `notes` which of those that
    are there rest on fewer than FEWEST_CONTROLS.
    """
    run, where = open_run(results), Plate(batch, plate)
    key, inputs = record_key(where), _plate_inputs(run, where)
    record = read_record(run.storage, key)
    if record is not None and compare(record, inputs).is_current:
        return _summary(record)

    begin(run.storage, key)
    settings = run.config.profiles
    profiles = well_profiles(run.storage, where, settings.aggregate)
    write_profile(run.storage, where, "", profiles, _about(run, "", inputs))
    profiles = annotate(profiles, run.wells)
    write_profile(run.storage, where, "augmented", profiles, _about(run, "augmented", inputs))

    levels, missing, notes = [], {}, {}
    has_cells = profiles[profiles[CELLS] > 0]
    by_mad = settings.normalize == "mad_robustize"
    controls = int(is_negcon(has_cells).sum())
    for level, samples in REFERENCES.items():
        if has_cells.empty:
            missing[level] = "no well of the plate has cells"
        elif samples != "all" and not controls:
            missing[level] = "no negative control of the plate has cells (Metadata_control_type negcon)"
        elif samples != "all" and controls == 1 and by_mad:
            missing[level] = "only one negative control of the plate has cells, and its MAD is 0"
        else:
            normalized = normalize(profiles, settings.normalize, samples, settings.epsilon)
            write_profile(run.storage, where, level, normalized, _about(run, level, inputs))
            levels.append(level)
            if samples != "all" and controls < FEWEST_CONTROLS and by_mad:
                notes[level] = f"of the wells with cells, {few_controls(controls)}"
    made_before = set((record or {}).get("levels", ()))
    for level in made_before & set(missing):  # from other wells: nobody is to read it beside the new ones
        for stale in (level, SELECTED_LEVELS[level]):
            run.storage.remove(profile_key(where, stale))
    about: dict[str, Any] = {"wells": len(profiles), "without_cells": len(profiles) - len(has_cells)}
    about |= {"levels": levels, "missing": missing} | ({"notes": notes} if notes else {})
    return _summary(finish(run.storage, key, inputs, **about))


def plate_standing(run: Run, plate: Plate) -> Standing:
    """Whether the profiles of a plate are what would be made of it now."""
    record = read_record(run.storage, record_key(plate))
    try:
        return compare(record, _plate_inputs(run, plate))
    except Incomplete:
        return (
            MISSING if record is None else Standing("stale", "the plate is not published, or is being published anew")
        )


def _plate_inputs(run: Run, plate: Plate) -> dict[str, Any]:
    publication = cells.read_publication(run.storage, plate)
    wells = run.wells
    own = wells[(wells[BATCH] == plate.batch) & (wells[PLATE] == plate.plate)]
    own = own[own[WELL].isin(publication["wells"])]
    annotation = own[[name for name in own if str(name).startswith(PREFIX)]].astype(str)
    return {
        "cells": digest(publication),
        "annotation": digest([list(annotation), annotation.to_numpy().tolist()]),
        "settings": run.config.profiles.model_dump(mode="json"),
        "revision": REVISION,
    }


def select_batch(results: Location, batch: str) -> dict[str, Any]:
    """Select features over the profiled plates of a batch, from either normalisation, and write the selected tables.

    All plates of a batch get the same columns. A batch whose selection is current is left as it is.
    `profiles/<batch>/selection.json` names the features kept, those that each rule dropped, the plates that took part
    and the SHA-256 of each table. Raises `Incomplete` where no plate is profiled yet.
    """
    run = open_run(results)
    key, records = selection_key(batch), _profiled(run, batch)
    if not records:
        raise Incomplete(f"No plate of {batch} is profiled yet; features are selected over the plates that are")
    inputs = _batch_inputs(run, records)
    selection = read_record(run.storage, key)
    if selection is None or not compare(selection, inputs).is_current:
        begin(run.storage, key)
        levels = {}
        for level, selected_level in SELECTED_LEVELS.items():
            plates = {plate: record["wells"] for plate, record in records.items() if level in record["levels"]}
            levels[selected_level] = _select_level(run, plates, level, selected_level)
            before = (selection or {}).get("levels", {}).get(selected_level, {}).get("files", {})
            for gone in set(before) - {plate.plate for plate in plates}:
                run.storage.remove(profile_key(Plate(batch, gone), selected_level))
        selection = finish(run.storage, key, inputs, levels=levels)
    return {level: len(about.get("kept", [])) for level, about in selection["levels"].items()}


def batch_standing(run: Run, batch: str) -> Standing | None:
    """Whether the selection of a batch is what would be made of its profiled plates now; None: no plate is profiled."""
    records = _profiled(run, batch)
    return standing(run.storage, selection_key(batch), _batch_inputs(run, records)) if records else None


def profile_notes(run: Run) -> list[str]:
    """A line for each plate and level that has no profiles, or has them relative to too few wells, and why."""
    records = ((plate, read_record(run.storage, record_key(plate)) or {}) for plate in run.plates)
    return [
        f"{plate}: {'no profiles of level ' if kind == 'missing' else ''}{level}: {why}."
        for plate, record in records
        for kind in ("missing", "notes")
        for level, why in record.get(kind, {}).items()
    ]


def selected_files(run: Run, level: str) -> dict[Plate, str]:
    """Plate -> SHA-256 of its selected profiles of a level, for all plates of the run that have them."""
    found: dict[Plate, str] = {}
    for batch in dict.fromkeys(plate.batch for plate in run.plates):
        about = (read_record(run.storage, selection_key(batch)) or {}).get("levels", {}).get(level, {})
        files = about.get("files", {})
        found |= {plate: files[plate.plate] for plate in run.plates if plate.batch == batch and plate.plate in files}
    return found


def _select_level(run: Run, plates: dict[Plate, int], level: str, selected_level: str) -> dict[str, Any]:
    """Select from one normalisation and write the tables. `plates`: those that have it -> their wells."""
    about: dict[str, Any] = {"plates": [plate.plate for plate in plates]}
    if not plates:
        return about
    features = feature_names(read_profile(run.storage, next(iter(plates)), level))
    values = np.empty((sum(plates.values()), len(features)))
    end = 0
    for plate, wells in plates.items():
        start, end = end, end + wells
        values[start:end] = read_profile(run.storage, plate, level)[features]
    found = select_features(values, features, run.config.select)
    files = {}
    # Read again rather than kept: a batch of 51 plates is a gigabyte.
    for plate in plates:
        profiles = read_profile(run.storage, plate, level)
        selected = profiles.drop(columns=features).join(profiles[found.kept])
        # Not the digests: scores hang on the bytes of this file, and must not on plates that change nothing in it.
        made_from = {"record": selection_key(plate.batch)}
        about_file = _about(run, selected_level, made_from)
        files[plate.plate] = write_profile(run.storage, plate, selected_level, selected, about_file)
    return about | {"wells": len(values), "kept": found.kept, "dropped": found.dropped, "files": files}


def _about(run: Run, level: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a file of a level says of itself: what was done to its values, in order, and from what."""
    settings, normalized = run.config.profiles, level.replace("_feature_select_negcon_batch", "_negcon")
    normalized = normalized.replace("_feature_select_batch", "")
    operations: list[dict[str, Any]] = [{"aggregate": settings.aggregate, "over": "cells of a well"}]
    if level:
        operations.append({"annotate": "plate map and annotations of its samples"})
    if normalized in REFERENCES:
        by = {"normalize": settings.normalize, "reference": REFERENCES[normalized], "epsilon": settings.epsilon}
        operations.append(by)
    if level in SELECTED_LEVELS.values():
        operations.append({"select": run.config.select.model_dump(mode="json")})
    about = {"level": level or "aggregated", "row": "well", "operations": operations, "inputs": inputs}
    return {**about, "measuring": run.record["digest"], "version": __version__}


def _profiled(run: Run, batch: str) -> dict[Plate, dict[str, Any]]:
    """The records of the plates of a batch that are profiled, in the order of the plan."""
    found = {}
    for plate in (plate for plate in run.plates if plate.batch == batch):
        record = read_record(run.storage, record_key(plate))
        if record is not None and record["inputs"] is not None:
            found[plate] = record
    return found


def _batch_inputs(run: Run, records: dict[Plate, dict[str, Any]]) -> dict[str, Any]:
    return {
        "profiles": {plate.plate: digest(record) for plate, record in records.items()},
        "settings": run.config.select.model_dump(mode="json"),
        "revision": REVISION,
    }


def record_key(plate: Plate) -> str:
    return f"profiles/{plate.key}/{plate.plate}.json"


def selection_key(batch: str) -> str:
    return f"profiles/{batch}/selection.json"


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("wells", "without_cells", "missing", "notes") if name in record}
