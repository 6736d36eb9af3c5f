from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import AccessDenied, ConfigError
from pipeline.plan import make_plan, show
from pipeline.storage import LocalStorage
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


BROKEN = {
    "empty": ("load_data.csv", b""),
    "no table": ("load_data.csv.gz", b"no gzip"),
    "cut": ("load_data.csv.gz", gzip.compress(b"Metadata_Plate,Metadata_Well\n" * 99)[:-9]),
    "a pointer": ("load_data.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "a web page": ("load_data.csv", b"<html><body>Sign in</body></html>"),
    "a header alone": ("load_data.csv", b"Metadata_Plate,Metadata_Well,Metadata_Site,URL_OrigDNA\n"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_table_that_cannot_be_read_is_refused_by_name_and_the_other_plates_are_planned(screen, put, kinds, what):
    name, data = BROKEN[what]
    put(table("P1", str(screen.plate("P1")), "URL"), name=name)
    put(table("P2", str(screen.plate("P2")), "URL"))
    (screen.images / "workspace" / "load_data_csv" / "B1" / "P1" / name).write_bytes(data)
    plan = make_plan(screen.config())
    assert plan.plate_list == [("B1", "P2")]
    assert kinds(plan) == ["plate_unusable"]
    assert plan.findings.loc[0, ["batch", "plate"]].tolist() == ["B1", "P1"]
    message = f"B1/P1 cannot be planned: workspace/load_data_csv/B1/P1/{name} cannot be read as a table: "
    assert plan.findings["what"][0].startswith(message)
    with pytest.raises(ConfigError, match=f"There is nothing to measure below .*{message}"):
        make_plan(screen.config(subset={"plates": ["P1"]}))


def test_a_table_that_may_not_be_read_is_its_plate_s_fault(screen, put, kinds, monkeypatch):
    for plate in ("P1", "P2"):
        put(table(plate, str(screen.plate(plate)), "URL"))
    get = LocalStorage.get

    def denied(self, key, **keys):
        if key.endswith("P1/load_data.csv"):
            raise AccessDenied(f"{key}: access denied")
        return get(self, key, **keys)

    monkeypatch.setattr(LocalStorage, "get", denied)
    plan = make_plan(screen.config())
    assert (plan.plate_list, kinds(plan)) == ([("B1", "P2")], ["plate_unusable"])
    assert "P1/load_data.csv cannot be read: " in plan.findings["what"][0]


def test_a_stain_the_table_does_not_name_is_missing_everywhere(screen, put, kinds):
    place = screen.plate("P1")
    put(table("P1", str(place), "URL").drop(columns="URL_OrigMito"))
    plan = make_plan(screen.config())
    assert kinds(plan)[0] == "plate_unusable"
    assert "OrigMito missing everywhere" in plan.findings["what"][0]


def test_only_the_plates_of_the_subset_are_read(screen, put):
    put(table("P1", str(screen.plate("P1")), "URL"))
    put(table("P2", "/nowhere", "URL"))
    plan = make_plan(screen.config(subset={"plates": ["P1"]}))
    assert (plan.plate_list, len(plan.findings)) == ([("B1", "P1")], 0)
    plan = make_plan(screen.config())
    assert plan.plate_list == [("B1", "P1")]
    assert "no end of that path is a folder below" in plan.findings["what"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="Metadata_Well"), "no column Metadata_Well"),
        (lambda t: t.drop(columns=["URL_OrigDNA", "URL_OrigMito"]), "no column URL_OrigMito"),
        (lambda t: t.assign(Metadata_Well="well 1"), "'well 1' is no well name"),
        (lambda t: t.assign(Metadata_Well="AZ99"), "line 2: row 52, column 99 lies outside a 1536-well plate"),
        (lambda t: t.assign(Metadata_Site=1), "A01 site 1 twice, again in line 3"),
        (lambda t: t.assign(Metadata_Site=["1", "2", "1", "f2"]), "line 5: 'f2' is no number of a site"),
        (lambda t: t.assign(Metadata_Site=0), "line 2: '0' is no number of a site"),
        (lambda t: t.assign(URL_OrigDNA="", URL_OrigMito=""), "names no image: its columns for OrigMito, OrigDNA are"),
        (lambda t: t.assign(URL_OrigDNA="s3://b/../../x.tif"), r"line 2: '\.\.' in .* leads out of its folder"),
        (lambda t: t.assign(URL_OrigDNA="s3://b/%2e%2e/x.tif"), r"line 2: '\.\.' in .* leads out of its folder"),
        (lambda t: t.assign(URL_OrigDNA="s3://b/" + "x" * 300), "is longer than 255 bytes"),
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


# The table and its plate.


@pytest.mark.parametrize("name", ["load_data_with_illum.csv", "load_data_with_illum.csv.gz", "LoadData.csv"])
def test_the_only_table_is_read_by_any_name_of_its_kind_and_said(screen, put, kinds, name):
    put(table("P1", str(screen.plate("P1")), "URL"), name=name)
    folder = screen.images / "workspace" / "load_data_csv" / "B1" / "P1"
    for other in (
        ".load_data.csv.swp",
        "~$load_data.csv",
        "load_data.csv~",
        "notes.txt",
        f"{name.split('.')[0]}.parquet",
    ):
        (folder / other).write_text("left behind, or the same in another format")
    (folder.parent / ".ipynb_checkpoints").mkdir()
    plan = make_plan(screen.config())
    assert len(plan.sites) == 4
    assert kinds(plan) == ["table_of_another_name"]
    assert f"B1/P1 has no load_data.csv; {name} is read in its place" in plan.findings["what"][0]


def test_load_data_csv_comes_before_other_tables_of_its_folder(screen, put):
    place = str(screen.plate("P1"))
    put(table("P1", "/nowhere", "URL"), name="load_data_with_illum.csv")
    put(table("P1", place, "URL"))
    plan = make_plan(screen.config())
    assert (len(plan.sites), len(plan.findings)) == (4, 0)


def test_a_plate_without_a_table_or_with_several_of_other_names_is_found(screen, put, kinds):
    put(table("P1", str(screen.plate("P1")), "URL"))
    for name in ("load_data_with_illum.csv", "load_data_without_illum.csv"):
        put(table("P2", str(screen.images), "URL"), name=name)
    empty = screen.images / "workspace" / "load_data_csv" / "B1" / "P3"
    empty.mkdir()
    (empty / "images.txt").write_text("")
    plan = make_plan(screen.config())
    assert plan.plate_list == [("B1", "P1")]
    assert kinds(plan) == ["plate_unusable"] * 2
    assert (
        "B1/P2 has no load_data.csv: it holds load_data_with_illum.csv, load_data_without" in plan.findings["what"][0]
    )
    assert "B1/P3 has no load_data.csv: it holds images.txt" in plan.findings["what"][1]


def test_empty_url_columns_give_way_to_path_and_file_names_row_by_row(screen, put):
    place = str(screen.plate("P1"))
    both = table("P1", place, "URL").merge(table("P1", place, "PathName"))
    both.loc[[0, 2], ["URL_OrigDNA", "URL_OrigMito"]] = ""
    both.loc[[1, 3], ["PathName_OrigDNA", "FileName_OrigDNA"]] = ""
    put(both)
    plan = make_plan(screen.config())
    assert plan.sites[["Key_OrigDNA", "Key_OrigMito"]].notna().all().all()
    assert plan.findings.empty


def test_site_numbers_may_be_padded_or_written_beside_missing_ones(screen, put):
    put(table("P1", str(screen.plate("P1")), "URL").assign(Metadata_Site=["01", "2.0", "1.", "002"]))
    assert make_plan(screen.config()).sites["Metadata_Site"].tolist() == [1, 2, 1, 2]


def test_the_first_the_middle_and_the_last_file_may_be_missing(screen, put, kinds):
    for plate in ("P1", "P2"):
        put(table(plate, str(screen.plate(plate)), "URL"))
    for well, site, channel in (("A01", 1, 1), ("A01", 1, 2), ("A02", 2, 2), ("A02", 1, 1), ("A02", 2, 1)):
        next(screen.images.rglob(f"P1__*/Images/{image_name(well, site, channel)}")).unlink()
    plan = make_plan(screen.config())
    assert plan.plate_list == [("B1", "P1"), ("B1", "P2")]
    assert plan.sites.groupby("Metadata_Plate")["Key_OrigDNA"].count().to_dict() == {"P1": 2, "P2": 4}
    assert set(kinds(plan)) == {"image_missing", "site_missing"}


def test_a_site_that_only_the_table_knows_is_found_once(screen, put, kinds):
    put(table("P1", str(screen.plate("P1", sites=[1])), "URL", sites=(1, 2)))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["site_missing"] * 2
    assert plan.findings["what"][0].startswith(
        "B1/P1 A01 site 2 is in workspace/load_data_csv/B1/P1/load_data.csv, and"
    )
    put(table("P2", str(screen.plate("P2")), "URL"))
    for name in (image_name("A01", 2, channel) for channel in (1, 2)):
        next(screen.images.rglob(f"P2__*/Images/{name}")).unlink()
    findings = make_plan(screen.config(subset={"plates": ["P2"]})).findings
    assert findings["what"].tolist() == ["B1/P2 A01 lacks site 2, which other wells of the plate have."]


# Names that point to the same thing.


def test_two_plates_with_the_same_files_are_found(screen, put, kinds):
    place = str(screen.plate("P1"))
    screen.plate("P2")
    for plate in ("P1", "P2"):
        put(table(plate, place, "URL"))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["same_file", "of_another_plate", "not_in_load_data"][: len(plan.findings)]
    assert plan.findings["what"][0].startswith("8 images are named by two plates, B1/P1, B1/P2, such as images/B1/")
    assert "B1/P2 is given images/B1/images/P1__" in plan.findings["what"][1]
    assert "which carries the name of plate P1" in plan.findings["what"][1]


def test_two_tables_that_were_swapped_are_found(screen, put, kinds):
    places = {plate: str(screen.plate(plate)) for plate in ("P1", "P2")}
    put(table("P1", places["P2"], "URL"))
    put(table("P2", places["P1"], "URL"))
    assert kinds(make_plan(screen.config())) == ["of_another_plate"] * 2


def test_two_channels_two_wells_and_two_sites_with_the_same_files_are_found(screen, put):
    places = {plate: str(screen.plate(plate)) for plate in ("P1", "P2", "P3")}
    channels = table("P1", places["P1"], "URL")
    put(channels.assign(URL_OrigMito=channels["URL_OrigDNA"]))
    wells = table("P2", places["P2"], "URL")
    put(wells.assign(URL_OrigDNA=[*wells["URL_OrigDNA"][:2]] * 2))
    sites = table("P3", places["P3"], "URL")
    sites.loc[1, "URL_OrigMito"] = sites.loc[0, "URL_OrigMito"]
    put(sites)
    found = make_plan(screen.config()).findings.query("kind == 'same_file'")
    assert found["plate"].tolist() == ["P1", "P2", "P3"]
    one, two, three = found["what"]
    assert one.startswith("B1/P1: 4 images are named as both OrigMito and OrigDNA, such as ")
    assert two.startswith("B1/P2: 2 images are named for several sites, such as ")
    assert two.endswith(f"{image_name('A01', 1, 2)} for A01 site 1 and A02 site 1.")
    assert three.startswith("B1/P3: 1 image is named for several sites")
    assert three.endswith("for A01 site 1 and A01 site 2.")


# Illumination functions.


def functions(folder, *plates: str) -> None:
    folder.mkdir(parents=True)
    for plate in plates:
        for number, stain in STAINS.items():
            np.save(folder / f"{plate}_Illum{stain}.npy", np.full((6, 8), number, float))


def with_functions(load_data: pd.DataFrame, folder: str, plate: str, form: str) -> pd.DataFrame:
    for stain in STAINS.values():
        name = f"{plate}_Illum{stain}.npy"
        load_data = load_data.assign(
            **{f"URL_Illum{stain}": f"{folder}/{name}"}
            if form == "URL"
            else {f"PathName_Illum{stain}": folder, f"FileName_Illum{stain}": name}
        )
    return load_data


@pytest.mark.parametrize("form", ["URL", "PathName"])
def test_illumination_functions_that_the_table_names_are_used(screen, put, form):
    functions(screen.images / "corrections" / "may", "P1", "P2")
    functions(screen.images / "images" / "B1" / "illum" / "P1", "P1")  # the gallery's, which the table does not name
    for plate in ("P1", "P2"):
        place = str(screen.plate(plate))
        put(with_functions(table(plate, place, "URL"), "/old/disk/corrections/may", plate, form))
    plan = make_plan(screen.config())
    assert plan.findings.empty
    assert plan.plates["Key_IllumDNA"].tolist() == [f"corrections/may/{plate}_IllumDNA.npy" for plate in ("P1", "P2")]
    file = screen.images / "corrections" / "may" / "P1_IllumMito.npy"
    row = plan.plates.iloc[0]
    assert (row["Size_IllumMito"], row["ETag_IllumMito"]) == (
        file.stat().st_size,
        hashlib.md5(file.read_bytes()).hexdigest(),
    )
    assert [line.split("│")[-2].strip() for line in show(plan).splitlines() if " P1 " in line or " P2 " in line] == [
        "2"
    ] * 2


def test_a_function_that_the_table_names_and_that_is_not_there_is_found(screen, put, kinds):
    put(with_functions(table("P1", str(screen.plate("P1")), "URL"), "/old/nowhere", "P1", "URL"))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["illumination_missing"] * 2
    assert "names /old/nowhere/P1_IllumMito.npy as IllumMito, and no end of that" in plan.findings["what"][0]
    assert plan.plates["Key_IllumMito"].isna().all()
    assert make_plan(screen.config(illumination="compute")).findings.empty


def test_several_functions_of_one_plate_are_found_and_not_used(screen, put, kinds):
    functions(screen.images / "corrections", "P1", "P2")
    both = with_functions(table("P1", str(screen.plate("P1")), "URL"), "/corrections", "P1", "URL")
    both.loc[0, "URL_IllumDNA"] = "/corrections/P2_IllumDNA.npy"
    put(both)
    plan = make_plan(screen.config())
    assert kinds(plan) == ["illumination_unused"]
    assert "several files as IllumDNA" in plan.findings["what"][0]
    assert plan.plates[["Key_IllumDNA", "Key_IllumMito"]].notna().to_numpy().tolist() == [[False, True]]


def test_functions_of_another_plate_are_found(screen, put, kinds):
    functions(screen.images / "corrections", "P1")
    for plate in ("P1", "P2"):
        put(with_functions(table(plate, str(screen.plate(plate)), "URL"), "/corrections", "P1", "URL"))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["same_file"] * 2 + ["of_another_plate"] * 2
    assert plan.findings["what"][0] == "corrections/P1_IllumMito.npy is the IllumMito of two plates, B1/P1, B1/P2."
    assert "B1/P2 is given corrections/P1_IllumMito.npy, which carries the name of plate P1" in plan.findings["what"][2]


def test_the_gallery_s_functions_are_found_beside_images_of_any_name_in_a_batch_named_like_its_plate(screen, put):
    batch = screen.images / "images" / "P1_pilot"
    functions(batch / "illum" / "P1", "P1")
    place = screen.plate("P1", batch="P1_pilot", folder="{plate}")
    for file in place.iterdir():
        file.rename(place.parent / file.name)
    place.rmdir()
    put(table("P1", str(place.parent), "URL"), batch="P1_pilot")
    assert make_plan(screen.config()).plates["Key_IllumDNA"].tolist() == ["images/P1_pilot/illum/P1/P1_IllumDNA.npy"]


def test_a_plate_alone_that_is_given_another_plate_s_files_is_found(screen, put, kinds):
    """Beside the other plate the files would be found to be shared; here it is not planned."""
    first = screen.plate("P1")
    screen.plate("P2")
    put(table("P1", str(first), "PathName"))
    put(table("P1", str(first), "PathName").assign(Metadata_Plate="P2"))
    plan = make_plan(screen.config(subset={"plates": ["P2"]}))
    assert kinds(plan) == ["of_another_plate"]
    assert "B1/P2 is given " in plan.findings["what"][0]
    assert "carries the name of plate P1" in plan.findings["what"][0]


def test_one_function_for_two_channels_of_a_plate_is_found(screen, put, kinds):
    place = screen.plate("P1")
    (screen.images / "functions").mkdir()
    np.save(screen.images / "functions" / "one.npy", np.ones((6, 8)))
    urls = {f"URL_Illum{stain}": "s3://bucket/functions/one.npy" for stain in STAINS.values()}
    put(table("P1", str(place), "PathName").assign(**urls))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["same_file"]
    assert plan.findings["what"][0] == "B1/P1: functions/one.npy is named as IllumMito and IllumDNA."


def test_a_function_that_is_no_npy_file_is_found_and_not_used(screen, put, kinds):
    place = screen.plate("P1")
    (screen.images / "one.mat").write_bytes(b"MATLAB 5.0")
    put(table("P1", str(place), "PathName").assign(PathName_IllumDNA=str(screen.images), FileName_IllumDNA="one.mat"))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["illumination_unused"]
    assert "one.mat as IllumDNA, which is no .npy file: it is not used" in plan.findings["what"][0]
    assert plan.plates["Key_IllumDNA"].isna().all()


@pytest.mark.parametrize("missing", ["nan", "NA", "None"])
def test_urls_that_are_written_as_missing_give_way_to_path_and_file_names(screen, put, missing):
    place = screen.plate("P1")
    put(table("P1", str(place), "PathName").assign(URL_OrigDNA=missing, URL_OrigMito=missing))
    plan = make_plan(screen.config())
    assert plan.findings.empty
    assert plan.sites[["Key_OrigDNA", "Key_OrigMito"]].notna().all(axis=None)


def test_files_without_a_folder_are_refused_with_the_way_out(screen, put):
    screen.plate("P1")
    put(table("P1", "", "PathName"))
    with pytest.raises(ConfigError, match=r"names files without a folder, such as r01c01\S*\.tiff\. Fill its PathName"):
        make_plan(screen.config())


def test_files_of_another_name_than_the_table_s_are_refused_with_what_is_there(screen, put):
    place = screen.plate("P1")
    load_data = table("P1", str(place), "PathName")
    for stain in STAINS.values():
        load_data[f"FileName_Orig{stain}"] = load_data[f"FileName_Orig{stain}"].str.upper()
    put(load_data)
    with pytest.raises(ConfigError, match=r"such as R01C01\S*\.TIFF, and .* There is \S*/r01c01\S*\.tiff: are"):
        make_plan(screen.config())


def test_a_channel_that_the_table_calls_otherwise_is_found_with_its_name_there(screen, put, kinds):
    place = screen.plate("P1")
    put(table("P1", str(place), "PathName").rename(columns=lambda name: name.replace("OrigDNA", "OrigDAPI")))
    plan = make_plan(screen.config(), needed=["OrigMito"])
    assert kinds(plan) == ["not_in_load_data", "unknown_channel"]
    assert "no columns for OrigDNA. It has some for OrigDAPI, which" in plan.findings["what"][1]


def test_what_file_managers_and_notebooks_leave_is_no_plate_and_no_image(screen, put):
    place = screen.plate("P1")
    put(table("P1", str(place), "PathName"))
    tables = screen.images / "workspace" / "load_data_csv"
    (tables / ".ipynb_checkpoints" / "P1").mkdir(parents=True)
    for folder in (tables, tables / "B1", tables / "B1" / "P1", place):
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (place / f"._{image_name('A01', 1, 1)}").write_bytes(b"\0\5\x16\7")
    plan = make_plan(screen.config())
    assert plan.findings.empty
    assert plan.plates["Metadata_Batch"].tolist() == ["B1"]
