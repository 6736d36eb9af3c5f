"""A gallery-shaped place: image folders of plates, image files in them, illumination functions beside them.

    images/<batch>/images/<plate>__<time>-Measurement<n>/Images/r01c01f01p01-ch1sk1fk1fl1.tiff
    images/<batch>/illum/<plate>/<plate>_Illum<Channel>.npy

Layout of the Cell Painting Gallery; folder and file names as the Opera Phenix (Harmony) writes them.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
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
from pipeline.screen import PLATE_FORMATS, Plate
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.storage import Storage

_PLATE_FOLDER = re.compile(r"(?P<plate>.+)__[0-9].*-Measurement ?[0-9]+")

#: beside or below the images of a gallery, and never images; a workspace holds millions of objects
_NO_IMAGES = {"workspace", "workspace_dl", "illum", "Images", "__MACOSX"}
_IMAGE_FILE = (
    r"^r(?P<row>[0-9]{1,3})c(?P<column>[0-9]{1,3})f(?P<site>[0-9]{1,4})p(?P<plane>[0-9]{1,3})"
    r"-ch(?P<channel>[0-9]{1,2})sk[0-9]{1,4}fk[0-9]{1,4}fl[0-9]{1,4}\.tiff?$"
)
_NUMBERS = ("row", "column", "site", "plane", "channel")

#: the microscope's own index of the folder
_INDEX = re.compile(r"Index\..*|.*\.(xml|txt)")
_ROWS, _COLUMNS = PLATE_FORMATS[max(PLATE_FORMATS)]


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


LAYOUT = Layout("image folder <plate>__<time>-Measurement<n>/Images", find, images)
