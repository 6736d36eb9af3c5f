"""What a pipeline's input modules say of its images, for engines that are given their images in memory.

Which files are measured is the plan's business, so these modules are left out. What they do to pixels is not: by which
maximum an image is divided is kept, and a way of loading that grey planes in memory cannot follow is refused.

Source: NamesAndTypes, LoadData and FileImage of cellprofiler_core 4.2.8, and the reader of python-bioformats 4
(BSD-3-Clause), which they hand the files to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from pipeline.engines.cppipe import Module, Pipeline
from pipeline.errors import CppipeError

READS = frozenset({"Images", "Metadata", "NamesAndTypes", "Groups", "LoadData", "LoadImages", "LoadSingleImage"})

#: What the pixels of an image are divided by: a number that the pipeline gives, or one of the words below.
FullScale = float | str
#: the largest value that the file names (TIFF tag MaxSampleValue); where it names none, that of its type
METADATA = "metadata"
#: the largest value of the type, 255 or 65535, whatever the file names
BIT_DEPTH = "bit depth"
#: the largest value of the type; a file that names another one cannot be used
BIT_DEPTH_ONLY = "bit depth only"

_BY_ANSWER = {"Yes": METADATA, "No": BIT_DEPTH}
_BY_CHOICE = {"Image metadata": METADATA, "Image bit-depth": BIT_DEPTH}
_AS_GREY = ("Grayscale image", "Illumination function")
_KIND = "Select the image type"
_RESCALE, _RANGE, _MAXIMUM = "Rescale intensities?", "Set intensity range from", "Maximum intensity"


def full_scales(pipeline: Pipeline, names: Iterable[str]) -> dict[str, FullScale]:
    """What the pixels of each of these images are divided by: {"OrigDNA": 4095.0, "OrigER": "metadata"}.

    Raises `CppipeError` where a module says it in a way that is not understood.
    """
    by_name: dict[str, FullScale] = {}
    others: FullScale = METADATA
    for module in pipeline.enabled:
        if module.name == "NamesAndTypes":
            by_name |= {image["name"]: _full_scale(module, image) for image in _images(module)}
        elif module.name in ("LoadData", "LoadImages"):  # what LoadSingleImage loads is no image of a site
            others = _answer(module)
    found = {name: by_name.get(name, others) for name in names}
    if any(map(_measures_costes, pipeline.enabled)):
        return {name: BIT_DEPTH_ONLY if scale == METADATA else scale for name, scale in found.items()}
    return found


def check(pipeline: Pipeline, inputs: Iterable[str]) -> None:
    """Raises `CppipeError` where these images are loaded in a way that an engine given grey planes cannot follow."""
    inputs = set(inputs)
    for module in pipeline.enabled:
        if module.name != "NamesAndTypes":
            continue
        if "Yes" in module.values("Process as 3D?"):
            raise CppipeError(
                f"Module {module} cannot be run: images are flat here, not volumes. Set Process as 3D? to No."
            )
        for image in _images(module):
            kind = image.get(_KIND, _AS_GREY[0])
            if image["name"] in inputs and kind not in _AS_GREY:
                raise CppipeError(
                    f"Module {module} loads {image['name']} as {kind!r} ({_KIND}), and images are given "
                    f"as grey planes. Choose {_AS_GREY[0]!r} for it, and make what else is needed in the pipeline."
                )
    scales = full_scales(pipeline, inputs)
    manual = sorted(name for name, scale in scales.items() if isinstance(scale, float))
    for module in pipeline.enabled:
        if manual and _measures_costes(module):
            raise CppipeError(
                f"Module {module} cannot be run: Costes' thresholds go in steps of the camera's range, which is not "
                f"known where NamesAndTypes divides an image by a maximum of its own ({', '.join(manual)}). Switch "
                f"Costes off in the module, or set {_RANGE} to Image bit-depth in NamesAndTypes."
            )


def named(pipeline: Pipeline) -> set[str]:
    """The images that NamesAndTypes names; a table that LoadData reads is not known here."""
    return {image["name"] for module in pipeline.enabled if module.name == "NamesAndTypes" for image in _images(module)}


def left_out(module: Module) -> str:
    """Why an input module is left out, and what of it is kept, or is not."""
    said = ["reads files; images are given in memory"]
    if "Yes" in module.values("Process just a range of rows?"):
        said.append(
            f"its range of rows ({module.value('Rows to process')}) is not kept: all that is planned is measured"
        )
    if "Custom" in module.values("Filter images?"):
        said.append("its filter is not kept: all that is planned is measured")
    scales: Mapping[str, FullScale] = {}
    if module.name == "NamesAndTypes":
        grey = [image for image in _images(module) if image.get(_KIND) == _AS_GREY[0]]
        scales = {image["name"]: _full_scale(module, image) for image in grey}
    elif module.values(_RESCALE):
        scales = {"pixels": _answer(module)}
    for scale in dict.fromkeys(scales.values()):
        names = ", ".join(name for name, own in scales.items() if own == scale)
        if scale == BIT_DEPTH:
            said.append(f"as it says, {names} are divided by the maximum of their type, whatever a file names")
        elif isinstance(scale, float):
            said.append(f"as it says, {names} are divided by {scale:g}")
    return "; ".join(said)


def _images(module: Module) -> Iterator[dict[str, str]]:
    """The images that NamesAndTypes names, each with its own settings and its `name`."""
    groups: list[dict[str, str]] = [{}]
    for label, value in module.settings:
        if label in ("Select the rule criteria", "Single image location"):
            groups.append({})
        groups[-1].setdefault(label, value)
    header, *others = groups
    for group in [header] if module.value("Assign a name to") == "All images" else others:
        if group.get(_KIND) != "Objects":
            name = group.get("Name to assign these images", group.get("Name to assign this image", ""))
            yield {**group, "name": name}


def _full_scale(module: Module, image: Mapping[str, str]) -> FullScale:
    choice, maximum = image.get(_RANGE, "Image metadata"), image.get(_MAXIMUM, "")
    if image.get(_KIND) == "Illumination function":  # its range is not asked for
        return BIT_DEPTH
    if choice == "Manual":
        try:
            number = float(maximum)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise CppipeError(
                f"Module {module}: {image['name']} is to be divided by {maximum!r} ({_MAXIMUM}), which is no number "
                "above 0. Correct it in the module."
            )
        return number
    return _known(module, _RANGE, choice, _BY_CHOICE)


def _answer(module: Module) -> FullScale:
    """Of a module with one answer for all images; older ones did not ask, and went by the metadata."""
    answers = set(module.values(_RESCALE)) or {"Yes"}
    if len(answers) > 1:
        raise CppipeError(
            f"Module {module} answers {_RESCALE} differently for its images, and which is which is not known here. "
            "Give all the same answer, or load them by NamesAndTypes."
        )
    return _known(module, _RESCALE, answers.pop(), _BY_ANSWER)


def _known(module: Module, label: str, value: str, meanings: Mapping[str, str]) -> str:
    if value not in meanings:
        raise CppipeError(
            f"Module {module}: {label}:{value} is not known here ({', '.join(meanings)} are). "
            "Open the pipeline in CellProfiler 4.2, choose anew and export it again."
        )
    return meanings[value]


def _measures_costes(module: Module) -> bool:
    # CellProfiler goes by this setting also where "Run all metrics?" hides it.
    asked = "Calculate the Manders coefficients using Costes auto threshold?"
    return module.name == "MeasureColocalization" and "Yes" in module.values(asked)
