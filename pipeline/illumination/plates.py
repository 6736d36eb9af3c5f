"""Which illumination functions a plate gets, and from where: published, computed from its images, or neutral."""

from __future__ import annotations

import io
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from pipeline.config import digest
from pipeline.contents import instead_of_data
from pipeline.engines import cppipe
from pipeline.engines.loading import FullScale, full_scales
from pipeline.errors import Changed, ConfigError, CppipeError, ImageError, NotFound
from pipeline.illumination.method import Method, methods
from pipeline.results.plan import ImageFile, planned_files
from pipeline.results.records import read_record
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.screen.columns import BATCH, PLATE
from pipeline.storage import Location, open_storage

Source = Literal["gallery", "compute", "none"]

#: what changes nothing, by how CorrectIlluminationApply applies a function
NEUTRAL = {"Divide": 1.0, "Subtract": 0.0}


def wanted(run: Run) -> dict[str, str]:
    """The illumination functions this run's pipeline asks for, each with the image it is for: {"IllumDNA": "OrigDNA"}.

    Empty where the pipeline takes none.
    """
    screen = run.config.screen
    names = {screen.illumination_names[channel]: screen.image_names[channel] for channel in screen.channels}
    return {function: image for function, image in names.items() if function in run.record["inputs"]}


def how_made(run: Run) -> dict[str, Method]:
    """How each function that the pipeline asks for is made from a plate's images; see `methods`."""
    return methods(run.illumination_cppipe, tuple(wanted(run).items()))


def sources(run: Run, plate: Plate) -> dict[str, Source]:
    """Where each illumination function of a plate comes from; empty where the pipeline asks for none.

    Raises `ConfigError` where a published function is asked for and there is none, and `CppipeError` where
    no correction is asked for and a function is used in a way that has no neutral value.
    """
    asked, mode = list(wanted(run)), run.config.illumination
    if mode == "none":
        methods = _methods(run.cppipe)
        for function in asked:
            if methods.get(function) not in NEUTRAL:
                raise CppipeError(
                    f"`illumination: none` has no neutral value for {function}: CorrectIlluminationApply neither only "
                    "divides by it nor only subtracts it. Set `illumination: auto`, `gallery` or `compute`."
                )
        return dict.fromkeys(asked, "none")
    if mode == "compute":
        return dict.fromkeys(asked, "compute")
    published = _published(run, plate)
    missing = [function for function in asked if function not in published]
    if mode == "gallery" and missing:
        raise ConfigError(
            f"Plate {plate} has no published illumination function for {', '.join(missing)} below {run.config.images}. "
            "Set `illumination: auto` to compute what is missing from the plate's images, or `none`."
        )
    return {function: "gallery" if function in published else "compute" for function in asked}


def functions(run: Run, plate: Plate) -> dict[str, np.ndarray]:
    """The illumination functions of a plate, float32 (y, x), read-only: what the engine is given beside the images.

    Raises `ImageError` naming the function where one is missing, of another shape, or not finite and positive.
    """
    files = planned(run, plate)
    if not files:
        return {}
    return dict(_load(plate, tuple(files), image_kind(run, plate).shape))


class Planned(NamedTuple):
    """One illumination function of a plate as it is to be applied. `etag`: of its file; "" where it has none.

    Equal plans are equal functions, so they may be kept in memory under this name.
    """

    function: str
    method: str
    location: Location | None
    key: str
    etag: str


def planned(run: Run, plate: Plate) -> list[Planned]:
    """What each function of a plate is made of; empty where the pipeline asks for none."""
    where = sources(run, plate)
    methods, published = _methods(run.cppipe), _published(run, plate)
    computed = read_record(run.storage, record_key(plate)) if "compute" in where.values() else None
    found = []
    for function, source in where.items():
        location, key, etag = None, "", ""
        if source == "gallery":
            location, key, etag = run.config.images, published[function].key, published[function].etag or ""
        elif source == "compute":
            location, key = run.storage.location, function_key(plate, function)
            etag = (computed or {}).get("functions", {}).get(function, "")
        found.append(Planned(function, methods.get(function, ""), location, key, etag))
    return found


def digest_of(run: Run, plate: Plate) -> str:
    """Names the functions that the images of a plate are corrected by; "" where there are none."""
    files = planned(run, plate)
    return digest([[one.function, one.method, one.etag] for one in files]) if files else ""


@lru_cache(maxsize=2)  # a worker goes from well to well of a plate; the functions of one are some 40 MB
def _load(plate: Plate, files: tuple[Planned, ...], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    found = {}
    for one in files:
        if one.location is None:
            array = np.full(shape, NEUTRAL[one.method], np.float32)
        else:
            name = f"{one.function} of plate {plate} ({one.key})"
            try:
                data = open_storage(one.location).get(one.key, etag=one.etag or None)
            except NotFound:
                # A computed one has an MD5 once it is made.
                why = "it was there when the images were listed" if one.etag else "no image could be used"
                raise ImageError(f"Illumination function {name} does not exist; {why}") from None
            except Changed:
                raise ImageError(f"Illumination function {name} is not the file that was planned") from None
            array = checked(data, name, shape, positive=one.method != "Subtract")
        array.flags.writeable = False
        found[one.function] = array
    return found


def checked(data: bytes, name: str, shape: tuple[int, int], *, positive: bool) -> np.ndarray:
    """The function in a .npy file, float32 (y, x). Raises `ImageError`, by `name`, where it cannot be one."""
    if what := instead_of_data(data):
        raise ImageError(f"Illumination function {name} is {what}")
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # a damaged header can fail anywhere in the parser
        raise ImageError(f"Illumination function {name} cannot be read as a .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ImageError(f"Illumination function {name} is an archive of arrays (.npz) where one array is expected")
    if array.shape != shape:
        raise ImageError(
            f"Illumination function {name} has shape {array.shape} where the images are {shape[0]} x {shape[1]} (y, x)"
        )
    if array.dtype.kind not in "fiu":
        raise ImageError(f"Illumination function {name} holds {array.dtype}, not numbers")
    # Published functions are float64; CellProfiler casts them to float32 too.
    array = array.astype(np.float32, order="C")
    if not np.isfinite(array).all():
        raise ImageError(f"Illumination function {name} holds values that are NaN or infinite")
    if positive and not (array > 0).all():
        raise ImageError(f"Illumination function {name} holds values of 0 or less; images are divided by it")
    return array


def function_key(plate: Plate, function: str) -> str:
    """Where a computed function lies, in the gallery's file name."""
    return f"illumination/{plate.key}/{plate.plate}_{function}.npy"


def record_key(plate: Plate) -> str:
    """What the computed functions of a plate were made from, and the MD5 of each."""
    return f"illumination/{plate.key}/{plate.plate}.json"


class ImageKind(NamedTuple):
    """What the images of a plate must be. `dtypes`, `full_scales`: by image, see `pipeline.images.read_site`."""

    shape: tuple[int, int]
    dtypes: dict[str, str]
    full_scales: dict[str, FullScale]


def image_kind(run: Run, plate: Plate) -> ImageKind:
    """Shape (y, x) of a plate's images, and of each channel its dtype and what its pixels are divided by.

    Raises `ImageError` where none of them can be read.
    """
    about = _row(run, plate)
    height, width, usual = about["image_height"], about["image_width"], about["image_dtype"]
    if pd.isna(height) or pd.isna(width) or not usual:
        raise ImageError(f"Plate {plate} has no image that can be read")
    names = list(run.config.screen.image_names.values())
    # A plan that was made before channels had types of their own has one for all.
    dtypes = {name: about.get(f"Dtype_{name}", usual) for name in names}
    known = {name: str(dtype) for name, dtype in dtypes.items() if not pd.isna(dtype)}
    return ImageKind((int(height), int(width)), known, full_scales(cppipe.read(run.cppipe), names))


def _row(run: Run, plate: Plate) -> dict[Hashable, Any]:
    """The plate's row of the plates table."""
    table = run.plate_table
    rows = table[(table[BATCH] == plate.batch) & (table[PLATE] == plate.plate)]
    if rows.empty:
        raise ConfigError(f"Plate {plate} is not in the plan of {run.storage.location}")
    return rows.to_dict("records")[0]


def _published(run: Run, plate: Plate) -> dict[str, ImageFile]:
    """The published function files of a plate, below the images' location."""
    files = planned_files(_row(run, plate), wanted(run))
    return {function: file for function, file in files.items() if file is not None}


def _methods(text: str) -> dict[str, str]:
    """How the pipeline applies each function: {"IllumDNA": "Divide"}; "" where it is applied in several ways."""
    methods: dict[str, str] = {}
    for module in cppipe.read(text).enabled:
        if module.name == "CorrectIlluminationApply":
            functions = module.values("Select the illumination function")
            ways = module.values("Select how the illumination function is applied")
            for function, way in zip(functions, ways, strict=True):
                methods[function] = way if methods.get(function, way) == way else ""
    return methods
