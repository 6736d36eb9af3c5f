"""A threshold for each pixel: found in parts of the image, and blended from part to part."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import RectBivariateSpline
from skimage.filters import threshold_sauvola

from pipeline.engines.native.threshold_methods import Method, Sauvola, tolerance_of


def threshold_map(method: Method, image: np.ndarray, mask: np.ndarray | None, window: int) -> np.ndarray:
    """float64 or float32 (y, x). Pixels outside the `mask` do not count. `window`: pixels along a side of a part.

    Raises ValueError where a window is wider than half of the image.
    """
    pixels = image if mask is None else np.where(mask, image, image.dtype.type(np.nan))
    if (pixels == pixels[0]).all():  # rows that all are the same are their own thresholds to CellProfiler
        return pixels.copy()
    if ((pixels == 0) | np.isnan(pixels)).all():
        return np.zeros_like(pixels)
    if isinstance(method, Sauvola):
        counted = image if mask is None else np.where(mask, image, image.dtype.type(0))
        return threshold_sauvola(counted, window_size=window + (window % 2 == 0)).astype(np.float64)
    return blended(of_blocks(method, pixels, window, tolerance_of(image)), image.shape)


def edges(length: int, parts: int) -> list[int]:
    return [int(k * (length / parts)) for k in range(parts + 1)]


def of_blocks(method: Method, pixels: np.ndarray, window: int, tolerance: float) -> np.ndarray:
    """float64 (parts down, parts across): the threshold of each part. Pixels that are NaN do not count."""
    down, across = (length // window if window > 0 else 0 for length in pixels.shape)
    if min(down, across) < 2:
        height, width = pixels.shape
        raise ValueError(
            f"the adaptive window of {window} pixels is wider than half of the image ({height} x {width}). Make "
            '"Size of adaptive window" smaller'
        )
    rows, columns = edges(pixels.shape[0], down), edges(pixels.shape[1], across)
    found = np.empty((down, across))
    for i in range(down):
        for j in range(across):
            block = pixels[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            block = block[~np.isnan(block)]
            if block.size == 0:
                found[i, j] = 0
            elif block.min() == block.max():
                found[i, j] = block[0]
            else:
                found[i, j] = method.of_block(block, tolerance)
    return found


def blended(thresholds: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float64 (y, x): a spline through the thresholds at the centres of their parts, of up to the third degree."""
    degree = min(3, min(thresholds.shape) - 1)
    steps = [length / parts for length, parts in zip(shape, thresholds.shape, strict=True)]
    centres = [
        np.linspace(int(step / 2), int((parts - 0.5) * step), parts)
        for step, parts in zip(steps, thresholds.shape, strict=True)
    ]
    box = (0.5, shape[0] - 0.5, 0.5, shape[1] - 0.5)
    spline = RectBivariateSpline(*centres, thresholds, bbox=box, kx=degree, ky=degree)
    places = [
        np.linspace(0.5, int(parts * step) - 0.5, length)
        for parts, step, length in zip(thresholds.shape, steps, shape, strict=True)
    ]
    return spline(*places)
