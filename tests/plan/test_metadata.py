from __future__ import annotations

import pandas as pd
import pytest

from pipeline.errors import ConfigError
from pipeline.plan import make_plan
from pipeline.screen.groups import in_group
from pipeline.screen.plates import screen_plates
from pipeline.screen.wells import screen_wells

PLATES = "batch,plate,plate_map_name,modality\nB1,P1,map,compound\n"
MAP = "well_position broad_sample\nA01 drug\nA02 \nB01 other\n"
TARGET_STYLE = "broad_sample pert_iname control_type gene\ndrug aspirin NA PTGS1\nNA DMSO negcon NA\nother ? NA NA\n"


def wells(screen) -> pd.DataFrame:
    table, _ = screen_wells(screen.config().screen)
    return table.set_index("Metadata_Well")


# The empty sample.


@pytest.mark.parametrize("empty", ["", "NA", " "])
@pytest.mark.parametrize("row", ["NA DMSO negcon NA\n", " DMSO negcon NA\n", "DMSO DMSO negcon NA\n", ""])
def test_an_empty_sample_is_the_negative_control_however_map_and_table_write_it(screen, empty, row):
    plate_map = MAP.replace("A02 \n", "A02\t" + empty + "\n")
    screen.metadata(PLATES, plate_map, TARGET_STYLE.replace("NA DMSO negcon NA\n", row), negcon_name="DMSO")
    table = wells(screen)
    assert table["Metadata_broad_sample"].to_dict() == {"A01": "drug", "A02": "DMSO", "B01": "other"}
    assert table["Metadata_control_type"].to_dict() == {"A01": "", "A02": "negcon", "B01": ""}
    assert table["Metadata_pert_iname"]["A02"] == ("DMSO" if row else "")
    assert not table.isna().any().any()


def test_an_empty_sample_without_a_name_is_an_empty_well_and_joins_nothing(screen):
    screen.metadata(PLATES, MAP, TARGET_STYLE)  # the table's NA row must not meet the map's empty well
    table = wells(screen)
    assert (
        table.loc["A02", ["Metadata_broad_sample", "Metadata_control_type", "Metadata_pert_iname"]].tolist() == [""] * 3
    )
    assert table["Metadata_pert_type"].to_dict() == {"A01": "", "A02": "empty", "B01": ""}


SOLVENTS = "well_position broad_sample solvent\nA01 drug DMSO\nA02 NA DMSO\nB01 NA NA\nB02\t\t\n"


def test_a_well_without_sample_and_solvent_is_empty_where_others_have_a_solvent(screen):
    screen.metadata(PLATES, SOLVENTS, TARGET_STYLE, negcon_name="DMSO")
    table = wells(screen)
    assert table["Metadata_broad_sample"].to_dict() == {"A01": "drug", "A02": "DMSO", "B01": "", "B02": ""}
    assert table["Metadata_control_type"].to_dict() == {"A01": "", "A02": "negcon", "B01": "", "B02": ""}
    assert table["Metadata_pert_type"].to_dict() == {"A01": "", "A02": "", "B01": "empty", "B02": "empty"}


def test_where_no_well_without_a_sample_has_a_solvent_each_is_a_negative_control(screen):
    screen.metadata(PLATES, SOLVENTS.replace("A02 NA DMSO", "A02 NA NA"), TARGET_STYLE, negcon_name="DMSO")
    assert (wells(screen)["Metadata_control_type"] == "negcon").tolist() == [False, True, True, True]


@pytest.mark.parametrize("column", ["pert_type", "control_type"])
def test_a_plate_map_can_say_that_a_well_is_empty(screen, column):
    plate_map = f"well_position broad_sample {column}\nA01 drug trt\nA02\t\t\nB01\t\tempty\n"
    screen.metadata(PLATES, plate_map, TARGET_STYLE, negcon_name="DMSO")
    table = wells(screen)
    assert table["Metadata_broad_sample"].to_dict() == {"A01": "drug", "A02": "DMSO", "B01": ""}
    assert (table["Metadata_control_type"] == "negcon").tolist() == [False, True, False]
    assert table["Metadata_pert_type"]["B01"] == "empty"


@pytest.mark.parametrize("kind", ["NEGCON", "Negcon"])
def test_a_negative_control_is_one_in_any_letters(screen, kind):
    screen.metadata(PLATES, MAP, TARGET_STYLE.replace("other ? NA", f"other ? {kind}"))
    assert wells(screen)["Metadata_control_type"].to_dict() == {"A01": "", "A02": "", "B01": "negcon"}


def test_a_negative_control_named_on_the_map_is_one_too(screen):
    screen.metadata(PLATES, MAP.replace("A02 ", "A02 DMSO"), TARGET_STYLE, negcon_name="DMSO")
    assert wells(screen)["Metadata_control_type"].to_dict() == {"A01": "", "A02": "negcon", "B01": ""}


def test_another_text_can_mean_no_value(screen):
    screen.metadata(PLATES, MAP, TARGET_STYLE.replace("?", "none"), missing=["none"])
    table = wells(screen)
    assert table["Metadata_pert_iname"]["B01"] == ""
    assert table["Metadata_gene"]["B01"] == "NA"


def test_a_gene_called_nan_or_null_is_a_gene(screen):
    screen.metadata(PLATES, MAP, "broad_sample gene\ndrug NaN\nother NULL\n")
    assert wells(screen)["Metadata_gene"].to_dict() == {"A01": "NaN", "A02": "", "B01": "NULL"}


# The join.


def test_each_table_speaks_of_the_plates_of_its_modality(screen):
    screen.metadata(PLATES + "B1,P2,map,orf\n", MAP, TARGET_STYLE, modality="compound", negcon_name="DMSO")
    screen.table("orf.tsv", "broad_sample gene\ndrug GENE1\nother GENE2\n")
    screen.keys["perturbations"].append({"table": str(screen.root / "orf.tsv"), "modality": "orf"})
    table, findings = screen_wells(screen.config().screen)
    assert not findings
    genes = table.pivot(index="Metadata_Well", columns="Metadata_Plate", values="Metadata_gene")
    assert genes.to_dict() == {
        "P1": {"A01": "PTGS1", "A02": "", "B01": ""},
        "P2": {"A01": "GENE1", "A02": "", "B01": "GENE2"},
    }
    samples = table.pivot(index="Metadata_Well", columns="Metadata_Plate", values="Metadata_broad_sample")
    assert samples.loc["A02"].to_dict() == {"P1": "DMSO", "P2": ""}


def test_columns_and_keys_of_other_names_are_read_by_the_names_given(screen):
    screen.metadata(
        "Assay_Plate_Barcode,Plate_Map_Name\nP1,map\n",
        "well_position compound dose\nA1 drug 5\n",
        "compound symbol gene\ndrug TP53 old\n",
        key="compound",
        columns={"gene": "symbol"},
    )
    screen.keys |= {"batch": "B7", "columns": {"plate": "Assay_Plate_Barcode", "plate_map_name": "Plate_Map_Name"}}
    row = wells(screen).loc["A01"]
    columns = ["Metadata_Batch", "Metadata_Plate", "Metadata_broad_sample", "Metadata_gene", "Metadata_dose"]
    assert row[columns].tolist() == ["B7", "P1", "drug", "TP53", "5"]


def test_what_the_map_says_of_a_well_comes_before_what_the_table_says_of_its_sample(screen):
    screen.metadata(PLATES, "well_position broad_sample control_type\nA01 drug poscon\nA02 drug \n", TARGET_STYLE)
    screen.table("perturbations.tsv", "broad_sample control_type\ndrug trt\n")
    assert wells(screen)["Metadata_control_type"].to_dict() == {"A01": "poscon", "A02": "trt"}


def test_spaces_around_names_and_a_byte_order_mark_do_not_break_the_join(screen):
    screen.metadata(PLATES, MAP, TARGET_STYLE)
    (screen.root / "platemaps" / "map.txt").write_text(
        "\ufeffwell_position\tbroad_sample\na1\tdrug \n", encoding="utf-8"
    )
    assert wells(screen)["Metadata_gene"].to_dict() == {"A01": "PTGS1"}


def test_wells_are_in_the_order_of_plates_rows_and_columns(screen):
    screen.metadata(PLATES + "B0,P0,map,compound\n", "well_position broad_sample\nAA01 x\nB10 x\nB02 x\n")
    table, _ = screen_wells(screen.config().screen)
    assert table[["Metadata_Plate", "Metadata_Well"]].agg(" ".join, axis=1).tolist() == [
        *("P1 B02", "P1 B10", "P1 AA01", "P0 B02", "P0 B10", "P0 AA01")
    ]
    assert table["Metadata_Row"].tolist()[:3] == [2, 2, 27]


def test_a_sample_that_no_table_describes_is_a_finding(screen, kinds):
    screen.plate("P1", wells=["A01", "A02", "B01"])
    screen.metadata(PLATES, MAP, TARGET_STYLE.replace("other", "another"), negcon_name="DMSO")
    plan = make_plan(screen.config())
    assert kinds(plan) == ["sample_unknown"]
    assert "Plate map map of compound plates holds other" in plan.findings["what"][0]


def test_a_screen_without_tables_knows_nothing_of_its_wells(screen):
    screen.plate("P1")
    screen.keys["condition"] = ["cell_type"]
    plan = make_plan(screen.config())
    assert plan.findings.empty
    assert plan.wells["Metadata_broad_sample"].tolist() == ["", ""]
    assert plan.wells["Metadata_cell_type"].tolist() == ["", ""]


# Tables that cannot be meant.


@pytest.mark.parametrize(
    ("plates", "plate_map", "table", "message"),
    [
        ("batch,barcode\nB1,P1\n", MAP, TARGET_STYLE, r"plates\.csv: each row needs a plate.*barcode"),
        (PLATES + "B1,P1,pam,compound\n", MAP, TARGET_STYLE, r"plates\.csv has plate B1/P1 twice, with plate_map_name"),
        (PLATES + "B1,,map,compound\n", MAP, TARGET_STYLE, r"plates\.csv, line 3: each row needs a plate, and this"),
        (
            PLATES.replace("modality", "Well"),
            MAP,
            TARGET_STYLE,
            r"plates\.csv has a column Well, and its rows are plates",
        ),
        (
            PLATES.replace(",map,", ",../map,"),
            MAP,
            TARGET_STYLE,
            r"'\.\./map' cannot be a plate map's name: it holds a",
        ),
        (PLATES, MAP + "well1 drug\n", TARGET_STYLE, r"map\.txt, line 5: 'well1' is no well name"),
        (
            PLATES,
            "well_position Well broad_sample\nA01 A1 x\nA02 B01 x\n",
            TARGET_STYLE,
            "line 3: .*is A02, and Well is B01",
        ),
        (PLATES.replace(",map,", ",pam,"), MAP, TARGET_STYLE, r"Plate map pam is not in .*pam\.txt"),
        ("batch,plate,modality\nB1,P1,compound\n", MAP, TARGET_STYLE, "no column plate_map_name"),
        ("batch,plate,plate_map_name\nB1,P1,map\n", MAP, TARGET_STYLE, "no column modality"),
        (PLATES, "well broad\nA01 drug\n", TARGET_STYLE, r"map\.txt needs the columns well_position and broad_sample"),
        (PLATES, MAP + "A1 drug\n", TARGET_STYLE, r"map\.txt has well A01 twice, again in line 5"),
        (PLATES, MAP + "Z99 drug\n", TARGET_STYLE, r"map\.txt: .*outside a 1536-well plate"),
        (PLATES, MAP, "sample\ndrug\n", r"perturbations\.tsv has no column broad_sample; it has sample"),
        (PLATES, MAP, TARGET_STYLE + "drug again NA NA\n", r"drug has several rows in .*perturbations\.tsv"),
    ],
)
def test_tables_that_leave_open_what_is_meant_are_refused_by_name(screen, plates, plate_map, table, message):
    screen.metadata(plates, plate_map, table, modality="compound")
    with pytest.raises(ConfigError, match=message):
        wells(screen)


def test_a_condition_without_its_column_is_refused_with_the_way_out(screen):
    screen.metadata(PLATES, MAP)
    screen.keys["condition"] = ["cell_type"]
    with pytest.raises(
        ConfigError, match=r"no column cell_type.*It has: batch, plate.*`columns: \{cell_type: <its name>\}`"
    ):
        screen_plates(screen.config().screen)


def test_a_renamed_column_that_is_not_there_is_refused_with_the_nearest(screen):
    screen.metadata(PLATES, MAP)
    screen.keys["columns"] = {"modality": "modalty"}
    with pytest.raises(ConfigError, match=r"no column 'modalty'. Nearest: 'modality'"):
        screen_plates(screen.config().screen)


def test_plate_maps_without_a_plates_table_are_refused(screen):
    screen.metadata(PLATES, MAP)
    del screen.keys["plates"]
    with pytest.raises(ConfigError, match="platemaps and no plates table"):
        wells(screen)


# Columns that are called like ours.


@pytest.mark.parametrize(
    "plate_map",
    [
        "Row,Column,well_position,broad_sample\nA,1,A01,drug\nA,2,A02,\n",
        "Well,well_position,broad_sample\nA1,A01,drug\nA2,A02,\n",
        "Well,well_position,broad_sample\n1,A01,drug\n2,A02,\n",
        "WELL_Position,broad_sample\na1,drug\na2,\n",
        "Plate,batch,well_position,broad_sample\nsource7,x,A01,drug\nsource7,x,A02,\n",
    ],
)
def test_columns_of_a_map_that_are_called_like_ours_give_way(screen, plate_map):
    screen.metadata(PLATES + "B2,P2,map,compound\n", MAP, TARGET_STYLE, negcon_name="DMSO")
    (screen.root / "platemaps" / "map.txt").unlink()
    screen.table("platemaps/map.csv", plate_map)
    table, findings = screen_wells(screen.config().screen)
    columns = [f"Metadata_{name}" for name in ("Batch", "Plate", "Well", "Row", "Column", "broad_sample", "gene")]
    assert table[columns].to_numpy().tolist() == [
        ["B1", "P1", "A01", 1, 1, "drug", "PTGS1"],
        ["B1", "P1", "A02", 1, 2, "DMSO", ""],
        ["B2", "P2", "A01", 1, 1, "drug", "PTGS1"],
        ["B2", "P2", "A02", 1, 2, "DMSO", ""],
    ]
    assert not findings


def test_columns_of_an_annotation_table_say_nothing_of_our_plates_and_wells(screen):
    screen.metadata(PLATES, MAP, "broad_sample Plate batch Well Row gene\ndrug 7 x B02 2 TP53\n")
    row = wells(screen).loc["A01"]
    assert row[["Metadata_Batch", "Metadata_Plate", "Metadata_Row", "Metadata_gene"]].tolist() == [
        "B1",
        "P1",
        1,
        "TP53",
    ]


def test_a_column_of_another_name_may_stand_beside_one_of_ours(screen):
    screen.metadata(PLATES, "well_position broad_sample compound\nA01 stock7 drug\n", MAP, key="compound")
    screen.table("perturbations.tsv", "broad_sample compound gene\nstock9 drug TP53\n")
    row = wells(screen).loc["A01"]
    assert row[["Metadata_broad_sample", "Metadata_gene"]].tolist() == ["drug", "TP53"]


def test_a_batch_column_in_capitals_is_not_overlooked(screen):
    screen.metadata("Batch,plate,plate_map_name\nB1,P1,map\n", MAP)
    for batch in ({}, {"batch": "B7"}):
        screen.keys |= batch
        with pytest.raises(ConfigError, match=r"each row needs a batch.*`columns: \{batch: Batch\}`"):
            screen_plates(screen.config().screen)
    screen.keys["columns"] = {"batch": "Batch"}
    assert screen_plates(screen.config().screen)["Metadata_Batch"].tolist() == ["B1"]


def test_batch_and_plate_in_two_spellings_are_one_where_they_agree_and_refused_where_not(screen):
    screen.metadata("batch,Batch,plate,Plate\nB1,B1,P1,P1\n", MAP)
    del screen.keys["platemaps"]
    assert list(screen_plates(screen.config().screen)) == ["Metadata_Batch", "Metadata_Plate"]
    screen.table("plates.csv", "batch,plate,Plate\nB1,P1,P1\nB1,P2,P3\n")
    with pytest.raises(ConfigError, match=r"has the columns plate and Plate, with 'P2' and 'P3' in line 3.*Delete one"):
        screen_plates(screen.config().screen)
    screen.keys["columns"] = {"plate": "Plate"}
    assert screen_plates(screen.config().screen)["Metadata_Plate"].tolist() == ["P1", "P3"]


# Tables as people have them.


def test_a_tab_at_the_end_of_each_row_moves_nothing(screen):
    screen.metadata(PLATES, MAP, TARGET_STYLE, negcon_name="DMSO")
    path = screen.root / "platemaps" / "map.txt"
    path.write_text("well_position\tbroad_sample\nA01\tdrug\t\nA02\t\t\n")
    table = wells(screen)
    assert table["Metadata_broad_sample"].to_dict() == {"A01": "drug", "A02": "DMSO"}


def test_rows_that_stand_twice_are_read_once(screen):
    screen.metadata(PLATES + "B1,P1,map,compound\n", MAP, TARGET_STYLE + "drug aspirin NA PTGS1\n")
    assert len(wells(screen)) == 3


@pytest.mark.parametrize("name", ["map.txt", "map.tsv", "map.csv"])
def test_a_plate_map_may_be_named_with_its_ending_and_written_with_any_separator(screen, name):
    screen.metadata(PLATES.replace(",map,", f",{name},"), MAP)
    (screen.root / "platemaps" / "map.txt").unlink()
    (screen.root / "platemaps" / name).write_text("well_position;broad_sample\nA01;drug\n", encoding="utf-16")
    assert wells(screen)["Metadata_broad_sample"].to_dict() == {"A01": "drug"}


def test_two_maps_of_one_name_are_refused(screen):
    screen.metadata(PLATES, MAP)
    screen.table("platemaps/map.csv", "well_position,broad_sample\nA01,other\n")
    with pytest.raises(ConfigError, match=r"Plate map map is in .* as map\.txt, map\.csv. Keep one"):
        wells(screen)


@pytest.mark.parametrize("name", ["plates.csv", "platemaps/map.txt", "perturbations.tsv"])
@pytest.mark.parametrize("data", [b"", b"<html></html>", b"version https://git-lfs.github.com/spec/v1\n", b"a,b\n"])
def test_every_table_that_is_none_is_refused_by_name(screen, name, data):
    screen.metadata(PLATES, MAP, TARGET_STYLE)
    (screen.root / name).write_bytes(data)
    with pytest.raises(ConfigError, match=rf"{name} cannot be read as a table"):
        wells(screen)


# Groups.


def test_a_plate_is_in_a_group_if_it_fits_one_of_its_rules(screen):
    screen.metadata(
        "batch,plate,modality,line\nB1,P1,orf,wt\nB1,P2,compound,wt\nB1,P3,compound,cas9\nB2,P4,orf,wt\n", MAP
    )
    del screen.keys["platemaps"]
    rules = [{"batch": ["B1"], "modality": ["orf"]}, {"batch": ["B1", "B2"], "modality": ["compound"], "line": ["wt"]}]
    screen.keys["groups"] = {"usual": rules, "wrong": [{"modalty": ["orf"]}]}
    config = screen.config().screen
    plates = screen_plates(config)
    assert list(in_group(config, plates, "usual")) == [True, True, False, False]
    with pytest.raises(
        ConfigError, match=r"groups\.wrong: the plates table has no column 'modalty'. Nearest: 'modality'"
    ):
        in_group(config, plates, "wrong")


# Columns that differ from ours in case only.


def test_columns_of_map_and_annotation_table_count_in_any_case(screen):
    table = "Broad_Sample Control_Type Gene\ndrug poscon TP53\nvehicle negcon NA\n"
    screen.metadata(PLATES, "Well_Position BROAD_SAMPLE\nA01 drug\nA02 vehicle\n", table)
    columns = ["Metadata_broad_sample", "Metadata_control_type", "Metadata_gene"]
    assert wells(screen)[columns].to_numpy().tolist() == [["drug", "poscon", "TP53"], ["vehicle", "negcon", ""]]


def test_a_column_of_our_name_comes_before_one_in_another_case_and_two_others_are_refused(screen):
    plate_map = "well_position broad_sample Broad_Sample\nA01 drug other\n"
    screen.metadata(PLATES, plate_map, TARGET_STYLE)
    assert wells(screen)["Metadata_broad_sample"].tolist() == ["drug"]
    screen.metadata(PLATES, plate_map.replace("broad_sample", "BROAD_SAMPLE"), TARGET_STYLE)
    with pytest.raises(ConfigError, match=r"map\.txt has the columns BROAD_SAMPLE and Broad_Sample\. Call the one to"):
        wells(screen)


def test_of_many_columns_a_message_names_the_first(screen):
    more = "".join(f",extra_{number}" for number in range(40))
    screen.metadata(f"batch,plate,map_of_it{more}\nB1,P1,map{',x' * 40}\n", MAP, TARGET_STYLE)
    screen.keys["condition"] = ["cell_type"]
    with pytest.raises(ConfigError, match=r"It has: batch, plate, map_of_it, .*, extra_6 and 33 more\. Name the"):
        wells(screen)


def test_a_plate_map_that_is_compressed_is_named_where_none_is_found(screen):
    screen.metadata(PLATES, MAP, TARGET_STYLE)
    (screen.root / "platemaps" / "map.txt").rename(screen.root / "platemaps" / "map.csv.gz")
    with pytest.raises(ConfigError, match=r"there is no map\.txt .*Nearest: 'map\.csv\.gz'"):
        wells(screen)
