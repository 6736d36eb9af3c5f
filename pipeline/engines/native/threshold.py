"""The threshold block that Threshold and the Identify modules share: what is foreground."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipeline.engines.native import threshold_methods as methods
from pipeline.engines.native.kernels import smoothing
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.libm import exp, log
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.threshold_map import threshold_map
from pipeline.engines.native.threshold_quality import sum_of_entropies, weighted_variance
from pipeline.engines.native.workspace import Workspace

#: names that versions 10 and 11 of the settings have for a method
RENAMED = {"Minimum cross entropy": "Minimum Cross-Entropy", "RobustBackground": "Robust Background"}
METHODS = ("Minimum Cross-Entropy", "Otsu", "Robust Background")
MIDDLE = "Assign pixels in the middle intensity class to the foreground or the background?"


@dataclass(frozen=True)
class Threshold:
    """`method`: None where the threshold is `manual`, or a `measurement` of the site.

    `sigma`: of the Gaussian that smooths the image before it is compared; 0: none. `window`: of the adaptive strategy,
    None in the global one. `has_guide`: whether the strategy is adaptive on paper, and a guide is recorded.
    """

    method: methods.Method | None
    manual: float
    measurement: str
    wants_log: bool
    window: int | None
    has_guide: bool
    sigma: float
    correction: float
    bounds: tuple[float, float]

    @classmethod
    def read(cls, settings: Settings, *, version: int | None = None) -> Threshold:
        """`version`: of the threshold's settings, where no setting of the module names it."""
        version = version or int(settings.choice("Threshold setting version", ("10", "11", "12")))
        is_adaptive = settings.choice("Threshold strategy", ("Global", "Adaptive")) == "Adaptive"
        # The first "Thresholding method" is the global one; the last belongs to the adaptive strategy.
        texts = settings.texts("Thresholding method")
        name = RENAMED.get(texts[-1 if is_adaptive else 0], texts[-1 if is_adaptive else 0])
        supported = (*METHODS, "Sauvola") if is_adaptive else (*METHODS, "Measurement", "Manual")
        if name not in supported:
            settings.refuse(f'"Thresholding method: {name}" is not supported (supported: {", ".join(supported)})')
        is_found = name not in ("Manual", "Measurement")
        three_classes = name == "Otsu" and settings.choice(
            "Two-class or three-class thresholding?", ("Two classes", "Three classes")
        ).startswith("Three")
        # Before version 11 three classes were always looked for among logarithms.
        wants_log = (
            three_classes if version == 10 else version > 11 and settings.yes("Log transform before thresholding?")
        )
        scale = settings.number_of("Threshold smoothing scale")
        return cls(
            method=read_method(settings, name, three_classes=three_classes) if is_found else None,
            manual=settings.number_of("Manual threshold", in_force=name == "Manual"),
            measurement=settings.text("Select the measurement to threshold with") if name == "Measurement" else "",
            wants_log=wants_log and name in ("Minimum Cross-Entropy", "Otsu"),
            window=settings.integer("Size of adaptive window") if is_adaptive else None,
            has_guide=is_adaptive,
            sigma=scale / 0.6744 / 2.0,  # half of a pixel's smoothed intensity comes from within the scale's diameter
            correction=settings.number_of("Threshold correction factor", in_force=name != "Manual"),
            bounds=settings.range_of("Lower and upper bounds on threshold", in_force=name != "Manual"),
        )

    @classmethod
    def read_automatic(cls, settings: Settings) -> Threshold:
        """Of an Identify module without advanced settings: minimum cross-entropy, unless a threshold is given."""
        read = cls.read(settings)
        method = None if read.method is None else methods.MinimumCrossEntropy()
        return replace(read, method=method, window=None, wants_log=False, sigma=1.0)

    def features(self, name: str) -> list[str]:
        kinds = ["FinalThreshold", "OrigThreshold", *(["GuideThreshold"] if self.has_guide else [])]
        return [f"Threshold_{kind}_{name}" for kind in (*kinds, "WeightedVariance", "SumOfEntropies")]

    def foreground(self, site: Workspace, image: np.ndarray, name: str, mask: np.ndarray | None = None) -> np.ndarray:
        """bool (y, x), False outside the `mask`; records the image-level measurements of the threshold under `name`.

        Raises `ValueError` where pixels are NaN. So does CellProfiler, unless all others lie on one side.
        """
        if np.isnan(image.max()):
            raise ValueError(
                f"{np.count_nonzero(np.isnan(image))} pixels of the image in which {name} are sought have no "
                "value (NaN), and no threshold parts such an image. Look for a division by zero in a module before, as "
                "by an illumination function."
            )
        final, original, guide = self.find(site, image, mask)
        if self.sigma != 0:
            foreground = smoothing.smooth(image, self.sigma, mask) >= final
        else:
            foreground = image >= (np.float32(final) if isinstance(final, float) else final)
        if mask is not None:
            foreground &= mask
        values = [
            _mean(final),
            _mean(original),
            *([math.nan if self.window is None else guide] if self.has_guide else []),
        ]
        values += [weighted_variance(image, foreground, mask), sum_of_entropies(image, foreground, mask)]
        for feature, value in zip(self.features(name), values, strict=True):
            site.add_image(feature, value)
        return foreground

    def find(
        self, site: Workspace, image: np.ndarray, mask: np.ndarray | None
    ) -> tuple[float | np.ndarray, float | np.ndarray, float]:
        """(final, original, guide): the last is the global threshold that bounds those of an adaptive strategy."""
        if self.method is None:
            original = self._measured(site) if self.measurement else self.manual
            return (self._corrected(original) if self.measurement else original), original, original
        pixels, scale = log_transformed(image) if self.wants_log else (image, None)
        guide = methods.of_all(self.method, pixels.ravel() if mask is None else pixels[mask])
        if scale:
            guide = math.exp(guide * scale[0] + scale[1])
        if self.window is None:
            return self._corrected(guide), guide, guide
        local = threshold_map(self.method, pixels, mask, self.window)
        if scale:
            local = exp(local * scale[0] + scale[1])
        guide = self._corrected(guide)
        low, high = max(self.bounds[0], guide * 0.7), min(self.bounds[1], guide * 1.5)
        final = local * local.dtype.type(self.correction)
        final[final < low] = low
        final[final > high] = high
        return final, local, guide

    def _corrected(self, threshold: float) -> float:
        # The order of min and max lets a NaN through, as CellProfiler's does.
        return min(max(threshold * self.correction, self.bounds[0]), self.bounds[1])

    def _measured(self, site: Workspace) -> float:
        if self.measurement not in site.image_measurements:
            raise ValueError(
                f"the threshold is to be {self.measurement}, which no module before has measured of the image. "
                'Choose another one for "Select the measurement to threshold with"'
            )
        return site.image_measurements[self.measurement]


def read_method(settings: Settings, name: str, *, three_classes: bool) -> methods.Method:
    if name == "Otsu":
        if not three_classes:
            return methods.Otsu()
        return methods.ThreeClassOtsu(("Foreground", "Background").index(settings.text(MIDDLE)))
    if name == "Robust Background":
        return methods.RobustBackground(
            lower=settings.number_of("Lower outlier fraction"),
            upper=settings.number_of("Upper outlier fraction"),
            average=settings.choice("Averaging method", ("Mean", "Median", "Mode")),
            variation=settings.choice("Variance method", ("Standard deviation", "Median absolute deviation")),
            deviations=settings.number_of("# of deviations"),
        )
    return methods.Sauvola() if name == "Sauvola" else methods.MinimumCrossEntropy()


def log_transformed(image: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Logarithms of an image, from 0 to 1 (float64), and the scale and the lowest of what they were.

    From a 256th of the way up, below which all pixels are the same (centrosome.threshold.log_transform).
    """
    low, high = image.min(), image.max()
    lowest = np.float32(float(low) + float(high - low) / 256.0 + float(np.finfo(np.float32).eps))
    logs = log(np.maximum(image, lowest).ravel()).reshape(image.shape)
    least, most = logs.min(), logs.max()
    exact = logs.astype(np.float64)
    if least != most:
        exact = (exact - float(least)) / (float(most) - float(least))
    elif not 0 <= least <= 1:
        exact = np.full(image.shape, float(least > 1))
    return exact, (float(most - least), float(least))


def _mean(threshold: float | np.ndarray) -> float:
    return float(sums.mean(threshold.ravel())) if isinstance(threshold, np.ndarray) else threshold
