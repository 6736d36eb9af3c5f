"""Profile tables, in the gallery's folders and file names.

profiles/<batch>/<plate>/<plate>.parquet                             one row a well, features as measured
..._augmented.parquet                                                with what is in the well
..._normalized.parquet, _normalized_negcon.parquet                   relative to all wells, to the negative controls
..._normalized_feature_select_batch.parquet,
..._normalized_feature_select_negcon_batch.parquet                   the same features on all plates of the batch
profiles/<batch>/<plate>/<plate>.json, profiles/<batch>/selection.json   what was made, from what; come last
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from pipeline.errors import NotFound
from pipeline.screen import Plate
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import decode_table, encode_table

#: level that is normalised -> level with the features selected from it
SELECTED_LEVELS = {
    "normalized": "normalized_feature_select_batch",
    "normalized_negcon": "normalized_feature_select_negcon_batch",
}

_FILE = re.compile(r"(?:.*/)?(?P<batch>[^/]+)/(?P<plate>[^/]+)/(?P=plate)(?:_(?P<level>\w+))?\.(?:parquet|csv\.gz)")


def open_profiles(
    results: str | Location,
    level: str = "normalized_feature_select_negcon_batch",
    plates: str | Plate | Iterable[str | Plate] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The profiles of a run, or of any folder in the gallery's layout (parquet or csv.gz): one row a well.

    `Metadata_*` columns first, then features by CellProfiler's full names; a feature that only some plates have is NaN
    on the others. `level`: what follows `<plate>_` in the file name; "" for the profiles as measured. `plates`: by
    name, "batch/plate" or `Plate`; default all. `options`: those of `pipeline.storage.Location` (endpoint, ...).

    Raises `NotFound`, naming the levels or plates there are, where none is found.
    """
    location = results if isinstance(results, Location) else Location(url=str(results), **options)
    storage = open_storage(location)
    levels = list_profiles(storage)
    if level not in levels:
        there = ", ".join(sorted(name or '""' for name in levels)) or "no profiles at all"
        raise NotFound(f"{location} has no profiles of level {level!r}; there are {there}.")
    found = levels[level]
    chosen = list(found)
    if plates is not None:
        names = [plates] if isinstance(plates, str | Plate) else list(plates)
        chosen = [plate for plate in found if {plate, plate.key, plate.plate} & set(names)]
        unknown = [name for name in names if not any(name in (plate, plate.key, plate.plate) for plate in chosen)]
        if unknown:
            raise NotFound(
                f"{location} has no profiles of plate {unknown[0]} (level {level}); "
                f"there are {', '.join(plate.key for plate in found)}."
            )
    tables = [decode(storage.get(found[plate]), found[plate]) for plate in chosen]
    for plate, table in zip(chosen, tables, strict=True):
        if "Metadata_Batch" not in table:  # the gallery's files leave it to the folder
            table.insert(0, "Metadata_Batch", plate.batch)
    joined = pd.concat(tables, ignore_index=True)
    is_metadata = joined.columns.str.startswith("Metadata_")
    return joined[[*joined.columns[is_metadata], *joined.columns[~is_metadata]]]


def list_profiles(storage: Storage) -> dict[str, dict[Plate, str]]:
    """Level -> plate -> key of its file; parquet before csv.gz. `storage`: a run's results, or a folder of profiles."""
    levels: dict[str, dict[Plate, str]] = {}
    for entry in storage.entries("profiles/" if "profiles" in storage.folders() else ""):
        if match := _FILE.fullmatch(entry.key):
            plates = levels.setdefault(match["level"] or "", {})
            plate = Plate(match["batch"], match["plate"])
            if plate not in plates or entry.key.endswith(".parquet"):
                plates[plate] = entry.key
    return levels


def profile_key(plate: Plate, level: str) -> str:
    return f"profiles/{plate.key}/{plate.plate}{f'_{level}' if level else ''}.parquet"


def read_profile(storage: Storage, plate: Plate, level: str) -> pd.DataFrame:
    key = profile_key(plate, level)
    return decode(storage.get(key), key)


def write_profile(storage: Storage, plate: Plate, level: str, profiles: pd.DataFrame) -> str:
    """Write one table; returns the SHA-256 of its bytes."""
    data = encode_table(profiles)
    storage.put(profile_key(plate, level), data)
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, key: str) -> pd.DataFrame:
    if key.endswith(".parquet"):
        return decode_table(data)
    columns = pd.read_csv(io.BytesIO(data), compression="gzip", nrows=0).columns
    # Metadata stay text: names of plates that are numbers keep their zeros, and a sample called NA stays one.
    texts = [name for name in columns if name.startswith("Metadata_")]
    return pd.read_csv(
        io.BytesIO(data),
        compression="gzip",
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={name: ["", "NA", "NaN", "nan"] for name in columns if name not in texts},
    )
