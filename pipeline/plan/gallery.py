"""A gallery-shaped place: image folders of plates, image files in them, illumination functions beside them.

    images/<batch>/images/<plate>__<time>-Measurement<n>/Images/r01c01f01p01-ch1sk1fk1fl1.tiff
    images/<batch>/illum/<plate>/<plate>_Illum<Channel>.npy

Layout of the Cell Painting Gallery; folder and file names as the Opera Phenix (Harmony) writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.screen import PLATE_FORMATS, Plate, well_name
from pipeline.screen.columns import BATCH, PLATE, SITE, WELL
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.storage import Storage
from pipeline.tables import TEXT

LOOKED_FOR = "image folder <plate>__<time>-Measurement<n>/Images"

#: requests in flight at once while listing
REQUESTS = 16

_PLATE_FOLDER = re.compile(r"(?P<plate>.+)__[0-9].*-Measurement ?[0-9]+")
#: beside or below the images of a gallery, and never images; a workspace holds millions of objects
_NO_IMAGES = {"workspace", "workspace_dl", "illum", "Images", "__MACOSX"}

_IMAGE_FILE = (
    r"^r(?P<row>[0-9]{1,3})c(?P<column>[0-9]{1,3})f(?P<site>[0-9]{1,4})p(?P<plane>[0-9]{1,3})"
    r"-ch(?P<channel>[0-9]{1,2})sk[0-9]{1,4}fk[0-9]{1,4}fl[0-9]{1,4}\.tiff?$"
)
_NUMBERS = ("row", "column", "site", "plane", "channel")
#: what file managers leave in every folder: .DS_Store, ._<name> and other hidden files, Thumbs.db
_LITTER = re.compile(r"\..*|Thumbs\.db|desktop\.ini", re.IGNORECASE)
#: the microscope's own index of the folder
_INDEX = re.compile(r"Index\..*|.*\.(xml|txt)")

_ROWS, _COLUMNS = PLATE_FORMATS[max(PLATE_FORMATS)]


class PlateFolder(NamedTuple):
    """The images of one plate. `prefix`: their key up to the file name, ending in "/"."""

    batch: str
    plate: str
    prefix: str

    @property
    def where(self) -> Plate:
        return Plate(self.batch, self.plate)

    @property
    def name(self) -> str:
        """The folder as the microscope named it, <plate>__<time>-Measurement<n>."""
        return self.path.rpartition("/")[2]

    @property
    def path(self) -> str:
        """The key of that folder, without "/" at its end."""
        return self.prefix.rstrip("/").removesuffix("/Images")


class Listed(NamedTuple):
    """What there is of one plate. `images`: row, column, site, image, key, size, etag; `illumination`: its published
    functions, as columns of its row in the plates table (`Key_<function>`, `Size_<function>`, `ETag_<function>`).
    """

    folder: PlateFolder
    images: pd.DataFrame
    illumination: dict[str, object]
    findings: list[Finding]


def find(storage: Storage, screen: Screen) -> dict[Plate, list[PlateFolder]]:
    """All image folders of plates, at any depth; one request a folder on the way.

    The batch is the folder around them (in a gallery, the one around `images`), or the screen's where there is none.
    """
    found: dict[Plate, list[PlateFolder]] = {}
    level = [""]
    with ThreadPoolExecutor(REQUESTS) as pool:
        while level:
            below = list(zip(level, pool.map(storage.folders, level), strict=True))
            level = []
            for prefix, names in below:
                for name in names:
                    if match := _PLATE_FOLDER.fullmatch(name):
                        plate = Plate(_batch(prefix, screen.batch), match["plate"])
                        found.setdefault(plate, []).append(PlateFolder(*plate, f"{prefix}{name}/Images/"))
                    elif name not in _NO_IMAGES and not name.startswith("."):  # .snapshot, .Trashes: copies of all
                        level.append(f"{prefix}{name}/")
    return found


def _batch(prefix: str, default: str | None) -> str:
    around = [part for part in prefix.split("/") if part not in ("", "images")]
    return around[-1] if around else default or ""


def images(storage: Storage, screen: Screen, plate: Plate, folders: list[PlateFolder], wanted: str = "") -> Listed:
    """The images and illumination functions of one plate. `wanted`: its folder by the plates table, a name or a path.

    Raises `ConfigError` where the plate was imaged more than once and the table does not say which to take, and where
    images leave open what is meant; see `images_of`.
    """
    if not plate.batch:
        raise ConfigError(
            f"{folders[0].prefix} lies in no batch folder. Set `batch` in the screen, or point `images` "
            "one folder higher."
        )
    names = ", ".join(folder.name for folder in folders)
    path = wanted.replace("\\", "/").strip("/").removesuffix("/Images")
    fitting = [folder for folder in folders if path in ("", folder.name, folder.path)]
    if len(fitting) > 1:
        raise ConfigError(_which_folder(storage, plate, fitting))
    if not fitting:
        what = f"{plate}: the plates table takes its images from {wanted}, and there is only {names}."
        nothing = images_of(folders[0], pd.DataFrame(columns=["key", "name", "size", "etag"]), screen)[0]
        return Listed(folders[0], nothing, {}, [Finding("plate_not_imaged", *plate, what)])
    (folder,) = fitting
    found, findings = images_of(folder, list_files(storage, folder.prefix), screen)
    illumination, unused = list_illumination(storage, folder, screen.illumination_names.values())
    return Listed(folder, found, illumination, [*findings, *unused])


def _which_folder(storage: Storage, plate: Plate, folders: list[PlateFolder]) -> str:
    """A plate has several folders: how to name one, by a name or path that only it has."""
    is_name = len({folder.name for folder in folders}) == len(folders)
    each = [folder.name if is_name else folder.path for folder in folders]
    what = (
        f"{plate} has {len(folders)} image folders: {', '.join(each)}. Name the one to take in the column image_folder "
        "of the plates table"
    )
    parts = [folder.prefix.split("/") for folder in folders]
    same = next(i for i, level in enumerate(zip(*parts, strict=False)) if len(set(level)) > 1)
    if is_name or len({tuple(one[same + 1 :]) for one in parts}) > 1:
        return what + "."
    trees = [f"{storage.location.url.rstrip('/')}/{'/'.join(one[: same + 1])}" for one in parts]
    return f"{what}, or point `images` at one of {', '.join(trees)}."


def list_files(storage: Storage, prefix: str) -> pd.DataFrame:
    """All objects below a prefix: key, name (the part after the last "/"), size, etag.

    Local files have no ETag; their MD5 is computed, as S3 has it for simple uploads.
    """
    entries = [(entry.key, entry.size, entry.etag) for entry in storage.entries(prefix, checksums=True)]
    files = pd.DataFrame(entries, columns=["key", "size", "etag"]).astype({"key": TEXT, "size": "int64", "etag": TEXT})
    return files.assign(name=files["key"].str.replace(r"^.*/", "", regex=True))


def parse_names(names: pd.Series) -> pd.DataFrame:
    """File names -> row, column, site, plane, channel (int32), all counted from 1.

    Same index; names that are no image of a well are left out.
    """
    matches = pc.extract_regex(pa.array(names, pa.string()), pattern=_IMAGE_FILE)
    fits = pc.is_valid(matches).to_numpy(zero_copy_only=False)
    numbers = {
        name: pc.cast(pc.struct_field(matches, name), pa.int32()).filter(pc.is_valid(matches)) for name in _NUMBERS
    }
    parsed = pd.DataFrame({name: array.to_numpy() for name, array in numbers.items()}, index=names.index[fits])
    return parsed[parsed["row"].between(1, _ROWS) & parsed["column"].between(1, _COLUMNS)]


def images_of(folder: PlateFolder, files: pd.DataFrame, screen: Screen) -> tuple[pd.DataFrame, list[Finding]]:
    """The images among a plate's files: row, column, site, image, key, size, etag.

    Raises `ConfigError` where a site has an image more than once (planes, repeats).
    """
    plate = folder.where
    findings: list[Finding] = []
    parsed = parse_names(files["name"])
    rest = files.drop(parsed.index)
    rest = rest[~is_litter(rest["name"])]
    extra = rest[~rest["name"].map(lambda name: _INDEX.fullmatch(name) is not None)]
    if len(extra):
        what = f"{plate}: {some_names(extra['name'])} in {folder.prefix} are named like no image of a well: left out."
        findings.append(Finding("extra_file", *plate, what, file=extra["key"].iloc[0]))

    unknown = parsed.loc[~parsed["channel"].isin(list(screen.channels)), "channel"]
    for channel, count in unknown.value_counts(sort=False).sort_index().items():
        what = f"{plate} has {count:,} images of channel {channel}, which the channel map does not name: left out."
        findings.append(Finding("unknown_channel", *plate, what))

    images = parsed[parsed["channel"].isin(list(screen.channels))].join(files)
    planes = sorted(images["plane"].unique())
    if screen.plane is not None:
        images = images[images["plane"] == screen.plane]
    elif len(planes) > 1:
        raise ConfigError(
            f"{plate} has images of {len(planes)} planes ({', '.join(f'p{plane:02d}' for plane in planes)}); one can "
            f"be measured. Name it in the screen, e.g. `plane: {planes[0]}`."
        )
    twice = images[images.duplicated(["row", "column", "site", "channel"], keep=False)]
    if len(twice):
        raise ConfigError(
            f"{plate} has several images of one site and channel: {some_names(twice['name'], most=2)}. Series in time "
            "cannot be measured; give the ones to take in a load_data.csv (`sources: load_data`)."
        )
    return images.assign(image=images["channel"].map(screen.image_names)), findings


def site_table(plate: Plate, images: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """One row a site, in order of rows, columns and sites; see `Plan.sites`.

    `images`: row, column, site, image, key, size, etag. `names`: the images to have columns for, there or not.
    """
    place = ["row", "column", "site"]
    images = images[images["image"].isin(names := list(names))]
    sites = images[place].drop_duplicates().sort_values(place, ignore_index=True)
    table = pd.DataFrame(
        {
            BATCH: plate.batch,
            PLATE: plate.plate,
            WELL: well_names(sites["row"], sites["column"]),
            SITE: sites["site"].astype("int64"),
        },
        index=sites.index,
    ).astype({BATCH: TEXT, PLATE: TEXT, WELL: TEXT})
    for name in names:
        one = sites.merge(images.loc[images["image"] == name, [*place, "key", "size", "etag"]], how="left", on=place)
        table[f"Key_{name}"] = one["key"].astype(TEXT)
        table[f"Size_{name}"] = one["size"].astype("Int64")
        table[f"ETag_{name}"] = one["etag"].astype(TEXT)
    return table


def well_names(rows: pd.Series, columns: pd.Series) -> pd.Series:
    code = 100 * rows + columns
    return code.map({one: well_name(*divmod(int(one), 100)) for one in code.unique()})


def list_illumination(
    storage: Storage, folder: PlateFolder, names: Iterable[str]
) -> tuple[dict[str, object], list[Finding]]:
    """Those of these published illumination functions that a plate has, see `Listed`.

    Files that would be functions of this plate by one half of their place, folder or name, are findings.
    """
    # <batch>/images/<folder>/Images/ -> <batch>/illum/
    around = folder.path.rpartition("/")[0].split("/")
    around = around[:-1] if around[-1] == "images" else around
    batch = "/".join([*around, "illum", ""]).lstrip("/")
    own = f"{batch}{folder.plate}/"
    found = {entry.key: entry for entry in storage.entries(own, checksums=True)}
    columns: dict[str, object] = {}
    lacking = []
    for name in names:
        if entry := found.get(f"{own}{folder.plate}_{name}.npy"):
            columns |= {f"Key_{name}": entry.key, f"Size_{name}": entry.size, f"ETag_{name}": entry.etag}
        else:
            lacking.append(name)
    # Where else people put them: beside the batches.
    places = dict.fromkeys([batch, "illum/", "images/illum/"]) if lacking else {}
    elsewhere = [entry.key for place in places for entry in storage.entries(place) if entry.key not in found]
    findings = []
    for name in lacking:
        near = [key for key in found if key.lower().endswith(f"{name}.npy".lower())]
        near += [key for key in elsewhere if key.endswith(f"/{folder.plate}_{name}.npy")]
        if near:
            what = (
                f"{folder.where}: {near[0]} is not used as its {name}, which is looked for in "
                f"{own}{folder.plate}_{name}.npy."
            )
            findings.append(Finding("illumination_unused", *folder.where, what, file=near[0]))
    others = [key for key in found if key.endswith(".npy") and key not in columns.values()]
    if lacking and others and not findings:
        what = (
            f"{folder.where}: {some_names(pd.Series(others))} are named like no illumination function and not used. "
            f"Its {lacking[0]} is looked for in {own}{folder.plate}_{lacking[0]}.npy."
        )
        findings.append(Finding("illumination_unused", *folder.where, what, file=others[0]))
    return columns, findings


def is_litter(names: pd.Series) -> pd.Series:
    """Which names are of files that are nobody's images, and not worth a word."""
    return pd.Series([_LITTER.fullmatch(name) is not None for name in names], index=names.index, dtype=bool)


def some_names(names: pd.Series, most: int = 3) -> str:
    """ "a.tiff, b.tiff, c.tiff and 14 more files" """

    def parts() -> Iterator[str]:
        yield ", ".join(names.iloc[:most])
        if len(names) > most:
            yield f"and {len(names) - most:,} more files"

    return " ".join(parts())
