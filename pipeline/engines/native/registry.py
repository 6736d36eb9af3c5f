"""Which CellProfiler modules the native engine runs, and how a module's settings become a step.

To add a module: write one file with `compile(settings: Settings) -> Step`, and name it in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NoReturn, Protocol

from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError

#: CellProfiler module -> (our file, the setting revisions it reads)
MODULES: dict[str, tuple[str, frozenset[int]]] = {
    "CorrectIlluminationApply": ("apply_illumination", frozenset({5})),
    "CorrectIlluminationCalculate": ("calculate_illumination", frozenset({2})),
    "IdentifyPrimaryObjects": ("primary", frozenset({14, 15})),
    "IdentifySecondaryObjects": ("secondary", frozenset({10})),
    "IdentifyTertiaryObjects": ("tertiary", frozenset({3})),
    "ImageMath": ("image_math", frozenset({5})),
    "MeasureColocalization": ("colocalization", frozenset({5, 6})),
    "MeasureGranularity": ("granularity", frozenset({4})),
    "MeasureObjectIntensity": ("intensity", frozenset({4})),
    "MeasureObjectIntensityDistribution": ("radial_distribution", frozenset({6})),
    "MeasureObjectNeighbors": ("neighbors", frozenset({3})),
    "MeasureObjectSizeShape": ("size_shape", frozenset({3})),
    "MeasureTexture": ("texture", frozenset({7})),
    "Resize": ("resize", frozenset({4, 5})),
}


class Step(Protocol):
    """One module of a pipeline, its settings checked. Holds nothing of any site, so threads may share it."""

    #: images and object sets read and made, by name
    images_in: Sequence[str]
    images_out: Sequence[str]
    objects_in: Sequence[str]
    objects_out: Sequence[str]

    def features(self) -> Mapping[str, Sequence[str]]:
        """Object set -> the features this step adds, in the order CellProfiler declares them.

        The key "Image" holds the image-level ones.
        """
        ...

    def run(self, site: Workspace) -> None:
        """Read images and objects from `site`, and add what the step makes."""
        ...


class Settings:
    """One module's settings, read by their names in the file; refuses, with the way out, what cannot be honoured."""

    def __init__(self, module: str, number: int, revision: int, pairs: Sequence[tuple[str, str]]) -> None:
        self.module, self.number, self.revision = module, number, revision
        self.pairs = tuple(pairs)

    def refuse(self, reason: str) -> NoReturn:
        raise CppipeError(
            f"Module {self.number} {self.module}: {reason}. The native engine cannot run this pipeline; "
            "`engine: cellprofiler` can."
        )

    def texts(self, name: str) -> list[str]:
        """All values of a setting that the file repeats, in order."""
        return [value for key, value in self.pairs if key == name]

    def text(self, name: str, default: str | None = None) -> str:
        """The first value of a setting."""
        values = self.texts(name)
        if values:
            return values[0]
        if default is None:
            self.refuse(f'the setting "{name}" is missing')
        return default

    def choice(self, name: str, supported: Sequence[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in supported:
            self.refuse(f'"{name}: {value}" is not supported (supported: {", ".join(supported)})')
        return value

    def yes(self, name: str, default: str | None = None) -> bool:
        return self.choice(name, ("Yes", "No"), default) == "Yes"

    def names(self, name: str) -> list[str]:
        """A list of images or objects: "AGP, DNA"."""
        return [part.strip() for part in self.text(name).split(",") if part.strip()]

    def number_of(self, name: str, kind: Callable[[str], float] = float, default: str | None = None) -> float:
        value = self.text(name, default)
        try:
            return kind(value)
        except ValueError:
            self.refuse(f'"{name}: {value}" is no number')

    def integer(self, name: str, default: str | None = None) -> int:
        return int(self.number_of(name, int, default))

    def range_of(self, name: str) -> tuple[float, float]:
        """Two numbers: "10,75"."""
        value = self.text(name)
        try:
            low, high = (float(part) for part in value.split(","))
        except ValueError:
            self.refuse(f'"{name}: {value}" is no range')
        return low, high


def compile_module(settings: Settings) -> Step:
    """The step for one module. Raises `CppipeError` where the module, its revision or a setting is not supported."""
    if settings.module not in MODULES:
        settings.refuse("this module is not supported")
    file, revisions = MODULES[settings.module]
    if settings.revision not in revisions:
        settings.refuse(f"its settings are of revision {settings.revision}; {sorted(revisions)} are supported")
    return import_module(f"pipeline.engines.native.{file}").compile(settings)
