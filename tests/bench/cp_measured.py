"""cp_measure's CPU seconds on the same images and labels, with the settings of the CPJUMP1 pipeline."""

from __future__ import annotations

import time
import warnings
from itertools import combinations

import cp_measure
import numpy as np
from cp_measure.bulk import get_core_measurements, get_correlation_measurements
from cp_measure.core.measurecolocalization import get_correlation_overlap

from pipeline.engines.native.engine import as_pixels

SCALES = (3, 5, 10)


def cp_measure_seconds(images: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, float]:
    """CPU seconds by CellProfiler's module names, over all object sets and channels.

    `images` as an engine is given them; the illumination functions among them must be neutral.
    """
    pixels = [as_pixels(image) for name, image in images.items() if name.startswith("Orig")]
    cp_measure.set_accelerator("numba")  # its fastest; used where it has kernels: Intensity, Texture, Feret
    small = np.zeros((30, 30), np.int32)
    small[5:25, 5:25] = 1
    _measure([np.random.default_rng(0).random((30, 30), np.float32)] * 2, {"compiles": small})
    return _measure(pixels, labels)


def _measure(pixels: list[np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, float]:
    # Its relabelling is left out: these labels are 1..n already.
    core, pairs = get_core_measurements(sanitize=False), get_correlation_measurements(sanitize=False)
    correlations = [pairs["pearson"], pairs["manders_fold"], pairs["rwc"], get_correlation_overlap]
    seconds: dict[str, float] = {}

    def timed(module, function, *arguments, **settings) -> None:
        start = time.process_time()
        function(*arguments, **settings)
        seconds[module] = seconds.get(module, 0.0) + time.process_time() - start

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for mask in labels.values():
            for correlation in correlations:
                for first, second in combinations(pixels, 2):
                    timed("MeasureColocalization", correlation, first, second, mask)
            for image in pixels:
                timed("MeasureGranularity", core["granularity"], mask, image, subsample_size=0.5, image_sample_size=0.5)
                timed("MeasureObjectIntensity", core["intensity"], mask, image)
                timed("MeasureObjectIntensityDistribution", core["radial_distribution"], mask, image)
                for scale in SCALES:
                    timed("MeasureTexture", core["texture"], mask, image, scale=scale)
            shape = "MeasureObjectSizeShape"
            timed(shape, core["sizeshape"], mask, None, calculate_advanced=False, new_features=False)
            timed(shape, core["zernike"], mask, None)
            timed(shape, core["feret"], mask, None)
    return seconds
