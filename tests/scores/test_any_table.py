"""Tables of other laboratories, which know nothing of the names that this project uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from copairs import map as copairs

from pipeline.errors import ConfigError, NotFound
from pipeline.scores import Grouping, score_any_table
from pipeline.scores.any_table import as_profiles, read_tables

ASKED = Grouping(("genotype", "dose"), 'genotype == "WT"', ("time_point",))


def table(plate: str, seed: int) -> pd.DataFrame:
    """Two time points; genotypes A and B at two doses in two wells each, WT in eight; B acts at dose 10."""
    rng = np.random.default_rng(seed)
    rows = [(g, d) for g in "AB" for d in (1, 10) for _ in range(2)] + [("WT", 0)] * 8
    meta = pd.DataFrame(rows * 2, columns=["genotype", "dose"])
    meta.insert(0, "time_point", [24] * 16 + [48] * 16)
    meta.insert(0, "well", [f"{'ABCDEFGH'[i // 4]}{i % 4 + 1:02d}" for i in range(32)])
    meta.insert(0, "Assay_Plate_Barcode", plate)
    effect = 4.0 * ((meta["genotype"] == "B") & (meta["dose"] == 10)).to_numpy()[:, None]
    values = rng.normal(size=(32, 12)) + effect * np.linspace(-1, 1, 12)
    return pd.concat([meta, pd.DataFrame(values, columns=[f"PC{i}" for i in range(12)])], axis=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        made = table(f"P{number}", number)
        made = made.rename(columns={"time_point": "Metadata_time_point"})  # with and without the field's prefix
        made.to_csv(tmp_path / f"plate{number}.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("sources", [["."], ["plate1.csv", "plate2.csv"], ["plate?.csv"]])
def test_files_folders_and_patterns_are_read(folder: Path, sources: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert len(read_tables(sources)) == 64


def test_the_numbers_are_those_of_copairs_on_the_same_grouping(folder: Path) -> None:
    said: list[str] = []
    tables = score_any_table([str(folder)], ASKED, "copairs", str(folder / "out"), tell=said.append)
    ours = tables["detection_wells"]
    both = pd.concat([table("P1", 1), table("P2", 2)], ignore_index=True).assign(
        is_control=lambda rows: rows["genotype"] == "WT"
    )
    features = both.filter(like="PC").to_numpy()
    for time in (24, 48):
        own = (both["time_point"] == time).to_numpy()
        theirs = copairs.average_precision(
            both.loc[own].filter(regex="^(?!PC)").reset_index(drop=True),
            features[own],
            pos_sameby=["genotype", "dose"],
            pos_diffby=[],
            neg_sameby=["Assay_Plate_Barcode"],
            neg_diffby=["is_control"],
            batch_size=1000,
            progress_bar=False,
        ).query("not is_control")
        theirs = theirs.rename(columns={"Assay_Plate_Barcode": "plate"})
        joined = ours[ours["time_point"] == str(time)].merge(theirs, on=["plate", "well"], suffixes=("", "_c"))
        assert len(joined) == 16
        np.testing.assert_allclose(joined["average_precision"], joined["average_precision_c"], rtol=1e-6)
    assert sorted(set(tables["detection"]["label"])) == ["A | 1", "A | 10", "B | 1", "B | 10"]
    assert "Metadata_genotype and Metadata_dose" in said[1]
    assert "64 wells on 2 plates; 4 classes; 32 negative controls; 2 conditions; 12 features." in said[2]


def test_what_acts_is_retrieved_and_what_does_not_is_not(folder: Path) -> None:
    found = score_any_table([str(folder)], ASKED, "correct", str(folder / "out"))["detection"]
    retrieved = found.groupby("label")["mean_average_precision"].mean()
    assert retrieved["B | 10"] == 1
    assert retrieved.drop("B | 10").max() < 0.7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"replicates": ("genotyp",)}, r"--replicates: the table has no column 'genotyp'.*genotype"),
        ({"negcon": "genotype = 1"}, r"--negcon: 'genotype = 1' (cannot be evaluated|is no condition)"),
        ({"negcon": 'genotype == "wt"'}, r"--negcon: .* is true of no well"),
        ({"negcon": "dose >= 0"}, r"--negcon: .* is true of every well"),
        ({"negcon": "dose + 1"}, r"--negcon: .* is no condition"),
        ({"condition": ("hour",)}, r"--condition: the table has no column 'hour'"),
        ({"plate": "genotype"}, r"Well .* of plate .* stands in several rows"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_there_is(folder: Path, change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        as_profiles(read_tables([str(folder)]), ASKED._replace(**change))


def test_a_place_without_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing.csv: there is no table here"):
        read_tables([str(tmp_path / "nothing.csv")])
