"""The CellProfiler engine: CellProfiler 4.2.8 itself, unchanged, in its own interpreter.

A worker keeps one child process of that interpreter (`process`), gives it images over a pipe and gets
measurements and label images back. What the child does is in `cellprofiler_child`. It is handed the settings
that `pipeline.engines.cppipe` has read, never the text of the file, which CellProfiler would evaluate.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np

from pipeline.engines import cppipe, loading
from pipeline.engines import rules as flag_rules
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.engines.cellprofiler.process import Child
from pipeline.engines.limits import Limits, note
from pipeline.errors import CppipeError, EngineError, SiteFlagged

#: what loading CellProfiler may take on a busy machine; it takes 2 s on an idle one
START_LIMIT_SECONDS = 300

#: what a 2-D image may hold; others CellProfiler would scale in ways of its own
DTYPES = ("bool", "uint8", "uint16", "float32", "float64")


def open(
    cppipe_text: str,
    *,
    rules: Mapping[str, str] | None = None,
    time_limit_seconds: float = 1800,
    memory_limit_gb: float = 8,
    recycle_after_sites: int = 200,
) -> CellProfilerEngine:
    """Open a pipeline in CellProfiler.

    `rules`: the rules files that FlagImage modules name, name -> text.
    `time_limit_seconds` and `memory_limit_gb` (resident, 10^9 bytes) hold for one site; a site that goes beyond
    is killed. After `recycle_after_sites` sites the process is replaced.

    Raises `CppipeError` where the pipeline cannot be read or cannot be run, naming the module and the way out,
    and `ConfigError` where CellProfiler's interpreter is not there.
    """
    return CellProfilerEngine(
        cppipe.read(cppipe_text),
        rules or {},
        time_limit_seconds=time_limit_seconds,
        memory_limit_gb=memory_limit_gb,
        recycle_after_sites=recycle_after_sites,
    )


class CellProfilerEngine:
    """See `pipeline.engines.base.Engine` for the contract."""

    def __init__(
        self,
        pipeline: cppipe.Pipeline,
        rules: Mapping[str, str],
        *,
        time_limit_seconds: float,
        memory_limit_gb: float,
        recycle_after_sites: int,
    ) -> None:
        self._pipeline = pipeline
        self._rules = dict(rules)
        self._time_limit_seconds = time_limit_seconds
        self._memory_limit_gb = memory_limit_gb
        self._recycle_after_sites = recycle_after_sites
        self._child: Child | None = None
        self._in_turn = threading.Lock()
        self._sites_measured = 0  # by this child
        read_here = {
            str(module): loading.left_out(module) for module in pipeline.enabled if module.name in loading.READS
        }
        self._without_rules = flag_rules.left_out(pipeline, rules)
        ready = self._start()
        self.inputs: tuple[str, ...] = tuple(ready["inputs"])
        self.version: str = ready["version"]
        self.features: dict[str, tuple[str, ...]] = {name: tuple(some) for name, some in ready["features"].items()}
        self.left_out: dict[str, str] = {**ready["left_out"], **read_here, **self._without_rules}
        numbers = filter(None, (_note(*number) for number in ready["numbers"]))
        without = (f"Module {title} is left out: {why}" for title, why in self._without_rules.items())
        self.notes = (*pipeline.notes, *without, *numbers)
        try:
            loading.check(pipeline, self.inputs)
        except CppipeError:
            self.close()
            raise

    def _start(self) -> dict[str, Any]:
        """Start a process on the pipeline; what it says of itself."""
        child = Child()
        modules = [asdict(module) for module in self._pipeline.modules if str(module) not in self._without_rules]
        request = {"saved": modules, "is_newer": self._pipeline.is_newer, "rules": self._rules}
        try:
            ready, _ = child.ask(request, time_limit_seconds=START_LIMIT_SECONDS, memory_limit_gb=self._memory_limit_gb)
            if ready["kind"] == "refused":
                raise CppipeError(ready["reason"])
        except EngineError as error:
            child.close()
            said = error.log.rpartition("\n")[2] or "nothing"
            raise EngineError(
                f"CellProfiler does not start: {error.reason}; it said: {said}", log=error.log, retry=error.retry
            ) from error
        except BaseException:
            child.close()
            raise
        self._child, self._sites_measured = child, 0
        return ready

    def _child_for_a_site(self) -> Child:
        child = self._child
        if child is None or not child.is_alive or self._sites_measured >= self._recycle_after_sites:
            self.close()
            self._start()
        assert self._child is not None
        return self._child

    def measure(self, images: Mapping[str, np.ndarray]) -> SiteMeasurements:
        """Measure one site; see `pipeline.engines.base.Engine.measure`."""
        # The child answers in turn: two threads that shared its pipe would take each other's answers.
        with self._in_turn:
            return self._measure(images)

    def _measure(self, images: Mapping[str, np.ndarray]) -> SiteMeasurements:
        arrays = self._checked(images)
        child = self._child_for_a_site()
        try:
            answer, results = child.ask(
                {}, arrays, time_limit_seconds=self._time_limit_seconds, memory_limit_gb=self._memory_limit_gb
            )
            if answer["kind"] not in ("measured", "flagged"):
                raise EngineError(
                    answer["reason"] + _shapes(arrays),
                    module=answer["module"],
                    log=child.log(),
                    retry=answer["retry"],
                )
        except BaseException:
            # Whatever went wrong, or interrupted us in the middle of an answer: the next site gets a new process.
            self.close()
            raise
        self._sites_measured += 1
        if answer["kind"] == "flagged":
            raise SiteFlagged(answer["reason"], module=answer["module"])
        return SiteMeasurements(
            objects={
                name: ObjectMeasurements(tuple(features), results[f"values/{name}"])
                for name, features in answer["features"].items()
            },
            labels={name: results[f"labels/{name}"] for name in self.features if f"labels/{name}" in results},
            image=answer["image"],
            seconds=answer["seconds"],
        )

    def _checked(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        missing, unknown = set(self.inputs) - set(images), set(images) - set(self.inputs)
        if missing or unknown:
            raise EngineError(
                "; ".join(
                    f"{word} {', '.join(sorted(names))}"
                    for word, names in (("missing images:", missing), ("images the pipeline does not read:", unknown))
                    if names
                )
            )
        for name, array in images.items():
            if array.ndim != 2 or array.size == 0 or array.dtype.name not in DTYPES:
                raise EngineError(
                    f"the image {name} has shape {array.shape} and type {array.dtype}; "
                    f"give (y, x) arrays of {', '.join(DTYPES)}"
                )
        return dict(images)

    def close(self) -> None:
        """End the process. A later `measure` starts another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _note(module: str, label: str, text: str, kind: str, taken: Any, least: float | None, most: float | None) -> str:
    """What `limits.note` says of a number that the child has loaded; where it was refused, `taken` is the default."""
    default = tuple(taken) if isinstance(taken, list) else taken
    return note(module, label, text, Limits(int if kind == "int" else float, default, least, most))


def _shapes(images: Mapping[str, np.ndarray]) -> str:
    """Says which shapes the images have, where they differ: the usual reason why a module fails on a site."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, array in images.items():
        by_shape.setdefault(array.shape, []).append(name)
    if len(by_shape) == 1:
        return ""
    parts = (f"{shape[0]} x {shape[1]} {', '.join(names)}" for shape, names in by_shape.items())
    return f" (the images differ in shape: {'; '.join(parts)})"
