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
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from pipeline.errors import ConfigError, NotFound
from pipeline.profiles.columns import NAMES, is_metadata
from pipeline.profiles.read import decode, of_plate, same_profiles
from pipeline.results.plan import planned_plates
from pipeline.screen import Plate
from pipeline.screen.spelling import as_text
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import about_table, encode_table

#: level that is normalised -> level with the features selected from it
SELECTED_LEVELS = {
    "normalized": "normalized_feature_select_batch",
    "normalized_negcon": "normalized_feature_select_negcon_batch",
}

_FILE = re.compile(
    r"(?:.*/)?(?P<batch>[^/]+)/(?P<plate>[^/]+)/(?P=plate)(?:_(?P<level>\w+))?\.(?:parquet|csv(?:\.gz)?)"
)
_TABLE = (".parquet", ".csv", ".tsv", ".txt", ".gz", ".bz2", ".xz", ".zip", ".zst", ".feather", ".xlsx")


def open_profiles(
    results: str | Location,
    level: str = "normalized_feature_select_negcon_batch",
    plates: str | Plate | Iterable[str | Plate] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The profiles of a run, or of any folder in the gallery's layout (parquet, csv.gz or csv): one row a well.

    `Metadata_*` columns first, then features by CellProfiler's full names; `attrs["cellpainting"]` says what was done
    to the values, where all files say the same. A feature that only some plates have is NaN
    on the others. `level`: what follows `<plate>_` in the file name; "" for the profiles as measured. `plates`: by
    name, "batch/plate" or `Plate`; default all. `options`: those of `pipeline.storage.Location` (endpoint, ...).

    Wells read A01, whatever the file says, and plate and batch as the file's folders. Raises `NotFound`, naming the
    levels or plates there are, where none is found; `ConfigError`, naming the file, where one cannot be read, where its
    rows are not one well each of its plate, and where two files of a plate differ (see `read`).
    """
    location = results if isinstance(results, Location) else Location(url=str(results), **options)
    storage = open_storage(location)
    levels = _files(storage)
    if level not in levels:
        raise NotFound(f"{location} has no profiles of level {level!r}; there are {_levels_named(levels)}.")
    found = levels[level]
    chosen = list(found)
    if plates is not None:
        names = [plates] if isinstance(plates, str | Plate | int) else list(plates)
        names = [name if isinstance(name, tuple) else str(name) for name in names]
        chosen = [plate for plate in found if {plate, plate.key, plate.plate} & set(names)]
        unknown = [name for name in names if not any(name in (plate, plate.key, plate.plate) for plate in chosen)]
        if unknown:
            raise NotFound(
                f"{location} has no profiles of plate {unknown[0]} (level {level}); "
                f"there are {', '.join(plate.key for plate in found)}."
            )
        if not names:
            raise NotFound(f"No plate was asked for of {location}. Leave out `plates` for all of them.")
    tables = [_read_plate(storage, plate, found[plate]) for plate in chosen]
    joined = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    metadata = is_metadata(joined.columns)
    for name in joined.columns[metadata]:
        kinds = {table[name].dtype for table in tables if name in table}
        if name in NAMES or len(kinds) > 1:  # a name is text, and 1001 in one file is 1001.0 in another
            texts = as_text(joined[name]).where(joined[name].notna(), joined[name])
            joined[name] = joined[name] if texts.equals(joined[name].astype(object)) else texts
    return joined[[*joined.columns[metadata], *joined.columns[~metadata]]]


def list_profiles(storage: Storage) -> dict[str, dict[Plate, str]]:
    """Level -> plate -> key of its file; parquet before text. `storage`: a run's results, or a folder of profiles."""
    return {level: {plate: keys[0] for plate, keys in plates.items()} for level, plates in _files(storage).items()}


def missed_files(storage: Storage, level: str) -> list[str]:
    """Keys of tables that seem meant as profiles of this level and whose names or folders make them none."""
    named = re.compile(rf"[^.].*_{re.escape(level)}\b.*", re.IGNORECASE)
    prefix = "profiles/" if "profiles" in storage.folders() else ""
    found = []
    for entry in storage.entries(prefix):
        if not level or _FILE.fullmatch(entry.key) or not entry.key.lower().endswith(_TABLE):
            continue
        folder, _, name = entry.key.rpartition("/")
        if named.fullmatch(name) or named.fullmatch(folder.rpartition("/")[2]):  # a folder of parquet's parts
            found.append(entry.key)
    return found


def _levels_named(levels: Iterable[str]) -> str:
    named = ", ".join(sorted(name or '""' for name in levels))
    return named or "no profiles at all, as <batch>/<plate>/<plate>_<level>.parquet, .csv.gz or .csv"


def _files(storage: Storage) -> dict[str, dict[Plate, list[str]]]:
    """Level -> plate -> keys of its files, parquet first: there may be one of either kind, or copies further down."""
    levels: dict[str, dict[Plate, list[str]]] = {}
    is_run = "profiles" in storage.folders()
    planned = planned_plates(storage) if is_run else None  # those of a plate that was taken out of the screen stay
    for entry in storage.entries("profiles/" if is_run else ""):
        if match := _FILE.fullmatch(entry.key):
            plate = Plate(match["batch"], match["plate"])
            if planned is not None and plate not in planned:
                continue
            levels.setdefault(match["level"] or "", {}).setdefault(plate, []).append(entry.key)
    for plates in levels.values():
        for keys in plates.values():
            keys.sort(key=lambda key: (not key.endswith(".parquet"), key))
    return levels


def _read_plate(storage: Storage, plate: Plate, keys: list[str]) -> pd.DataFrame:
    """The profiles of a plate, which all of its files have to agree on."""
    paths = [f"{storage.location}/{key}" for key in keys]
    files = [storage.get(key) for key in keys]
    first, *others = (of_plate(decode(data, path), plate, path) for data, path in zip(files, paths, strict=True))
    if keys[0].endswith(".parquet") and (about := about_table(files[0])):
        first.attrs["cellpainting"] = {name: value for name, value in about.items() if name != "inputs"}
    for path, other in zip(paths[1:], others, strict=True):
        if not same_profiles(first, other):
            raise ConfigError(
                f"There are two files of plate {plate} that differ: {paths[0]} and {path}. Remove or move the one that "
                "does not count, or name the folder of the other."
            )
    return first


def profile_key(plate: Plate, level: str) -> str:
    return f"profiles/{plate.key}/{plate.plate}{f'_{level}' if level else ''}.parquet"


def read_profile(storage: Storage, plate: Plate, level: str) -> pd.DataFrame:
    key = profile_key(plate, level)
    return decode(storage.get(key), f"{storage.location}/{key}")


def write_profile(
    storage: Storage, plate: Plate, level: str, profiles: pd.DataFrame, about: Mapping[str, Any] | None = None
) -> str:
    """Write one table, with what was done to it; returns the SHA-256 of its bytes."""
    data = encode_table(profiles, about=about)
    storage.put(profile_key(plate, level), data)
    return hashlib.sha256(data).hexdigest()
