"""Illumination pipelines: functions of all sites of a plate, in the manner of "All: Across cycles"."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TypeGuard

import numpy as np

from pipeline.engines import cppipe, loading
from pipeline.engines.native.engine import DRAWING, LEFT_OUT, as_pixels
from pipeline.engines.native.modules.correct_illumination_calculate import CalculateIllumination
from pipeline.engines.native.registry import Settings, Step, compile_module
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError


def illumination_functions(text: str, sites: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Run an illumination pipeline over sites, in their order; the float32 images it makes of all of them, by name.

    `text`: a `.cppipe` of CorrectIlluminationCalculate over all cycles, with steps on single images (such as Resize)
    before and after. Each of `sites` gives the images it reads. Means are float32 sums in the order of the sites, as
    in CellProfiler: another order can move a value by one 16-bit step of the median filter.

    Warns of numbers outside CellProfiler's limits, saying what it takes. Raises `CppipeError` where a module is not
    supported, or no function is of all sites.
    """
    saved = [
        Settings(module.name, module.number, module.variable_revision, module.settings)
        for module in cppipe.read(text).enabled
        if module.name not in loading.READS and module.name not in LEFT_OUT and module.name not in DRAWING
    ]
    steps = [compile_module(settings) for settings in saved]
    for note in (note for settings in saved for note in settings.notes):
        warnings.warn(note, stacklevel=2)
    means = [step for step in steps if is_of_all_sites(step)]
    if not means:
        raise CppipeError('No CorrectIlluminationCalculate of this pipeline works on "All: Across cycles".')
    of_all = {name for step in means for name in step.images_out}
    after: list[Step] = []
    for step in steps:
        if step not in means and of_all & set(step.images_in):
            after.append(step)
            of_all |= set(step.images_out)
    before = [step for step in steps if step not in means and step not in after]

    sums: dict[str, np.ndarray] = {}
    n_sites = 0
    for images in sites:
        site = Workspace({name: as_pixels(np.asarray(image)) for name, image in images.items()})
        for step in before:
            step.run(site)
        for mean in means:
            image = mean.to_average(site.images[mean.image])
            sums[mean.function] = sums[mean.function] + image if n_sites else image
        n_sites += 1
    plate = Workspace({})
    for mean in means:
        plate.images |= mean.finish(sums[mean.function] / np.float32(n_sites))
    for step in after:
        step.run(plate)
    return plate.images


def is_of_all_sites(step: Step) -> TypeGuard[CalculateIllumination]:
    return isinstance(step, CalculateIllumination) and not step.of_each_site
