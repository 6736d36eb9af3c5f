"""Sites from CellProfiler's LoadData tables, for images that are named in another way than the gallery's.

    workspace/load_data_csv/<batch>/<plate>/load_data.csv[.gz]

with Metadata_Plate, Metadata_Well, Metadata_Site and, for every image, URL_<image> or PathName_<image> with
FileName_<image>; the same for an illumination function, which is then used in place of the gallery's. The tables name
the place where the files were when they were written (another bucket, a mounted disk), so only the end of each path
counts; sizes and ETags come from the listing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from urllib.parse import unquote

import pandas as pd

from pipeline.errors import ConfigError, StorageError
from pipeline.plan.layout import Layout
from pipeline.plan.listing import (
    REQUESTS,
    Listed,
    PlateFolder,
    is_litter,
    list_files,
    list_illumination,
    some_names,
)
from pipeline.screen import Plate, name_fault, plate_size, well_name, well_position
from pipeline.screen.columns import PLATE, SITE, WELL
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.storage import Storage
from pipeline.text_table import read_text_table, some_columns

ROOT = "workspace/load_data_csv/"
FILES = ("load_data.csv", "load_data.csv.gz", "load_data.parquet")
#: other tables of the same kind, e.g. load_data_with_illum.csv
_OTHER_FILE = re.compile(r"load_?data\w*\.(csv|csv\.gz|parquet)", re.IGNORECASE)

_FILE_COLUMN = re.compile(r"(?:URL|FileName)_(.+)")
#: whole, or as pandas writes whole numbers beside missing ones
_SITE = re.compile(r"(0*[1-9][0-9]{0,8})(?:\.0*)?")

#: how programs that write tables from Python and R put a missing value, where a path is expected
_MISSING = ("nan", "NaN", "None", "null", "NA", "<NA>")

#: objects of one folder that are looked through for the images a table names
_LOOKED_THROUGH = 100_000


def find(storage: Storage, screen: Screen) -> dict[Plate, list[str]]:
    """Plate -> keys of the files in its folder."""
    batches = [batch for batch in storage.folders(ROOT) if not batch.startswith(".")]  # .ipynb_checkpoints
    with ThreadPoolExecutor(REQUESTS) as pool:
        below = list(pool.map(lambda batch: storage.folders(f"{ROOT}{batch}/"), batches))
        plates = [
            Plate(batch, plate)
            for batch, names in zip(batches, below, strict=True)
            for plate in names
            if not plate.startswith(".")
        ]
        files = list(pool.map(lambda plate: _files(storage, plate), plates))
    return dict(zip(plates, files, strict=True))


def _files(storage: Storage, plate: Plate) -> list[str]:
    prefix = f"{ROOT}{plate.key}/"
    return [entry.key for entry in storage.entries(prefix) if "/" not in entry.key[len(prefix) :]]


def choose_table(plate: Plate, keys: list[str]) -> tuple[str, list[Finding]]:
    """The key of the plate's table: load_data.csv, or the only other table of the kind, which is said.

    Raises `ConfigError` where there is none, or several others.
    """
    names = {key.rpartition("/")[2]: key for key in keys}
    if usual := next((names[name] for name in FILES if name in names), None):
        return usual, []
    folder = f"{ROOT}{plate.key}"
    others = sorted(name for name in names if _OTHER_FILE.fullmatch(name))  # the same in .csv before .csv.gz, .parquet
    if len({name.partition(".")[0] for name in others}) == 1:
        what = f"{plate}: {folder} has no load_data.csv; {others[0]} is read in its place."
        return names[others[0]], [Finding("table_of_another_name", *plate, what, file=names[others[0]])]
    has = f"it holds {', '.join(others or list(names)[:3])}" if names else "it is empty"
    raise ConfigError(f"{folder} has no load_data.csv: {has}. Give the plate's table that name.")


def named_files(
    table: pd.DataFrame, plate: Plate, key: str, screen: Screen
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The images that the table names: row, column, site, image, folder, name, one row an image; and the paths of the
    illumination functions that it names.

    Raises `ConfigError` where columns, wells or paths cannot be used, naming the table.
    """
    lacking = {PLATE, WELL, SITE} - set(table.columns)
    known = {name: paths for name in screen.image_names.values() if (paths := _paths(table, name, key)) is not None}
    if lacking or not known:
        wanted = ", ".join(sorted(lacking)) or f"URL_{next(iter(screen.image_names.values()))} or any other image's"
        raise ConfigError(f"{key} has no column {wanted}. It has: {some_columns(table.columns)}.")
    if others := sorted(set(table[PLATE]) - {plate.plate}):
        raise ConfigError(f"{key} lies in the folder of plate {plate.plate} and holds rows of {', '.join(others)}.")
    place = _places(table, key)
    parts = [
        place.assign(
            image=name,
            folder=paths.str.replace(r"/?[^/]*$", "", regex=True),
            name=paths.str.replace(r"^.*/", "", regex=True),
        )
        for name, paths in known.items()
    ]
    images = pd.concat(parts, ignore_index=True)
    images = images[images["name"] != ""]
    if images.empty:
        raise ConfigError(f"{key} names no image: its columns for {', '.join(known)} are empty.")
    functions = {}
    for name in screen.illumination_names.values():
        paths = _paths(table, name, key)
        if paths is not None and (named := sorted(set(paths) - {""})):
            functions[name] = named
    return images, functions


def _other_channels(plate: Plate, key: str, table: pd.DataFrame, screen: Screen) -> Iterator[Finding]:
    """Images of the channel map for which the table has no columns, where it has some for others."""
    named = dict.fromkeys(match[1] for column in table.columns if (match := _FILE_COLUMN.fullmatch(column)))
    ours = [*screen.image_names.values(), *screen.illumination_names.values()]
    lacking = [name for name in screen.image_names.values() if name not in named]
    others = [name for name in named if name not in ours and not name.startswith("Illum")]
    if lacking and others:
        what = (
            f"{plate}: {key} has no columns for {some_columns(lacking)}. It has some for {some_columns(others)}, which "
            "the channel map does not name: left out. `image_name` in the screen says how images are called."
        )
        yield Finding("unknown_channel", *plate, what, file=key)


def _read(storage: Storage, key: str) -> pd.DataFrame:
    try:
        data = storage.get(key)
    except StorageError as error:
        if error.retry:
            raise  # the store's fault, not this table's
        raise ConfigError(f"{key} cannot be read: {error}") from None
    return read_text_table(data, key)


def _places(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """row, column, site of each row of the table."""
    positions = {}
    for line, well, site in table[[WELL, SITE]].itertuples(name=None):
        try:
            if well not in positions:
                positions[well] = well_position(well)
                plate_size([well_name(*positions[well])])
            if not _SITE.fullmatch(site):
                raise ValueError(f"{site!r} is no number of a site; they are counted from 1")
        except ValueError as error:
            raise ConfigError(f"{key}, line {line}: {error}.") from None
    place = pd.DataFrame(
        {
            "row": table[WELL].map(lambda well: positions[well][0]),
            "column": table[WELL].map(lambda well: positions[well][1]),
            "site": table[SITE].str.replace(_SITE, r"\1", regex=True).astype("int64"),
        }
    )
    if (twice := place.duplicated()).any():
        first = table.loc[twice, [WELL, SITE]].iloc[0]
        raise ConfigError(f"{key} has {first[WELL]} site {first[SITE]} twice, again in line {first.name}.")
    return place


def _paths(table: pd.DataFrame, image: str, key: str) -> pd.Series | None:
    """Full paths of an image's files with "/" between folders, "" where there is none; None: no such columns.

    Raises `ConfigError` for a path that would lead out of where it is looked for.
    """
    paths = None
    if {f"PathName_{image}", f"FileName_{image}"} <= set(table.columns):
        folder = _given(table[f"PathName_{image}"]).str.replace("\\", "/", regex=False).str.rstrip("/")
        name = _given(table[f"FileName_{image}"]).str.replace("\\", "/", regex=False)
        paths = (folder + "/" + name).where(name != "", "")
    if f"URL_{image}" in table:
        urls = _given(table[f"URL_{image}"]).map(unquote)
        paths = urls if paths is None else urls.where(urls != "", paths)
    for line, path in paths[~paths.duplicated()].items() if paths is not None else []:
        for part in re.sub(r"^\w+:/+", "", path).split("/"):
            if part not in ("", ".") and (fault := name_fault(part)):
                raise ConfigError(
                    f"{key}, line {line}: {part[:40]!r} in {path[:200]} {fault}. Write the path without it."
                )
    return paths


def _given(values: pd.Series) -> pd.Series:
    return values.where(~values.isin(_MISSING), "")


def images(storage: Storage, screen: Screen, plate: Plate, keys: list[str], wanted: str = "") -> Listed:
    """The images of one plate that its table names and the listing has.

    `wanted` is of no use here: the table itself names the folder.
    """
    key, findings = choose_table(plate, keys)
    table = _read(storage, key)
    named, functions = named_files(table, plate, key, screen)
    findings += _other_channels(plate, key, table, screen)
    prefixes = {
        str(folder): find_folder(storage, str(folder), names)
        for folder, names in named.groupby("folder", sort=False)["name"]
    }
    found = {folder: prefix for folder, prefix in prefixes.items() if prefix is not None}
    if not found:
        raise ConfigError(_nowhere(storage, key, named))
    named = named.assign(key=named["folder"].map(found).fillna("") + named["name"])
    files = pd.concat([list_files(storage, prefix) for prefix in sorted(set(found.values()))], ignore_index=True)
    files = files.drop_duplicates("key")
    listed = named.drop(columns="name").merge(files, on="key")
    findings += _not_there(plate, key, named, listed)
    is_image = files["name"].str.contains(r"\.tiff?$", regex=True) & ~is_litter(files["name"])
    others = files[~files["key"].isin(listed["key"]) & is_image]
    if len(others):
        what = f"{plate}: {some_names(others['name'])} are there and not in {key}: left out."
        findings.append(Finding("not_in_load_data", *plate, what, file=others["key"].iloc[0]))
    folder = PlateFolder(*plate, min(found.values()))
    names = [name for name in screen.illumination_names.values() if name not in functions]
    usual, unused = list_illumination(storage, folder, names)
    illumination, missing = _illumination(storage, plate, key, functions)
    return Listed(folder, listed, usual | illumination, [*findings, *unused, *missing])


def _nowhere(storage: Storage, key: str, named: pd.DataFrame) -> str:
    """None of the files is where an end of their path leads to: in words, with what lies there instead."""
    folder, name = named[["folder", "name"]].iloc[0]
    if not folder:
        return f"{key} names files without a folder, such as {name}. Fill its PathName columns."
    prefixes = [prefix for prefix in _ends(folder) if prefix.count("/") > 1]
    there = next((entry.key for prefix in prefixes for entry in islice(storage.entries(prefix), 1)), "")
    remedy = f"There is {there}: are the files named otherwise?" if there else ""
    return (
        f"{key} names images in {folder}, such as {name}, and no end of that path is a folder below {storage.location} "
        "with any of them. " + (remedy or "Point `images` at the folder that holds `images` and `workspace`.")
    )


def _not_there(plate: Plate, key: str, named: pd.DataFrame, listed: pd.DataFrame) -> Iterator[Finding]:
    """Wells, and sites of other wells, that the table names and of which no image is there.

    A site that other wells of the plate have is found later, with those of which the table knows nothing.
    """
    there = listed[["row", "column", "site"]].drop_duplicates()
    usual = set(there["site"])
    for (row, column), own in named.groupby(["row", "column"], sort=False):
        well, file = well_name(int(str(row)), int(str(column))), str(own["key"].iloc[0])
        have = set(there.loc[(there["row"] == row) & (there["column"] == column), "site"])
        if not have:
            what = f"{plate} {well} is in {key}, and none of its {len(own)} images is there."
            yield Finding("well_not_imaged", *plate, what, well, file=file)
            continue
        for site in sorted(set(own["site"]) - usual):
            what = f"{plate} {well} site {site} is in {key}, and none of its images is there."
            yield Finding("site_missing", *plate, what, well, int(site))


def _illumination(
    storage: Storage, plate: Plate, key: str, functions: dict[str, list[str]]
) -> tuple[dict[str, object], list[Finding]]:
    """The functions that the table names, as `list_illumination` gives them."""
    columns: dict[str, object] = {}
    findings = []
    for function, (path, *others) in functions.items():
        if others:
            what = f"{plate}: {key} names several files as {function}, {path} and {others[0]}: none of them is used."
            findings.append(Finding("illumination_unused", *plate, what))
            continue
        folder, _, name = path.rpartition("/")
        if not name.lower().endswith(".npy"):
            what = f"{plate}: {key} names {path} as {function}, which is no .npy file: it is not used."
            findings.append(Finding("illumination_unused", *plate, what, file=path))
            continue
        prefix = find_folder(storage, folder, pd.Series([name]))
        stat = None if prefix is None else storage.stat(prefix + name)
        if stat is None:
            what = (
                f"{plate}: {key} names {path} as {function}, and no end of that path is a file below "
                f"{storage.location}."
            )
            findings.append(Finding("illumination_missing", *plate, what))
        else:
            columns |= {
                f"Key_{function}": f"{prefix}{name}",
                f"Size_{function}": stat.size,
                f"ETag_{function}": stat.etag,
            }
    return columns, findings


def find_folder(storage: Storage, path: str, names: pd.Series) -> str | None:
    """The longest end of `path` that is a folder here, as a prefix, with or without `images` before it.

    It is one if any of these files lies in it. The first, the middle and the last are asked for; only where none of
    them is there, the folders are looked through.
    """
    prefixes = _ends(path)
    some = names.iloc[sorted({0, len(names) // 2, len(names) - 1})]
    for prefix in prefixes:
        if any(storage.stat(prefix + name) for name in some):
            return prefix
    if len(some) < len(names):
        wanted = set(names)
        for prefix in prefixes:
            entries = islice(storage.entries(prefix), _LOOKED_THROUGH) if prefix else ()
            if any(entry.key[len(prefix) :] in wanted for entry in entries):
                return prefix
    return None


def _ends(path: str) -> list[str]:
    """All ends of a path as prefixes, the longest first, each with and without `images` before it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    ends = [[*above, *parts[start:]] for start in range(len(parts)) for above in ([], ["images"])]
    return ["/".join([*end, ""]) for end in ends] or [""]


LAYOUT = Layout("workspace/load_data_csv/<batch>/<plate>/load_data.csv", find, images, can_share=True)
