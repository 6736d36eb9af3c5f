"""An input layout is one file: that of docs/extending.md is added here, as somebody else would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import layouts
from pipeline.errors import ConfigError
from pipeline.plan import make_plan
from pipeline.plan.layout import find_layout
from tests.plan.conftest import tiff

ROOT = Path(__file__).parents[2]


def test_a_layout_is_added_by_the_one_file_that_the_docs_show(screen, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "extending.md").read_text()
    (folder := tmp_path / "added").mkdir()
    (folder / "metaxpress.py").write_text(re.search(r"```python\n(# pipeline/layouts/meta.*?)```", page, re.S)[1])
    monkeypatch.setattr(layouts, "__path__", [*layouts.__path__, str(folder)])
    screen.keys["sources"] = "metaxpress"

    def put(name: str) -> None:
        path = screen.images / "B1" / "P1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiff(1))

    for well in ("A01", "B02"):
        for site in (1, 2):
            for channel in screen.keys["channels"]:
                put(f"run 7_{well}_s{site}_w{channel}.tif")
    put("run 7_A01_s1_w9.tif")
    put("run 7_A01_s1_w1_thumb.tif")

    plan = make_plan(screen.config())

    assert plan.plate_list == [("B1", "P1")]
    assert list(plan.sites[["Metadata_Well", "Metadata_Site"]].itertuples(index=False, name=None)) == [
        ("A01", 1), ("A01", 2), ("B02", 1), ("B02", 2),
    ]  # fmt: skip
    assert plan.sites.filter(like="Key_").notna().all(axis=None)
    assert plan.sites["Key_OrigDNA"][3].startswith("B1/P1/run 7_B02_s2_w")
    (what,) = plan.findings["what"]
    assert "run 7_A01_s1_w1_thumb.tif, run 7_A01_s1_w9.tif in B1/P1/ are no images of the channel map" in what


def test_every_file_of_a_layout_declares_one():
    assert layouts.names() == ["images", "load_data"]
    for name in layouts.names():
        assert find_layout(name).looked_for


def test_a_name_that_is_no_layout_is_refused_with_those_there_are(screen):
    with pytest.raises(ConfigError, match=r"no input layout 'gallery'. Choose from: images, load_data"):
        find_layout("gallery")
    screen.keys["sources"] = "gallery"
    with pytest.raises(ConfigError, match=r"sources: .*must be an input layout: images, load_data"):
        screen.config()
