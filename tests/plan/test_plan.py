from __future__ import annotations

import hashlib
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile

from pipeline.errors import ConfigError, NotFound
from pipeline.images import read_site
from pipeline.plan import make_plan, show
from pipeline.results.plan import read_findings, read_plates, read_sites, read_well_sites, read_wells, write_plan
from pipeline.screen import Plate
from pipeline.storage import open_storage
from tests.plan.conftest import image_name

PLATES = "batch,plate,plate_map_name\nB1,P1,map\nB1,P2,map\n"
MAP = "well_position broad_sample\nA01 drug\nA02 \nB01 drug\n"
DRUGS = "broad_sample gene\ndrug TP53\n"


@pytest.fixture
def annotated(screen):
    """Two plates, three wells each, all there."""
    for plate in ("P1", "P2"):
        screen.plate(plate, wells=["A01", "A02", "B01"])
    screen.metadata(PLATES, MAP, DRUGS, negcon_name="DMSO")
    return screen


def image(screen, plate: str, name: str):
    return next(screen.images.rglob(f"{plate}__*/Images/{name}"))


def test_a_screen_of_which_nothing_is_missing_has_no_findings(annotated):
    plan = make_plan(annotated.config())
    assert plan.findings.empty
    assert len(plan.sites) == 12
    assert plan.wells["sites"].tolist() == [2] * 6
    assert "Metadata and images agree" in show(plan)


def test_size_and_etag_are_those_of_the_file(annotated):
    sites = make_plan(annotated.config()).sites
    for row in sites.to_dict("records"):
        data = (annotated.images / row["Key_OrigDNA"]).read_bytes()
        assert row["Size_OrigDNA"] == len(data)
        assert row["ETag_OrigDNA"] == hashlib.md5(data).hexdigest()


# Findings.


def test_a_missing_image_is_null_in_the_table_and_named_in_the_findings(annotated, kinds):
    image(annotated, "P1", image_name("A02", 2, 1)).unlink()
    plan = make_plan(annotated.config())
    row = plan.sites.query("Metadata_Plate == 'P1' and Metadata_Well == 'A02' and Metadata_Site == 2").iloc[0]
    assert row[["Key_OrigMito", "Size_OrigMito", "ETag_OrigMito"]].isna().all()
    assert row[["Key_OrigDNA", "Size_OrigDNA", "ETag_OrigDNA"]].notna().all()
    assert kinds(plan) == ["image_missing"]
    found = plan.findings.iloc[0]
    assert found["what"] == "B1/P1 A02 site 2 lacks OrigMito."
    assert found[["batch", "plate", "well", "site"]].tolist() == ["B1", "P1", "A02", 2]


def test_an_image_the_pipeline_does_not_need_may_be_missing(annotated):
    image(annotated, "P1", image_name("A02", 2, 1)).unlink()
    assert make_plan(annotated.config(), needed=["OrigDNA", "IllumDNA"]).findings.empty


def test_an_image_the_pipeline_needs_and_the_channel_map_lacks_is_refused_before_anything_is_listed(annotated):
    with pytest.raises(ConfigError, match=r"needs OrigER; by the channel map the images are OrigMito, OrigDNA"):
        make_plan(annotated.config(images="/nowhere"), needed=["OrigDNA", "OrigER"])


def test_a_missing_site_and_an_empty_file_are_found(annotated, kinds):
    for channel in (1, 2):
        image(annotated, "P2", image_name("B01", 1, channel)).unlink()
    image(annotated, "P2", image_name("A01", 1, 2)).write_bytes(b"")
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["empty_file", "site_missing"]
    assert plan.findings["what"][0] == "B1/P2 A01 site 1: the file of OrigDNA has no content."
    assert plan.findings["file"][0].endswith(image_name("A01", 1, 2))
    assert plan.findings["what"][1] == "B1/P2 B01 lacks site 1, which other wells of the plate have."


def test_wells_that_only_the_map_or_only_the_listing_knows_are_found_and_kept(screen, kinds):
    screen.plate("P1", wells=["A01", "A02", "C03"])
    screen.metadata("batch,plate,plate_map_name\nB1,P1,map\n", MAP, DRUGS, negcon_name="DMSO")
    plan = make_plan(screen.config())
    assert kinds(plan) == ["well_not_imaged", "well_not_on_map"]
    assert plan.findings["well"].tolist() == ["B01", "C03"]
    assert dict(zip(plan.wells["Metadata_Well"], plan.wells["sites"], strict=True)) == {
        "A01": 2,
        "A02": 2,
        "B01": 0,
        "C03": 2,
    }
    assert plan.plate_wells(Plate("B1", "P1")) == ["A01", "A02", "B01", "C03"]
    assert plan.wells.loc[3, "Metadata_broad_sample"] == ""
    assert plan.wells.loc[3, ["Metadata_Row", "Metadata_Column"]].tolist() == [3, 3]


def test_plates_that_only_the_table_or_only_the_listing_knows_are_found_and_left_out(annotated, kinds):
    annotated.plate("P3")
    annotated.plate("P2", batch="B9")
    annotated.table("plates.csv", PLATES + "B1,P4,map\nB8,P3,map\n")
    plan = make_plan(annotated.config())
    assert plan.plate_list == [("B1", "P1"), ("B1", "P2")]
    assert kinds(plan) == ["plate_not_imaged"] * 2 + ["plate_not_in_table"] * 2
    assert plan.findings["what"][0] == "The plates table names B1/P4, of which there are no images."
    assert "images of a plate of this name in B1" in plan.findings["what"][1]


def test_a_plate_without_any_complete_site_stands_first_among_the_findings(annotated, kinds):
    for path in annotated.images.rglob("P2__*/Images/*-ch1sk*.tiff"):
        path.unlink()
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["plate_unusable", *["image_missing"] * 6]
    assert "B1/P2: no site has all images the pipeline needs (OrigMito missing everywhere)" in plan.findings["what"][0]
    text = show(plan)
    assert text.index("Plates of which no site can be measured: 1") < text.index("Sites with images missing: 6")
    assert "... and 1 more, in plan/findings.parquet" in text


def test_a_plate_without_negative_controls_is_found(annotated, kinds):
    annotated.keys["perturbations"][0].pop("negcon_name")
    assert kinds(make_plan(annotated.config())) == ["no_negative_controls"] * 2


def test_a_plate_without_a_map_is_found_and_measured(annotated, kinds):
    annotated.table("plates.csv", "batch,plate,plate_map_name\nB1,P1,map\nB1,P2,\n")
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["plate_without_map"]
    assert plan.findings["what"][0] == "B1/P2 has no plate map (no plate_map_name): nobody knows what is in its wells."
    assert plan.findings.loc[0, ["batch", "plate"]].tolist() == ["B1", "P2"]
    assert len(plan.sites) == 12
    assert set(plan.wells.query("Metadata_Plate == 'P2'")["Metadata_broad_sample"]) == {""}


@pytest.mark.parametrize("text", [None, "", "well_position\tbroad_sample\nA01\tdrug\tfield\n", "well\tx\nA01\tdrug\n"])
def test_a_plate_whose_map_cannot_be_read_is_found_and_the_others_are_planned(annotated, kinds, text):
    annotated.table("plates.csv", "batch,plate,plate_map_name\nB1,P1,map\nB1,P2,pam\n")
    if text is not None:
        (annotated.root / "platemaps" / "pam.txt").write_text(text)
    plan = make_plan(annotated.config())
    assert plan.plate_list == [("B1", "P1")]
    assert kinds(plan) == ["plate_unusable"]
    assert plan.findings["what"][0].startswith("B1/P2 cannot be planned: ")
    assert "pam" in plan.findings["what"][0]
    assert set(plan.sites["Metadata_Plate"]) == set(plan.wells["Metadata_Plate"]) == {"P1"}


def test_rows_of_the_plates_table_that_leave_open_what_is_meant_are_found_and_the_others_planned(annotated, kinds):
    annotated.table("plates.csv", PLATES + "B1,P1,map2\nB1,,map\n,P9,map\n")
    plan = make_plan(annotated.config())
    assert plan.plate_list == [("B1", "P2")]
    assert kinds(plan) == ["plate_unusable"] * 3
    assert sorted(what.partition("plates.csv")[2] for what in plan.findings["what"]) == [
        " has plate B1/P1 twice, with plate_map_name 'map' in line 2 and 'map2' in line 4. Delete one.",
        ", line 5: each row needs a plate, and this one has none.",
        ", line 6: each row needs a batch, and this one has none.",
    ]


def test_a_plate_that_the_table_names_without_its_zeros_is_found_with_the_one_that_is_there(annotated):
    annotated.plate("00123")
    annotated.table("plates.csv", PLATES + "B1,123,map\n")
    found = make_plan(annotated.config()).findings
    assert found["what"][0] == (
        "The plates table names B1/123, of which there are no images; there are images of B1/00123."
    )


def controls(screen, count: int, drugs: int = 8) -> None:
    """One plate with this many negative controls and wells of a drug."""
    names = [f"A{column:02d}" for column in range(1, count + drugs + 1)]
    screen.plate("P1", wells=names)
    rows = "".join(f"{well}\t{'drug' if number < drugs else ''}\n" for number, well in enumerate(names))
    screen.metadata("batch,plate,plate_map_name\nB1,P1,map\n", f"well_position broad_sample\n{rows}", DRUGS,
                    negcon_name="DMSO")  # fmt: skip


@pytest.mark.parametrize(("count", "found"), [(1, True), (3, True), (4, False)])
def test_negative_controls_too_few_for_a_mad_are_found_before_anything_runs(screen, kinds, count, found):
    controls(screen, count)
    plan = make_plan(screen.config(profiles={"normalize": "mad_robustize"}))
    assert kinds(plan) == ["few_negative_controls"] * found
    if found:
        assert plan.findings["what"][0].startswith(f"B1/P1 has {count} negative control")
        assert "Plates with too few negative controls to normalise by: 1" in show(plan)
    assert kinds(make_plan(screen.config(profiles={"normalize": "standardize"}))) == []


@pytest.mark.parametrize(("count", "found"), [(1, True), (2, False)])
def test_of_a_first_look_at_a_few_wells_only_a_single_control_is_worth_a_word(screen, kinds, count, found):
    controls(screen, count, drugs=2)
    plan = make_plan(screen.config(profiles={"normalize": "mad_robustize"}))
    assert kinds(plan) == ["few_negative_controls"] * found


def test_an_image_folder_without_images_is_found(annotated, kinds):
    for path in annotated.images.rglob("P2__*/Images/*"):
        path.unlink()
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["plate_not_imaged"]
    assert plan.plate_list == [("B1", "P1")]


def test_a_screen_without_any_image_is_refused(annotated):
    for path in annotated.images.rglob("*.tiff"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"There is nothing to measure below .*B1/P1: there are no images in"):
        make_plan(annotated.config())


# What the images are like.


def test_one_image_unlike_the_others_does_not_decide_for_its_plate(annotated, kinds):
    first = image(annotated, "P1", image_name("A01", 1, 1))
    tifffile.imwrite(first, np.zeros((3, 4), np.uint8))
    plan = make_plan(annotated.config())
    assert plan.plates[["image_height", "image_width", "image_dtype"]].to_numpy().tolist() == [[6, 8, "uint16"]] * 2
    assert kinds(plan) == ["unlike_others"]
    assert re.search(r"B1/P1: .*ch1.*\.tiff is 3 x 4 uint8, where others are 6 x 8 uint16", plan.findings["what"][0])


def test_each_channel_has_a_type_of_its_own(annotated, kinds):
    """Channel 2 is first seen last, and channel 1 is first in all listings: neither decides for the other."""
    for channel, dtype in ((1, np.uint8), (2, np.uint16)):
        for path in annotated.images.rglob(f"P1__*/Images/*-ch{channel}sk*.tiff"):
            tifffile.imwrite(path, np.zeros((6, 8), dtype))
    plan = make_plan(annotated.config())
    assert kinds(plan) == []
    assert plan.plates[["Dtype_OrigMito", "Dtype_OrigDNA"]].to_numpy().tolist() == [
        ["uint8", "uint16"],
        ["uint16", "uint16"],
    ]
    assert plan.plates["image_dtype"].tolist() == ["uint8, OrigDNA uint16", "uint16"]
    assert "6 x 8 uint8, OrigDNA uint16" in show(plan)


def test_one_image_unlike_the_others_of_its_channel_is_found_where_channels_differ(annotated, kinds):
    for path in annotated.images.rglob("P1__*/Images/*-ch1sk*.tiff"):
        tifffile.imwrite(path, np.zeros((6, 8), np.uint8))
    tifffile.imwrite(image(annotated, "P1", image_name("A01", 1, 1)), np.zeros((6, 8), np.float32))
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["unlike_others"]
    assert "ch1sk1fk1fl1.tiff is 6 x 8 float32, where others are 6 x 8 uint8" in plan.findings["what"][0]
    assert plan.plates["Dtype_OrigMito"][0] == "uint8"


def test_a_channel_that_was_imaged_in_two_ways_is_found(screen, kinds):
    """The first rows with 8 bits, the last with 16: images that lie side by side agree."""
    place = screen.plate("P1", wells=[f"{row}01" for row in "ABCDEFGH"], sites=[1])
    for row in range(1, 5):
        tifffile.imwrite(place / image_name(f"{'ABCD'[row - 1]}01", 1, 2), np.zeros((6, 8), np.uint8))
    plan = make_plan(screen.config())
    assert kinds(plan) == ["unlike_others"]
    assert "is 6 x 8 uint" in plan.findings["what"][0]


def test_names_in_brackets_are_shown_as_they_are(screen):
    """Not taken for the marks of a terminal's colours, which would vanish, or end the program."""
    place = screen.plate("P1")
    (place / "notes[bold] [/x] :smile:.tiff".replace("/", "_")).write_bytes(b"x")
    assert "notes[bold] [_x] :smile:.tiff" in show(make_plan(screen.config()))


def test_a_channel_of_another_size_is_found(annotated, kinds):
    for path in annotated.images.rglob("P1__*/Images/*-ch2sk*.tiff"):
        tifffile.imwrite(path, np.zeros((3, 4), np.uint16))
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["unlike_others"]
    assert "B1/P1: the images of OrigDNA are 3 x 4, where those of other channels are 6 x 8" in plan.findings["what"][0]


def test_a_channel_that_cannot_be_used_is_found_with_the_reason(annotated, kinds):
    for path in annotated.images.rglob("P1__*/Images/*-ch2sk*.tiff"):
        table = np.zeros((3, 256), np.uint16)
        tifffile.imwrite(path, np.zeros((6, 8), np.uint8), photometric="palette", colormap=table)
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["unreadable"]
    assert re.search(
        r"B1/P1: none of 6 images of OrigDNA from all over the plate can be read: .*ch2.*\.tiff has a colour table",
        plan.findings["what"][0],
    )


def test_an_image_that_cannot_be_used_is_found_where_it_is_met(annotated, kinds):
    first = image(annotated, "P1", image_name("A01", 1, 1))
    first.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["unreadable"]
    assert "ch1sk1fk1fl1.tiff cannot be used: it is a git-lfs pointer" in plan.findings["what"][0]


def test_shape_and_type_come_from_images_that_can_be_read(annotated):
    broken = [image(annotated, "P1", image_name("A01", 1, channel)) for channel in (1, 2)]
    broken[0].write_bytes(broken[0].read_bytes()[:-40])
    broken[1].write_bytes(b"<html>no such key</html>")
    plates = make_plan(annotated.config()).plates
    assert plates[["image_height", "image_width", "image_dtype"]].to_numpy().tolist() == [[6, 8, "uint16"]] * 2


def test_a_plate_of_unreadable_images_is_found_with_the_reason(annotated, kinds):
    for path in annotated.images.rglob("P2__*/Images/*"):
        path.write_bytes(b"<html>")
    plan = make_plan(annotated.config())
    assert kinds(plan) == ["unreadable"]
    assert "is a page of HTML" in plan.findings["what"][0]
    assert plan.plates["image_height"].isna().tolist() == [False, True]
    assert "unreadable" in show(plan)


# Less than everything.


@pytest.mark.parametrize(
    ("names", "plates"),
    [
        (["P2"], [("B1", "P2"), ("B2", "P2")]),
        (["B2/P2"], [("B2", "P2")]),
        (["B2"], [("B2", "P2")]),
        (["first"], [("B1", "P1")]),
        (["first", "B2/P2"], [("B1", "P1"), ("B2", "P2")]),
    ],
)
def test_plates_are_chosen_by_name_batch_and_group(annotated, kinds, names, plates):
    annotated.plate("P2", wells=["A01", "A02", "B01"], batch="B2")
    annotated.table("plates.csv", PLATES + "B2,P2,map\n")
    annotated.keys["groups"] = {"first": [{"plate": ["P1"]}]}
    plan = make_plan(annotated.config(subset={"plates": names}))
    assert plan.plate_list == plates
    assert kinds(plan) == []
    assert len(plan.sites) == 6 * len(plates)


def test_wells_and_sites_are_chosen_and_everything_else_is_left_out(annotated):
    plan = make_plan(annotated.config(subset={"wells": ["a1", "A02"], "sites": [2]}))
    assert plan.wells["Metadata_Well"].tolist() == ["A01", "A02"] * 2
    assert plan.wells["sites"].tolist() == [1] * 4
    assert set(plan.sites["Metadata_Site"]) == {2}
    assert plan.findings.empty


def test_an_excluded_well_stays_in_the_plan_with_its_reason_and_without_sites(annotated, kinds):
    plan = make_plan(annotated.config(subset={"exclude": {"B1/P1": {"a2": "pipette clogged"}}}))
    left_out = plan.wells["excluded"] != ""
    assert plan.wells.loc[left_out, ["Metadata_Plate", "Metadata_Well", "sites", "excluded"]].values.tolist() == [
        ["P1", "A02", 0, "pipette clogged"]
    ]
    assert len(plan.sites) == 10
    assert kinds(plan) == ["no_negative_controls", "well_excluded"]  # it was the plate's only one
    assert plan.findings["what"][1] == "B1/P1 A02 is not to be measured: pipette clogged"


def test_an_excluded_well_outside_the_subset_is_no_mistake(annotated):
    excluded = {"P1": {"A02": "empty"}, "P2": {"A02": "empty"}}
    plan = make_plan(annotated.config(subset={"plates": ["P2"], "wells": ["A01"], "exclude": excluded}))
    assert plan.wells["excluded"].tolist() == [""]


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ({"exclude": {"P3": {"A01": "bad"}}}, r"exclude: 'P3' is no plate.*Nearest: 'P"),
        ({"exclude": {"P1": {"C01": "bad"}}}, r"exclude: B1/P1 does not have a well C01. Nearest: '.01'"),
        ({"plates": ["P22"]}, "'P22' is no plate, batch/plate, batch or group. Nearest: 'P2'"),
        ({"plates": ["B2/P1"]}, "Nearest: 'B1/P1'"),
        ({"plates": ["frist"]}, "Nearest: 'first'"),
        ({"wells": ["A03"]}, "no chosen plate has a well A03. Nearest: 'A0"),
        ({"wells": ["well A1"]}, "'well A1' is no well name"),
        ({"sites": [7]}, "no chosen plate has a site 7. Nearest: 2"),
    ],
)
def test_a_name_that_fits_nothing_is_refused_with_the_nearest(annotated, subset, message):
    annotated.keys["groups"] = {"first": [{"plate": ["P1"]}]}
    with pytest.raises(ConfigError, match=f"subset.*{message}"):
        make_plan(annotated.config(subset=subset))


# Written and read back.


def test_the_plan_is_read_back_as_it_was_written(annotated):
    image(annotated, "P1", image_name("A02", 2, 1)).unlink()
    config = annotated.config()
    plan, storage = make_plan(config), open_storage(config.results)
    write_plan(plan, storage)
    read = pd.concat([read_sites(storage, plate) for plate in plan.plate_list], ignore_index=True)
    pd.testing.assert_frame_equal(read, plan.sites)
    pd.testing.assert_frame_equal(read_wells(storage), plan.wells)
    pd.testing.assert_frame_equal(read_plates(storage), plan.plates)
    pd.testing.assert_frame_equal(read_findings(storage), plan.findings, check_dtype=False)


def test_a_plan_keeps_what_was_asked_for_before_beside_the_subset(annotated):
    first = make_plan(annotated.config(subset={"plates": ["P1"], "wells": ["A01"]}))
    assert first.chosen == {("B1", "P1", "A01")}
    both = make_plan(annotated.config(subset={"plates": ["P2"], "wells": ["A02"]}), earlier=first.wells)
    keys = ["Metadata_Plate", "Metadata_Well"]
    assert both.wells[keys].to_numpy().tolist() == [["P1", "A01"], ["P2", "A02"]]
    assert both.sites[keys].drop_duplicates().to_numpy().tolist() == [["P1", "A01"], ["P2", "A02"]]
    assert both.chosen == {("B1", "P2", "A02")}
    assert make_plan(annotated.config(), earlier=first.wells).chosen is None


def test_the_sites_of_a_plate_are_written_whole_whichever_wells_are_asked_for(annotated):
    whole, some = make_plan(annotated.config()), make_plan(annotated.config(subset={"wells": ["A01"]}))
    pd.testing.assert_frame_equal(some.plate_sites, whole.sites)
    assert set(some.sites["Metadata_Well"]) == {"A01"}


def test_the_same_screen_gives_the_same_bytes(annotated, tmp_path):
    image(annotated, "P1", image_name("A02", 2, 1)).unlink()
    stores = [open_storage(str(tmp_path / name)) for name in ("one", "two")]
    for storage in stores:
        write_plan(make_plan(annotated.config()), storage)
    one, two = ({entry.key: storage.get(entry.key) for entry in storage.entries()} for storage in stores)
    assert one == two
    # nothing that differs between two machines: versions of pandas, times
    assert {name for data in one.values() for name in pq.read_schema(pa.BufferReader(data)).metadata} == {b"seal"}
    assert set(one) == {
        *("plan/sites/B1/P1.parquet", "plan/sites/B1/P2.parquet"),
        *("plan/wells.parquet", "plan/plates.parquet", "plan/findings.parquet"),
    }


def test_a_plate_whose_chosen_sites_are_all_missing_has_an_empty_table(annotated):
    for path in annotated.images.rglob("P2__*/Images/*f02*"):
        path.unlink()
    config = annotated.config(subset={"sites": [2]})
    plan, storage = make_plan(config), open_storage(config.results)
    write_plan(plan, storage)
    assert read_sites(storage, Plate("B1", "P2")).empty
    assert read_wells(storage).groupby("Metadata_Plate")["sites"].sum().to_dict() == {"P1": 3, "P2": 0}


def test_the_sites_of_a_well_come_with_the_files_to_read(annotated):
    image(annotated, "P1", image_name("A02", 2, 1)).unlink()
    config = annotated.config()
    storage = open_storage(config.results)
    write_plan(make_plan(config), storage)
    first, second = read_well_sites(storage, Plate("B1", "P1"), "A02")
    assert (first.site, second.site) == (1, 2)
    assert read_site(open_storage(config.images), first.files(["OrigMito", "OrigDNA"]))["OrigMito"].shape == (6, 8)
    assert second.files(["OrigMito", "OrigER"]) == {"OrigMito": None, "OrigER": None}
    assert second.files(["OrigDNA"])["OrigDNA"].key.endswith(image_name("A02", 2, 2))


def test_reading_where_nothing_was_planned_says_so(annotated):
    with pytest.raises(NotFound, match=r"no plan/wells\.parquet: nothing was planned there"):
        read_wells(open_storage(annotated.config().results))


# For the reader.


def test_the_shown_plan_counts_wells_sites_and_images(annotated):
    annotated.keys["condition"] = ["line"]
    annotated.table("plates.csv", "batch,plate,plate_map_name,line\nB1,P1,map,U2OS\nB1,P2,map,A549\n")
    image(annotated, "P1", image_name("A02", 2, 1)).unlink()
    text = show(make_plan(annotated.config()), ("line",))
    (row,) = (line for line in text.splitlines() if "P1" in line and "U2OS" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("B1", "P1", "U2OS", "6 x 8 uint16", "3", "3", "6", "11", "1", "0")
    ]
    assert "sites: 12" in text
    assert "images: 23" in text


# Real images.


@pytest.mark.real_data
def test_the_real_plates_are_planned_as_their_files_are(shared_data, screen):
    gallery = shared_data / "gallery"
    screen.keys = {"name": "jump", "channels": {5: "DNA", 6: "HighZBF"}, "condition": []}
    plan = make_plan(screen.config(images=str(gallery / "cpg0016-jump" / "source_4")))
    (row,) = plan.sites.to_dict("records")
    assert (row["Metadata_Batch"], row["Metadata_Plate"]) == ("2021_04_26_Batch1", "BR00117035")
    assert (row["Metadata_Well"], row["Metadata_Site"]) == ("A01", 1)
    assert row["Key_OrigHighZBF"].endswith("r01c01f01p01-ch6sk1fk1fl1.tiff")
    (about,) = plan.plates.to_dict("records")
    assert (about["image_height"], about["image_width"], about["image_dtype"]) == (1080, 1080, "uint16")


@pytest.mark.real_data
def test_the_plate_with_a_space_in_its_folder_is_a_plate_like_others(shared_data, screen):
    screen.keys = {
        "name": "pediatric",
        "batch": "pediatric",
        "condition": [],
        "channels": {1: "Brightfield", 2: "ER", 3: "AGP", 4: "Mito", 5: "DNA", 6: "RNA"},
    }
    config = screen.config(images=str(shared_data / "gallery" / "pediatric_cancer_atlas"))
    plan, storage = make_plan(config), open_storage(config.results)
    assert plan.findings.empty
    write_plan(plan, storage)
    (site,) = read_well_sites(storage, Plate("pediatric", "BR00143976"), "C03")
    assert site.site == 3
    images = read_site(open_storage(config.images), site.files(["OrigDNA", "OrigBrightfield"]))
    assert images["OrigDNA"].shape == (1080, 1080)
