"""CalculateMath: arithmetic on one or two measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.limits import Limits
from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({2, 3})
FACTOR, POWER = "Multiply the above operand by", "Raise the power of above operand by"
DIGITS = "Enter how many decimal places the value should be rounded to"
LIMITS = {
    **dict.fromkeys((FACTOR, POWER, "Multiply the result by", "Raise the power of result by"), Limits(float, 1.0)),
    "Add to the result": Limits(float, 0.0),
    "Enter the lower bound": Limits(float, 0.0),
    "Enter the upper bound": Limits(float, 1.0),
    DIGITS: Limits(int, 0),
}
OPERATIONS = ("Multiply", "Divide", "Add", "Subtract", "None")
ROUNDINGS = (
    "Not rounded",
    "Rounded to a specified number of decimal places",
    "Rounded down to the next-lowest integer",
    "Rounded up to the next-highest integer",
)


def compile(settings: Settings) -> CalculateMath:
    operation = settings.choice("Operation", OPERATIONS)
    # The labels of the operands go by the operation; their places in the file do not.
    operands = tuple(read_operand(settings, settings.pairs[start : start + 5]) for start in (2, 7))
    is_binary = operation != "None"
    rounding = settings.choice("How should the output value be rounded?", ROUNDINGS, ROUNDINGS[0])
    has_least = settings.yes("Constrain the result to a lower bound?")
    has_most = settings.yes("Constrain the result to an upper bound?")
    return CalculateMath(
        feature=f"Math_{settings.text('Name the output measurement')}",
        operation=operation,
        operands=operands if is_binary else operands[:1],
        takes_log=settings.yes("Take log10 of result?"),
        factor=settings.number_of("Multiply the result by", in_force=is_binary),
        exponent=settings.number_of("Raise the power of result by", in_force=is_binary),
        addend=settings.number_of("Add to the result"),
        rounding=rounding,
        digits=settings.integer(DIGITS) if rounding == ROUNDINGS[1] else 0,
        least=settings.number_of("Enter the lower bound") if has_least else -np.inf,
        most=settings.number_of("Enter the upper bound") if has_most else np.inf,
    )


def read_operand(settings: Settings, pairs: tuple[tuple[str, str], ...]) -> Operand:
    (_, kind), (_, objects), (_, feature), (_, factor), (_, exponent) = pairs
    if kind not in ("Image", "Object"):
        settings.refuse(f'"{pairs[0][0]}: {kind}" is not supported (supported: Image, Object)')
    return Operand(
        "Image" if kind == "Image" else objects,
        feature,
        settings.taken(FACTOR, factor),
        settings.taken(POWER, exponent),
    )


@dataclass(frozen=True)
class Operand:
    """A measurement of an object set or of "Image"."""

    object_set: str
    feature: str
    factor: float
    exponent: float

    def values(self, site: Workspace) -> np.ndarray:
        """float64 (objects), or (1) of an image."""
        if self.object_set == "Image":
            values = np.array([site.image_measurements[self.feature]])
        else:
            values = site.column(self.object_set, self.feature)
        return to_the_power(values * self.factor, self.exponent)


@dataclass(frozen=True)
class CalculateMath:
    feature: str
    operation: str
    operands: tuple[Operand, ...]
    takes_log: bool
    factor: float
    exponent: float
    addend: float
    rounding: str
    digits: int
    least: float
    most: float

    images_in = images_out = objects_out = ()

    @property
    def objects_in(self) -> tuple[str, ...]:
        sets = (operand.object_set for operand in self.operands)
        return tuple(dict.fromkeys(name for name in sets if name != "Image"))

    @property
    def measurements_in(self) -> tuple[tuple[str, str], ...]:
        return tuple((operand.object_set, operand.feature) for operand in self.operands)

    def features(self) -> dict[str, list[str]]:
        return {name: [self.feature] for name in self.objects_in or ("Image",)}

    def run(self, site: Workspace) -> None:
        values = [operand.values(site) for operand in self.operands]
        if not self.objects_in:
            site.add_image(self.feature, self._compute(values)[0])
        elif len(self.objects_in) == 1 or len(values[0]) == len(values[1]):
            for name in self.objects_in:
                site.add(name, self.feature, self._compute(values))
        else:
            first, second = values
            of_second, of_first = matched(site, self.objects_in, first, second)
            site.add(self.objects_in[0], self.feature, self._compute([first, of_second]))
            site.add(self.objects_in[1], self.feature, self._compute([of_first, second]))

    def _compute(self, values: list[np.ndarray]) -> np.ndarray:
        result = self._combine(*values)
        if self.takes_log:
            result = log10(result)
        if self.operation != "None":
            result = to_the_power(result * self.factor, self.exponent)
        result = result + self.addend
        match self.rounding:
            case "Rounded to a specified number of decimal places":
                result = np.around(result, self.digits)
            case "Rounded down to the next-lowest integer":
                result = np.floor(result)
            case "Rounded up to the next-highest integer":
                result = np.ceil(result)
        result = np.where(result < self.least, self.least, result)
        return np.where(result > self.most, self.most, result)

    def _combine(self, first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
        if second is None:
            return first
        match self.operation:
            case "Add":
                return first + second
            case "Subtract":
                return first - second
            case "Multiply":
                return first * second
        return np.where(second == 0, np.nan, first / second)


def matched(
    site: Workspace, sets: tuple[str, ...], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The second set's values for each object of the first, and the other way round, of sets of different lengths.

    Where one set is the other's parent, means over those that belong together, NaN where there is none. Else number
    goes by number, and the longer one's last have NaN.
    """
    for parent, child in (sets, sets[::-1]):
        if (parent, child) in site.relations:
            parents = site.measurements[child][f"Parent_{parent}"].astype(np.int64)
            children = np.flatnonzero(parents > 0)
            pairs = (parents[children] - 1, children) if parent == sets[0] else (children, parents[children] - 1)
            return means(pairs[0], second[pairs[1]], len(first)), means(pairs[1], first[pairs[0]], len(second))
    n = min(len(first), len(second))
    padded = [
        np.append(values, np.full(max(0, m - n), np.nan))[:m]
        for values, m in ((second[:n], len(first)), (first[:n], len(second)))
    ]
    return padded[0], padded[1]


def means(of: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """float64 (count): the mean of the values that are of each one."""
    return np.bincount(of, values, minlength=count) / np.bincount(of, minlength=count)


@kernel
def to_the_power(values: np.ndarray, exponent: float) -> np.ndarray:
    """By the C library: NumPy's own powers depend on the processor."""
    result = np.empty_like(values)
    for at in range(values.size):
        result[at] = values[at] ** exponent
    return result


@kernel
def log10(values: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    for at in range(values.size):
        result[at] = np.log10(values[at])
    return result
