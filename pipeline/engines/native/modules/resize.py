"""Resize: images of another size, as before and after an illumination function is computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.transform import resize

from pipeline.engines.native.kernels.smoothing import gaussian_weights
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({4, 5})

ORDERS = {"Nearest Neighbor": 0, "Bilinear": 1, "Bicubic": 3}
BY_FACTOR = "Resize by a fraction or multiple of the original size"
BY_SIZE = "Resize by specifying desired final dimensions"


def compile(settings: Settings) -> Resize:
    method = settings.choice("Resizing method", (BY_FACTOR, BY_SIZE))
    factor = size = None
    like = ""
    if method == BY_SIZE and settings.choice("Method to specify the dimensions", ("Manual", "Image")) == "Image":
        like = settings.text("Select the image with the desired dimensions")
    elif method == BY_SIZE:
        labels = ("Height", "Width") if settings.revision == 4 else ("Height (y)", "Width (x)")
        size = tuple(settings.integer(f"{label} of the final image") for label in labels)
    elif settings.revision == 4:  # one factor for both axes
        factor = (settings.number_of("Resizing factor"),) * 2
    else:
        factor = (settings.number_of("Y Resizing factor"), settings.number_of("X Resizing factor"))
    return Resize(
        images=(settings.text("Select the input image"), *settings.texts("Select the additional image?")),
        images_out=tuple(settings.texts("Name the output image")),
        factor=factor,
        size=size,
        like=like,
        order=ORDERS[settings.choice("Interpolation method", tuple(ORDERS))],
    )


@dataclass(frozen=True)
class Resize:
    """`factor` or `size`: of rows and of columns; or the name of the image that has the size, `like`."""

    images: tuple[str, ...]
    images_out: tuple[str, ...]
    factor: tuple[float, float] | None
    size: tuple[int, ...] | None
    like: str
    order: int

    objects_in = objects_out = ()

    @property
    def images_in(self) -> tuple[str, ...]:
        return (*self.images, self.like) if self.like else self.images

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        for name, resized in zip(self.images, self.images_out, strict=True):
            image = site.images[name]
            shape = site.images[self.like].shape if self.like else self._shape(image.shape)
            site.derive(resized, resized_to(image, shape, self.order), name)

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.size:
            return self.size
        return tuple(int(np.round(length * factor)) for length, factor in zip(shape, self.factor or (), strict=True))


def resized_to(image: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    """float32 of this shape. `order`: of the splines between pixels."""
    # scikit-image 0.26 gives what 0.20, on which CellProfiler runs, gave.
    resized = resize(smoothed(image, shape), shape, order=order, mode="symmetric", clip=False, anti_aliasing=False)
    return np.clip(resized, np.nanmin(image), np.nanmax(image)).astype(np.float32)


def smoothed(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What scikit-image does to an image that becomes smaller, with the C library's exponentials; see `smoothing`."""
    if all(to >= of for of, to in zip(image.shape, shape, strict=True)):
        return image
    for axis, (of, to) in enumerate(zip(image.shape, shape, strict=True)):
        sigma = max(0.0, (of / to - 1) / 2)
        if sigma > 1e-15:
            half = gaussian_weights(sigma, int(4 * sigma + 0.5) + 1)  # the image goes on beyond its border
            image = ndimage.correlate1d(image, np.concatenate([half[:0:-1], half]), axis, mode="reflect")
    return image
