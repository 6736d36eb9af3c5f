"""Settings that the CPJUMP1 pipelines leave alone, against CellProfiler running the same text on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engines import cppipe
from pipeline.engines.native.registry import Settings, compile_module
from pipeline.engines.native.workspace import Objects, Workspace
from tests.engines.cppipes import CELLS, NUCLEI, images, plain_cellprofiler, write
from tests.engines.native.sites import assert_same_as_cellprofiler

BOTH_CHANNELS = {"Select images to measure": "DNA, RNA", "Select objects to measure": "Nuclei, Cells"}
MODULES = {
    "Texture": (
        "MeasureTexture",
        {
            **BOTH_CHANNELS,
            "Measure whole images or objects?": "Both",
            "Enter how many gray levels to measure the texture at": "60",
            "Texture scale to measure": "7",
        },
    ),
    "Granularity": (
        "MeasureGranularity",
        {
            **BOTH_CHANNELS,
            "Measure within objects?": "Yes",
            "Subsampling factor for granularity measurements": "0.7",
            "Subsampling factor for background reduction": "0.35",
            "Radius of structuring element": "3",
            "Range of the granular spectrum": "18",
        },
    ),
    "Correlation": (
        "MeasureColocalization",
        {
            **BOTH_CHANNELS,
            "Select where to measure correlation": "Both",
            "Set threshold as percentage of maximum intensity for the images": "40.5",
            "Run all metrics?": "No",
            "Calculate the Manders coefficients using Costes auto threshold?": "No",
        },
    ),
}


@pytest.fixture(scope="module", params=[np.uint16, np.uint8])
def site(request):
    """An oblong site of an odd size, 16 and 8 bits deep, and all that CellProfiler says of it."""
    channels = {name: image[:171, :144] for name, image in images(0).items()}
    if request.param is np.uint8:
        channels = {name: (image >> 8).astype(np.uint8) for name, image in channels.items()}
    text = write(NUCLEI, CELLS, *MODULES.values())
    return text, channels, plain_cellprofiler(text, channels)


@pytest.mark.parametrize("family", MODULES)
def test_other_settings_give_cellprofilers_numbers_too(site, family):
    text, channels, said = site
    pixels = {
        name: image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max) for name, image in channels.items()
    }
    workspace = Workspace(
        pixels, {name: Objects.of(said[f"labels/{name}"].astype(np.int32)) for name in ("Nuclei", "Cells")}
    )
    assert workspace.objects["Cells"].count > 5
    [module] = [one for one in cppipe.read(text).modules if one.name == MODULES[family][0]]
    step = compile_module(Settings(module.name, module.number, module.variable_revision, module.settings))
    step.run(workspace)

    expected: dict[str, dict[str, np.ndarray]] = {"Nuclei": {}, "Cells": {}, "Image": {}}
    for name, values in said.items():
        object_set, feature = name.split("/")
        if object_set in expected:
            expected[object_set][feature] = values
    limits = {"relative": 0, "absolute": 1e-6} if family == "Granularity" else {}
    assert_same_as_cellprofiler(workspace, expected, family + "_", **limits)
    for object_set, features in step.features().items():
        found = workspace.image_measurements if object_set == "Image" else workspace.measurements[object_set]
        assert set(features) == set(found)
