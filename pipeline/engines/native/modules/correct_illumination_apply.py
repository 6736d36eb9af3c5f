"""CorrectIlluminationApply: divide an image by its illumination function, or subtract it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({5})


def compile(settings: Settings) -> ApplyIllumination:
    how = settings.texts("Select how the illumination function is applied")
    for choice in how:
        if choice not in ("Divide", "Subtract"):
            settings.refuse(f'"Select how the illumination function is applied: {choice}" is not supported')
    return ApplyIllumination(
        images=tuple(settings.texts("Select the input image")),
        corrected=tuple(settings.texts("Name the output image")),
        functions=tuple(settings.texts("Select the illumination function")),
        divide=tuple(choice == "Divide" for choice in how),
        clip_low=settings.yes("Set output image values less than 0 equal to 0?"),
        clip_high=settings.yes("Set output image values greater than 1 equal to 1?"),
    )


@dataclass(frozen=True)
class ApplyIllumination:
    images: tuple[str, ...]
    corrected: tuple[str, ...]
    functions: tuple[str, ...]
    divide: tuple[bool, ...]
    clip_low: bool
    clip_high: bool

    objects_in = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return self.images + self.functions

    @property
    def images_out(self) -> tuple[str, ...]:
        return self.corrected

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        for name, corrected, function, divide in zip(
            self.images, self.corrected, self.functions, self.divide, strict=True
        ):
            site.check_shapes(name, function)
            image, illumination = site.images[name], site.images[function]
            # CellProfiler clips a difference at zero whatever the setting.
            pixels = correct(image, illumination, divide, self.clip_low or not divide, self.clip_high)
            site.derive(corrected, pixels, name)


@kernel
def correct(image: np.ndarray, function: np.ndarray, divide: bool, clip_low: bool, clip_high: bool) -> np.ndarray:
    """float32 (y, x); comparisons leave NaN as it is."""
    corrected = np.empty_like(image)
    source, by, to = image.ravel(), function.ravel(), corrected.ravel()
    low = np.float32(0) if clip_low else np.float32(-np.inf)
    high = np.float32(1) if clip_high else np.float32(np.inf)
    if divide:
        for k in range(source.size):
            value = source[k] / by[k]
            value = low if value < low else value
            to[k] = high if value > high else value
    else:
        for k in range(source.size):
            value = source[k] - by[k]
            value = low if value < low else value
            to[k] = high if value > high else value
    return corrected
