"""The profile stage of a run: a task for each plate, then one for each batch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from pipeline import cells
from pipeline.config import digest
from pipeline.errors import Incomplete, NotFound
from pipeline.plan import read_wells
from pipeline.plan.checks import FEWEST_CONTROLS, few_controls
from pipeline.profiles.columns import feature_names
from pipeline.profiles.files import SELECTED_LEVELS, read_profile, write_profile
from pipeline.profiles.normalize import NEGATIVE_CONTROLS, normalize
from pipeline.profiles.select import select_features
from pipeline.profiles.wells import annotate, well_profiles
from pipeline.run_record import Run, open_run
from pipeline.screen import Plate
from pipeline.storage import Location, Storage

#: level -> the wells that are its reference
REFERENCES = {"normalized": "all", "normalized_negcon": NEGATIVE_CONTROLS}


def profile_plate(results: Location, batch: str, plate: str) -> dict[str, Any]:
    """Make the profiles of a published plate, annotated and normalised: four tables, and a record of them last.

    A plate that was profiled from the same publication is left as it is. A plate without negative controls that have
    cells gets no `_normalized_negcon`, nor does one with a single one, whose MAD is 0; one without any cells gets no
    normalised table at all. The record's `levels` says which there are, `missing` why others are not, and `notes` which
    of those that are there rest on fewer than FEWEST_CONTROLS.
    """
    run, where = open_run(results), Plate(batch, plate)
    source = digest(cells.read_publication(run.storage, where))
    record = read_record(run.storage, _record_key(where))
    if record is not None and record["source"] == source:
        return _summary(record)

    settings = run.config.profiles
    profiles = well_profiles(run.storage, where, settings.aggregate)
    write_profile(run.storage, where, "", profiles)
    wells = read_wells(run.storage)
    profiles = annotate(profiles, wells)
    write_profile(run.storage, where, "augmented", profiles)

    levels, missing, notes = [], {}, {}
    has_cells = profiles[profiles["Metadata_Count_Cells"] > 0]
    by_mad = settings.normalize == "mad_robustize"
    controls = int((has_cells.get("Metadata_control_type", pd.Series()) == "negcon").sum())
    for level, samples in REFERENCES.items():
        if has_cells.empty:
            missing[level] = "no well of the plate has cells"
        elif samples != "all" and not controls:
            missing[level] = "no negative control of the plate has cells (Metadata_control_type negcon)"
        elif samples != "all" and controls == 1 and by_mad:
            missing[level] = "only one negative control of the plate has cells, and its MAD is 0"
        else:
            normalized = normalize(profiles, settings.normalize, samples, settings.epsilon)
            write_profile(run.storage, where, level, normalized)
            levels.append(level)
            if samples != "all" and controls < FEWEST_CONTROLS and by_mad:
                notes[level] = f"of the wells with cells, {few_controls(controls)}"
    record = {"source": source, "wells": len(profiles), "without_cells": len(profiles) - len(has_cells)}
    record |= {"levels": levels, "missing": missing} | ({"notes": notes} if notes else {})
    _write_record(run.storage, _record_key(where), record)
    return _summary(record)


def select_batch(results: Location, batch: str) -> dict[str, Any]:
    """Select features over all plates of a batch, from either normalisation, and write the selected tables.

    All plates of a batch get the same columns. A batch that was selected from the same profiles is left as it is.
    `profiles/<batch>/selection.json` names the features kept, those that each rule dropped, and the plates that
    took no part. Raises `Incomplete` where a plate is not profiled yet.
    """
    run = open_run(results)
    records: dict[Plate, dict[str, Any]] = {}
    for plate in (plate for plate in run.plates if plate.batch == batch):
        record = read_record(run.storage, _record_key(plate))
        if record is None:
            raise Incomplete(f"{plate} is not profiled yet; features are selected over all plates of {batch}")
        records[plate] = record
    source = digest({plate.key: record for plate, record in records.items()})
    key = f"profiles/{batch}/selection.json"
    selection = read_record(run.storage, key)
    if selection is None or selection["source"] != source:
        selection = {"source": source, "levels": {}}
        for level, selected_level in SELECTED_LEVELS.items():
            plates = [plate for plate, record in records.items() if level in record["levels"]]
            about: dict[str, Any] = {"plates": [plate.plate for plate in plates]}
            if plates:
                features = feature_names(read_profile(run.storage, plates[0], level))
                values = np.empty((sum(records[plate]["wells"] for plate in plates), len(features)))
                end = 0
                for plate in plates:
                    start, end = end, end + records[plate]["wells"]
                    values[start:end] = read_profile(run.storage, plate, level)[features]
                found = select_features(values, features, run.config.select)
                # Read again rather than kept: a batch of 51 plates is a gigabyte.
                for plate in plates:
                    profiles = read_profile(run.storage, plate, level)
                    write_profile(
                        run.storage, plate, selected_level, profiles.drop(columns=features).join(profiles[found.kept])
                    )
                about |= {"wells": len(values), "kept": found.kept, "dropped": found.dropped}
            selection["levels"][selected_level] = about
        _write_record(run.storage, key, selection)
    return {level: len(about.get("kept", [])) for level, about in selection["levels"].items()}


def profile_notes(run: Run) -> list[str]:
    """A line for each plate and level that has no profiles, or has them relative to too few wells, and why."""
    records = ((plate, read_record(run.storage, _record_key(plate)) or {}) for plate in run.plates)
    return [
        f"{plate}: {'no profiles of level ' if kind == 'missing' else ''}{level}: {why}."
        for plate, record in records
        for kind in ("missing", "notes")
        for level, why in record.get(kind, {}).items()
    ]


def read_record(storage: Storage, key: str) -> dict[str, Any] | None:
    try:
        return json.loads(storage.get(key))
    except NotFound:
        return None


def _write_record(storage: Storage, key: str, record: dict[str, Any]) -> None:
    storage.put(key, json.dumps(record, indent=1, sort_keys=True).encode())


def _record_key(plate: Plate) -> str:
    return f"profiles/{plate.key}/{plate.plate}.json"


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("wells", "without_cells", "missing", "notes") if name in record}
