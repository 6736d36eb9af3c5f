"""The images of one site, each fetched once, checked, and decoded.

What is wrong with a file is an `ImageError`, the failure of its site. What is wrong with the store (it throttles, it
does not know us) says nothing about the file and is raised as it is.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pandas as pd
import tifffile
from numpy.typing import DTypeLike

from pipeline.errors import Changed, ImageError, NotFound
from pipeline.storage import Storage

#: the largest value a pixel can take; CellProfiler divides by it instead of by the type's own maximum
MAX_SAMPLE_VALUE = 281


class ImageFile(NamedTuple):
    """One file as it was when the work was planned; None: not known."""

    key: str
    size: int | None = None
    etag: str | None = None


def planned_files(site: Mapping[Any, Any], names: Iterable[str]) -> dict[str, ImageFile | None]:
    """The files of a row of the site table (`Key_<image>`, `Size_<image>`, `ETag_<image>`); None where one is missing.

    A name of which the table knows nothing counts as missing.
    """
    files: dict[str, ImageFile | None] = {}
    for name in names:
        key, size, etag = (_known(site.get(f"{column}_{name}")) for column in ("Key", "Size", "ETag"))
        files[name] = ImageFile(key, None if size is None else int(size), etag) if key else None
    return files


def read_site(
    storage: Storage,
    files: Mapping[str, ImageFile | None],
    shape: tuple[int, int] | None = None,
    dtype: DTypeLike | None = None,
) -> dict[str, np.ndarray]:
    """All images of one site, at once: name -> (y, x).

    uint8 and uint16 come as they are (an engine divides them by their maximum), unless the file names its own maximum
    (TIFF tag MaxSampleValue): then float32, value / maximum, as CellProfiler's file reader does. Floating point comes
    as it is.

    `shape` (y, x) and `dtype` are what the files must hold; None: anything an engine can take.

    Raises `ImageError` naming every file that cannot be used, with its channel and the reason.
    """
    images, reasons = read_images(storage, files, shape, dtype)
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
    dtype: DTypeLike | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The images that can be used, and why the others cannot: ({name: (y, x)}, {name: reason}). See `read_site`."""

    def read(file: ImageFile | None) -> np.ndarray | ImageError:
        try:
            return _read(storage, file, shape, dtype)
        except ImageError as error:
            return error

    results = dict(zip(files, _pool().map(read, files.values()), strict=True))
    images = {name: result for name, result in results.items() if not isinstance(result, ImageError)}
    return images, {name: result.message for name, result in results.items() if isinstance(result, ImageError)}


def describe(name: str, file: ImageFile | None) -> str:
    return name if file is None else f"{name} ({file.key})"


def decode(data: bytes, shape: tuple[int, int] | None = None, dtype: DTypeLike | None = None) -> np.ndarray:
    """The one image of a TIFF file, (y, x); see `read_site`. Raises `ImageError` with the reason."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            pages = len(tiff.pages)
            if pages == 0:  # tifffile itself would answer with an empty array
                raise ImageError("is cut short: it ends before the directory of its page")
            page = tiff.pages.first
            tag = page.tags.get(MAX_SAMPLE_VALUE)
            maximum = None if tag is None else tag.value
            found, kind = page.shape, page.dtype
    except ImageError:
        raise
    except Exception as error:  # a damaged header can fail anywhere in the parser
        begin = f"; it begins with {data[:16]!r}" if data[:2] not in (b"II", b"MM") else ""
        raise ImageError(f"is not a TIFF file that can be read ({error}{begin})") from error

    if pages > 1:
        raise ImageError(f"holds {pages} pages where one is expected")
    if len(found) != 2:
        raise ImageError(f"holds an array of shape {found} where one grey plane is expected")
    if shape is not None and found != tuple(shape):
        raise ImageError(f"is {found[0]} x {found[1]} pixels (y, x) where {shape[0]} x {shape[1]} are expected")
    if kind is None or kind not in (np.uint8, np.uint16, np.float32, np.float64):
        raise ImageError(f"holds {kind} pixels; uint8, uint16 and floating point can be measured")
    if dtype is not None and kind != dtype:
        raise ImageError(f"holds {kind} pixels where {np.dtype(dtype)} is expected")

    try:
        pixels = imagecodecs.tiff_decode(data)
    except Exception as error:  # as above, now in the pixels
        raise ImageError(f"cannot be decoded: it is damaged or cut short ({error})") from error
    if pixels.shape != found or pixels.dtype != kind:
        raise ImageError(f"is damaged: {found} {kind} in its directory, {pixels.shape} {pixels.dtype} in its data")
    if kind.kind == "f":
        if not np.isfinite(pixels).all():
            raise ImageError("holds pixels that are NaN or infinite")
        return pixels
    if maximum is None:
        return pixels
    if not isinstance(maximum, int) or maximum <= 0:
        raise ImageError(f"names {maximum!r} as its largest pixel value (tag MaxSampleValue)")
    return pixels.astype(np.float32) / np.float32(maximum)


def _read(
    storage: Storage, file: ImageFile | None, shape: tuple[int, int] | None, dtype: DTypeLike | None
) -> np.ndarray:
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
    return decode(data, shape, dtype)


def _known(value: Any) -> Any:
    """A cell of a table, with every way of saying "nothing" as None."""
    return None if pd.isna(value) or value == "" else value


@lru_cache
def _pool() -> ThreadPoolExecutor:
    """The threads that fetch and decode, shared by all who read in this process."""
    return ThreadPoolExecutor(8, thread_name_prefix="images")
