"""The screens that run the standard pipelines."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.config import SCREENS, load_screen
from pipeline.engines import cppipe


@pytest.mark.parametrize("screen", ["jump_production", "standard"])
def test_the_pipeline_of_a_screen_reads_the_images_that_the_screen_names(screen):
    text = cppipe.read_text(SCREENS / screen / "analysis.cppipe")
    [corrected, *_] = [module for module in cppipe.read(text).enabled if module.name == "CorrectIlluminationApply"]
    named = load_screen(screen)

    assert set(corrected.values("Select the input image")) == set(named.image_names.values())
    assert set(corrected.values("Select the illumination function")) == set(named.illumination_names.values())


@pytest.mark.real_data
def test_the_illumination_pipeline_of_jump_differs_from_cpjump1s_in_names_alone(shared_data):
    """So that functions which are computed are computed in JUMP's way, by the default."""

    def steps(text: str) -> Counter[tuple]:
        return Counter(
            (module.name, *(value for label, value in module.settings if "image" not in label or "averaged" in label))
            for module in cppipe.read(text).enabled
            if module.name in ("Resize", "CorrectIlluminationCalculate")
        )

    theirs = shared_data / "pipelines/illum/ipp_JUMP_production--JUMP_illum_LoadData_v1.cppipe"
    ours = SCREENS / "cpjump1" / "illumination.cppipe"

    assert sum(steps(cppipe.read_text(ours)).values()) == 24
    assert steps(cppipe.read_text(theirs)) == steps(cppipe.read_text(ours))
