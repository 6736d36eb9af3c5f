"""A small picture of a site, kept so that the report can show wells without measuring them again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from skimage.segmentation import find_boundaries

#: pixels a side; the middle of the site, not scaled down, so that outlines can be judged
SIDE = 480


def encode_preview(images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> bytes:
    """The middle of a site as .npz: `image_<name>` uint8, 255 * sqrt(value / full scale), and `outline_<set>` bool.

    The square root keeps dark images apart in 8 bits; a common scale for many wells is chosen when they are drawn.
    """
    arrays: dict[str, Any] = {}
    for name, pixels in images.items():
        middle = _middle(pixels)
        full = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0
        arrays[f"image_{name}"] = np.rint(255 * np.sqrt(np.clip(middle / full, 0, 1))).astype(np.uint8)
    for name, label in labels.items():
        arrays[f"outline_{name}"] = find_boundaries(_middle(label), mode="inner")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def decode_preview(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(images as float in [0, 1], outlines), by name."""
    with np.load(io.BytesIO(data)) as arrays:
        images = {
            name.removeprefix("image_"): np.square(arrays[name] / 255.0) for name in arrays if name.startswith("image_")
        }
        outlines = {name.removeprefix("outline_"): arrays[name] for name in arrays if name.startswith("outline_")}
    return images, outlines


def _middle(pixels: np.ndarray) -> np.ndarray:
    return pixels[tuple(slice(max(0, (size - SIDE) // 2), max(0, (size - SIDE) // 2) + SIDE) for size in pixels.shape)]
