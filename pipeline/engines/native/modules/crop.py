"""Crop: hide what lies outside a rectangle, an ellipse, objects or the white of another image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.engines.limits import Limits
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({2, 3})
X_RADIUS, Y_RADIUS = "Ellipse radius, X direction", "Ellipse radius, Y direction"
LIMITS = {X_RADIUS: Limits(int, 400), Y_RADIUS: Limits(int, 200)}

SHAPES = ("Rectangle", "Ellipse", "Image", "Objects")


def compile(settings: Settings) -> Crop:
    shape = settings.choice("Select the cropping shape", SHAPES)
    settings.choice("Remove empty rows and columns?", ("No",))
    if shape in ("Rectangle", "Ellipse"):
        settings.choice("Select the cropping method", ("Coordinates",))
    if shape == "Rectangle":
        settings.choice("Apply which cycle's cropping pattern?", ("Every", "Individually", "First"), "Every")
    return Crop(
        image=settings.text("Select the input image"),
        cropped=settings.text("Name the output image"),
        by_image=settings.text("Select the masking image") if shape == "Image" else "",
        by_objects=settings.text("Select the objects") if shape == "Objects" else "",
        columns=read_range(settings, "Left and right rectangle positions") if shape == "Rectangle" else (0, None),
        rows=read_range(settings, "Top and bottom rectangle positions") if shape == "Rectangle" else (0, None),
        ellipse=read_ellipse(settings) if shape == "Ellipse" else None,
    )


def read_range(settings: Settings, label: str) -> tuple[int, int | None]:
    """Pixels from the first to before the last, which may be "end", or count from the end where it is below 0."""
    text = settings.text(label)
    first, _, last = (part.strip() for part in text.partition(","))
    is_number = last == "end" or last.removeprefix("-").isdecimal()
    if not ((first == "begin" or first.isdecimal()) and is_number):
        settings.refuse(f'"{label}: {text}" is no range of pixels, as "0,end" is')
    return 0 if first == "begin" else int(first), None if last == "end" else int(last)


def read_ellipse(settings: Settings) -> tuple[int, int, int, int]:
    label = "Coordinates of ellipse center"
    text = settings.text(label)
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        settings.refuse(f'"{label}: {text}" is no pair of whole numbers')
    return x, y, settings.integer(X_RADIUS), settings.integer(Y_RADIUS)


@dataclass(frozen=True)
class Crop:
    """`ellipse`: centre and radii, x before y, in pixels."""

    image: str
    cropped: str
    by_image: str
    by_objects: str
    columns: tuple[int, int | None]
    rows: tuple[int, int | None]
    ellipse: tuple[int, int, int, int] | None

    objects_out = ()
    honours_masks = makes_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.image, self.by_image)))

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.cropped,)

    @property
    def objects_in(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.by_objects,)))

    def features(self) -> dict[str, list[str]]:
        return {"Image": [f"Crop_{what}_{self.cropped}" for what in ("AreaRetainedAfterCropping", "OriginalImageArea")]}

    def run(self, site: Workspace) -> None:
        image, inside = site.images[self.image], self._inside(site)
        # By objects CellProfiler forgets the image's own mask.
        is_masked = self.image in site.masks and not self.by_objects
        mask = inside & site.masks[self.image] if is_masked else inside
        shown = np.where(inside, image, np.float32(0))
        site.derive(self.cropped, shown, self.image, mask, is_logical=self.image in site.logical)
        site.add_image(f"Crop_AreaRetainedAfterCropping_{self.cropped}", int(np.count_nonzero(inside)))
        site.add_image(f"Crop_OriginalImageArea_{self.cropped}", image.size)

    def _inside(self, site: Workspace) -> np.ndarray:
        shape = site.images[self.image].shape
        if self.by_objects or self.by_image:
            site.check_shapes(self.image, self.by_objects or self.by_image)
            return site.objects[self.by_objects].segmented > 0 if self.by_objects else site.images[self.by_image] > 0
        if self.ellipse:
            return in_ellipse(shape, *self.ellipse)
        inside = np.zeros(shape, bool)
        inside[slice(*self.rows), slice(*self.columns)] = True
        return inside


def in_ellipse(shape: tuple[int, ...], centre_x: int, centre_y: int, x_radius: int, y_radius: int) -> np.ndarray:
    """bool (y, x): pixels whose distances to the two foci are at most the longer diameter together."""
    apart = math.sqrt(abs(x_radius**2 - y_radius**2))
    along = (apart, 0.0) if x_radius > y_radius else (0.0, apart)
    y, x = np.mgrid[: shape[0], : shape[1]]
    first = np.sqrt((x - (centre_x - along[0])) ** 2 + (y - (centre_y - along[1])) ** 2)
    second = np.sqrt((x - (centre_x + along[0])) ** 2 + (y - (centre_y + along[1])) ** 2)
    return first + second <= max(x_radius, y_radius) * 2
