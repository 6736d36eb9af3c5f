"""Which public Cell Painting pipelines open, and why the others do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.engines import cppipe, rules
from pipeline.errors import CppipeError
from tests.engines.cellprofiler.test_pipelines import refused

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

#: of 42 analysis pipelines those that do not open; the first two open when their rules are given
REFUSED = {
    "ipp_cellpainting_u2os_63x_phenix_bin2--analysis.cppipe": "skips sites by the rules file 'qc.txt'",
    "ipp_cellpainting_u2os_63x_phenix_bin2--analysis_without_batchfiles.cppipe": "skips sites by the rules file",
    "carpenterlab_2018_Rohban_NatComm--forPilotrerun9925.cppipe": "settings of revision 7 .*not supported in CellPro",
}
#: illumination pipelines are no analysis: functions are computed by `illumination_pipeline`
ILLUMINATION = "it combines several sites|No module of this pipeline measures anything"


def answers(folder: Path, tmp_path: Path) -> dict[str, str]:
    """What the CellProfiler engine says to each pipeline of a folder: the refusal, or ""."""
    said, asked = {}, {}
    for path in sorted(folder.glob("*.cppipe")):
        pipeline = cppipe.read(cppipe.read_text(path))
        try:
            left_out = rules.left_out(pipeline, {})
        except CppipeError as error:
            said[path.name] = str(error)
            continue
        asked[path.name] = [module for module in pipeline.modules if str(module) not in left_out]
    return said | dict(zip(asked, (one or "" for one in refused(list(asked.values()), tmp_path)), strict=True))


def test_all_public_analysis_pipelines_open_but_those_that_are_named(shared_data, tmp_path):
    found = answers(shared_data / "pipelines/analysis", tmp_path)

    assert len(found) == 42
    assert {name for name, refusal in found.items() if refusal} == set(REFUSED)
    for name, why in REFUSED.items():
        assert re.search(why, found[name]), found[name]


def test_of_illumination_and_quality_pipelines_those_open_that_measure_a_site_alone(shared_data, tmp_path):
    illumination = answers(shared_data / "pipelines/illum", tmp_path)
    quality = answers(shared_data / "pipelines/qc", tmp_path)

    assert len(illumination) == 25
    assert all(re.search(ILLUMINATION, refusal) for refusal in illumination.values() if refusal)
    # With LoadData only its table knows which images are loaded.
    [(name, refusal)] = [(name, refusal) for name, refusal in quality.items() if refusal]
    assert "pediatric" in name
    assert "measures all loaded images" in refusal
