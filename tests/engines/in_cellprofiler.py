"""Run in CellProfiler's interpreter by `cppipes`: what CellProfiler itself says, without our engine.

    in_cellprofiler.py TASK INPUT OUTPUT

`standins` makes CellProfiler importable; everything else is CellProfiler's own: it reads the text with its own
reader (which evaluates it, so give it texts of our own making only) and keeps measurements in HDF5.
"""

import io
import json
import logging
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "pipeline/engines/cellprofiler"))
from cellprofiler_child import standins  # noqa: F401, I001
from cellprofiler_child.load import Refusal, load
from cellprofiler_child.site import measure as measure_site

import cellprofiler_core.modules  # noqa: F401
import numpy as np
from cellprofiler_core.constants.modules import all_modules
from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.measurement import Measurements
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.pipeline import Pipeline
from cellprofiler_core.setting.range import IntegerRange, Range
from cellprofiler_core.setting.text.number import Number
from cellprofiler_core.setting.text.number.integer import Integer
from cellprofiler_core.workspace import Workspace

logging.disable(logging.CRITICAL)


def defaults(_, output):
    """Each module with its settings as they are when it is new: name -> [revision, [[label, value], ...]]."""
    modules = {name: module() for name, module in all_modules.items()}
    described = {
        name: [module.variable_revision_number, [[one.text, one.unicode_value] for one in module.settings()]]
        for name, module in modules.items()
    }
    Path(output).write_text(json.dumps(described))


def read(source, output):
    """What CellProfiler takes from each text of a list: [[module, revision, enabled, values], ...], or null."""

    class Recorder(Pipeline):
        def setup_module(self, attribute_string, module_name, module_number, settings, skip_attributes):
            module = super().setup_module(attribute_string, "ImageMath", module_number, [], skip_attributes)
            self.seen.append([module_name, module.revision, module.enabled, settings])

    # Only the reading is of interest; the settings need not be those of a module.
    image_math = all_modules["ImageMath"]
    image_math.set_settings_from_values = lambda self, values, revision, name: setattr(self, "revision", revision)
    answers = []
    for text in json.loads(Path(source).read_text()):
        pipeline = Recorder()
        pipeline.seen = []
        try:
            pipeline.loadtxt(io.StringIO(text), raise_on_error=True)
            answers.append(pipeline.seen)
        except Exception:
            answers.append(None)
    Path(output).write_text(json.dumps(answers))


def refusals(source, output):
    """What our side of the interpreter says to each pipeline of a list: the refusal, or null."""
    answers = []
    for told in json.loads(Path(source).read_text()):
        try:
            load(**told)
            answers.append(None)
        except Refusal as refusal:
            answers.append(str(refusal))
    Path(output).write_text(json.dumps(answers))


def measure(source, output):
    """What our side of the interpreter makes of each case of an .npz: a pipeline as read (`modules/<case>`, JSON) and
    images (`image/<case>/<name>`).

    Writes an .npz of `answers` (JSON, by case: the message of `site.measure`, or `error`) and its arrays as
    `<case>/<name>`.
    """
    with np.load(source) as given:
        given = dict(given)
    answers, found = {}, {}
    for name, modules in given.items():
        if not name.startswith("modules/"):
            continue
        case = name.removeprefix("modules/")
        prefix = f"image/{case}/"
        images = {key.removeprefix(prefix): array for key, array in given.items() if key.startswith(prefix)}
        try:
            loaded = load(json.loads(str(modules)))
            only = {image: images[image] for image in loaded.inputs}
            answers[case], arrays = measure_site(loaded, only, lambda _: None)
            found |= {f"{case}/{key}": array for key, array in arrays.items()}
        except Exception as error:
            answers[case] = {"error": f"{type(error).__name__}: {error}"}
    np.savez(output, answers=np.array(json.dumps(answers)), **found)


def limits(_, output):
    """Each module with its numbers: name -> {label: [is whole, default, least, most]}."""
    described = {}
    for name, module in all_modules.items():
        described[name] = {}
        for one in module().settings():
            if isinstance(one, Number | Range):
                ends = ("_minval", "_maxval") if isinstance(one, Range) else ("min_value", "max_value")
                is_whole = isinstance(one, Integer | IntegerRange)
                described[name][one.text] = [is_whole, one.value, *(getattr(one, end) for end in ends)]
    Path(output).write_text(json.dumps(described, default=float))


def run(source, output):
    """Run the pipeline `text` on the images of an .npz; modules named in `skip` are taken out.

    Writes an .npz of `<set>/<feature>`, `Image/<feature>` and `labels/<set>`.
    """
    given = dict(np.load(source, allow_pickle=False))
    pipeline = Pipeline()
    pipeline.loadtxt(io.StringIO(str(given.pop("text"))), raise_on_error=True)
    skip = set(str(given.pop("skip")).split())
    for module in [one for one in pipeline.modules(False) if one.module_name in skip or not one.enabled]:
        pipeline.remove_module(module.module_num)
    measurements, objects, image_sets = Measurements(mode="memory"), ObjectSet(), ImageSetList()
    image_sets.get_image_set(0)
    for name, pixels in given.items():
        measurements.add(name, Image(pixels, scale=np.iinfo(pixels.dtype).max))  # as CellProfiler's file reader does
    for name in ("Group_Number", "Group_Index", "Group_Length"):
        measurements.add_image_measurement(name, 1)
    for module in pipeline.modules():
        module.show_window = False
        workspace = Workspace(pipeline, module, measurements, objects, measurements, image_sets)
        module.prepare_group(workspace, {}, [1])
        module.run(workspace)
    results = {f"labels/{name}": objects.get_objects(name).segmented for name in objects.object_names}
    for name in measurements.get_object_names():
        if name != "Experiment":
            for feature in measurements.get_feature_names(name):
                results[f"{name}/{feature}"] = np.asarray(measurements.get_current_measurement(name, feature))
    np.savez(output, **results)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
