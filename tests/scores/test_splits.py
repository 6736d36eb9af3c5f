from __future__ import annotations

import pandas as pd
import pytest

from pipeline.errors import ConfigError
from pipeline.paper.splits import (
    as_text,
    check_split,
    check_split_file,
    gene_compound_split,
    representation_split,
    write_splits,
)
from pipeline.screen.variants import well_annotations


@pytest.fixture(scope="module")
def wells(cpjump1) -> pd.DataFrame:
    return well_annotations(cpjump1)


def broken(split: pd.DataFrame, wells: pd.DataFrame, **kwargs) -> dict[str, list[str]]:
    found = check_split(split, wells, **kwargs)
    return {rule: list(items) for rule, items in found.groupby("rule")["item"]}


def test_the_representation_split_has_the_papers_counts(cpjump1):
    printed = pd.read_csv(cpjump1.published / "dataset_splits.csv").query("split == 'representation learning'")
    ours = representation_split(cpjump1).groupby(["cell_type", "part"]).size()
    assert len(representation_split(cpjump1)) == 3276
    assert {(row.cell_type, row.part): row.n for row in printed.itertuples()} == ours.to_dict()


def test_the_gene_compound_split_has_the_papers_counts_and_pairs(cpjump1):
    split = gene_compound_split(cpjump1).set_index("gene")
    assert split["part"].value_counts().to_dict() == {"train": 192, "validate": 64, "test": 64}
    # rows of the published file
    assert split.loc["KCNN1", ["orf", "crispr", "compound"]].to_numpy().tolist() == [
        ["ccsbBroad304_00900", "BRDN0001485421", "BRD-K70586315-001-02-4"],
        ["ccsbBroad304_00900", "BRDN0001485843", "BRD-A82396632-008-30-8"],
    ]
    assert split.loc["SIRT2", "crispr"].tolist() == ["BRDN0001056840"] * 2
    assert split.loc["GABRB2", "compound"].tolist() == ["BRD-K33882852-003-02-8"] * 2


def test_the_papers_representation_split_keeps_its_rules(cpjump1, wells):
    assert broken(representation_split(cpjump1), wells, task="representation") == {}


def test_the_papers_gene_compound_split_leaks_through_53_target_lists(cpjump1, wells):
    found = broken(gene_compound_split(cpjump1), wells)
    assert set(found) <= {"targets", "shared_targets", "identifiers"}
    assert len(found["targets"]) == 53
    assert len(found["shared_targets"]) > 53, "genes of the lists that the screen has no reagent for"


def test_a_torn_perturbation_is_found_within_a_condition_only(cpjump1, wells):
    split = representation_split(cpjump1)
    sample = split.loc[split["modality"] == "compound", "broad_sample"].iloc[0]
    split.loc[(split["broad_sample"] == sample) & (split["cell_type"] == "A549"), "part"] = "train"
    assert broken(split, wells, task="representation") == {}, "both time points may lie apart"
    torn = pd.concat([split, split[split["broad_sample"] == sample].assign(part="other")])
    assert len(broken(torn, wells, task="representation")["replicates"]) == 4


def test_a_torn_gene_and_a_torn_compound_are_named(wells):
    split = pd.DataFrame(
        {
            "crispr": ["BRDN0001485421", "BRDN0001485843"],
            "part": ["train", "test"],
        }
    )
    assert broken(split, wells) == {"guides": ["KCNN1"]}
    names = wells[wells["Metadata_modality"] == "compound"].drop_duplicates("Metadata_broad_sample")
    twins = names.loc[names["Metadata_pert_iname"] == "dexamethasone", "Metadata_broad_sample"].tolist()
    split = pd.DataFrame({"broad_sample": twins, "part": ["train", "test"]})
    assert broken(split, wells)["identifiers"] == ["dexamethasone"]


def test_cells_of_one_well_in_two_parts_are_found(wells):
    first = wells.iloc[0]
    split = pd.DataFrame(
        {
            "batch": first["Metadata_Batch"],
            "plate": first["Metadata_Plate"],
            "well": first["Metadata_Well"],
            "part": ["train", "train", "test"],
        }
    )
    found = broken(split, wells)
    assert found["wells"] == [f"{first['Metadata_Batch']} {first['Metadata_Plate']} {first['Metadata_Well']}"]


def test_a_split_of_another_screen_is_refused(wells):
    with pytest.raises(ConfigError, match="not of this screen"):
        check_split(pd.DataFrame({"broad_sample": ["BRD-nonsense"] * 2, "part": ["train", "test"]}), wells)


def test_splits_are_written_as_files(cpjump1, wells, tmp_path):
    paths = write_splits(cpjump1, tmp_path)
    assert [len(pd.read_csv(path)) for path in paths] == [3276, 320]
    assert len(check_split_file(paths[0], wells, task="representation")) == 0
    assert (check_split_file(paths[1], wells)["rule"] == "targets").sum() == 53


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_file_of_cells_may_be_named_as_in_profiles(wells, tmp_path, suffix):
    cells = wells.loc[[0, 0, 1, 2, 2], ["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]]
    cells = cells.assign(part=["train", "test", "train", "test", "test"], Nuclei_Area=1.5)
    path = tmp_path / f"split.{suffix}"
    if suffix == "parquet":
        cells.to_parquet(path, index=False)
    else:
        cells.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    found = check_split_file(path, wells, task="representation")
    assert found.loc[found["rule"] == "wells", "item"].tolist() == [" ".join(cells.iloc[0, :3])]
    text = as_text(found, "representation")
    assert "wells: 1 found: cells of one well lie in several parts" in text
    assert "guides: kept" in text
    assert "targets" not in text


def test_annotated_profiles_say_what_is_in_the_wells(profiles, cpjump1):
    split = gene_compound_split(cpjump1)
    assert len(check_split(split, profiles)) == len(check_split(split, well_annotations(cpjump1)))


def test_a_leak_names_the_compound_the_gene_and_where_it_lies(wells):
    reagents = wells[wells["Metadata_modality"] == "orf"].drop_duplicates("Metadata_broad_sample")
    reagents = reagents.set_index("Metadata_gene")
    compound = wells[wells["Metadata_target_list"] == "HCK|RET"].iloc[0]
    home, other = "HCK", "RET"
    split = pd.DataFrame(
        {
            "broad_sample": [compound["Metadata_broad_sample"], *reagents.loc[[home, other], "Metadata_broad_sample"]],
            "part": ["train", "train", "test"],
        }
    )
    found = check_split(split, wells)
    assert found.to_numpy().tolist() == [["targets", compound["Metadata_broad_sample"], "train", f"{other} (test)"]]


def test_compounds_leak_through_a_gene_without_reagents_whatever_other_reagents_are_there():
    wells = pd.DataFrame(
        {
            "Metadata_Plate": "p",
            "Metadata_Well": ["A01", "A02", "A03", "A04"],
            "Metadata_broad_sample": ["c1", "c2", "c3", "g1"],
            "Metadata_control_type": "",
            "Metadata_modality": ["compound", "compound", "compound", "crispr"],
            "Metadata_gene": ["", "", "", "H"],
            "Metadata_target_list": ["G", "G|H", "H", ""],
        }
    )
    compounds = pd.DataFrame({"broad_sample": ["c1", "c2", "c3"], "part": ["train", "test", "test"]})
    through_g = [["shared_targets", "c1", "train", "G (test)"], ["shared_targets", "c2", "test", "G (train)"]]
    assert check_split(compounds, wells).to_numpy().tolist() == through_g
    with_reagent = pd.concat([compounds, pd.DataFrame({"broad_sample": ["g1"], "part": ["test"]})])
    assert check_split(with_reagent, wells).to_numpy().tolist() == through_g
    elsewhere = pd.concat([compounds, pd.DataFrame({"broad_sample": ["g1"], "part": ["validate"]})])
    reagent = [["targets", "c2", "test", "H (validate)"], ["targets", "c3", "test", "H (validate)"]]
    assert check_split(elsewhere, wells).to_numpy().tolist() == [*reagent, *through_g]


@pytest.mark.parametrize("task", ["representation", "gene-compound"])
def test_negative_controls_may_lie_in_every_part_but_not_one_of_their_wells(wells, task):
    key = ["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]
    controls = wells[wells["Metadata_control_type"] == "negcon"]
    assert {"compound", "crispr", "orf"} == set(controls["Metadata_modality"])
    split = controls[key].set_axis(["batch", "plate", "well"], axis=1)
    split["part"] = ["train", "test"] * (len(split) // 2) + ["train"] * (len(split) % 2)
    assert broken(split, wells, task=task) == {}
    torn = pd.concat([split, split.iloc[:1].assign(part="other")])
    assert broken(torn, wells, task=task) == {"wells": [" ".join(split.iloc[0, :3])]}
    samples = sorted(set(controls["Metadata_broad_sample"]) - {""})
    parted = pd.DataFrame(
        {"broad_sample": [*samples, *samples], "part": ["train"] * len(samples) + ["test"] * len(samples)}
    )
    assert broken(parted, wells, task=task) == {}


@pytest.mark.parametrize(
    ("parts", "why"), [(["train", "train"], "nothing is split"), (["train", ""], "1 rows of the split have no part")]
)
def test_a_split_without_parts_is_refused(wells, parts, why):
    samples = [name for name in wells["Metadata_broad_sample"].unique() if name][:2]
    with pytest.raises(ConfigError, match=why):
        check_split(pd.DataFrame({"broad_sample": samples, "part": parts}), wells)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.csv", b"", "an empty file"),
        ("a.csv", b"\n \n", "an empty file"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        ("a.parquet", b"PAR1 nothing", "cannot be read as parquet"),
        ("a.tsv", b"<html></html>", "a page of HTML"),
        ("a.csv", b"part,broad_sample\ntrain,x,y\n", "line 2 has 3 fields, the header 2"),
        ("a.csv", b"broad_sample\nx\n", "needs a column part"),
        ("a.csv", b"part,broad_sample\n", "a header and no rows"),
        ("a.csv", b"part,broad_sample\ntrain,x\nNA,y\n", "1 rows of the split have no part"),
        ("a.csv", b"part,broad_sample,Part\ntrain,x,test\n", "has column part twice, with other values"),
        ("a.parquet", b"part,broad_sample\ntrain,x\n", "no parquet file"),
    ],
)
def test_a_file_without_a_split_is_refused_with_its_name_and_the_cause(wells, tmp_path, name, data, why):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=why) as error:
        check_split_file(path, wells)
    assert str(path) in str(error.value)


def test_a_split_may_have_a_column_twice_and_be_parquet_under_another_name(wells, tmp_path):
    samples = wells.loc[wells["Metadata_control_type"] != "negcon", "Metadata_broad_sample"]
    samples = sorted(set(samples) - {""})[:2]
    split = pd.DataFrame({"part": ["train", "test"], "broad_sample": samples, "Metadata_broad_sample": samples})
    split.to_parquet(tmp_path / "a.csv")
    assert check_split_file(tmp_path / "a.csv", wells, "representation").empty


def test_a_split_may_spell_wells_and_plates_that_are_numbers_in_its_own_way(tmp_path):
    wells = pd.DataFrame(
        {
            "Metadata_Batch": "B1",
            "Metadata_Plate": ["001", "002"],
            "Metadata_Well": "A01",
            "Metadata_broad_sample": ["x", "y"],
            "Metadata_control_type": "",
            "Metadata_modality": "compound",
        }
    )
    path = tmp_path / "split.csv"
    path.write_bytes("part,batch,plate,well\ntrain,B1,1,A1\ntest,B1,2.0,a01\ntest,B1,001,A01\n".encode("utf-16"))
    found = check_split_file(path, wells, task="representation")
    assert [(row.rule, row.item.strip()) for row in found.itertuples()] == [
        ("wells", "B1 001 A01"),
        ("replicates", "x"),
    ]


def test_a_split_with_categories_is_read_as_text(wells, tmp_path):
    samples = [name for name in wells["Metadata_broad_sample"].unique() if name][:2]
    split = pd.DataFrame({"broad_sample": samples, "part": ["train", "test"]}).astype("category")
    split.to_parquet(tmp_path / "split.parquet")
    assert len(check_split_file(tmp_path / "split.parquet", wells, task="representation")) == 0


def test_a_file_that_is_no_table_is_refused(wells, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        check_split_file(tmp_path / "absent.csv", wells)
