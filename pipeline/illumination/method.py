"""How an illumination pipeline makes each function: the steps before the mean over all sites, and those after it.

Where a config names no illumination pipeline, each channel gets the steps of CPJUMP1's: Resize (to a fifth),
CorrectIlluminationCalculate (mean over all sites, median filter, rescaled to a minimum of 1), Resize (back).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, TypeGuard

import numpy as np
from skimage.transform import resize

from pipeline.engines import cppipe, loading
from pipeline.engines.native.engine import DRAWING, LEFT_OUT, as_pixels
from pipeline.engines.native.modules.correct_illumination_calculate import CalculateIllumination
from pipeline.engines.native.modules.flag_image import FlagImage
from pipeline.engines.native.registry import OfLoadedImages, ReadsMeasurements, Settings, Step, compile_module
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError, ImageError, SiteFlagged
from pipeline.illumination.sum import PartialSum, check_range

#: of how CPJUMP1's steps are run: sums of another revision are not gone on with
REVISION = 1
SHIPPED = Path(__file__).parents[1] / "screens/cpjump1/illumination.cppipe"
#: in the shipped pipeline: the image that the steps begin with, the function that they end with
SHIPPED_NAMES = ("OrigDNA", "UpsampledIllumDNA")
SKIPS = "Skip image set if flagged?"


@dataclass(frozen=True)
class Method:
    """How one function is made. `images`: that a site must have for it; `made`: the pipeline's name of the function.

    `judging`: steps that decide whether a site counts at all.
    """

    images: tuple[str, ...]
    judging: tuple[Step, ...]
    before: tuple[Step, ...]
    mean: CalculateIllumination
    after: tuple[Step, ...]
    made: str

    def of_site(self, images: Mapping[str, np.ndarray]) -> PartialSum:
        """What one site adds. `images`: uint8, uint16, or floats of 0 to 1, (y, x).

        Raises `ImageError` where an image, or what is to be averaged, is not in 0 to 1, and where the pipeline says
        that the site is to be skipped.
        """
        site = Workspace({name: as_pixels(images[name]) for name in self.images})
        for image in site.images.values():
            check_range(image)
        try:
            with np.errstate(all="ignore"):  # as the engine does
                for step in (*self.judging, *self.before):
                    step.run(site)
        except SiteFlagged:
            raise ImageError("is of a site that the illumination pipeline skips (FlagImage)") from None
        return PartialSum.of(self.mean.to_average(site.images[self.mean.image]))

    def finish(self, partial: PartialSum, shape: tuple[int, int]) -> np.ndarray:
        """The function of a plate: float32 (y, x) of the images' own `shape`.

        A channel that is black all over the plate has no function; it gets ones, which change nothing. CellProfiler's
        last Resize, by a factor, can miss the images' shape by a pixel; here it is always met.
        """
        with np.errstate(all="ignore"):
            plate = Workspace(self.mean.finish(partial.mean()))
            for step in self.after:
                step.run(plate)
        function = plate.images[self.made]
        if not (function > 0).any():
            return np.ones(shape, np.float32)
        if function.shape != shape:
            function = resize(function, shape, order=1, mode="symmetric").astype(np.float32)
        return function


@lru_cache(maxsize=4)
def methods(text: str | None, functions: tuple[tuple[str, str], ...]) -> dict[str, Method]:
    """How each function is made by the illumination pipeline `text`, or, without one, by CPJUMP1's steps.

    `functions`: as the analysis pipeline names them, each with its image. In `text` a function is the image that is
    saved under a file name that ends in its name (`\\g<Plate>_IllumDNA`), or else has that name itself.

    Raises `CppipeError` where a function is not made, or not from the mean over all sites, or by a module that is not
    supported.
    """
    if text is None:
        return {function: _shipped(image) for function, image in functions}
    modules = cppipe.read(text).enabled
    saved = dict(_saved_images(modules))
    steps, refused = _compiled(modules)
    judging = _judging(modules, steps, [image for _, image in functions])
    made = {name for step in steps for name in step.images_out}
    found = {}
    for function, _ in functions:
        name = next((image for file, image in saved.items() if file.endswith(function)), function)
        if name not in made:
            if refused:
                raise refused[0]
            raise CppipeError(
                f"The illumination pipeline makes no {function}, which the analysis pipeline asks for. It makes "
                f"{', '.join(sorted(made)) or 'no images'}, and saves {', '.join(saved) or 'none'}."
            )
        found[function] = _method(name, steps, judging)
        strange = set(found[function].images) - {image for _, image in functions}
        if strange and refused:  # what makes it could not be read
            raise refused[0]
        if strange:
            raise CppipeError(
                f"The illumination pipeline makes {function} from {min(strange)}, which is no image that has an "
                f"illumination function; those are {', '.join(image for _, image in functions)}."
            )
    return found


def notes(text: str) -> list[str]:
    """What the reader has to know of numbers that are not taken as they stand."""
    return [note for module in cppipe.read(text).enabled for note in _noted(module)]


def _shipped(image: str) -> Method:
    """CPJUMP1's steps for DNA, from this image."""
    first, last = SHIPPED_NAMES
    steps = [
        replace(module, settings=tuple((label, image if value == first else value) for label, value in module.settings))
        for module in cppipe.read(SHIPPED.read_text()).enabled
        if any(value.endswith("DNA") for _, value in module.settings)
    ]
    return _method(last, _compiled(steps)[0])


def _compiled(modules: Iterable[cppipe.Module]) -> tuple[list[Step], list[CppipeError]]:
    """The steps that can be run, and why the others cannot: nobody may ask for what those make."""
    steps, refused = [], []
    for module in modules:
        if module.name in loading.READS or module.name in LEFT_OUT or module.name in DRAWING:
            continue
        try:
            steps.append(compile_module(_settings(module)))
        except CppipeError as error:
            refused.append(error)
    return steps, refused


def _settings(module: cppipe.Module) -> Settings:
    return Settings(module.name, module.number, module.variable_revision, module.settings)


def _noted(module: cppipe.Module) -> list[str]:
    if module.name in loading.READS or module.name in LEFT_OUT or module.name in DRAWING:
        return []
    settings = _settings(module)
    try:
        compile_module(settings)
    except CppipeError:
        return []
    return settings.notes


def _method(made: str, steps: list[Step], judging: tuple[Step, ...] = ()) -> Method:
    """The steps on the way to an image, from its last one backwards."""
    way: list[Step] = []
    wanted = {made}
    for step in reversed(steps):
        if wanted & set(step.images_out):
            way.insert(0, step)
            wanted = (wanted - set(step.images_out)) | set(step.images_in)
    means = [step for step in way if _is_of_all_sites(step)]
    if len(means) != 1:
        raise CppipeError(
            f"{made} is not made from one mean over all sites: {len(means)} CorrectIlluminationCalculate of the "
            'illumination pipeline work on "All: Across cycles" or "All: First cycle" on the way to it.'
        )
    place = [step is means[0] for step in way].index(True)
    before, after = tuple(way[:place]), tuple(way[place + 1 :])
    of_plate = set(means[0].images_out)
    for step in after:
        if missing := set(step.images_in) - of_plate:
            raise CppipeError(f"{made} is made from a mean over all sites and from {min(missing)} of single sites")
        of_plate |= set(step.images_out)
    judged = {name for step in judging for name in step.images_in} - {
        name for step in judging for name in step.images_out
    }
    return Method(tuple(sorted(wanted | judged)), judging, before, means[0], after, made)


def _judging(modules: Iterable[cppipe.Module], steps: list[Step], images: list[str]) -> tuple[Step, ...]:
    """All that comes before the last FlagImage that skips sites, and it; `images`: those that are loaded."""
    if not any(module.name == "FlagImage" and "Yes" in module.values(SKIPS) for module in modules):
        return ()
    skipping = [k for k, step in enumerate(steps) if isinstance(step, FlagImage) and any(f.skips for f in step.flags)]
    first = steps[: skipping[-1] + 1] if skipping else []
    first = [step.of_loaded(images) if isinstance(step, OfLoadedImages) else step for step in first]
    read = {one for step in first if isinstance(step, ReadsMeasurements) for one in step.measurements_in}
    made = {(name, feature) for step in first for name, features in step.features().items() for feature in features}
    if not first or read - made or any(_is_of_all_sites(step) for step in first):
        raise CppipeError(
            "The illumination pipeline skips sites (FlagImage), and what decides this is not supported here, or comes "
            f'after the mean over all sites. Set "{SKIPS}" to No, or publish the functions (`illumination: gallery`).'
        )
    return tuple(first)


def _is_of_all_sites(step: Any) -> TypeGuard[CalculateIllumination]:
    return isinstance(step, CalculateIllumination) and not step.of_each_site


def _saved_images(modules: Iterable[cppipe.Module]) -> Iterable[tuple[str, str]]:
    """File name without metadata tags and suffix, and the image that is saved under it."""
    for module in modules:
        if module.name == "SaveImages" and module.value("Select method for constructing file names") == "Single name":
            name = re.sub(r"\\g<[^>]*>", "", module.value("Enter single file name"))
            yield PurePath(name).stem, module.value("Select the image to save")
