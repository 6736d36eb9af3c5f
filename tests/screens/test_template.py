from __future__ import annotations

import shutil

from pipeline.config import SCREENS, load_config
from pipeline.engines import open_engine
from pipeline.plan import make_plan
from tests.plan.conftest import Screen


def test_the_template_works_as_it_stands_on_images_of_its_plates(tmp_path):
    shutil.copytree(SCREENS / "template", tmp_path / "template")
    screen = Screen(tmp_path / "template")
    for plate in ("PLATE001", "PLATE002"):
        screen.plate(plate, wells=["A01", "A02", "B01", "B02"], channels=list(range(1, 9)), batch="batch1")
    config = load_config(tmp_path / "template" / "config.yaml")
    with open_engine("native", config.engine.cppipe) as engine:  # a template whose pipeline asks for more is no use
        plan = make_plan(config, engine.inputs)
    assert plan.findings.empty
    assert plan.wells["Metadata_pert_iname"].tolist() == ["nocodazole", "JQ1", "", ""] * 2
    assert plan.wells["Metadata_control_type"].tolist() == ["", "", "negcon", "negcon"] * 2
    assert make_plan(load_config(tmp_path / "template" / "config.yaml", **{"subset.plates": ["pilot"]})).plate_list == [
        ("batch1", "PLATE001")
    ]
