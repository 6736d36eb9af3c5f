"""ImageMath: arithmetic on one or several images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1.libm import log2
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({5})

OF_ONE = ("None", "Invert", "Log transform (base 2)", "Log transform (legacy)")
OF_MANY = ("Add", "Subtract", "Absolute Difference", "Multiply", "Divide", "Average", "Minimum", "Maximum")
#: what gives numbers also of truth values
NUMERIC = ("Divide", "Log transform (base 2)", "Log transform (legacy)")


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
    factors = [settings.taken("Multiply the image by", text, label) for label, text in saved]
    if any(kind != "Image" for kind in kinds):
        settings.refuse('"Image or measurement?: Measurement" is not supported')
    return ImageMath(
        operation=operation,
        operands=tuple(names),
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
    operands: tuple[str, ...]
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
        return self.operands

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.result,)

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        site.check_shapes(*self.operands)
        operands = [site.images[name] for name in self.operands]
        operands = [
            image if factor == 1 else image * np.float32(factor)
            for image, factor in zip(operands, self.factors, strict=True)
        ]
        # Truth values that are multiplied are numbers.
        logical = [
            name in site.logical and factor == 1 for name, factor in zip(self.operands, self.factors, strict=True)
        ]
        result = self._combine(operands, logical)
        if all(logical) and self.operation not in NUMERIC:
            site.logical.add(self.result)
        else:
            site.logical.discard(self.result)
        pixels = finish(
            result,
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
        site.derive(self.result, pixels, self.operands[0], mask)

    def _mask(self, site: Workspace) -> np.ndarray | None:
        """What all operands show; of the first one alone where masks are ignored."""
        operands = self.operands[:1] if self.ignores_masks else self.operands
        masks = [site.masks[name] for name in operands if name in site.masks]
        return np.logical_and.reduce(masks) if masks else None

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
