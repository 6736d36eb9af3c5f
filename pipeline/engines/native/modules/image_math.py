"""ImageMath: arithmetic and logic on one or several images, and measurements of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1.libm import log2
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({5})

OF_ONE = ("None", "Invert", "Log transform (base 2)", "Log transform (legacy)", "Not")
OF_MANY = (
    *("Add", "Subtract", "Absolute Difference", "Multiply", "Divide", "Average", "Minimum", "Maximum"),
    *("And", "Or", "Equals", "Standard Deviation"),
)
#: what takes measurements too
ARITHMETIC = OF_MANY[:8]
#: what gives truth values, to which neither factors nor limits apply
LOGIC = ("And", "Or", "Not", "Equals")
#: what gives numbers also of truth values
NUMERIC = ("Divide", "Standard Deviation", "Log transform (base 2)", "Log transform (legacy)")


def compile(settings: Settings) -> ImageMath:
    operation = settings.choice("Operation", OF_ONE + OF_MANY)
    # Operands are named "Select the first image", "Select the second image", and so on.
    names = [value for key, value in settings.pairs if key.startswith("Select the ") and key.endswith("image")]
    kinds = settings.texts("Image or measurement?")
    saved = [
        (key, value) for key, value in settings.pairs if key.startswith("Multiply the ") and key.endswith("image by")
    ]
    if operation in OF_ONE:
        names, kinds, saved = names[:1], kinds[:1], saved[:1]
    in_force = operation not in LOGIC
    factors = [settings.taken("Multiply the image by", text, label) if in_force else 1.0 for label, text in saved]
    is_image = [kind == "Image" for kind in kinds]
    if not all(is_image) and not (operation in ARITHMETIC and is_image[0]):
        settings.refuse(f'a measurement is not supported as the first operand, nor for "Operation: {operation}"')
    measured = settings.texts("Measurement")[: len(names)]
    return ImageMath(
        operation=operation,
        operands=tuple("" if not image else name for name, image in zip(names, is_image, strict=True)),
        measured=tuple("" if image else name for name, image in zip(measured, is_image, strict=True)),
        factors=tuple(factors),
        result=settings.text("Name the output image"),
        exponent=settings.number_of("Raise the power of the result by"),
        factor=settings.number_of("Multiply the result by"),
        addend=settings.number_of("Add to result"),
        clip_low=settings.yes("Set values less than 0 equal to 0?"),
        clip_high=settings.yes("Set values greater than 1 equal to 1?"),
        replace_nan=settings.yes("Replace invalid values with 0?"),
        ignores_masks=settings.yes("Ignore the image masks?", "No"),
    )


@dataclass(frozen=True)
class ImageMath:
    operation: str
    operands: tuple[str, ...]  # "" where it is the measurement of the same place
    measured: tuple[str, ...]
    factors: tuple[float, ...]
    result: str
    exponent: float
    factor: float
    addend: float
    clip_low: bool
    clip_high: bool
    replace_nan: bool
    ignores_masks: bool

    objects_in = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return tuple(name for name in self.operands if name)

    @property
    def measurements_in(self) -> tuple[tuple[str, str], ...]:
        return tuple(("Image", name) for name in self.measured if name)

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.result,)

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        site.check_shapes(*self.images_in)
        operands = [self._operand(site, *each) for each in zip(self.operands, self.measured, self.factors, strict=True)]
        # Truth values that are multiplied are numbers.
        logical = [
            name in site.logical and factor == 1 for name, factor in zip(self.operands, self.factors, strict=True)
        ]
        if self.operation in LOGIC:
            pixels = self._compare(operands).astype(np.float32)
        else:
            pixels = finish(
                self._combine(operands, logical),
                np.float32(self.exponent),
                np.float32(self.factor),
                np.float32(self.addend),
                self.clip_low,
                self.clip_high,
                self.replace_nan,
            )
        mask = self._mask(site)
        if mask is not None and not self.ignores_masks:
            pixels *= mask
        is_logical = self.operation in LOGIC or (all(logical) and self.operation not in NUMERIC)
        site.derive(self.result, pixels, self.images_in[0], mask, is_logical=is_logical)

    def _mask(self, site: Workspace) -> np.ndarray | None:
        """What all operands show; of the first one alone where masks are ignored."""
        operands = self.images_in[:1] if self.ignores_masks else self.images_in
        masks = [site.masks[name] for name in operands if name in site.masks]
        return np.logical_and.reduce(masks) if masks else None

    def _operand(self, site: Workspace, name: str, measurement: str, factor: float) -> np.ndarray:
        """float32: an image, or an array of one number."""
        if name:
            return site.images[name] if factor == 1 else site.images[name] * np.float32(factor)
        return np.full((1, 1), site.image_measurements[measurement] * factor, np.float32)

    def _compare(self, operands: list[np.ndarray]) -> np.ndarray:
        """bool (y, x)."""
        first, *others = operands
        match self.operation:
            case "Not":
                return first == 0
            case "Equals":
                return np.logical_and.reduce([first == other for other in others])
            case "And":
                return np.logical_and.reduce([operand != 0 for operand in operands])
        return np.logical_or.reduce([operand != 0 for operand in operands])

    def _combine(self, operands: list[np.ndarray], logical: list[bool]) -> np.ndarray:
        """`logical`: which operands are truth values. A sum of such is "or", a difference "and not"."""
        result = operands[0]
        match self.operation:
            case "Invert":
                return np.float32(1) - result
            case "Log transform (base 2)":
                return log2(result + np.float32(1))
            case "Log transform (legacy)":
                return log2(result)
            case "Standard Deviation":
                return deviation(operands)
        for k, operand in enumerate(operands[1:], 1):
            match self.operation:
                case "Add" | "Average":
                    result = np.maximum(result, operand) if all(logical[: k + 1]) else result + operand
                case "Subtract":
                    result = result - operand
                    result = np.maximum(result, 0) if all(logical) else result
                case "Absolute Difference":
                    result = np.abs(result - operand)
                case "Multiply":
                    result = result * operand
                case "Divide":
                    result = result / operand
                case "Minimum":
                    result = np.minimum(result, operand)
                case "Maximum":
                    result = np.maximum(result, operand)
        if self.operation == "Average" and not all(logical):
            result = result / np.float32(sum(self.factors))
        return result


def deviation(images: list[np.ndarray]) -> np.ndarray:
    """Of each pixel among images, in float32, one image after another as NumPy adds them up."""
    number = np.float32(len(images))
    mean = sum(images[1:], images[0]) / number
    squares = [(image - mean) ** 2 for image in images]
    return np.sqrt(sum(squares[1:], squares[0]) / number)


@kernel
def finish(image, exponent, factor, addend, clip_low, clip_high, replace_nan):
    """Power, product and sum in float32, then clipping, which leaves NaN as it is, then NaN to 0."""
    result = np.empty_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = image[y, x]
            if exponent != 1:
                value = value**exponent
            value = value * factor + addend
            if clip_low and value < 0:
                value = np.float32(0)
            if clip_high and value > 1:
                value = np.float32(1)
            if replace_nan and np.isnan(value):
                value = np.float32(0)
            result[y, x] = value
    return result
