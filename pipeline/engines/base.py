"""The engine contract: arrays and a `.cppipe` in, CellProfiler's measurements out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np


@dataclass(frozen=True)
class ObjectMeasurements:
    """The measurements of one object set, e.g. Nuclei.

    `features`: names without the set, as CellProfiler writes them ("AreaShape_Area");
    `values`: float64 (objects, features), row k belongs to object k + 1.
    """

    features: tuple[str, ...]
    values: np.ndarray

    def column(self, feature: str) -> np.ndarray:
        return self.values[:, self.features.index(feature)]


@dataclass(frozen=True)
class SiteMeasurements:
    """What an engine says of one site.

    `labels[set]`: integer (y, x), 0 = background. `image`: image-level measurements.
    `seconds`: CPU seconds by module, "20 MeasureGranularity" with the number in the pipeline file.
    """

    objects: dict[str, ObjectMeasurements]
    labels: dict[str, np.ndarray]
    image: dict[str, float]
    seconds: dict[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """Measures sites, one at a time. Holds no state between sites."""

    #: names of the images to give, e.g. ("OrigDNA", "IllumDNA"), sorted
    inputs: tuple[str, ...]
    #: what computes the numbers, e.g. "cellprofiler 4.2.8 (numpy 1.26.4, ...)"; part of a run's settings
    version: str
    #: object set -> the features each site will have, sorted by name: the same order whatever the engine
    features: dict[str, tuple[str, ...]]
    #: modules of the file that are left out, with the reason, for the reader
    left_out: dict[str, str]
    #: numbers of the file that are not taken as they stand, a sentence each, for the reader
    notes: tuple[str, ...]

    def measure(self, images: Mapping[str, np.ndarray]) -> SiteMeasurements:
        """Measure one site.

        `images`: 2-D arrays by input name; uint8 and uint16 are scaled by their maximum, floats taken
        as they are. Raises `EngineError` with the module, the reason and whether trying again can help.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
