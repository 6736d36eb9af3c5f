"""The images of one site, each fetched once, checked, and decoded.

What is wrong with a file is an `ImageError`, the failure of its site. What is wrong with the store (it throttles, it
does not know us) says nothing about the file and is raised as it is.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import DTypeLike

from pipeline.contents import instead_of_data
from pipeline.engines.loading import BIT_DEPTH, BIT_DEPTH_ONLY, METADATA, FullScale
from pipeline.errors import Changed, ImageError, NotFound
from pipeline.results.plan import ImageFile
from pipeline.storage import Storage

#: raised where the same file gives other pixels than before; part of what names a measuring
REVISION = 2
#: TIFF tags: how pixels stand for light, the table of an indexed image, and the largest value that a pixel can take,
#: by which CellProfiler divides instead of by the type's own maximum
PHOTOMETRIC, COLOUR_TABLE, MAX_SAMPLE_VALUE = 262, 320, 281
#: values of PhotometricInterpretation. Bio-Formats turns pixels around where white is zero (`TiffParser.unpackBytes`),
#: so that CellProfiler sees bright cells; its reader takes an indexed image as colours, unless its table says nothing
#: (`formatreader.read` of python-bioformats)
WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE = 0, 1, 3
#: bytes of the pixels of an image that is read: a file of 1 MB can claim, and inflate to, any number
LARGEST = 2**28

NOTHING: Mapping[str, Any] = MappingProxyType({})


def read_site(
    storage: Storage,
    files: Mapping[str, ImageFile | None],
    shape: tuple[int, int] | None = None,
    dtypes: Mapping[str, DTypeLike] = NOTHING,
    full_scales: Mapping[str, FullScale] = NOTHING,
) -> dict[str, np.ndarray]:
    """All images of one site, at once: name -> (y, x).

    uint8 and uint16 come as they are (an engine divides them by their maximum), unless the file names its own maximum
    (TIFF tag MaxSampleValue), or `full_scales` does: then float32, value / maximum, as CellProfiler's file reader does.
    Floating point comes as it is. Where white is zero (PhotometricInterpretation 0), values are taken from the
    largest one first.

    `shape` (y, x) and, by name, `dtypes` are what the files must hold; None and no entry: anything an engine can take.
    `full_scales`: see `pipeline.engines.loading`; no entry: `METADATA`.

    Raises `ImageError` naming every file that cannot be used, with its channel and the reason.
    """
    images, reasons = read_images(storage, files, shape, dtypes, full_scales)
    if reasons:
        raise ImageError(
            f"{len(reasons)} of {len(files)} images cannot be used. "
            + " ".join(f"{describe(name, files[name])} {reason}." for name, reason in reasons.items())
        )
    return images


def read_images(
    storage: Storage,
    files: Mapping[str, ImageFile | None],
    shape: tuple[int, int] | None = None,
    dtypes: Mapping[str, DTypeLike] = NOTHING,
    full_scales: Mapping[str, FullScale] = NOTHING,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The images that can be used, and why the others cannot: ({name: (y, x)}, {name: reason}). See `read_site`."""

    def read(name: str) -> np.ndarray | ImageError:
        try:
            return decode(_fetch(storage, files[name]), shape, dtypes.get(name), full_scales.get(name, METADATA))
        except ImageError as error:
            return error

    results = dict(zip(files, _pool().map(read, files), strict=True))
    images = {name: result for name, result in results.items() if not isinstance(result, ImageError)}
    return images, {name: result.message for name, result in results.items() if isinstance(result, ImageError)}


def describe(name: str, file: ImageFile | None) -> str:
    return name if file is None else f"{name} ({file.key})"


def decode(
    data: bytes,
    shape: tuple[int, int] | None = None,
    dtype: DTypeLike | None = None,
    full_scale: FullScale = METADATA,
) -> np.ndarray:
    """The one image of a TIFF file, (y, x); see `read_site`. Raises `ImageError` with the reason."""
    page = read_page(data)
    if shape is not None and page.shape != tuple(shape):
        raise ImageError(
            f"is {page.shape[0]} x {page.shape[1]} pixels (y, x) where {shape[0]} x {shape[1]} are expected"
        )
    if dtype is not None and page.dtype != dtype:
        raise ImageError(f"holds {page.dtype} pixels where {np.dtype(dtype)} is expected")
    try:
        pixels = imagecodecs.tiff_decode(data)
    except Exception as error:  # a damaged file can fail anywhere in the decoder
        raise ImageError(f"cannot be decoded: it is damaged or cut short ({error})") from error
    if pixels.shape != page.shape or pixels.dtype != page.dtype:
        raise ImageError(
            f"is damaged: {page.shape} {page.dtype} in its directory, {pixels.shape} {pixels.dtype} in its data"
        )
    if page.white_is_zero:
        pixels = np.subtract(2**page.bits - 1, pixels, dtype=pixels.dtype)
    return _scaled(pixels, page.maximum, full_scale)


class Page(NamedTuple):
    """What a TIFF file says of its one image. `maximum`: its tag MaxSampleValue, as it stands there, or None."""

    shape: tuple[int, int]
    dtype: np.dtype
    bits: int
    white_is_zero: bool
    maximum: Any


def read_page(data: bytes) -> Page:
    """The directory of a TIFF file with one grey image. Raises `ImageError` where it holds something else.

    How CellProfiler (Bio-Formats) reads what is refused here depends on the module that loads it.
    """
    if what := instead_of_data(data):
        raise ImageError(f"is {what}")
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            pages = len(tiff.pages)
            if pages == 0:  # tifffile itself would answer with an empty array
                raise ImageError("is cut short: it ends before the directory of its page")
            if tiff.is_imagej:  # ImageJ writes one directory for a large stack
                pages = max(pages, (tiff.imagej_metadata or {}).get("images", 1))
            page = tiff.pages.first
            tags = {
                code: tag.value
                for code in (PHOTOMETRIC, COLOUR_TABLE, MAX_SAMPLE_VALUE)
                if (tag := page.tags.get(code))
            }
            found, kind, bits = page.shape, page.dtype, page.bitspersample
            stored = max(found[0], page.tilelength) * max(found[-1], page.tilewidth) if len(found) == 2 else 0
    except ImageError:
        raise
    except Exception as error:  # a damaged header can fail anywhere in the parser
        begin = f"; it begins with {data[:16]!r}" if data[:2] not in (b"II", b"MM") else ""
        raise ImageError(f"is not a TIFF file that can be read ({error}{begin})") from error

    if pages > 1:
        raise ImageError(f"holds {pages} pages where one is expected")
    if len(found) != 2:
        raise ImageError(f"holds an array of shape {found} where one grey plane is expected")
    if kind is None or kind not in (np.uint8, np.uint16, np.float32, np.float64):
        raise ImageError(f"holds {kind} pixels; uint8, uint16 and floating point can be measured")
    if (size := stored * kind.itemsize) > LARGEST:
        raise ImageError(
            f"is {found[0]} x {found[1]} pixels (y, x) of {kind}, which would take {size / 2**20:,.0f} MiB; at most "
            f"{LARGEST // 2**20} are read"
        )
    photometric = tags.get(PHOTOMETRIC)
    if photometric == PALETTE and not _is_identity(tags.get(COLOUR_TABLE)):
        raise ImageError("has a colour table: its pixels stand for colours. Save it as a greyscale image")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE):
        said = "does not say" if photometric is None else f"says in a way that is not known here ({photometric})"
        raise ImageError(f"{said} whether black or white is zero (tag PhotometricInterpretation)")
    white_is_zero = photometric == WHITE_IS_ZERO
    if white_is_zero and kind.kind == "f":
        raise ImageError("says that white is zero, which has no meaning for floating point")
    return Page(found, kind, bits, white_is_zero, tags.get(MAX_SAMPLE_VALUE))


def _is_identity(table: Any) -> bool:
    """Whether a colour table (3, entries) gives each index the grey of its own value, in 8 bits or in 16."""
    if table is None:
        return False
    table = np.asarray(table)
    steps = np.arange(table.shape[-1])
    return any(np.array_equal(table, np.broadcast_to(steps * unit, table.shape)) for unit in (1, 256, 257))


def _scaled(pixels: np.ndarray, maximum: Any, full_scale: FullScale) -> np.ndarray:
    """Pixels as an engine takes them; see `read_site`. `maximum`: what the file names."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError("holds pixels that are NaN or infinite")
    if not isinstance(full_scale, str):
        return pixels.astype(np.float32) / np.float32(full_scale)
    if maximum is None or full_scale == BIT_DEPTH:
        return pixels
    named = f"names {maximum!r} as its largest pixel value (tag MaxSampleValue)"
    if full_scale == BIT_DEPTH_ONLY:
        raise ImageError(f"{named}; the thresholds of Costes (MeasureColocalization) need that of its type")
    if pixels.dtype.kind == "f":
        raise ImageError(f"{named}, and its pixels are floating point")
    if not isinstance(maximum, int) or maximum <= 0:
        raise ImageError(named)
    return pixels.astype(np.float32) / np.float32(maximum)


def _fetch(storage: Storage, file: ImageFile | None) -> bytes:
    """The bytes of a planned file."""
    if file is None:
        raise ImageError("is missing: there was no such file when the images were listed")
    try:
        data = storage.get(file.key, etag=file.etag)
    except NotFound:
        raise ImageError("is missing: it was there when the images were listed, and is no more") from None
    except Changed:
        raise ImageError(
            "is not the file that was planned: it was replaced or damaged since (its ETag differs)"
        ) from None
    if file.size is not None and len(data) != file.size:
        raise ImageError(f"has {len(data):,} bytes where the plan says {file.size:,}: it was cut short or replaced")
    return data


@lru_cache
def _pool() -> ThreadPoolExecutor:
    """The threads that fetch and decode, shared by all who read in this process."""
    return ThreadPoolExecutor(8, thread_name_prefix="images")
