"""Sites from CellProfiler's LoadData tables, for images that are named in another way than the gallery's.

    workspace/load_data_csv/<batch>/<plate>/load_data.csv[.gz]

with Metadata_Plate, Metadata_Well, Metadata_Site and, for every image, URL_<image> or PathName_<image> with
FileName_<image>. The tables name the place where the images were when they were written (another bucket, a mounted
disk), so only the end of each path counts; sizes and ETags come from the listing.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pandas as pd

from pipeline.config import Screen
from pipeline.errors import ConfigError
from pipeline.plan.checks import Finding
from pipeline.plan.gallery import REQUESTS, PlateFolder, list_files, some_names
from pipeline.screen import Plate, well_name, well_position
from pipeline.storage import Storage

LOOKED_FOR = "workspace/load_data_csv/<batch>/<plate>/load_data.csv"

ROOT = "workspace/load_data_csv/"
FILES = ("load_data.csv", "load_data.csv.gz")


def find(storage: Storage, screen: Screen) -> dict[Plate, str]:
    """Plate -> key of its table."""
    batches = storage.folders(ROOT)
    with ThreadPoolExecutor(REQUESTS) as pool:
        below = list(pool.map(lambda batch: storage.folders(f"{ROOT}{batch}/"), batches))
        plates = [Plate(batch, plate) for batch, names in zip(batches, below, strict=True) for plate in names]
        tables = list(pool.map(lambda plate: _table_key(storage, plate), plates))
    return {plate: key for plate, key in zip(plates, tables, strict=True) if key}


def _table_key(storage: Storage, plate: Plate) -> str | None:
    prefix = f"{ROOT}{plate.key}/load_data.csv"
    keys = [entry.key for entry in storage.entries(prefix)]
    return next((key for name in FILES for key in keys if key == f"{ROOT}{plate.key}/{name}"), None)


def read_load_data(storage: Storage, plate: Plate, key: str, screen: Screen) -> pd.DataFrame:
    """The table as it names the images: row, column, site, image, folder, name. One row an image.

    Raises `ConfigError` where columns or wells cannot be used, naming the table.
    """
    data = storage.get(key)
    try:
        text = gzip.decompress(data) if key.endswith(".gz") else data
        table = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    except (OSError, EOFError, zlib.error, ValueError) as error:  # pandas' errors are ValueErrors
        raise ConfigError(f"{key} cannot be read as a table: {error}") from None
    lacking = {"Metadata_Plate", "Metadata_Well", "Metadata_Site"} - set(table.columns)
    known = {name: paths for name in screen.image_names.values() if (paths := _paths(table, name)) is not None}
    if lacking or not known:
        wanted = ", ".join(sorted(lacking)) or f"URL_{next(iter(screen.image_names.values()))} or any other image's"
        raise ConfigError(f"{key} has no column {wanted}. It has: {', '.join(table.columns)}.")
    if others := sorted(set(table["Metadata_Plate"]) - {plate.plate}):
        raise ConfigError(f"{key} lies in the folder of plate {plate.plate} and holds rows of {', '.join(others)}.")
    try:
        position = {well: well_position(well) for well in table["Metadata_Well"].unique()}
        site = table["Metadata_Site"].astype(int)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    place = pd.DataFrame(
        {
            "row": table["Metadata_Well"].map(lambda well: position[well][0]),
            "column": table["Metadata_Well"].map(lambda well: position[well][1]),
            "site": site,
        }
    )
    if place.duplicated().any():
        twice = table.loc[place.duplicated(), ["Metadata_Well", "Metadata_Site"]].iloc[0]
        raise ConfigError(f"{key} has {twice['Metadata_Well']} site {twice['Metadata_Site']} twice.")
    parts = [
        place.assign(
            image=name,
            folder=paths.str.replace(r"/[^/]*$", "", regex=True),
            name=paths.str.replace(r"^.*/", "", regex=True),
        )
        for name, paths in known.items()
    ]
    images = pd.concat(parts, ignore_index=True)
    return images[images["name"] != ""]


def _paths(table: pd.DataFrame, image: str) -> pd.Series | None:
    """Full paths of an image's files with "/" between folders, "" where there is none; None: no such columns."""
    if f"URL_{image}" in table:
        return table[f"URL_{image}"].map(unquote)
    if {f"PathName_{image}", f"FileName_{image}"} <= set(table.columns):
        folder = table[f"PathName_{image}"].str.replace("\\", "/", regex=False).str.rstrip("/")
        name = table[f"FileName_{image}"]
        return (folder + "/" + name).where(name != "", "")
    return None


def images(
    storage: Storage, screen: Screen, plate: Plate, key: str, wanted: str = ""
) -> tuple[PlateFolder, pd.DataFrame, list[Finding]]:
    """The images of one plate that its table names and the listing has, as `gallery.images_of` gives them.

    `wanted` is of no use here: the table itself names the folder.
    """
    named = read_load_data(storage, plate, key, screen)
    prefixes = {
        str(folder): find_folder(storage, str(folder), names.iloc[[0, len(names) // 2, -1]])
        for folder, names in named.groupby("folder", sort=False)["name"]
    }
    found = {folder: prefix for folder, prefix in prefixes.items() if prefix is not None}
    if not found:
        raise ConfigError(
            f"{key} names images in {named['folder'].iloc[0]}, and no end of that path is a folder below "
            f"{storage.location}. Point `images` at the folder that holds `images` and `workspace`."
        )
    named = named.assign(key=named["folder"].map(found) + named["name"])
    files = pd.concat([list_files(storage, prefix) for prefix in sorted(set(found.values()))], ignore_index=True)
    listed = named.drop(columns="name").merge(files.drop_duplicates("key"), on="key")
    findings = []
    for _, own in named.groupby(["row", "column"], sort=False):
        if not own["key"].isin(listed["key"]).any():
            well = well_name(int(own["row"].iloc[0]), int(own["column"].iloc[0]))
            what = f"{plate} {well} is in {key}, and none of its {len(own)} images is there."
            findings.append(Finding("well_not_imaged", *plate, what, well, file=str(own["key"].iloc[0])))
    others = files[~files["key"].isin(listed["key"]) & files["name"].str.contains(r"\.tiff?$", regex=True)]
    if len(others):
        what = f"{plate}: {some_names(others['name'])} are there and not in {key}: left out."
        findings.append(Finding("not_in_load_data", *plate, what, file=others["key"].iloc[0]))
    return PlateFolder(*plate, min(found.values())), listed, findings


def find_folder(storage: Storage, path: str, names: Iterable[str]) -> str | None:
    """The longest end of `path` that is a folder here, as a prefix, with or without `images` before it.

    It is one if any of these files lies in it.
    """
    parts = [part for part in path.split("/") if part]
    for start in range(len(parts)):
        for above in ([], ["images"]):
            prefix = "/".join([*above, *parts[start:]]) + "/"
            if any(storage.stat(prefix + name) for name in names):
                return prefix
    return None
