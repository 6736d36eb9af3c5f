from __future__ import annotations

import gzip

import pandas as pd
import pytest

from pipeline.errors import ConfigError
from pipeline.plan import make_plan
from tests.plan.conftest import FOLDER, image_name, tiff

STAINS = {1: "Mito", 2: "DNA"}


def table(plate: str, folder: str, form: str, wells=("A01", "A02"), sites=(1, 2)) -> pd.DataFrame:
    """A load_data.csv as another machine would have written it, with the images in `folder`."""
    lines = []
    for well in wells:
        for site in sites:
            line = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": site}
            for channel, stain in STAINS.items():
                name = image_name(well, site, channel)
                if form == "URL":
                    line[f"URL_Orig{stain}"] = f"{folder}/{name}"
                else:
                    line |= {f"PathName_Orig{stain}": folder, f"FileName_Orig{stain}": name}
            lines.append(line)
    return pd.DataFrame(lines)


@pytest.fixture
def put(screen):
    screen.keys["sources"] = "load_data"

    def put(load_data: pd.DataFrame, batch: str = "B1", name: str = "load_data.csv") -> None:
        plate = load_data["Metadata_Plate"].iloc[0]
        folder = screen.images / "workspace" / "load_data_csv" / batch / plate
        folder.mkdir(parents=True, exist_ok=True)
        text = load_data.to_csv(index=False).encode()
        (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)

    return put


OLD_PLACES = {
    "URL": "s3://jump-pilot/source_4/images/B1/images/{folder}/Images",
    "file URL": "file:///mnt/bucket/projects/2019/B1/images/{folder}/Images",
    "PathName": "/home/ubuntu/bucket/projects/2019_07_11_JUMP/B1/images/{folder}/Images",
    "Windows": "D:\\screens\\images\\B1\\images\\{folder}\\Images",
}


@pytest.mark.parametrize("name", ["load_data.csv", "load_data.csv.gz"])
@pytest.mark.parametrize("form", OLD_PLACES)
def test_a_load_data_table_gives_the_site_table_that_the_listing_gives(screen, put, form, name):
    screen.plate("P1")
    expected = make_plan(screen.config()) if screen.keys.pop("sources") else None
    screen.keys["sources"] = "load_data"
    folder = OLD_PLACES[form].format(folder=FOLDER.format(plate="P1"))
    put(table("P1", folder, "URL" if "URL" in form else "PathName").iloc[[2, 0, 3, 1]], name=name)  # in any order
    plan = make_plan(screen.config())
    pd.testing.assert_frame_equal(plan.sites, expected.sites)
    pd.testing.assert_frame_equal(plan.plates, expected.plates)
    assert plan.findings.empty


def test_a_space_in_a_url_may_be_written_as_percent_20(screen, put):
    folder = "{plate}__2024-07-04T16_04_45-Measurement 2"
    screen.plate("P1", folder=folder)
    url = f"https://bucket.s3.amazonaws.com/images/B1/images/{folder.format(plate='P1')}/Images"
    put(table("P1", url.replace(" ", "%20"), "URL"))
    assert len(make_plan(screen.config()).sites) == 4


def test_images_may_have_any_names_and_places(screen, put):
    folder = screen.images / "images" / "B1" / "plate one"
    folder.mkdir(parents=True)
    for name in ("dna.tif", "mito.tif"):
        (folder / name).write_bytes(tiff(1))
    line = {"Metadata_Plate": "P1", "Metadata_Well": "b2", "Metadata_Site": "7"}
    line |= {
        "URL_OrigDNA": "s3://old/images/B1/plate one/dna.tif",
        "URL_OrigMito": "s3://old/images/B1/plate one/mito.tif",
    }
    put(pd.DataFrame([line]))
    sites = make_plan(screen.config()).sites
    columns = ["Metadata_Batch", "Metadata_Plate", "Metadata_Well", "Metadata_Site", "Key_OrigDNA"]
    assert sites[columns].to_numpy().tolist() == [["B1", "P1", "B02", 7, "images/B1/plate one/dna.tif"]]


def test_what_the_table_names_and_the_listing_lacks_is_found_and_the_reverse(screen, put, kinds):
    place = screen.plate("P1", sites=[1, 2, 3])
    (place / image_name("A01", 1, 2)).unlink()
    put(table("P1", str(place), "PathName"))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["image_missing", "not_in_load_data"]
    assert "A01 site 1 lacks OrigDNA" in plan.findings["what"][0]
    assert "f03" in plan.findings["what"][1]
    assert set(plan.sites["Metadata_Site"]) == {1, 2}


def test_a_well_of_the_table_without_any_image_is_found(screen, put, kinds):
    place = screen.plate("P1", wells=["A01", "A02"])
    put(table("P1", str(place), "PathName", wells=("A01", "A02", "E05")))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["well_not_imaged"]
    assert "B1/P1 E05 is in workspace/load_data_csv/B1/P1/load_data.csv, and none of its 4" in plan.findings["what"][0]


@pytest.mark.parametrize(("name", "data"), [("load_data.csv", b""), ("load_data.csv.gz", b"no gzip")])
def test_a_table_that_cannot_be_read_is_refused_by_name(screen, put, name, data):
    put(table("P1", str(screen.plate("P1")), "URL"), name=name)
    next(screen.images.rglob(name)).write_bytes(data)
    with pytest.raises(ConfigError, match=rf"{name} cannot be read as a table"):
        make_plan(screen.config())


def test_a_stain_the_table_does_not_name_is_missing_everywhere(screen, put, kinds):
    place = screen.plate("P1")
    put(table("P1", str(place), "URL").drop(columns="URL_OrigMito"))
    plan = make_plan(screen.config())
    assert kinds(plan)[0] == "plate_unusable"
    assert "OrigMito missing everywhere" in plan.findings["what"][0]


def test_only_the_plates_of_the_subset_are_read(screen, put):
    put(table("P1", str(screen.plate("P1")), "URL"))
    put(table("P2", "/nowhere", "URL"))
    assert make_plan(screen.config(subset={"plates": ["P1"]})).plate_list == [("B1", "P1")]
    with pytest.raises(ConfigError, match="no end of that path is a folder below"):
        make_plan(screen.config())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="Metadata_Well"), "no column Metadata_Well"),
        (lambda t: t.drop(columns=["URL_OrigDNA", "URL_OrigMito"]), "no column URL_OrigMito"),
        (lambda t: t.assign(Metadata_Well="well 1"), "'well 1' is no well name"),
        (lambda t: t.assign(Metadata_Site=1), "A01 site 1 twice"),
        (lambda t: t.assign(Metadata_Plate=["P1", "P1", "P1", "P7"]), "holds rows of P7"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_name(screen, put, change, message):
    put(change(table("P1", str(screen.plate("P1")), "URL")))
    with pytest.raises(ConfigError, match=rf"workspace/load_data_csv/B1/P1/load_data\.csv.*{message}"):
        make_plan(screen.config())


def test_no_table_below_the_url_is_refused_with_where_it_should_be(screen):
    screen.plate("P1")
    screen.keys["sources"] = "load_data"
    with pytest.raises(ConfigError, match=r"There is no workspace/load_data_csv/<batch>/<plate>/load_data\.csv below"):
        make_plan(screen.config())
