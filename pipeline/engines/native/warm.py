"""Compile all kernels ahead of the first site."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.engines.native.engine import NativeEngine
from pipeline.engines.native.modules.correct_illumination_calculate import disk_median
from pipeline.engines.native.modules.measure_colocalization import in_image

#: a pipeline that uses every kernel
PIPELINE = Path(__file__).parents[2] / "screens" / "cpjump1" / "analysis.cppipe"


def warm_up() -> None:
    """See `pipeline.engines.native.warm_up`."""
    engine = NativeEngine(PIPELINE.read_text(encoding="utf-8"))
    engine.measure(touching_pairs(engine.inputs))
    disk_median(np.zeros((2, 2), np.uint16), 1)
    pixels = np.linspace(0.1, 1, 16, dtype=np.float32).reshape(4, 4)
    in_image(pixels, pixels.T, 15)


def touching_pairs(inputs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Nine pairs of round cells that touch, on a noisy ground; illumination functions of ones."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:150, :150] % 50 - 25
    cells = np.minimum(np.hypot(y, x - 8), np.hypot(y, x + 8))
    images = {}
    for name in inputs:
        width = 9 if "DNA" in name else 14
        image = 0.3 / (1 + np.exp(cells - width)) + 0.01 * random.random(cells.shape)
        images[name] = np.ones(cells.shape, np.float32) if name.startswith("Illum") else image.astype(np.float32)
    return images
