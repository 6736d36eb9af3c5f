"""From the settings of a pipeline to CellProfiler modules that run one site in memory."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any, NamedTuple

import cellprofiler_core.modules  # noqa: F401  (fills the table of modules)
from cellprofiler.utilities.rules import Rules
from cellprofiler_core.constants.measurement import MCA_AVAILABLE_POST_GROUP, MCA_AVAILABLE_POST_RUN
from cellprofiler_core.constants.modules import all_modules
from cellprofiler_core.module import Module
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.setting import ValidationError
from cellprofiler_core.setting.choice import Choice
from cellprofiler_core.setting.range import FloatRange, IntegerRange
from cellprofiler_core.setting.subscriber import Subscriber
from cellprofiler_core.setting.subscriber.list_subscriber import ListSubscriber
from cellprofiler_core.setting.text import Directory, Filename, Pathname
from cellprofiler_core.setting.text.alphanumeric.name import Name
from cellprofiler_core.setting.text.number import Number
from cellprofiler_core.setting.text.number.integer import Integer
from cellprofiler_core.utilities.core.modules import instantiate_module

IMAGES, OBJECTS, GRIDS = "imagegroup", "objectgroup", "gridgroup"

#: modules that only read or write disk, only draw, or only speak of the experiment as a whole
LEFT_OUT = {
    **dict.fromkeys(
        ["LoadData", "LoadImages", "LoadSingleImage", "Images", "Metadata", "NamesAndTypes", "Groups"],
        "reads files; images are given in memory",
    ),
    **dict.fromkeys(
        ["SaveImages", "SaveCroppedObjects", "ExportToSpreadsheet", "ExportToDatabase", "CreateBatchFiles"],
        "writes files; measurements and label images are handed back in memory",
    ),
    **dict.fromkeys(
        ["DisplayDensityPlot", "DisplayHistogram", "DisplayPlatemap", "DisplayScatterPlot"],
        "only draws",
    ),
    "CalculateStatistics": "only speaks of the whole experiment, after its last site",
    "LabelImages": "names wells by the order of the images; wells are known from their keys",
}

REFUSED = {
    "EditObjectsManually": "it needs a person at the screen",
    "IdentifyObjectsManually": "it needs a person at the screen",
    "RunImageJMacro": "it needs ImageJ and writes files",
    "StraightenWorms": "it needs a training file",
    "UntangleWorms": "it needs a training file",
}

#: module, setting, value -> why; for what only one choice in a module makes impossible
REFUSED_CHOICES = {
    ("Crop", "crop_method", "Mouse"): "it needs a person at the screen",
    ("DefineGrid", "manual_choice", "Mouse"): "it needs a person at the screen",
    ("DefineGrid", "each_or_once", "Once"): "it takes over what it found in another site",
    ("FlipAndRotate", "rotate_choice", "Use mouse"): "it needs a person at the screen",
    ("MeasureImageOverlap", "decimation_method", "K Means"): "it needs scikit-learn; Skeleton does not",
    ("MeasureObjectOverlap", "decimation_method", "K Means"): "it needs scikit-learn; Skeleton does not",
}

#: settings whose value is no name
_NO_NAME = ("", "None", "Do not use", "Leave blank")


class Refusal(Exception):
    """The pipeline cannot be run; the text names the module and the way out."""


class LoadedImages(Module):
    """Takes the place of LoadData: MeasureImageQuality asks the pipeline which images were loaded."""

    module_name = "LoadedImages"
    variable_revision_number = 1

    def __init__(self) -> None:
        self.names: list[str] = []
        super().__init__()

    def create_settings(self) -> None:
        pass

    def settings(self) -> list:
        return []

    def run(self, workspace: Any) -> None:
        pass

    def is_load_module(self) -> bool:
        return True

    def other_providers(self, group: str) -> list[str]:
        return self.names if group == IMAGES else []


class Loaded(NamedTuple):
    """A pipeline ready to run. `modules`: ("20 MeasureGranularity", module) with the numbers of the file."""

    pipeline: Pipeline
    modules: list[tuple[str, Module]]
    inputs: list[str]
    features: dict[str, list[str]]
    left_out: dict[str, str]
    #: module, label, text, kind, value, least and most of the numbers in force
    numbers: list[tuple]


def load(saved: list[dict[str, Any]], is_newer: bool = False, rules: dict[str, str] | None = None) -> Loaded:
    """Make a pipeline of modules as `cppipe.read` gives them. Raises `Refusal` where it cannot be run.

    `is_newer`: a newer CellProfiler saved them; `rules`: the texts of the rules files that FlagImage reads, by name.
    """
    left_out: dict[str, str] = {}
    modules: list[tuple[str, Module]] = []
    named: set[str] = set()  # the images that the file itself calls loaded
    for one in saved:
        title = f"{one['number']} {one['name']}"
        if not one["enabled"]:
            left_out[title] = "disabled in the pipeline"
        elif one["name"] not in LEFT_OUT:
            modules.append((title, _instantiate(title, one)))
            if is_newer:
                _refuse_what_is_newer(title, one, modules[-1][1])
        else:
            left_out[title] = LEFT_OUT[one["name"]]
            if one["name"] == "NamesAndTypes":
                loader = _instantiate(title, one)
                _refuse_what_cannot_run(title, loader)
                named.update(_provided(loader, IMAGES))

    pipeline, loaded = Pipeline(), LoadedImages()
    for module in [loaded, *(module for _, module in modules)]:
        module.set_module_num(len(pipeline.modules()) + 1)
        pipeline.add_module(module)
    for title, module in modules:
        _refuse_what_cannot_run(title, module)
        module.post_pipeline_load(pipeline)
        if module.module_name == "FlagImage":
            _give_rules(title, module, rules or {}, pipeline)

    # What a module measures may depend on the images, and the images on the modules that are needed.
    loaded.names = _inputs(modules, named)
    unneeded = dict(_unneeded(modules, pipeline))
    for title, module in modules:
        if title in unneeded:
            pipeline.remove_module(module.module_num)
    modules = [(title, module) for title, module in modules if title not in unneeded]
    _refuse_what_reads_unknown_objects(modules)
    loaded.names = _inputs(modules, named)
    features = _features(pipeline)
    if not features and not any(module.get_measurement_columns(pipeline) for _, module in modules):
        raise Refusal("No module of this pipeline measures anything. Give a pipeline that does.")
    left_out = dict(sorted((left_out | unneeded).items(), key=lambda item: int(item[0].split()[0])))
    return Loaded(pipeline, modules, loaded.names, features, left_out, list(_numbers(modules)))


def _instantiate(title: str, one: dict[str, Any]) -> Module:
    try:
        module = instantiate_module(one["name"])
        module.set_settings_from_values([value for _, value in one["settings"]], one["variable_revision"], one["name"])
    except Exception as error:
        if one["name"] not in all_modules:
            raise Refusal(
                f"Module {title}: {error}. Plug-ins cannot be used; disable the module or replace it."
            ) from error
        raise Refusal(
            f"Module {title}: CellProfiler 4.2.8 cannot take over its settings of revision "
            f"{one['variable_revision']} ({type(error).__name__}: {error}). "
            "Open the pipeline in CellProfiler 4.2 and export it again."
        ) from error
    if one["variable_revision"] > type(module).variable_revision_number:
        raise Refusal(
            f"Module {title}: its settings are of revision {one['variable_revision']}, and CellProfiler 4.2.8 knows up "
            f"to {type(module).variable_revision_number}. Make the pipeline in CellProfiler 4.2."
        )
    _keep_the_files_order(module, [value for _, value in one["settings"]])
    module.show_window = False
    # It would write the skeleton's graph to disk, beside what it measures.
    if one["name"] == "MeasureObjectSkeleton":
        module.wants_objskeleton_graph.value = False
    return module


def _refuse_what_is_newer(title: str, one: dict[str, Any], module: Module) -> None:
    """Refuse settings that CellProfiler 4.2.8 has not, of a module as saved and as loaded."""
    for setting, (label, value) in zip(module.settings(), one["settings"], strict=False):  # counted below
        if setting.text != label:
            raise Refusal(
                f"Module {title} has a setting {label!r} where CellProfiler 4.2.8 has {setting.text!r}: a newer "
                "CellProfiler saved it. Make the pipeline in CellProfiler 4.2."
            )
        if type(setting) is Choice and value not in setting.choices:
            raise Refusal(
                f"Module {title}: '{label}: {value}' is no choice of CellProfiler 4.2.8 "
                f"({', '.join(setting.choices)}); a newer CellProfiler saved it. Choose one of these."
            )
    if len(one["settings"]) != len(module.settings()):
        raise Refusal(
            f"Module {title} has {len(one['settings'])} settings where CellProfiler 4.2.8 has "
            f"{len(module.settings())}: a newer CellProfiler saved it. Make the pipeline in CellProfiler 4.2."
        )


def _give_rules(title: str, module: Module, rules: dict[str, str], pipeline: Pipeline) -> None:
    """Have a FlagImage find its rules in these texts instead of files, and check that they can be followed."""

    def get_rules(group: Any) -> Rules:
        found = Rules(allow_fuzzy=group.allow_fuzzy)
        found.parse(StringIO(rules[group.rules_file_name.value]))
        return found

    module.get_rules = get_rules
    try:
        module.validate_module(pipeline)
    except ValidationError as error:
        raise Refusal(f"Module {title}: {error}. Correct its rules file, or the pipeline.") from error


def _keep_the_files_order(module: Module, saved: list[str]) -> None:
    """Put names of images and objects in the order in which an old file has them, each in a setting of its own.

    CellProfiler's upgrade to lists passes them through a `set`, so that their order, and with it the names and values
    of columns of pairs, would hang on Python's hash seed.
    """
    for setting in module.settings():
        if isinstance(setting, ListSubscriber) and all(name in saved for name in setting.value):
            setting.value = ", ".join(sorted(setting.value, key=saved.index))


def _refuse_what_cannot_run(title: str, module: Module) -> None:
    name = module.module_name
    reasons = [REFUSED.get(name)] + [
        reason
        for (owner, attribute, value), reason in REFUSED_CHOICES.items()
        if owner == name and any(getattr(module, attribute) is one for one in module.visible_settings())
        if getattr(module, attribute).value_text == value
    ]
    if module.is_aggregation_module():
        reasons.append("it combines several sites, and each site is measured alone")
    files = [one.text for one in module.visible_settings() if isinstance(one, (Directory, Filename, Pathname))]
    if files and name != "FlagImage":  # its rules are given beside the pipeline
        reasons.append(f"it needs a file ({files[0]!r})")
    for reason in filter(None, reasons):
        way_out = "Disable it in the pipeline, or choose other settings for it."
        if name == "CorrectIlluminationCalculate":
            way_out = "Give the illumination function as an image, or have the module compute one for each image."
        raise Refusal(f"Module {title} cannot be run: {reason}. {way_out}")


def _names(module: Module, group: str) -> Iterator[str]:
    """The images or objects that a module asks for, by the settings that are in force."""
    for setting in module.visible_settings():
        if isinstance(setting, Subscriber) and setting.group == group and not setting.is_blank:
            names = setting.value if isinstance(setting.value, list) else [setting.value]
            yield from (name for name in map(str, names) if name not in _NO_NAME)


def _numbers(modules: list[tuple[str, Module]]) -> Iterator[tuple]:
    """Texts that CellProfiler does not take as they stand, with what it takes for them."""
    for title, module in modules:
        for setting in module.visible_settings():
            is_range = type(setting) in (FloatRange, IntegerRange)  # others have an end that is no number
            if not (is_range or isinstance(setting, Number)):
                continue
            try:
                setting.test_valid(None)
            except ValidationError:
                ends = ("_minval", "_maxval") if is_range else ("min_value", "max_value")
                kind = "int" if isinstance(setting, Integer | IntegerRange) else "float"
                limits = (getattr(setting, end) for end in ends)
                # As Python has them: NumPy's cannot be sent.
                limits = (None if limit is None else float(limit) for limit in limits)
                value = setting.value
                value = [float(one) for one in value] if is_range else float(value)
                yield title, setting.text, setting.value_text, kind, value, *limits


def _provided(module: Module, group: str) -> Iterator[str]:
    yield from module.other_providers(group)
    for setting in module.visible_settings():
        if isinstance(setting, Name) and setting.group == group and setting.value not in _NO_NAME:
            yield setting.value


def _unneeded(modules: list[tuple[str, Module]], pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """The modules that measure nothing and make nothing that is read after them, with the reason."""
    read: set[str] = set()
    for title, module in reversed(modules):
        images = set(_provided(module, IMAGES))
        makes_others = any(True for group in (OBJECTS, GRIDS) for _ in _provided(module, group))
        if makes_others or images & read or module.get_measurement_columns(pipeline):
            read.update(_names(module, IMAGES))
        else:
            yield title, f"nothing reads {', '.join(sorted(images))}" if images else "it measures nothing"


def _inputs(modules: list[tuple[str, Module]], named: set[str]) -> list[str]:
    """The images that modules read and none before them makes."""
    inputs: set[str] = set()
    made: set[str] = set()
    for _, module in modules:
        inputs.update(name for name in _names(module, IMAGES) if name not in made)
        made.update(_provided(module, IMAGES))
    # "All" is what NamesAndTypes says; with LoadData only its table knows, and it is what is read elsewhere.
    for title, module in modules:
        if str(getattr(module, "images_choice", "")) == "All loaded images":
            inputs |= named
            if not inputs:
                raise Refusal(
                    f"Module {title} measures all loaded images, and nothing in the pipeline says which these are. "
                    "Select them by name in the module."
                )
    return sorted(inputs)


def _refuse_what_reads_unknown_objects(modules: list[tuple[str, Module]]) -> None:
    made: dict[str, set[str]] = {OBJECTS: set(), GRIDS: set()}
    for title, module in modules:
        for group, word in ((OBJECTS, "objects"), (GRIDS, "grid")):
            for name in _names(module, group):
                if name not in made[group]:
                    raise Refusal(
                        f"Module {title} reads the {word} {name!r}, and no enabled module before it makes them. "
                        "Only images can be given from outside; identify the objects in the pipeline."
                    )
            made[group].update(_provided(module, group))


def _features(pipeline: Pipeline) -> dict[str, list[str]]:
    """Object set -> the features that a site gets, sorted by name as CellProfiler keeps them."""
    features: dict[str, set[str]] = {}
    for module in pipeline.modules():
        for object_name, feature, kind, *attributes in _columns(module, pipeline):
            later = attributes and (
                attributes[0].get(MCA_AVAILABLE_POST_GROUP) or attributes[0].get(MCA_AVAILABLE_POST_RUN)
            )
            if object_name not in ("Image", "Experiment") and not later and kind in ("integer", "float"):
                features.setdefault(object_name, set()).add(feature)
    return {object_name: sorted(names) for object_name, names in features.items()}


def _columns(module: Module, pipeline: Pipeline) -> list[tuple]:
    """What a module measures, as CellProfiler declares it.

    FilterObjects forgets the sets that it relabels beside the filtered one, unless it keeps what it removes (an `if`
    that binds wider than meant); their columns are measured all the same.
    """
    if module.module_name == "FilterObjects" and not module.keep_removed_objects.value:
        relabelled = [(one.object_name.value, one.target_name.value) for one in module.additional_objects]
        return super(type(module), module).get_measurement_columns(pipeline, additional_objects=relabelled)
    return module.get_measurement_columns(pipeline)
