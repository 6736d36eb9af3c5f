from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.layouts import images as gallery
from pipeline.layouts.images import parse_names
from pipeline.plan import make_plan
from pipeline.plan.listing import well_names
from pipeline.screen import PLATE_FORMATS, Plate, plate_size, plate_wells, well_name, well_position
from tests.plan.conftest import image_name, tiff

rows, columns = st.integers(1, 32), st.integers(1, 48)


@settings(deadline=None)
@given(rows, columns)
def test_a_well_s_name_and_its_position_are_one_thing(row, column):
    assert well_position(well_name(row, column)) == (row, column)
    assert re.fullmatch("[A-Z]{1,2}[0-9]{2}", well_name(row, column))


@settings(deadline=None)
@given(st.lists(st.tuples(rows, columns), min_size=1))
def test_a_whole_table_of_wells_is_named_as_one_well_is(positions):
    frame = pd.DataFrame(positions, columns=["row", "column"])
    assert list(well_names(frame["row"], frame["column"])) == [well_name(*position) for position in positions]


@pytest.mark.parametrize(("size", "last"), [(96, "H12"), (384, "P24"), (1536, "AF48")])
def test_the_wells_of_each_plate_format(size, last):
    wells = plate_wells(size)
    assert len(set(wells)) == size == np.prod(PLATE_FORMATS[size])
    assert (wells[0], wells[-1]) == ("A01", last)
    assert plate_size(wells) == size


@settings(deadline=None)
@given(rows, columns, st.integers(1, 99), st.integers(1, 99), st.integers(1, 19), st.sampled_from(["tiff", "tif"]))
def test_an_image_s_name_says_well_site_plane_and_channel(row, column, site, plane, channel, suffix):
    for digits in ("{}", "{:02d}"):  # channel numbers have one digit in some data sets and two in others
        number = digits.format(channel)
        name = f"r{row:02d}c{column:02d}f{site:02d}p{plane:02d}-ch{number}sk1fk1fl1.{suffix}"
        parsed = parse_names(pd.Series([name]))
        assert parsed.to_numpy().tolist() == [[row, column, site, plane, channel]]


OURS = re.compile(r"r(\d{1,3})c(\d{1,3})f(\d{1,4})p(\d{1,3})-ch(\d{1,2})sk\d{1,4}fk\d{1,4}fl\d{1,4}\.tiff?", re.ASCII)
NEARLY = st.from_regex(
    r"r[0-9]{1,4}c[0-9]{1,4}f[0-9]{1,5}p[0-9]{1,4}-ch[0-9]{1,3}sk1fk1fl1\.(tif+|png)", fullmatch=True
)


@settings(deadline=None)
@given(st.lists(st.one_of(NEARLY, st.text(max_size=20)), max_size=20))
def test_names_are_parsed_as_by_one_regular_expression_at_a_time(names):
    expected = {}
    for place, name in enumerate(names):
        if match := OURS.fullmatch(name):
            numbers = [int(part) for part in match.groups()]
            if 1 <= numbers[0] <= 32 and 1 <= numbers[1] <= 48:
                expected[place] = numbers
    parsed = parse_names(pd.Series(names, dtype="str"))
    assert dict(zip(parsed.index, parsed.to_numpy().tolist(), strict=True)) == expected


def test_the_site_table_holds_what_the_listing_holds_and_nothing_else(screen):
    place = screen.plate("P1", wells=["B03", "A10", "A02"], sites=[3, 1])
    (place / image_name("A02", 3, 1)).unlink()
    (place / image_name("A02", 3, 2)).unlink()
    sites = make_plan(screen.config()).sites
    assert list(sites.columns) == [
        *("Metadata_Batch", "Metadata_Plate", "Metadata_Well", "Metadata_Site"),
        *("Key_OrigMito", "Size_OrigMito", "ETag_OrigMito", "Key_OrigDNA", "Size_OrigDNA", "ETag_OrigDNA"),
    ]
    assert sites[["Metadata_Well", "Metadata_Site"]].to_numpy().tolist() == [
        ["A02", 1], ["A10", 1], ["A10", 3], ["B03", 1], ["B03", 3]
    ]  # fmt: skip
    assert set(sites["Metadata_Batch"]) == {"B1"}
    assert set(sites["Metadata_Plate"]) == {"P1"}
    assert sites["Key_OrigDNA"][0] == f"images/B1/images/{place.parent.name}/Images/{image_name('A02', 1, 2)}"


def test_rows_after_z_come_after_z(screen):
    screen.plate("P1", wells=["AA01", "Z48", "B01"])
    plan = make_plan(screen.config(subset={"sites": [1]}))
    assert list(plan.sites["Metadata_Well"]) == ["B01", "Z48", "AA01"]
    assert list(plan.wells["Metadata_Well"]) == ["B01", "Z48", "AA01"]
    assert list(plan.plates["plate_size"]) == [1536]


@pytest.mark.parametrize(("well", "size"), [("H12", 96), ("A13", 384), ("I01", 384), ("P24", 384), ("Q01", 1536)])
def test_a_plate_s_format_is_the_smallest_that_holds_its_wells(screen, well, size):
    screen.plate("P1", wells=["A01", well])
    assert list(make_plan(screen.config()).plates["plate_size"]) == [size]


def test_channel_numbers_are_stains_by_the_channel_map_alone(screen):
    place = screen.plate("P1", channels=[1, 2])
    screen.keys["channels"] = {1: "DNA", 2: "Mito"}
    sites = make_plan(screen.config()).sites
    assert sites["Key_OrigDNA"][0].endswith(f"{place.name}/{image_name('A01', 1, 1)}")


def test_images_of_an_unmapped_channel_and_stray_files_are_findings_and_left_out(screen, kinds):
    place = screen.plate("P1", channels=[1, 2, 7])
    (place / "thumbnail.png").write_bytes(b"")
    (place / image_name("A01", 1, 1).replace("r01", "r99")).write_bytes(b"")
    (place / "Index.idx.xml").write_bytes(b"the microscope's own")
    plan = make_plan(screen.config())
    assert kinds(plan) == ["unknown_channel", "extra_file"]
    assert "4 images of channel 7" in plan.findings["what"][0]
    assert "thumbnail.png" in plan.findings["what"][1]
    assert "r99c01" in plan.findings["what"][1]
    assert not plan.sites.filter(like="ch7").columns.any()
    assert len(plan.sites) == 4


def test_several_planes_are_refused_until_one_is_named(screen):
    place = screen.plate("P1")
    (place / image_name("A01", 1, 1, plane=2)).write_bytes(tiff(1))
    with pytest.raises(ConfigError, match=r"B1/P1 has images of 2 planes \(p01, p02\).*`plane: 1`"):
        make_plan(screen.config())
    screen.keys["plane"] = 1
    assert len(make_plan(screen.config()).sites) == 4
    screen.keys["plane"] = 2
    assert len(make_plan(screen.config()).sites) == 1


def test_a_site_s_image_at_several_times_is_refused(screen):
    place = screen.plate("P1")
    (place / image_name("A01", 1, 1).replace("sk1", "sk2")).write_bytes(tiff(1))
    with pytest.raises(ConfigError, match=r"several images of one site and channel: r01c01f01p01-ch1sk1.*sk2"):
        make_plan(screen.config())


def test_plates_are_found_at_any_depth_and_the_batch_is_the_folder_around_them(screen):
    screen.plate("P1", batch="B1")
    screen.plate("P1", batch="B2")
    screen.plate("P 2", batch="B2", folder="{plate}__2024-07-04T16_04_45-Measurement 2")
    assert make_plan(screen.config()).plate_list == [("B1", "P1"), ("B2", "P 2"), ("B2", "P1")]
    below = make_plan(screen.config(images=str(screen.images / "images")))
    assert below.plate_list == [("B1", "P1"), ("B2", "P 2"), ("B2", "P1")]


def test_plates_directly_below_the_url_are_of_the_screen_s_batch(screen):
    screen.plate("P1")
    images = str(screen.images / "images" / "B1" / "images")
    with pytest.raises(ConfigError, match=r"lies in no batch folder. Set `batch`"):
        make_plan(screen.config(images=images))
    screen.keys["batch"] = "mine"
    assert make_plan(screen.config(images=images)).plate_list == [("mine", "P1")]


def test_a_workspace_beside_the_images_is_not_searched(screen):
    screen.plate("P1")
    stray = screen.images / "workspace" / "old" / "P9__2020-01-01T00_00_00-Measurement1" / "Images"
    stray.mkdir(parents=True)
    (stray / image_name("A01", 1, 1)).write_bytes(tiff(1))
    assert make_plan(screen.config()).plate_list == [("B1", "P1")]


def test_a_plate_imaged_twice_is_refused_until_the_plates_table_names_the_folder(screen):
    screen.plate("P1")
    screen.plate("P1", sites=[5], folder="{plate}__2020-11-09T15_32_10-Measurement3")
    with pytest.raises(ConfigError, match=r"B1/P1 has 2 image folders: .*Measurement1, .*Measurement3"):
        make_plan(screen.config())
    screen.table("plates.csv", "batch,plate,image_folder\nB1,P1,P1__2020-11-09T15_32_10-Measurement3\n")
    screen.keys["plates"] = str(screen.root / "plates.csv")
    plan = make_plan(screen.config())
    assert set(plan.sites["Metadata_Site"]) == {5}
    assert list(plan.plates["image_folder"]) == ["images/B1/images/P1__2020-11-09T15_32_10-Measurement3/Images/"]


def test_of_two_image_trees_with_the_same_folders_each_remedy_names_one(screen):
    screen.plate("P1")
    screen.plate("P2")
    shutil.copytree(screen.images / "images", screen.images / "projected")
    with pytest.raises(ConfigError) as caught:
        make_plan(screen.config())
    message = str(caught.value)
    tree = re.search(r"point `images` at one of (\S+), (\S+)\.", message)
    assert tree.groups() == (f"{screen.images}/images", f"{screen.images}/projected")
    plan = make_plan(screen.config(images=tree[2]))
    assert plan.plate_list == [("B1", "P1"), ("B1", "P2")]
    assert plan.findings.empty

    one, other = re.search(r"B1/P1 has 2 image folders: (\S+), (\S+)\. Name the one to take", message).groups()
    screen.table("plates.csv", f"batch,plate,image_folder\nB1,P1,{other}\nB1,P2,{one.replace('P1', 'P2')}/Images/\n")
    screen.keys["plates"] = str(screen.root / "plates.csv")
    plan = make_plan(screen.config())
    assert [folder.partition("/")[0] for folder in plan.plates["image_folder"]] == ["projected", "images"]
    assert plan.findings.empty


def test_a_plate_s_name_may_hold_two_underscores_and_a_number(screen):
    screen.plate("A__2B")
    assert make_plan(screen.config()).plate_list == [("B1", "A__2B")]


def test_another_folder_is_never_taken_for_the_one_the_plates_table_names(screen, kinds):
    screen.plate("P1")
    screen.plate("P2")
    screen.table("plates.csv", "batch,plate,image_folder\nB1,P1,P1__2020-11-09T15_32_10-Measurement3\nB1,P2,\n")
    screen.keys["plates"] = str(screen.root / "plates.csv")
    plan = make_plan(screen.config())
    assert plan.plate_list == [("B1", "P2")]
    assert kinds(plan) == ["plate_not_imaged"]
    assert "Measurement3, and there is only P1__2020-11-02T19_54_45-Measurement1" in plan.findings["what"][0]


def test_published_illumination_functions_are_in_the_plates_table(screen):
    screen.plate("P1")
    screen.plate("P2")
    folder = screen.images / "images" / "B1" / "illum" / "P1"
    folder.mkdir(parents=True)
    np.save(folder / "P1_IllumDNA.npy", np.ones((6, 8)))
    plates = make_plan(screen.config()).plates.set_index("Metadata_Plate")
    assert plates["Key_IllumDNA"]["P1"] == "images/B1/illum/P1/P1_IllumDNA.npy"
    assert plates["Size_IllumDNA"]["P1"] == (folder / "P1_IllumDNA.npy").stat().st_size
    assert plates["Key_IllumDNA"].isna().to_dict() == {"P1": False, "P2": True}
    assert plates["Key_IllumMito"].isna().all()


@pytest.mark.parametrize(
    "place",
    ["P1/P2_IllumDNA.npy", "P1/IllumDNA.npy", "P1/P1_illumdna.npy", "P1_IllumDNA.npy", "P1_new/P1_IllumDNA.npy"],
)
def test_a_function_that_is_this_plate_s_by_half_of_its_place_is_found_and_not_used(screen, kinds, place):
    screen.plate("P1")
    file = screen.images / "images" / "B1" / "illum" / place
    file.parent.mkdir(parents=True)
    np.save(file, np.ones((6, 8)))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["illumination_unused"]
    assert plan.findings["what"][0] == (
        f"B1/P1: images/B1/illum/{place} is not used as its IllumDNA, which is looked for in "
        "images/B1/illum/P1/P1_IllumDNA.npy."
    )
    assert plan.plates["Key_IllumDNA"].isna().all()
    assert make_plan(screen.config(illumination="none")).findings.empty


@pytest.mark.parametrize("fault", ["planes", "times", "folders", "batch"])
def test_what_is_wrong_with_one_plate_s_images_is_its_finding_and_the_others_are_planned(screen, kinds, fault):
    bad, good = screen.plate("P1"), screen.plate("P2")
    if fault == "planes":
        (bad / image_name("A01", 1, 1, plane=2)).write_bytes(tiff(1))
    elif fault == "times":
        (bad / image_name("A01", 1, 1).replace("sk1", "sk2")).write_bytes(tiff(1))
    elif fault == "folders":
        screen.plate("P1", folder="{plate}__2020-11-09T15_32_10-Measurement3")
    else:
        bad.parent.rename(screen.images / bad.parent.name)
    plan = make_plan(screen.config())
    assert plan.plate_list == [("B1", "P2")]
    assert kinds(plan) == ["plate_unusable"]
    assert plan.findings["plate"][0] == "P1"
    assert plan.sites["Key_OrigDNA"].str.contains(good.parent.name).all()


def test_a_plate_whose_name_leads_out_of_its_folder_is_not_planned(screen, kinds, monkeypatch):
    screen.plate("P1")
    screen.plate("P2")
    found = gallery.find

    def find(*where):
        return {(plate if plate.plate == "P2" else Plate("B1", "..")): at for plate, at in found(*where).items()}

    monkeypatch.setattr(gallery, "LAYOUT", replace(gallery.LAYOUT, find=find))
    plan = make_plan(screen.config())
    assert (plan.plate_list, kinds(plan)) == ([("B1", "P2")], ["plate_unusable"])
    assert "'..' cannot be the name of a batch or plate: it leads out of its folder" in plan.findings["what"][0]


def test_two_links_to_a_folder_around_them_do_not_keep_the_plan_for_ever(screen):
    screen.plate("P1")
    for link in ("one", "two"):
        (screen.images / "images" / "B1" / link).symlink_to(screen.images / "images")
    assert make_plan(screen.config()).plate_list == [("B1", "P1")]


def test_nothing_below_the_url_is_refused_with_what_was_looked_for(screen):
    screen.images.mkdir()
    with pytest.raises(ConfigError, match="There is no image folder <plate>__<time>-Measurement<n>/Images below"):
        make_plan(screen.config())


def test_what_file_managers_leave_among_the_images_is_not_worth_a_word(screen):
    place = screen.plate("P1")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", f"._{image_name('A01', 1, 1)}"):
        (place / name).write_bytes(b"\0\0\0\1Bud1")
    assert make_plan(screen.config()).findings.empty


@pytest.mark.parametrize("copy", [".snapshot/daily", "__MACOSX"])
def test_hidden_copies_of_the_images_are_no_second_imaging_of_a_plate(screen, copy):
    place = screen.plate("P1")
    hidden = screen.images / copy / place.relative_to(screen.images)
    hidden.mkdir(parents=True)
    (hidden / image_name("A01", 1, 1)).write_bytes(b"")
    plan = make_plan(screen.config())
    assert plan.findings.empty
    assert len(plan.sites) == 4


def test_functions_in_a_folder_beside_the_batches_are_found_and_not_used(screen, kinds):
    screen.plate("P1")
    file = screen.images / "illum" / "B1" / "P1" / "P1_IllumDNA.npy"
    file.parent.mkdir(parents=True)
    np.save(file, np.ones((6, 8)))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["illumination_unused"]
    assert plan.findings["file"][0] == "illum/B1/P1/P1_IllumDNA.npy"


def test_functions_of_a_plate_that_are_named_in_another_way_are_found_and_not_used(screen, kinds):
    screen.plate("P1")
    folder = screen.images / "images" / "B1" / "illum" / "P1"
    folder.mkdir(parents=True)
    for stain in ("DNA", "Mito"):
        np.save(folder / f"P1_{stain}Illum.npy", np.ones((6, 8)))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["illumination_unused"]
    assert "P1_DNAIllum.npy, " in plan.findings["what"][0]
    assert "IllumMito is looked for in images/B1/illum/P1/P1_IllumMito.npy" in plan.findings["what"][0]


def test_plates_in_no_batch_folder_that_the_table_has_in_one_are_refused_with_the_way_out(screen):
    place = screen.plate("P1")
    screen.metadata("batch,plate,plate_map_name\nB1,P1,map\n", "well_position broad_sample\nA01 drug\n")
    with pytest.raises(ConfigError, match=r"images of P1 in no batch folder: .* Set `batch` in the screen, or point"):
        make_plan(screen.config(images=str(place.parents[1])))
