"""What the images of a plate are like, from a few of them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import tifffile

from pipeline.errors import ImageError, NotFound
from pipeline.images import decode
from pipeline.plan.checks import Finding
from pipeline.screen import Plate
from pipeline.storage import Storage

#: images, spread over the plate, that are tried before it is called unreadable
TRIED = 10


def probe(storage: Storage, plate: Plate, keys: pd.Series) -> tuple[dict[str, object], list[Finding]]:
    """image_height and image_width (pixels) and image_dtype: those in which the first two of some images agree.

    One image that is unlike the others must not decide for its plate: such images are findings. Empty, with a finding,
    where no image can be read.
    """
    spread = np.unique(np.linspace(0, len(keys) - 1, min(TRIED, len(keys))).astype(int))
    reason, seen = "", dict[str, tuple[int, int, str]]()
    for key in keys.iloc[spread]:
        try:
            kind = _kind(storage.get(key))
        except (ImageError, NotFound) as error:
            reason = reason or f"{key} {error}"
            continue
        is_confirmed = kind in seen.values()
        seen[key] = kind
        if is_confirmed:
            break
    if not seen:
        what = f"{plate}: none of {len(spread)} images from all over the plate can be read: {reason}."
        return {}, [Finding("unreadable", *plate, what)] if len(keys) else []
    usual = kind if is_confirmed else next(iter(seen.values()))
    findings = [
        Finding(
            "unlike_others", *plate, f"{plate}: {key} is {_named(kind)}, where others are {_named(usual)}.", file=key
        )
        for key, kind in seen.items()
        if kind != usual
    ]
    return dict(zip(("image_height", "image_width", "image_dtype"), usual, strict=True)), findings


def _kind(data: bytes) -> tuple[int, int, str]:
    decode(data)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        height, width = page.shape
        return height, width, str(page.dtype)


def _named(kind: tuple[int, int, str]) -> str:
    height, width, dtype = kind
    return f"{height} x {width} {dtype}"
