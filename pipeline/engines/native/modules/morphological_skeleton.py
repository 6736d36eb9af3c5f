"""MorphologicalSkeleton: what is white, thinned to lines of one pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import skimage.morphology

from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({1})


def compile(settings: Settings) -> MorphologicalSkeleton:
    return MorphologicalSkeleton(settings.text("Select the input image"), settings.text("Name the output image"))


@dataclass(frozen=True)
class MorphologicalSkeleton:
    image: str
    skeleton: str

    objects_in = objects_out = ()
    #: as in CellProfiler the mask is handed on, and what it hides is thinned with the rest
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.skeleton,)

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        lines = skimage.morphology.skeletonize(site.images[self.image] != 0)
        site.derive(self.skeleton, lines.astype(np.float32), self.image, is_logical=True)
