"""MaskImage: hide the pixels of an image that lie outside (or inside) objects or the white of another image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({3})


def compile(settings: Settings) -> MaskImage:
    by = settings.choice("Use objects or an image as a mask?", ("Objects", "Image"))
    return MaskImage(
        image=settings.text("Select the input image"),
        masked=settings.text("Name the output image"),
        by_objects=settings.text("Select object for mask") if by == "Objects" else "",
        by_image=settings.text("Select image for mask") if by == "Image" else "",
        is_inverted=settings.yes("Invert the mask?"),
    )


@dataclass(frozen=True)
class MaskImage:
    """`by_objects` or `by_image` names what shows the image; the other one is empty."""

    image: str
    masked: str
    by_objects: str
    by_image: str
    is_inverted: bool

    objects_out = ()
    honours_masks = makes_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.image, self.by_image)))

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.masked,)

    @property
    def objects_in(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.by_objects,)))

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        site.check_shapes(self.image, self.by_objects or self.by_image)
        mask = site.objects[self.by_objects].segmented > 0 if self.by_objects else site.images[self.by_image] > 0.5
        if self.is_inverted:
            mask = ~mask
        if self.image in site.masks:
            mask &= site.masks[self.image]
        shown = np.where(mask, site.images[self.image], np.float32(0))
        site.derive(self.masked, shown, self.image, mask, is_logical=self.image in site.logical)
