"""MeasureTexture: Haralick features of grey-level co-occurrence, in objects and in whole images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.engines.native.kernels import flat_texture
from pipeline.engines.native.kernels.haralick import DIRECTIONS, FEATURES, N_LOG_N, image_haralick, object_haralick
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace, gather

#: of the settings in a pipeline file
REVISIONS = frozenset({7})

WHERE = "Measure whole images or objects?"
GREY_LEVELS = "Enter how many gray levels to measure the texture at"
SCALE = "Texture scale to measure"


def compile(settings: Settings) -> Texture:
    where = settings.choice(WHERE, ("Images", "Objects", "Both"))
    images = tuple(settings.names("Select images to measure"))
    if not images:
        settings.refuse("no image is selected")
    grey_levels = settings.integer(GREY_LEVELS)
    scales = tuple(settings.taken(SCALE, text) for text in settings.texts(SCALE))
    if not scales or min(scales) < 1:
        settings.refuse(f'"{SCALE}: {", ".join(settings.texts(SCALE))}" is no list of distances in pixels')
    return Texture(
        images_in=images,
        objects_in=() if where == "Images" else tuple(settings.names("Select objects to measure")),
        wants_images=where != "Objects",
        grey_levels=grey_levels,
        scales=scales,
    )


@dataclass(frozen=True)
class Texture:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]
    wants_images: bool
    grey_levels: int
    scales: tuple[int, ...]

    images_out = objects_out = ()

    @cached_property
    def _names(self) -> list[str]:
        return [
            f"Texture_{feature}_{image}_{scale}_{direction:02d}_{self.grey_levels}"
            for feature in FEATURES
            for image in self.images_in
            for scale in self.scales
            for direction in range(len(DIRECTIONS))
        ]

    honours_masks = True

    def features(self) -> dict[str, list[str]]:
        return dict.fromkeys((*(("Image",) if self.wants_images else ()), *self.objects_in), self._names)

    def run(self, site: Workspace) -> None:
        site.check_shapes(*self.images_in, *self.objects_in)
        levels = [grey_levels(site.images[image], self.grey_levels) for image in self.images_in]
        if self.wants_images:
            found = np.stack([texture_of_image(image, self.scales) for image in levels])
            site.image_measurements.update(zip(self._names, np.moveaxis(found, -1, 0).ravel().tolist(), strict=True))
        # A whole image is measured with what its mask hides, objects without.
        for k, image in enumerate(self.images_in):
            if image in site.masks:
                levels[k] = np.where(site.masks[image], levels[k], np.uint8(0))
        for object_set in self.objects_in:
            objects = site.objects[object_set]
            columns = np.empty((len(FEATURES), len(levels), len(self.scales), len(DIRECTIONS), objects.count))
            for i, values in enumerate(texture_of_objects(levels, objects, self.scales)):
                columns[:, i] = objects.moved_up(values).transpose(3, 1, 2, 0)
            site.add_all(object_set, self._names, columns.reshape(len(self._names), objects.count))


def grey_levels(image: np.ndarray, count: int = 256) -> np.ndarray:
    """Uint8 levels 0 to `count` - 1 of an image in [0, 1]: the whole range, whatever the image uses of it.

    As `skimage.util.img_as_ubyte` and `rescale_intensity` do it: to 256 levels by rounding, on to fewer by truncating.
    Raises ValueError where the image leaves [-1, 1], as CellProfiler does.
    """
    if image.min() < -1 or image.max() > 1:
        raise ValueError(
            f"texture needs an image between -1 and 1, this one runs from {image.min():.4g} to {image.max():.4g}; "
            "rescale or clip it before"
        )
    levels = np.clip(np.rint(image * np.float32(255)), 0, 255).astype(np.uint8)
    if count == 256:
        return levels
    return (np.arange(256) / 255 * (count - 1)).astype(np.uint8)[levels]


def texture_of_image(levels: np.ndarray, scales: tuple[int, ...]) -> np.ndarray:
    """Features of a whole uint8 image: float64 (scales, directions, features).

    Raises ValueError where the image is not larger than a scale, as CellProfiler does.
    """
    if min(levels.shape) <= max(scales):
        raise ValueError(
            f"an image of {levels.shape} pixels has no texture at scale {max(scales)}; leave that scale out"
        )
    steps = _steps(scales)
    features = image_haralick(levels, steps, N_LOG_N)
    for at in np.flatnonzero(flat_texture.is_rounding(features)):
        features[at, flat_texture.ROUNDED] = flat_texture.rounded_features(levels, steps[at], ignore_zeros=False)
    return features.reshape(len(scales), len(DIRECTIONS), len(FEATURES))


def texture_of_objects(levels: list[np.ndarray], objects: Objects, scales: tuple[int, ...]) -> list[np.ndarray]:
    """Features of each object in each uint8 image: float64 (objects, scales, directions, features) an image.

    Pixels of level 0 do not count. Zero where any direction of a scale finds no pair of pixels.
    """
    height, width = objects.segmented.shape
    scales = tuple(min(scale, max(height, width)) for scale in scales)  # from there on no pixel is a pair's other
    margin = max(scales)
    stride = width + 2 * margin
    rows, columns = objects.places
    places = (rows * stride + columns + margin).astype(np.uint32)
    board = np.zeros((height + margin) * stride + margin, np.uint8)
    steps = _steps(scales)
    offsets = steps @ [stride, 1]
    found, pixels = [], np.empty(objects.pixels.size, np.uint8)
    for image in levels:
        gather(image.ravel(), objects.runs, pixels)
        values = object_haralick(pixels, places, objects.starts, offsets, board, N_LOG_N)
        for k, at in np.argwhere(flat_texture.is_rounding(values)):
            top, left, bottom, right = objects.boxes[k]
            box = np.where(objects.segmented[top:bottom, left:right] == k + 1, image[top:bottom, left:right], 0)
            values[k, at, flat_texture.ROUNDED] = flat_texture.rounded_features(box, steps[at], ignore_zeros=True)
        values = values.reshape(objects.count, len(scales), len(DIRECTIONS), len(FEATURES))
        values[np.isnan(values[..., 0]).any(axis=2)] = 0
        found.append(values)
    return found


def _steps(scales: tuple[int, ...]) -> np.ndarray:
    """int64 (scales x directions, 2): rows and columns from one pixel of a pair to the other."""
    return np.array([(s * down, s * right) for s in scales for down, right in DIRECTIONS])
