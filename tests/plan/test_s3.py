from __future__ import annotations

import pandas as pd
import pytest

from pipeline.plan import make_plan
from pipeline.results.plan import read_wells, write_plan
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import open_storage
from tests.plan.conftest import FOLDER, image_name


@pytest.fixture(scope="module")
def server():
    with LocalS3() as server:
        yield server


def test_the_same_images_give_the_same_plan_from_a_folder_and_from_s3(server, screen, monkeypatch):
    admin = server.client("admin")
    for name, value in server.environment("worker").items():
        monkeypatch.setenv(name, value)
    spaced = screen.plate("P2", batch="B2", folder="{plate}__2024-07-04T16_04_45-Measurement 2")
    (spaced / image_name("A02", 2, 1)).unlink()
    (spaced / "notes.png").write_bytes(b"")
    screen.plate("P1", sites=range(1, 10))
    illumination = screen.images / "images" / "B1" / "illum" / "P1" / "P1_IllumDNA.npy"
    illumination.parent.mkdir(parents=True)
    illumination.write_bytes(b"function")
    load_data = screen.images / "workspace" / "load_data_csv" / "B1" / "P1" / "load_data.csv"
    load_data.parent.mkdir(parents=True)
    url = f"s3://old/images/B1/images/{FOLDER.format(plate='P1')}/Images/{image_name('A01', 1, 2)}"
    load_data.write_text(f"Metadata_Plate,Metadata_Well,Metadata_Site,URL_OrigDNA\nP1,A01,1,{url}\n")

    for path in screen.images.rglob("*"):
        if path.is_file():
            key = f"small/{path.relative_to(screen.images).as_posix()}"
            admin.put_object(Bucket="images", Key=key, Body=path.read_bytes())
    s3 = {"url": "s3://images/small", "endpoint": server.endpoint}
    for sources in ("images", "load_data"):
        screen.keys["sources"] = sources
        ours, theirs = make_plan(screen.config()), make_plan(screen.config(images=s3))
        for name in ("sites", "wells", "plates", "findings"):
            pd.testing.assert_frame_equal(getattr(theirs, name), getattr(ours, name))
        assert len(ours.sites) == (22 if sources == "images" else 1)

    results = open_storage(screen.config(results={"url": "s3://results/run", "endpoint": server.endpoint}).results)
    write_plan(ours, results)
    pd.testing.assert_frame_equal(read_wells(results), ours.wells)
