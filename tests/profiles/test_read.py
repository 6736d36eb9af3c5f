"""What a file of profiles can hold instead of one row a well of its plate, as people have it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import open_profiles
from pipeline.errors import ConfigError, NotFound
from pipeline.profiles.columns import feature_names, lone_names, ranked_columns
from pipeline.screen.doses import dose_columns

LEVEL = "normalized_feature_select_negcon_batch"
WELLS = ["A01", "A02", "B01"]


def plate(name: str = "001", seed: int = 0, **columns: object) -> pd.DataFrame:
    """Three wells, four features."""
    values = np.random.default_rng(seed).normal(size=(3, 4))
    table = pd.DataFrame(values, columns=["Cells_a_1", "Cells_a_2", "Nuclei_a_1", "Cytoplasm_a_1"])
    table.insert(0, "Metadata_Well", WELLS)
    table.insert(0, "Metadata_Plate", name)
    return table.assign(**columns)


def place(folder: Path, name: str = "001", batch: str = "B1", suffix: str = "parquet") -> Path:
    path = folder / batch / name / f"{name}_{LEVEL}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def csv(table: pd.DataFrame, **how: object) -> bytes:
    return table.to_csv(index=False, **how).encode()


def put(folder: Path, table: pd.DataFrame, name: str = "001", batch: str = "B1") -> Path:
    path = place(folder, name, batch)
    table.to_parquet(path, index=False)
    return path


def same(read: pd.DataFrame, table: pd.DataFrame) -> None:
    names = feature_names(table)
    assert feature_names(read) == names
    np.testing.assert_array_equal(read[names].to_numpy(dtype=float), table[names].to_numpy(dtype=float))
    assert read["Metadata_Well"].tolist() == WELLS
    assert read["Metadata_Plate"].tolist() == ["001"] * 3


# One well, one row.


def test_a_row_a_site_is_refused_with_file_plate_and_well(tmp_path):
    sites = pd.concat([plate(Metadata_Site=1), plate(seed=1, Metadata_Site=2)])
    path = put(tmp_path, sites)
    with pytest.raises(
        ConfigError, match="well A01 of plate B1/001 stands in 2 different rows, as do 2 others"
    ) as error:
        open_profiles(tmp_path)
    assert str(path) in str(error.value)


def test_a_row_that_stands_twice_without_a_difference_is_one_row(tmp_path):
    put(tmp_path, pd.concat([plate(), plate()]))
    same(open_profiles(tmp_path), plate())


@pytest.mark.parametrize("wells", [["A1", "A2", "B1"], ["a01", "a2", " B1 "], ["A001", "A02", "b01"]])
def test_a_well_has_one_name_however_a_file_writes_it(tmp_path, wells):
    put(tmp_path, plate().assign(Metadata_Well=wells))
    same(open_profiles(tmp_path), plate())


def test_two_spellings_of_one_well_are_two_rows_of_it(tmp_path):
    put(tmp_path, plate().assign(Metadata_Well=["A1", "A01", "B01"]))
    with pytest.raises(ConfigError, match="well A01 of plate B1/001 stands in 2 different rows"):
        open_profiles(tmp_path)


@pytest.mark.parametrize("well", [None, "", "17", "A1-s2"])
def test_a_row_without_a_wells_name_is_refused_with_its_file(tmp_path, well):
    path = put(tmp_path, plate().assign(Metadata_Well=["A01", well, "B01"]))
    with pytest.raises(ConfigError, match="is no well name") as error:
        open_profiles(tmp_path)
    assert str(path) in str(error.value)


# One plate, one file.


@pytest.mark.parametrize("said", ["001", "1", 1, 1.0, "1.0", None])
def test_a_plate_that_is_a_number_in_its_file_is_the_plate_of_its_folder(tmp_path, said):
    put(tmp_path, plate().assign(Metadata_Plate=said))
    same(open_profiles(tmp_path), plate())


def test_a_file_with_rows_of_another_plate_or_batch_is_refused(tmp_path):
    path = put(tmp_path, plate("002"))
    with pytest.raises(ConfigError, match="whose Metadata_Plate is 002") as error:
        open_profiles(tmp_path)
    assert str(path) in str(error.value)
    put(tmp_path, plate(Metadata_Batch=["B1", "B1", "B2"]))
    with pytest.raises(ConfigError, match="whose Metadata_Batch is B2"):
        open_profiles(tmp_path)


def test_a_copy_further_down_that_differs_is_refused_and_one_that_is_equal_is_read_once(tmp_path):
    here, old = put(tmp_path, plate()), put(tmp_path / "old", plate(seed=1))
    with pytest.raises(ConfigError, match="two files of plate B1/001 that differ") as error:
        open_profiles(tmp_path)
    assert str(here) in str(error.value)
    assert str(old) in str(error.value)
    old.write_bytes(here.read_bytes())
    same(open_profiles(tmp_path), plate())


def test_a_text_file_beside_the_parquet_has_to_say_the_same_to_its_five_digits(tmp_path):
    put(tmp_path, plate())
    place(tmp_path, suffix="csv.gz").write_bytes(gzip.compress(csv(plate().iloc[::-1], float_format="%.5g")))
    same(open_profiles(tmp_path), plate())
    place(tmp_path, suffix="csv.gz").write_bytes(gzip.compress(csv(plate(seed=1), float_format="%.5g")))
    with pytest.raises(ConfigError, match="two files of plate B1/001 that differ"):
        open_profiles(tmp_path)


def test_a_plate_whose_file_has_no_row_adds_none(tmp_path):
    put(tmp_path, plate())
    place(tmp_path, "002", suffix="csv.gz").write_bytes(gzip.compress(csv(plate("002").iloc[:0])))
    same(open_profiles(tmp_path), plate())


def test_a_name_is_one_text_in_all_files(tmp_path):
    put(tmp_path, plate(Metadata_broad_sample=[1001, 1002, 1003]))
    put(tmp_path, plate("002", 1, Metadata_broad_sample=[1001.0, np.nan, 1003.0]), "002")
    put(tmp_path, plate("003", 2, Metadata_broad_sample=["1001", "1002.0", "NA"]), "003")
    names = open_profiles(tmp_path)["Metadata_broad_sample"]
    assert names.fillna("").tolist() == ["1001", "1002", "1003", "1001", "", "1003", "1001", "1002", "NA"]


# Files that are not what their name promises.

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"
WHOLE = gzip.compress(csv(plate()), mtime=0)


@pytest.mark.parametrize("suffix", ["parquet", "csv.gz"])
@pytest.mark.parametrize(
    ("data", "what"),
    [(LFS, "a git-lfs pointer"), (b"<!DOCTYPE html><html></html>", "a page of HTML"), (b"", "an empty file")],
)
def test_what_a_download_left_in_place_of_profiles_is_named_with_the_file(tmp_path, suffix, data, what):
    path = place(tmp_path, suffix=suffix)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=what) as error:
        open_profiles(tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (WHOLE[: len(WHOLE) // 2], "is damaged or cut"),
        (WHOLE[:-12] + b"\0" * 12, "is damaged or cut"),
        (gzip.compress(b"<html><body>no</body></html>", mtime=0), "when decompressed, is a page of HTML"),
        (csv(plate())[:-30], "line 4 has . fields, the header 6"),
        (csv(plate()).replace(b"A02", b"A02,surplus"), "line 3 has 7 fields, the header 6"),
        (csv(plate()).replace(b"A02", b"\xb5"), "is no text in UTF-8 or UTF-16"),
        (csv(plate()).replace(b"A02", b'"A02'), "cannot be read as a table"),
        (csv(plate()).decode().encode("utf-16-le"), "holds zero bytes"),
    ],
)
def test_a_text_file_that_is_damaged_is_refused_with_the_cause(tmp_path, data, why):
    path = place(tmp_path, suffix="csv.gz")
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=why) as error:
        open_profiles(tmp_path)
    assert str(path) in str(error.value)


def test_a_parquet_that_is_cut_is_refused_with_its_name(tmp_path):
    path = put(tmp_path, plate())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="cannot be read as parquet") as error:
        open_profiles(tmp_path)
    assert str(path) in str(error.value)


EXACT = {"float_format": "%.17g"}


@pytest.mark.parametrize(
    "data",
    [
        csv(plate(), **EXACT),  # not compressed
        csv(plate(), **EXACT).decode().encode("utf-16"),
        b"\xef\xbb\xbf" + csv(plate(), **EXACT),
        csv(plate(), sep="\t", **EXACT),
        csv(plate(), sep=";", decimal=",", **EXACT),
        csv(plate(), lineterminator="\r\n", **EXACT) + b"\r\n",
        csv(plate(), **EXACT).replace(b"\n", b",\n"),  # a separator at the end of each line, header and all
        csv(plate(), **EXACT).replace(b"\n", b",\n").replace(b",\n", b"\n", 1),  # of each line but the header
        csv(plate().rename(columns={"Metadata_Well": "Metadata_well", "Metadata_Plate": " metadata_plate"}), **EXACT),
    ],
)
def test_a_table_of_text_is_read_as_it_was_meant(tmp_path, data):
    place(tmp_path, suffix="csv.gz").write_bytes(data)
    read = open_profiles(tmp_path)
    same(read, plate())


def test_metadata_in_the_index_of_a_parquet_are_columns(tmp_path):
    plate().set_index(["Metadata_Plate", "Metadata_Well"]).to_parquet(place(tmp_path))
    same(open_profiles(tmp_path), plate())


def test_categories_are_what_they_stand_for(tmp_path):
    kinds = pd.Series(["negcon", None, "trt"]).astype("category")
    put(tmp_path, plate(Metadata_control_type=kinds).astype({"Metadata_Well": "category", "Nuclei_a_1": "category"}))
    read = open_profiles(tmp_path)
    same(read, plate())
    assert read["Metadata_control_type"].fillna("").tolist() == ["negcon", "", "trt"]


def test_a_column_that_stands_twice_is_read_once_if_it_says_the_same(tmp_path):
    data = csv(pd.concat([plate(), plate()[["Cells_a_1"]]], axis=1), **EXACT)
    place(tmp_path, suffix="csv.gz").write_bytes(data)
    same(open_profiles(tmp_path), plate())
    place(tmp_path, suffix="csv.gz").write_bytes(csv(pd.concat([plate(), plate(seed=1)[["Cells_a_1"]]], axis=1)))
    with pytest.raises(ConfigError, match="has column Cells_a_1 twice, with other values"):
        open_profiles(tmp_path)


@pytest.mark.parametrize("name", ["Image_Metadata_Well", "Well", "Metadata_well_position", " Metadata_Well "])
def test_the_column_of_wells_has_other_usual_names(tmp_path, name):
    put(tmp_path, plate().rename(columns={"Metadata_Well": name}))
    same(open_profiles(tmp_path), plate())


def test_of_two_columns_of_wells_the_usual_one_counts(tmp_path):
    put(tmp_path, plate(Metadata_well_position=["C01", "C02", "C03"], Image_Metadata_Well="D01"))
    assert open_profiles(tmp_path)["Metadata_Well"].tolist() == WELLS


def test_text_that_is_not_compressed_and_parquet_of_another_name_are_read(tmp_path):
    place(tmp_path, suffix="csv").write_bytes(csv(plate(), **EXACT))
    same(open_profiles(tmp_path), plate())
    place(tmp_path, suffix="csv").unlink()
    plate().to_parquet(place(tmp_path, suffix="csv.gz"))
    same(open_profiles(tmp_path), plate())


def test_lists_in_the_metadata_are_read_and_are_text_where_they_name_things(tmp_path):
    lists = plate(Metadata_target_list=[["EGFR", "TP53"], [], ["MTOR"]], Metadata_sites=[[1, 2]] * 3)
    put(tmp_path, pd.concat([lists, lists]))
    put(tmp_path, plate("002", seed=1, Metadata_sites=None), "002")
    read = open_profiles(tmp_path)
    assert len(read) == 6
    assert read["Metadata_target_list"].tolist()[:3] == ["EGFR|TP53", "", "MTOR"]


def test_plates_are_named_by_any_one_name_and_by_one_at_least(tmp_path):
    put(tmp_path, plate("7"), "7")
    assert len(open_profiles(tmp_path, plates=7)) == len(open_profiles(tmp_path, plates=[7])) == 3
    with pytest.raises(NotFound, match="No plate was asked for"):
        open_profiles(tmp_path, plates=[])


# What is a feature.


@pytest.mark.parametrize(
    "name",
    [
        "Unnamed: 0", "index", "ImageNumber", "Image_ImageNumber", "ObjectNumber", "Cells_Number_Object_Number",
        "Cells_Parent_Nuclei", "Count_Cells", "Image_Count_Nuclei", "cell_count", "n_cells", "TableNumber", "Plate",
        "Site", "QC_Score", "PlateReaderSignal",
    ],
)  # fmt: skip
def test_numbers_that_are_no_features_are_left_out_and_named(name):
    columns = ranked_columns(plate(**{name: [0, 1, 2]}))
    assert columns.features == feature_names(plate())
    assert list(columns.left_out) == [name]


@pytest.mark.parametrize(
    "name", ["Speckles_a_7", "Cells_Children_Speckles_Count", "Nuclei_Neighbors_NumberOfNeighbors_1"]
)
def test_what_cellprofiler_measures_of_cells_is_a_feature(name):
    assert ranked_columns(plate(**{name: [0, 1, 2]})).features == [*feature_names(plate()), name]


def test_in_a_table_of_another_program_numbers_are_features_and_a_name_like_no_other_is_told():
    table = pd.DataFrame(np.ones((2, 21)), columns=["Metadata_Well", *(f"emb_{i}" for i in range(19)), "throughput"])
    assert ranked_columns(table).features == list(table)[1:]
    assert lone_names(ranked_columns(table).features) == ["throughput"]
    assert lone_names(["area", "perimeter", "eccentricity"]) == []
    assert lone_names([str(i) for i in range(30)]) == []


def test_the_fields_names_for_doses_are_known_and_their_units_are_none():
    names = ["mmoles_per_liter", "mg_per_ml", "Concentration", "dose", "pert_idose", "dose_uM", "dose_unit", "donor"]
    found = dose_columns(f"Metadata_{name}" for name in names)
    assert found[0] == "Metadata_dose"
    assert set(found) == {f"Metadata_{name}" for name in names[:-2]}
