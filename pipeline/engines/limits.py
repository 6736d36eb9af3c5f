"""The numbers that CellProfiler's settings take, and what it does with a text that is none of them.

CellProfiler 4.2.8 loads any text and says nothing (`cellprofiler_core.setting.text.number` and `.range`, BSD-3-Clause).
A number that is not of its kind or lies outside its limits leaves the setting as it was made, with its default. Of a
range each end is moved to its limit by itself, and has its default where it is no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Taken(NamedTuple):
    """What CellProfiler takes for a text: a number, or a pair. `wrong`: why that is not what stands there, or ""."""

    value: Any
    wrong: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class Limits:
    """Of one setting. `default` is a pair where it is a range; `least` then holds for its first number, `most` for its
    second.
    """

    kind: type[int] | type[float]
    default: float | tuple[float, float]
    least: float | None = None
    most: float | None = None

    def take(self, text: str) -> Taken:
        if isinstance(self.default, tuple):
            return self._take_range(text, self.default)
        value = self._parse(text)
        if value is None:
            return Taken(self.default, f"is no {self._noun}", is_number=False)
        outside = self._outside(value, value)
        return Taken(self.default if outside else value, outside)

    def _take_range(self, text: str, default: tuple[float, float]) -> Taken:
        parts = text.split(",")
        low, high = (self._parse(part) for part in (*parts, "")[:2])
        low = default[0] if low is None else low
        high = default[1] if high is None else high
        outside = self._outside(low, high)
        low = low if self.least is None else max(low, self.least)
        high = high if self.most is None else min(high, self.most)
        if len(parts) != 2 or any(self._parse(part) is None for part in parts):
            return Taken((low, high), f"is no range of two {self._noun}s", is_number=False)
        return Taken((low, high), outside)

    @property
    def _noun(self) -> str:
        return "whole number" if self.kind is int else "number"

    def _parse(self, text: str) -> float | None:
        try:
            return self.kind(text)
        except ValueError:
            return None

    def _outside(self, low: float, high: float) -> str:
        if self.least is not None and low < self.least:
            return f"lies below CellProfiler's minimum of {written(self.least)}"
        if self.most is not None and high > self.most:
            return f"lies above CellProfiler's maximum of {written(self.most)}"
        return ""


def written(value: Any) -> str:
    """As a reader writes it: 5, 0.05, 0,1 for a pair."""
    return ",".join(map(written, value)) if isinstance(value, tuple | list) else f"{value:.15g}"


def note(module: str, label: str, text: str, limits: Limits, *, and_so_does: str = "") -> str:
    """What a reader has to know of a setting, or "" where its text is taken as it stands."""
    value, wrong, _ = limits.take(text)
    if not wrong:
        return ""
    what = written(value) if isinstance(value, tuple) else f"its default, {written(value)}"
    too = f", and so does {and_so_does}" if and_so_does else ""
    return f'Module {module}: "{label}: {text}" {wrong}; CellProfiler takes {what}{too}.'


#: of the threshold block, which Identify modules share with the module Threshold
THRESHOLD = {
    "Threshold smoothing scale": Limits(float, 0.0, 0),
    "Threshold correction factor": Limits(float, 1.0),
    "Lower and upper bounds on threshold": Limits(float, (0.0, 1.0), 0, 1),
    "Manual threshold": Limits(float, 0.0, 0, 1),
    "Size of adaptive window": Limits(int, 50),
    "Lower outlier fraction": Limits(float, 0.05, 0, 1),
    "Upper outlier fraction": Limits(float, 0.05, 0, 1),
    "# of deviations": Limits(float, 2.0),
}
_EPSILON = 2.220446049250313e-16

#: module -> label -> limits, of the settings that the native engine reads; from the modules' own `create_settings`
LIMITS: dict[str, dict[str, Limits]] = {
    "CorrectIlluminationCalculate": {
        "Block size": Limits(int, 60, 1),
        "Dilation radius": Limits(int, 1, 0),
        "Approximate object diameter": Limits(int, 10),
        "Smoothing filter size": Limits(int, 10),
    },
    "IdentifyPrimaryObjects": {
        "Typical diameter of objects, in pixel units (Min,Max)": Limits(int, (10, 40), 1),
        "Size of smoothing filter": Limits(int, 10),
        "Suppress local maxima that are closer than this minimum allowed distance": Limits(float, 7.0, 0),
        "Maximum number of objects": Limits(int, 500, 2),
        **THRESHOLD,
        "Threshold smoothing scale": Limits(float, 1.3488, 0),
    },
    "IdentifySecondaryObjects": {
        "Number of pixels by which to expand the primary objects": Limits(int, 10, 1),
        "Regularization factor": Limits(float, 0.05, 0),
        **THRESHOLD,
    },
    "ImageMath": {
        "Raise the power of the result by": Limits(float, 1.0),
        "Multiply the result by": Limits(float, 1.0),
        "Add to result": Limits(float, 0.0),
        "Multiply the image by": Limits(float, 1.0),
    },
    "MeasureColocalization": {
        "Set threshold as percentage of maximum intensity for the images": Limits(float, 15.0, 0, 99),
    },
    "MeasureGranularity": {
        "Subsampling factor for granularity measurements": Limits(float, 0.25, _EPSILON, 1),
        "Subsampling factor for background reduction": Limits(float, 0.25, _EPSILON, 1),
        "Radius of structuring element": Limits(int, 10, 1),
        "Range of the granular spectrum": Limits(int, 16, 1),
    },
    "MeasureObjectIntensityDistribution": {
        "Number of bins": Limits(int, 4, 2),
        "Maximum radius": Limits(int, 100, 1),
        "Maximum zernike moment": Limits(int, 9, 1, 20),
    },
    "MeasureObjectNeighbors": {"Neighbor distance": Limits(int, 5, 1)},
    "MeasureTexture": {
        "Enter how many gray levels to measure the texture at": Limits(int, 256, 2, 256),
        "Texture scale to measure": Limits(int, 3),
    },
    "Resize": {
        "X Resizing factor": Limits(float, 0.25, 0),
        "Y Resizing factor": Limits(float, 0.25, 0),
        "Width (x) of the final image": Limits(int, 100, 1),
        "Height (y) of the final image": Limits(int, 100, 1),
        # revision 4
        "Resizing factor": Limits(float, 0.25, 0),
        "Width of the final image": Limits(int, 100, 1),
        "Height of the final image": Limits(int, 100, 1),
    },
}
