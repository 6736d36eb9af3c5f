"""One site: images in, measurements and label images out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from cellprofiler_core.constants.measurement import GROUP_INDEX, GROUP_LENGTH, GROUP_NUMBER
from cellprofiler_core.constants.workspace import DISPOSITION_CONTINUE
from cellprofiler_core.image import Image, ImageSetList
from cellprofiler_core.object import ObjectSet
from cellprofiler_core.workspace import Workspace

from .load import Loaded
from .measurements import SiteMeasurements

_SCALE = {"uint8": 255, "uint16": 65535}
_GROUP = (GROUP_NUMBER, GROUP_INDEX, GROUP_LENGTH)


class Flagged(Exception):
    """The pipeline tells CellProfiler to skip this site."""


def versions() -> str:
    others = ("numpy", "scipy", "scikit-image", "centrosome", "mahotas")
    return f"cellprofiler {version('cellprofiler')} ({', '.join(f'{name} {version(name)}' for name in others)})"


def measure(
    loaded: Loaded, images: dict[str, np.ndarray], on_module: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Run the pipeline on the images of one site.

    Returns the message and the arrays of the answer: `features` by object set, the float64 array `values/<set>`
    (objects, features), `labels/<set>`, the image-level measurements and CPU seconds by module.
    """
    # Modules that draw without seeding shall not depend on the sites before.
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (the generator that they use)
    measurements = SiteMeasurements()
    image_set_list = ImageSetList()
    image_set_list.get_image_set(0)
    object_set = ObjectSet()
    for name, array in images.items():
        # As the file reader does. Costes' thresholds in MeasureColocalization move in steps of 1/scale.
        measurements.add(name, Image(array, scale=_SCALE.get(array.dtype.name, 1)))
    for name in _GROUP:
        measurements.add_image_measurement(name, 1)

    def workspace(module: Any) -> Workspace:
        return Workspace(loaded.pipeline, module, measurements, object_set, measurements, image_set_list)

    seconds: dict[str, float] = {}
    grids = None
    for title, module in loaded.modules:
        on_module(title)
        start = time.process_time()
        module.prepare_group(workspace(module), {}, [1])
        here = workspace(module)
        grids = here.set_grids(grids)
        module.run(here)
        seconds[title] = time.process_time() - start
        if here.disposition != DISPOSITION_CONTINUE:
            raise Flagged("the module flags this site as one to skip, as the pipeline tells it to")
    on_module("")

    arrays: dict[str, np.ndarray] = {}
    features: dict[str, list[str]] = {}
    for object_name, declared in loaded.features.items():
        objects = object_set.get_objects(object_name) if object_name in object_set.object_names else None
        count = None if objects is None else objects.count
        features[object_name], arrays[f"values/{object_name}"] = measurements.table(object_name, declared, count)
        if objects is not None:
            arrays[f"labels/{object_name}"] = objects.segmented
    image = {name: value for name, value in measurements.image_numbers().items() if name not in _GROUP}
    return {"features": features, "image": image, "seconds": seconds}, arrays
