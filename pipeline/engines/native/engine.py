"""Run a pipeline's steps on one site after another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

import numpy as np

from pipeline.engines import cppipe, loading
from pipeline.engines import rules as flag_rules
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.engines.native.modules.correct_illumination_calculate import CalculateIllumination
from pipeline.engines.native.registry import (
    OfLoadedImages,
    OfMeasured,
    ReadsMeasurements,
    Settings,
    Step,
    compile_module,
)
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError, EngineError, SiteFlagged

#: grows with every change that can move a number
REVISION = 7

_WRITES = "writes files; measurements and label images are handed back in memory"
LEFT_OUT = {
    **dict.fromkeys(("SaveImages", "SaveCroppedObjects", "ExportToSpreadsheet", "ExportToDatabase"), _WRITES),
    "CreateBatchFiles": _WRITES,
}
#: modules that draw an image, and the setting that names it: left out where nothing reads it
DRAWING = {
    "OverlayOutlines": "Name the output image",
    "OverlayObjects": "Name the output image",
    "ConvertObjectsToImage": "Name the output image",
    "GrayToColor": "Name the output image",
    "Tile": "Name the output image",
}
#: by what images of these types are divided
SCALES = {"uint8": 255, "uint16": 65535}
DTYPES = ("bool", "uint8", "uint16", "float32", "float64")


class Drawing(NamedTuple):
    """A module whose only result is an image for the eye."""

    settings: Settings
    image: str

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.image,)


class NativeEngine:
    """See `pipeline.engines.base.Engine`. One instance may measure sites in several threads at once."""

    def __init__(self, text: str, rules: Mapping[str, str] = MappingProxyType({})) -> None:
        self.left_out: dict[str, str] = {}
        notes: dict[str, list[str]] = {}
        drawn: dict[str, set[str]] = {}
        compiled: list[tuple[str, Step | Drawing]] = []
        pipeline = cppipe.read(text)
        without_rules = flag_rules.left_out(pipeline, rules)
        for module in pipeline.modules:
            settings = Settings(module.name, module.number, module.variable_revision, module.settings)
            settings.rules = rules
            if not module.enabled:
                self.left_out[str(module)] = "disabled in the pipeline"
            elif module.name in loading.READS:
                self.left_out[str(module)] = loading.left_out(module)
            elif str(module) in without_rules:
                self.left_out[str(module)] = without_rules[str(module)]
            elif module.name in LEFT_OUT:
                self.left_out[str(module)] = LEFT_OUT[module.name]
            elif module.name in DRAWING:
                compiled.append((str(module), Drawing(settings, settings.text(DRAWING[module.name]))))
            else:
                step = compile_module(settings)
                if isinstance(step, CalculateIllumination) and not step.of_each_site:
                    raise CppipeError(
                        f"Module {module} cannot be run: it combines several sites, and each site is measured alone. "
                        "Give the illumination function as an image, or have the module compute one for each image."
                    )
                compiled.append((str(module), step))
                notes[str(module)] = settings.notes
                drawn[str(module)] = settings.drawn
        self._steps = self._needed(compiled)
        without = (f"Module {title} is left out: {why}" for title, why in without_rules.items())
        self.notes = (*pipeline.notes, *without, *(note for title, _ in self._steps for note in notes[title]))
        self.inputs = self._find_inputs(pipeline, drawn)
        self._join_measurements()
        self._check_masks()
        self._done_with = last_uses([step for _, step in self._steps])
        loading.check(pipeline, self.inputs)
        self.features, self._image_features = self._declare_features()
        if not self.features and not self._image_features:
            raise CppipeError("No module of this pipeline measures anything. Give a pipeline that does.")
        libraries = ("numpy", "scipy", "scikit-image", "centrosome", "numba")
        self.version = f"native {REVISION} ({', '.join(f'{name} {version(name)}' for name in libraries)})"

    def _needed(self, compiled: list[tuple[str, Step | Drawing]]) -> list[tuple[str, Step]]:
        """Without the steps that only make images which no later step reads."""
        needed: list[tuple[str, Step]] = []
        read: set[str] = set()
        for title, step in reversed(compiled):
            is_read = bool(read & set(step.images_out))
            if isinstance(step, Drawing):
                if is_read:
                    step.settings.refuse("a later module reads the image that this one draws")
            elif is_read or step.objects_out or step.features():
                needed.insert(0, (title, step))
                read |= set(step.images_in)
                continue
            self.left_out[title] = f"nothing reads {', '.join(sorted(step.images_out))}"
        return needed

    def _find_inputs(self, pipeline: cppipe.Pipeline, drawn: Mapping[str, set[str]]) -> tuple[str, ...]:
        """The images to give. Steps that measure all of them are told which they are."""
        inputs = self._images_to_give(drawn)
        for k, (title, step) in enumerate(self._steps):
            if isinstance(step, OfLoadedImages):
                # With LoadData only its table knows all, and it is what is read elsewhere.
                inputs = sorted({*inputs, *loading.named(pipeline)})
                if not inputs:
                    raise CppipeError(
                        f"Module {title} measures all loaded images, and nothing in the pipeline says which these are. "
                        "Select them by name in the module."
                    )
                self._steps[k] = title, step.of_loaded(inputs)
        return tuple(inputs)

    def _join_measurements(self) -> None:
        """Tell steps what has been measured before them; raises `CppipeError` where one reads what has not."""
        measured: dict[str, list[str]] = {}
        for k, (title, step) in enumerate(self._steps):
            for object_set, feature in step.measurements_in if isinstance(step, ReadsMeasurements) else ():
                if feature not in measured.get(object_set, ()):
                    raise CppipeError(
                        f"Module {title} reads the measurement {feature} of {object_set}, and no enabled module before "
                        "it makes it. Enable the module that does, or choose another measurement."
                    )
            if isinstance(step, OfMeasured):
                step = step.of_measured(measured)
                self._steps[k] = title, step
            for object_set, features in step.features().items():
                measured.setdefault(object_set, []).extend(features)

    def _check_masks(self) -> None:
        """Raises `CppipeError` where a step reads an image that may have a mask, and would measure what it hides."""
        masked: set[str] = set()
        for title, step in self._steps:
            read = masked & set(step.images_in)
            if read and not getattr(step, "honours_masks", False):
                raise CppipeError(
                    f"Module {title} reads {', '.join(sorted(read))}, which has a mask, and the native engine does not "
                    "honour masks in this module. `engine: {kind: cellprofiler}` does."
                )
            if read or getattr(step, "makes_masks", False):
                masked |= set(step.images_out)
            else:
                masked -= set(step.images_out)

    def _images_to_give(self, drawn: Mapping[str, set[str]]) -> list[str]:
        """`drawn`: by module, the images that it would draw, and that are not made."""
        not_made: dict[str, str] = {}
        needed: set[str] = set()
        images: set[str] = set()
        objects: set[str] = set()
        for title, step in self._steps:
            for name in (set(step.images_in) - images) & not_made.keys():
                raise CppipeError(
                    f"Module {title} reads {name}, which module {not_made[name]} draws for the eye. The native engine "
                    "cannot run this pipeline; `engine: {kind: cellprofiler}` can."
                )
            needed |= set(step.images_in) - images
            for name in step.objects_in:
                if name not in objects:
                    raise CppipeError(
                        f"Module {title} reads the objects {name!r}, and no enabled module before it makes them. "
                        "Only images can be given from outside; identify the objects in the pipeline."
                    )
            images |= set(step.images_out)
            not_made |= dict.fromkeys(drawn[title], title)
            objects |= set(step.objects_out)
        return sorted(needed)

    def _declare_features(self) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """Sorted by name, as CellProfiler keeps them."""
        declared: dict[str, set[str]] = {}
        for _, step in self._steps:
            for object_set, features in step.features().items():
                declared.setdefault(object_set, set()).update(features)
        image = tuple(sorted(declared.pop("Image", ())))
        return {object_set: tuple(sorted(features)) for object_set, features in declared.items()}, image

    def measure(self, images: Mapping[str, np.ndarray]) -> SiteMeasurements:
        """Measure one site; see `Engine.measure`."""
        check(images, self.inputs)
        site = Workspace({name: as_pixels(images[name]) for name in self.inputs})
        site.scales |= {name: SCALES.get(images[name].dtype.name, 1) for name in self.inputs}
        site.logical |= {name for name in self.inputs if images[name].dtype == np.bool_}
        seconds = {}
        for (module, step), done_with in zip(self._steps, self._done_with, strict=True):
            start = time.thread_time()
            try:
                with np.errstate(all="ignore"):  # CellProfiler divides by zero on purpose, and keeps the NaN
                    step.run(site)
            except SiteFlagged as flag:
                raise SiteFlagged(flag.reason, module=module) from None
            except EngineError:
                raise
            except Exception as error:
                raise EngineError(f"{type(error).__name__}: {error}", module=module) from error
            seconds[module] = time.thread_time() - start
            for name in done_with:
                del site.images[name]
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


def last_uses(steps: Sequence[Step]) -> list[set[str]]:
    """For each step the images that no later one reads: raw images and illumination functions go once applied."""
    read_later: set[str] = set()
    done_with: list[set[str]] = []
    for step in reversed(steps):
        done_with.insert(0, {*step.images_in, *step.images_out} - read_later)
        read_later |= set(step.images_in)
    return done_with


def check(images: Mapping[str, np.ndarray], inputs: tuple[str, ...]) -> None:
    """Raises `EngineError` where images are missing, unknown, or of a shape or type that cannot be read."""
    missing, unknown = sorted(set(inputs) - set(images)), sorted(set(images) - set(inputs))
    problems = [f"missing images: {', '.join(missing)}"] if missing else []
    problems += [f"images the pipeline does not read: {', '.join(unknown)}"] if unknown else []
    problems += [
        f"the image {name} has shape {image.shape} and type {image.dtype}; give (y, x) arrays of {', '.join(DTYPES)}"
        for name, image in images.items()
        if image.ndim != 2 or image.size == 0 or image.dtype.name not in DTYPES
    ]
    if problems:
        raise EngineError("; ".join(problems))


def as_pixels(image: np.ndarray) -> np.ndarray:
    """Float32 pixels as CellProfiler makes them: integers are divided by the maximum of their type."""
    if image.dtype.kind != "u":
        return np.ascontiguousarray(image, dtype=np.float32)
    pixels = image.astype(np.float32, order="C")
    pixels /= np.float32(np.iinfo(image.dtype).max)
    return pixels
