"""Which CellProfiler modules the native engine runs, and how a module's settings become a step.

To add a module, write one file: `modules/measure_texture.py` is MeasureTexture. It has `REVISIONS`, the revisions of
settings that it reads, `compile(settings: Settings) -> Step`, and `LIMITS` of its numbers where `engines.limits` has
none. `docs/extending.md` has an example.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np

from pipeline.engines.limits import LIMITS, Limits, note, written
from pipeline.engines.native import modules
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError


class Step(Protocol):
    """One module of a pipeline, its settings checked. Holds nothing of any site, so threads may share it.

    A step that leaves out what the mask of an image hides says so by `honours_masks = True`, else an image that has one
    is refused when the pipeline is opened; one whose images have masks of its making says `makes_masks = True`.
    """

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


@runtime_checkable
class OfLoadedImages(Protocol):
    """A step that may measure all images that are loaded, which are known when the whole pipeline is."""

    def of_loaded(self, images: Sequence[str]) -> Step: ...


@runtime_checkable
class OfMeasured(Protocol):
    """A step that measures what modules before it have measured, whatever that is: features by object set."""

    def of_measured(self, measured: Mapping[str, Sequence[str]]) -> Step: ...


@runtime_checkable
class ReadsMeasurements(Protocol):
    """A step that reads what modules before it have measured: (object set or "Image", feature)."""

    @property
    def measurements_in(self) -> Sequence[tuple[str, str]]: ...


class Settings:
    """One module's settings, read by their names in the file; refuses, with the way out, what cannot be honoured.

    `notes`: what the reader has to know of numbers that are not taken as they stand (see `engines.limits`).
    """

    def __init__(self, module: str, number: int, revision: int, pairs: Sequence[tuple[str, str]]) -> None:
        self.module, self.number, self.revision = module, number, revision
        self.pairs = tuple(pairs)
        self.notes: list[str] = []
        #: images that the module draws for the eye beside what it measures; they are not made
        self.drawn: set[str] = set()
        #: name of a number -> CellProfiler's limits of it
        self.limits: Mapping[str, Limits] = LIMITS.get(module, {})
        #: texts of the rules files that a FlagImage names, by name
        self.rules: Mapping[str, str] = {}

    def refuse(self, reason: str) -> NoReturn:
        raise CppipeError(
            f"Module {self.number} {self.module}: {reason}. The native engine cannot run this pipeline; "
            "`engine: {kind: cellprofiler}` can."
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

    def groups(self, first: str) -> list[Settings]:
        """The settings that the file repeats, one `Settings` for each time that `first` comes, which begins a group."""
        starts = [at for at, (name, _) in enumerate(self.pairs) if name == first]
        return [self.with_pairs(self.pairs[start:end]) for start, end in pairwise([*starts, len(self.pairs)])]

    def with_pairs(self, pairs: Sequence[tuple[str, str]]) -> Settings:
        """Other settings of the same module, or some of these; notes are kept together."""
        settings = Settings(self.module, self.number, self.revision, pairs)
        settings.notes, settings.limits, settings.rules = self.notes, self.limits, self.rules
        return settings

    def number_of(self, name: str, *, in_force: bool = True) -> float:
        """The number that CellProfiler takes; its default where other settings make this one idle."""
        return self._in_force(name, in_force)

    def integer(self, name: str, *, in_force: bool = True) -> int:
        return int(self.number_of(name, in_force=in_force))

    def range_of(self, name: str, *, in_force: bool = True) -> tuple[float, float]:
        """Two numbers: "10,75"."""
        return self._in_force(name, in_force)

    def _in_force(self, name: str, in_force: bool) -> Any:
        return self.taken(name, self.text(name)) if in_force else self.limits[name].default

    def taken(self, name: str, text: str, label: str = "") -> Any:
        """What CellProfiler takes for a text of the setting `name`, which the file may call by another `label`.

        Outside CellProfiler's limits it takes its own default, and `notes` says so. What is no number it reads as its
        default, too; nobody can have meant that, so that it is refused.
        """
        module, limits, label = f"{self.number} {self.module}", self.limits[name], label or name
        value, wrong, is_number = limits.take(text)
        if not is_number:
            raise CppipeError(
                f'Module {module}: "{label}: {text}" {wrong}. CellProfiler would take {written(value)} for it without '
                "a word. Correct the setting in CellProfiler, and save the pipeline again."
            )
        if not np.isfinite(value).all():
            self.refuse(f'"{label}: {text}" is not finite')
        if wrong:
            self.notes.append(note(module, label, text, limits, and_so_does="the native engine"))
        return value


def compile_module(settings: Settings) -> Step:
    """The step for one module. Raises `CppipeError` where the module, its revision or a setting is not supported."""
    name = f"{modules.__name__}.{re.sub(r'(?<=[a-z])(?=[A-Z])', '_', settings.module).lower()}"
    if not settings.module.isidentifier() or find_spec(name) is None:
        settings.refuse("this module is not supported")
    module = import_module(name)
    if settings.revision not in module.REVISIONS:
        settings.refuse(f"its settings are of revision {settings.revision}; {sorted(module.REVISIONS)} are supported")
    settings.limits = {**settings.limits, **getattr(module, "LIMITS", {})}
    return module.compile(settings)
