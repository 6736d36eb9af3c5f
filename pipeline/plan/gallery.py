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

from pipeline.config import Screen
from pipeline.errors import ConfigError
from pipeline.plan.checks import Finding
from pipeline.screen import PLATE_FORMATS, Plate, well_name
from pipeline.storage import Storage
from pipeline.tables import TEXT

LOOKED_FOR = "image folder <plate>__<time>-Measurement<n>/Images"

#: requests in flight at once while listing
REQUESTS = 16

_PLATE_FOLDER = re.compile(r"(?P<plate>.+?)__[0-9].*-Measurement ?[0-9]+")
#: beside or below the images of a gallery, and never images; a workspace holds millions of objects
_NO_IMAGES = {"workspace", "workspace_dl", "illum", "Images"}

_IMAGE_FILE = (
    r"^r(?P<row>[0-9]{1,3})c(?P<column>[0-9]{1,3})f(?P<site>[0-9]{1,4})p(?P<plane>[0-9]{1,3})"
    r"-ch(?P<channel>[0-9]{1,2})sk[0-9]{1,4}fk[0-9]{1,4}fl[0-9]{1,4}\.tiff?$"
)
_NUMBERS = ("row", "column", "site", "plane", "channel")
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
        parts = self.prefix.rstrip("/").split("/")
        return parts[-2] if parts[-1] == "Images" and len(parts) > 1 else parts[-1]


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
                    elif name not in _NO_IMAGES:
                        level.append(f"{prefix}{name}/")
    return found


def _batch(prefix: str, default: str | None) -> str:
    around = [part for part in prefix.split("/") if part not in ("", "images")]
    return around[-1] if around else default or ""


def images(
    storage: Storage, screen: Screen, plate: Plate, folders: list[PlateFolder], wanted: str = ""
) -> tuple[PlateFolder, pd.DataFrame, list[Finding]]:
    """The images of one plate, see `images_of`. `wanted`: the folder's name in the plates table, or "".

    Raises `ConfigError` where the plate was imaged more than once and the table does not say which to take.
    """
    if not plate.batch:
        raise ConfigError(
            f"{folders[0].prefix} lies in no batch folder. Set `batch` in the screen, or point `images` "
            "one folder higher."
        )
    names = ", ".join(folder.name for folder in folders)
    fitting = [folder for folder in folders if wanted in ("", folder.name)]
    if len(fitting) > 1:
        raise ConfigError(
            f"{plate} has {len(fitting)} image folders: {names}. Name the one to take in the column image_folder of "
            "the plates table."
        )
    if not fitting:
        what = f"{plate}: the plates table takes its images from {wanted}, and there is only {names}."
        nothing = images_of(folders[0], pd.DataFrame(columns=["key", "name", "size", "etag"]), screen)[0]
        return folders[0], nothing, [Finding("plate_not_imaged", *plate, what)]
    return fitting[0], *images_of(fitting[0], list_files(storage, fitting[0].prefix), screen)


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
            "Metadata_Batch": plate.batch,
            "Metadata_Plate": plate.plate,
            "Metadata_Well": well_names(sites["row"], sites["column"]),
            "Metadata_Site": sites["site"].astype("int64"),
        },
        index=sites.index,
    ).astype({"Metadata_Batch": TEXT, "Metadata_Plate": TEXT, "Metadata_Well": TEXT})
    for name in names:
        one = sites.merge(images.loc[images["image"] == name, [*place, "key", "size", "etag"]], how="left", on=place)
        table[f"Key_{name}"] = one["key"].astype(TEXT)
        table[f"Size_{name}"] = one["size"].astype("Int64")
        table[f"ETag_{name}"] = one["etag"].astype(TEXT)
    return table


def well_names(rows: pd.Series, columns: pd.Series) -> pd.Series:
    code = 100 * rows + columns
    return code.map({one: well_name(*divmod(int(one), 100)) for one in code.unique()})


def list_illumination(storage: Storage, folder: PlateFolder, screen: Screen) -> dict[str, object]:
    """The published illumination functions of a plate, as columns of its row in the plates table.

    `Key_<function>`, `Size_<function>`, `ETag_<function>`, e.g. of IllumDNA; absent where there is none.
    """
    # <batch>/images/<folder>/Images/ -> <batch>/illum/<plate>/
    around = folder.prefix.partition(folder.name)[0].rstrip("/").removesuffix("images").rstrip("/")
    prefix = f"{around}/illum/{folder.plate}/".lstrip("/")
    found = {entry.key: entry for entry in storage.entries(prefix, checksums=True)}
    columns: dict[str, object] = {}
    for name in screen.illumination_names.values():
        if entry := found.get(f"{prefix}{folder.plate}_{name}.npy"):
            columns |= {f"Key_{name}": entry.key, f"Size_{name}": entry.size, f"ETag_{name}": entry.etag}
    return columns


def some_names(names: pd.Series, most: int = 3) -> str:
    """ "a.tiff, b.tiff, c.tiff and 14 more files" """

    def parts() -> Iterator[str]:
        yield ", ".join(names.iloc[:most])
        if len(names) > most:
            yield f"and {len(names) - most:,} more files"

    return " ".join(parts())
