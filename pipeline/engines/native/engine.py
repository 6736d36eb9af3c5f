"""Run a pipeline's steps on one site after another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.engines import cppipe
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.engines.native.registry import Settings, Step, compile_module
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError, EngineError

#: grows with every change that can move a number
REVISION = 1

_READS = "reads images from disk; the engine is given them"
_WRITES = "writes to disk; the engine returns arrays"
_SHOWS = "makes an image that no measurement reads"
LEFT_OUT = {
    **dict.fromkeys(("Images", "Metadata", "NamesAndTypes", "Groups", "LoadData", "LoadImages"), _READS),
    **dict.fromkeys(("SaveImages", "SaveCroppedObjects", "ExportToSpreadsheet", "ExportToDatabase"), _WRITES),
    **dict.fromkeys(("CreateBatchFiles",), _WRITES),
    **dict.fromkeys(("OverlayOutlines", "OverlayObjects", "ConvertObjectsToImage", "GrayToColor"), _SHOWS),
}


class NativeEngine:
    """See `pipeline.engines.base.Engine`. One instance may measure sites in several threads at once."""

    def __init__(self, text: str) -> None:
        self.left_out: dict[str, str] = {}
        self._steps: list[tuple[str, Step]] = []
        for module in cppipe.read(text).enabled:
            if module.name in LEFT_OUT:
                self.left_out[str(module)] = LEFT_OUT[module.name]
                continue
            settings = Settings(module.name, module.number, module.variable_revision, module.settings)
            self._steps.append((str(module), compile_module(settings)))
        self.inputs = self._find_inputs()
        self.features, self._image_features = self._declare_features()
        libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba"))
        self.version = f"native {REVISION} ({libraries})"

    def _find_inputs(self) -> tuple[str, ...]:
        needed: set[str] = set()
        images: set[str] = set()
        objects: set[str] = set()
        for module, step in self._steps:
            needed |= set(step.images_in) - images
            unknown = [name for name in step.objects_in if name not in objects]
            if unknown:
                raise CppipeError(
                    f"Module {module} reads the objects {', '.join(unknown)}, which no enabled module before it makes. "
                    "Enable that module, or take the objects out of the settings."
                )
            images |= set(step.images_out)
            objects |= set(step.objects_out)
        return tuple(sorted(needed))

    def _declare_features(self) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        declared: dict[str, dict[str, None]] = {}
        for _, step in self._steps:
            for object_set in step.objects_out:
                declared.setdefault(object_set, {})
            for object_set, features in step.features().items():
                declared.setdefault(object_set, {}).update(dict.fromkeys(features))
        image = tuple(declared.pop("Image", {}))
        return {object_set: tuple(features) for object_set, features in declared.items()}, image

    def measure(self, images: Mapping[str, np.ndarray]) -> SiteMeasurements:
        """Measure one site; see `Engine.measure`."""
        site = Workspace({name: as_pixels(name, images) for name in self.inputs})
        seconds = {}
        for module, step in self._steps:
            start = time.thread_time()
            try:
                with np.errstate(all="ignore"):  # CellProfiler divides by zero on purpose, and keeps the NaN
                    step.run(site)
            except EngineError:
                raise
            except Exception as error:
                raise EngineError(f"{type(error).__name__}: {error}", module=module) from error
            seconds[module] = time.thread_time() - start
        return SiteMeasurements(
            objects={name: self._table(site, name) for name in self.features},
            labels={name: site.objects[name].segmented for name in self.features},
            image={name: site.image_measurements[name] for name in self._image_features},
            seconds=seconds,
        )

    def _table(self, site: Workspace, object_set: str) -> ObjectMeasurements:
        features, measured = self.features[object_set], site.measurements.get(object_set, {})
        values = np.empty((site.objects[object_set].count, len(features)))
        for column, feature in enumerate(features):
            values[:, column] = measured[feature]
        return ObjectMeasurements(features, values)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_pixels(name: str, images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Float32 pixels as CellProfiler makes them: integers are divided by the maximum of their type."""
    if name not in images:
        raise EngineError(f"The image {name} is missing; given are {', '.join(sorted(images))}.")
    image = np.asarray(images[name])
    if image.ndim != 2 or 0 in image.shape:
        raise EngineError(f"The image {name} has shape {image.shape}; a site's images are 2-D and not empty.")
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    if image.dtype == bool or image.dtype.kind != "f":
        raise EngineError(f"The image {name} has pixels of type {image.dtype}; uint8, uint16 and floats can be read.")
    return np.ascontiguousarray(image, dtype=np.float32)
