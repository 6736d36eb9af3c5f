"""Threshold: an image of truth values, of what is brighter than a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.limits import THRESHOLD
from pipeline.engines.native import threshold
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({11, 12})
LIMITS = THRESHOLD


def compile(settings: Settings) -> Threshold:
    return Threshold(
        image=settings.text("Select the input image"),
        foreground=settings.text("Name the output image"),
        threshold=threshold.Threshold.read(settings, version=settings.revision),
    )


@dataclass(frozen=True)
class Threshold:
    image: str
    foreground: str
    threshold: threshold.Threshold

    objects_in = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.foreground,)

    @property
    def measurements_in(self) -> tuple[tuple[str, str], ...]:
        return (("Image", self.threshold.measurement),) if self.threshold.measurement else ()

    def features(self) -> dict[str, list[str]]:
        return {"Image": self.threshold.features(self.foreground)}

    def run(self, site: Workspace) -> None:
        mask = site.masks.get(self.image)
        found = self.threshold.foreground(site, site.images[self.image], self.foreground, mask)
        site.derive(self.foreground, found.astype(np.float32), self.image, is_logical=True)
