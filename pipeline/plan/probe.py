"""What the images of a plate are like, from the first one that can be read."""

from __future__ import annotations

import io

import pandas as pd
import tifffile

from pipeline.errors import ImageError, NotFound
from pipeline.images import decode
from pipeline.plan.checks import Finding
from pipeline.screen import Plate
from pipeline.storage import Storage

#: images that are tried before a plate is called unreadable
TRIED = 10


def probe(storage: Storage, plate: Plate, keys: pd.Series) -> tuple[dict[str, object], list[Finding]]:
    """image_height and image_width (pixels) and image_dtype; empty, with a finding, where no image can be read."""
    reason = ""
    for key in keys.head(TRIED):
        try:
            data = storage.get(key)
            decode(data)
        except (ImageError, NotFound) as error:
            reason = reason or f"{key} {error}"
            continue
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            (height, width), dtype = tiff.pages.first.shape, tiff.pages.first.dtype
        return {"image_height": height, "image_width": width, "image_dtype": str(dtype)}, []
    what = f"{plate}: none of the first {min(TRIED, len(keys))} images can be read: {reason}."
    return {}, [Finding("unreadable", *plate, what)] if len(keys) else []
