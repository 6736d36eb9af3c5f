"""What a file is and what was done to it: as it says itself, as the root around it says, or as can be inferred."""

from __future__ import annotations

import json
import re
from typing import Any

import zarr

from pipeline.errors import ConfigError, NotFound
from pipeline.profiles.columns import feature_names
from pipeline.profiles.files import SELECTED_LEVELS
from pipeline.profiles.read import decode
from pipeline.profiles.stage import record_key, selection_key
from pipeline.results.records import read_record
from pipeline.results.run import RECORD
from pipeline.screen import Plate
from pipeline.screen.columns import PLATE, WELL
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import about_table

_TABLE = re.compile(r".+\.(parquet|csv|csv\.gz|tsv|tsv\.gz)")
_PROFILES = re.compile(r"(?:.*/)?(?P<batch>[^/]+)/(?P<plate>[^/]+)/(?P=plate)(?:_(?P<level>\w+))?\.\w+(?:\.gz)?")
_SCORE = re.compile(r"scores/(?P<score>\w+)\.parquet")
#: folders above a file in which its root is looked for
ABOVE = 6
NORMALIZED = "normalised by the wells of the plate"
#: parts of a gallery file's name -> what they say was done, in order
_NAMES = (
    ("augmented", "annotated"),
    ("normalized", NORMALIZED),
    ("feature_select", "features selected"),
    ("spherized", "sphered"),
)


def describe(place: Location) -> dict[str, dict[str, Any]]:
    """Heading -> plain values, of a table (parquet, csv), a zarr store, a root of results or a plate in one.

    The headings say where the knowledge is from: "recorded in the file", "recorded beside it (<key>)", or "inferred
    from ...", which nobody has written down. Raises `NotFound` where there is nothing, `ConfigError` where it is none
    of these.
    """
    url = place.url.rstrip("/")
    folder, _, name = url.rpartition("/")
    if _TABLE.fullmatch(name):
        data = open_storage(place.model_copy(update={"url": folder})).get(name)
        return _table(place, data, url)
    found = _root(open_storage(place.model_copy(update={"url": url})))
    if not found:
        raise ConfigError(
            f"{url} is no table (parquet, csv), no zarr store and no root of results: nothing is known of it"
        )
    return found


def _table(place: Location, data: bytes, url: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"the table": _shape(data, url)}
    if url.endswith(".parquet") and (about := about_table(data)) is not None:
        found["recorded in the file"] = about
    if (beside := _beside(place, url)) is not None:
        root, key = beside
        found |= {f"recorded beside it ({one})": record for one, record in _records(root, key).items()}
    if len(found) == 1:
        found["inferred from its name and columns; nothing is recorded"] = _inferred(url)
    return found


def _shape(data: bytes, url: str) -> dict[str, Any]:
    table = decode(data, url)
    keys = [name for name in (PLATE, WELL) if name in table]
    about: dict[str, Any] = {"rows": len(table), "features": len(feature_names(table))}
    if len(keys) == 2:
        is_cell = "Metadata_ObjectNumber" in table or table.duplicated(keys).any()
        about |= {"a row is": "a cell, or a site" if is_cell else "a well", "plates": table[PLATE].nunique()}
    return about


def _inferred(url: str) -> dict[str, Any]:
    stem = url.rpartition("/")[2].partition(".")[0]
    done = [what for part, what in _NAMES if f"_{part}" in stem]
    if "_normalized" in stem and "_negcon" in stem:
        done[done.index(NORMALIZED)] = "normalised by the negative controls of the plate"
    return {"operations": done or "none that the name shows", "parameters": "unknown", "inputs": "unknown"}


def _beside(place: Location, url: str) -> tuple[Storage, str] | None:
    """The root of results that a file lies in, and its key there."""
    folder, key = url, ""
    for _ in range(ABOVE):
        folder, _, name = folder.rpartition("/")
        key = f"{name}/{key}" if key else name
        if not folder or folder.endswith("/"):
            return None
        root = open_storage(place.model_copy(update={"url": folder}))
        if root.stat(RECORD) is not None:
            return root, key
    return None


def _records(root: Storage, key: str) -> dict[str, Any]:
    keys = [RECORD]
    if match := _SCORE.fullmatch(key):
        keys.insert(0, f"scores/records/{match['score']}.json")
    elif key.startswith("profiles/") and (match := _PROFILES.fullmatch(key)):
        plate = Plate(match["batch"], match["plate"])
        keys.insert(0, selection_key(plate.batch) if match["level"] in SELECTED_LEVELS.values() else record_key(plate))
    return {one: _short(record) for one in keys if (record := read_record(root, one)) is not None}


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """Without the lists of features and files."""
    return {name: value for name, value in record.items() if name not in ("levels", "schema")}


def _root(storage: Storage) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if (record := read_record(storage, RECORD)) is not None:
        found[f"recorded in the root ({RECORD})"] = record
    if (attributes := _attributes(storage)) is None:
        return found
    found["recorded in the store"] = attributes
    if attributes.get("encoding-type") == "anndata":
        found["recorded in the store (uns/cellpainting)"] = _uns(storage)
    elif (beside := _beside(storage.location, f"{storage.location.url.rstrip('/')}/zarr.json")) is not None:
        found |= {f"recorded beside it ({one})": one_record for one, one_record in _records(*beside).items()}
    return found


def _attributes(storage: Storage) -> dict[str, Any] | None:
    """Of a zarr store of either format; None where there is none."""
    for key in ("zarr.json", ".zattrs"):
        try:
            plain = json.loads(storage.get(key))
        except NotFound:
            continue
        return plain.get("attributes", {}) if key == "zarr.json" else plain
    return None


def _uns(storage: Storage) -> dict[str, Any]:
    """The notes of a store of AnnData, each of which is an array of one text."""
    if storage.location.is_s3:
        return {}
    notes = zarr.open_group(f"{storage.location.url}/uns", mode="r").get("cellpainting")
    return {name: str(array[...]) for name, array in notes.arrays()} if isinstance(notes, zarr.Group) else {}
