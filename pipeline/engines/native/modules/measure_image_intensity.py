"""MeasureImageIntensity: how bright an image is, as a whole or where objects are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from pipeline.engines.native import brightness
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({2, 3, 4})

FEATURES = (*brightness.SUMMARY, "TotalArea", "PercentMaximal", "LowerQuartileIntensity", "UpperQuartileIntensity")
WITHIN = "Measure the intensity only from areas enclosed by objects?"
PERCENTILES = "Specify percentiles to measure"


def compile(settings: Settings) -> MeasureImageIntensity:
    if settings.revision == 2:  # pairs of one image and one set; CellProfiler measures all within all
        images = [name for name in dict.fromkeys(settings.texts("Select the image to measure")) if name != "None"]
        objects = [name for name in dict.fromkeys(settings.texts("Select the input objects")) if name != "None"]
        is_within = "Yes" in settings.texts(WITHIN)
    else:
        images, objects = settings.names("Select images to measure"), settings.names("Select input object sets")
        is_within = settings.yes(WITHIN)
    with_percentiles = settings.revision == 4 and settings.yes("Calculate custom percentiles")
    return MeasureImageIntensity(
        images_in=tuple(images),
        objects_in=tuple(objects) if is_within else (),
        is_within=is_within,
        percentiles=read_percentiles(settings) if with_percentiles else (),
    )


def read_percentiles(settings: Settings) -> tuple[int, ...]:
    texts = [text for text in settings.text(PERCENTILES).replace(" ", "").split(",") if text]
    for text in texts:
        if not (text.isdecimal() and int(text) <= 100):
            settings.refuse(f'"{PERCENTILES}: {text}" is no whole number from 0 to 100')
    return tuple(sorted({int(text) for text in texts}))


@dataclass(frozen=True)
class MeasureImageIntensity:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]
    is_within: bool
    percentiles: tuple[int, ...]

    images_out = objects_out = ()
    honours_masks = True

    def _measured(self) -> Iterator[tuple[str, str, str]]:
        """Image, object set (or ""), and what the features say of them. CellProfiler's names pile up the sets."""
        for image in self.images_in:
            if not self.is_within:
                yield image, "", image
            sets = accumulate(self.objects_in, lambda names, name: f"{names}_{name}", initial=image)
            yield from ((image, name, names) for name, names in zip(self.objects_in, list(sets)[1:], strict=True))

    def _names(self, measured: str) -> list[str]:
        names = [f"Intensity_{feature}_{measured}" for feature in FEATURES]
        return names + [f"Intensity_Percentile_{percent}_{measured}" for percent in self.percentiles]

    def features(self) -> dict[str, list[str]]:
        return {"Image": [name for *_, measured in self._measured() for name in self._names(measured)]}

    def run(self, site: Workspace) -> None:
        for image, object_set, measured in self._measured():
            values = self.measure(self._pixels(site, image, object_set))
            for name, value in zip(self._names(measured), values, strict=True):
                site.add_image(name, value)

    @staticmethod
    def _pixels(site: Workspace, image: str, object_set: str) -> np.ndarray:
        if not object_set:
            return site.pixels(image)
        site.check_shapes(image, object_set)
        inside = site.objects[object_set].segmented > 0
        return site.images[image][inside & site.masks[image] if image in site.masks else inside]

    def measure(self, pixels: np.ndarray) -> list[float]:
        """Of float32 pixels, those without a finite value left out; zeros where there is none.

        Raises `ValueError` where no pixel has a finite value, as CellProfiler does.
        """
        finite = pixels[np.isfinite(pixels)]
        in_order = brightness.ordered(finite)
        if pixels.size and not finite.size:
            raise ValueError("no pixel of the image has a finite value")
        quartiles = brightness.percentiles(in_order, (25, 75, *self.percentiles))
        return [*brightness.summary(finite, in_order), finite.size, brightness.percent_maximal(finite), *quartiles]
