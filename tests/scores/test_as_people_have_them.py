"""Profiles as people have them: which wells and features are scored, what counts as a replicate, and what is said.

The right values are those of the same profiles written as they should be, or known from how they were made: ten of
twenty samples act.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.config import Screen, load_screen
from pipeline.errors import ConfigError, NotFound
from pipeline.scores import Condition, Rules, check_annotations, conditions, load_profiles, run_task, scores_command
from pipeline.scores.load import LEVEL
from pipeline.scores.notes import contradictions, describe_columns, describe_wells
from pipeline.scores.steps import corrected
from pipeline.scores.wells import TOO_LARGE, wells_of
from pipeline.screen import Plate
from pipeline.screen.doses import doses
from pipeline.screen.variants import well_annotations
from pipeline.simulate.profiles import write_gallery
from tests.scores import small

SAMPLES = {f"CPD-{number:03d}": 3.0 if number < 10 else 0.0 for number in range(20)}
PLATES = ["001", "002", "003"]


@pytest.fixture(scope="module")
def good() -> pd.DataFrame:
    """Three plates of one batch; ten of twenty samples act."""
    profiles = small.screen(SAMPLES, n_plates=3)
    profiles["Metadata_Plate"] = profiles["Metadata_Plate"].map(lambda name: f"{int(name[-1]):03d}")
    return profiles


def bare(profiles: pd.DataFrame) -> pd.DataFrame:
    """What is left where the screen's tables say what is in the wells."""
    annotation = profiles.columns.str.startswith("Metadata_")
    keep = profiles.columns.isin(["Metadata_Batch", "Metadata_Plate", "Metadata_Well"])
    return profiles.loc[:, keep | ~annotation]


def screen_of(profiles: pd.DataFrame, folder: Path, plates: str = "", **columns: str) -> Screen:
    """A screen with these wells on one plate map; `plates`: rows of the plates table, default those of the profiles."""
    (folder / "maps").mkdir(parents=True)
    one = profiles.drop_duplicates("Metadata_Well")
    layout = one.rename(columns={"Metadata_Well": "well_position", "Metadata_broad_sample": "broad_sample", **columns})
    layout[["well_position", "broad_sample", *columns.values()]].to_csv(folder / "maps/map.txt", sep="\t", index=False)
    pd.DataFrame({"broad_sample": sorted(set(one["Metadata_broad_sample"]) - {""})}).to_csv(
        folder / "samples.tsv", sep="\t", index=False
    )
    names = profiles[["Metadata_Batch", "Metadata_Plate"]].drop_duplicates().to_numpy()
    rows = plates or "".join(f"{batch},{plate},map,compound,A549,short\n" for batch, plate in names)
    (folder / "plates.csv").write_text("batch,plate,plate_map_name,modality,cell_type,timepoint\n" + rows)
    keys = {
        "name": "made",
        "channels": {5: "DNA"},
        "plates": "plates.csv",
        "platemaps": "maps",
        "perturbations": [{"table": "samples.tsv", "negcon_name": "DMSO"}],
    }
    (folder / "screen.yaml").write_text(yaml.safe_dump(keys))
    return load_screen(str(folder / "screen.yaml"))


def detected(profiles: pd.DataFrame, folder: Path, screen: Screen | None = None, **more) -> tuple[pd.DataFrame, str]:
    """The table `detection` of profiles written to a folder, and what was said."""
    write_gallery(profiles, folder / "profiles")
    return scored(folder, screen, **more)


def scored(folder: Path, screen: Screen | None = None, mode: str = "correct", **more) -> tuple[pd.DataFrame, str]:
    said: list[str] = []
    out = str(folder / "scores")
    tables = scores_command(str(folder / "profiles"), screen, mode, out, ["detection"], tell=said.append, **more)
    return tables["detection"], "\n".join(said)


def retrieved(table: pd.DataFrame) -> list[str]:
    return table.loc[table["retrieved"], "label"].tolist()


@pytest.fixture(scope="module")
def right(good) -> pd.DataFrame:
    table = run_task("detection", good)["detection"]
    assert retrieved(table) == list(SAMPLES)[:10]
    return table


def same(table: pd.DataFrame, right: pd.DataFrame) -> None:
    columns = ["label", "n_queries", "n_positives", "n_candidates", "mean_average_precision", "q", "retrieved"]
    pd.testing.assert_frame_equal(table[columns], right[columns], check_dtype=False)


# One well, one row; one plate, one file.


@pytest.mark.parametrize("with_screen", [True, False])
def test_rows_of_sites_are_refused_and_rows_that_stand_twice_count_once(good, right, tmp_path, with_screen):
    screen = screen_of(good, tmp_path / "screen") if with_screen else None
    same(detected(pd.concat([good, good]), tmp_path / "twice", screen)[0], right)
    sites = good.assign(**{name: good[name] + 0.1 for name in good.filter(like="Cells_")})
    with pytest.raises(ConfigError, match="well A01 of plate batch1/001 stands in 2 different rows"):
        detected(pd.concat([good, sites]), tmp_path / "sites", screen)


def test_wells_without_zeros_find_their_place_on_the_plate_map(good, right, tmp_path):
    unpadded = bare(good).assign(Metadata_Well=good["Metadata_Well"].str.replace("0", "", n=1, regex=False))
    unpadded["Metadata_Well"] = good["Metadata_Well"].str.replace(r"^([A-P])0", r"\1", regex=True)
    table, said = detected(unpadded, tmp_path, screen_of(good, tmp_path / "screen"))
    same(table, right)
    assert "no profile" not in said


@pytest.mark.parametrize("spelt", [["1", "2", "3"], ["01", "02", "03"]])
def test_a_plate_that_is_a_number_is_the_screens_plate_in_any_spelling(good, right, tmp_path, spelt):
    names = dict(zip(PLATES, spelt, strict=True))
    table, said = detected(
        bare(good).replace({"Metadata_Plate": names}), tmp_path, screen_of(good, tmp_path / "screen")
    )
    same(table, right)
    assert "no profiles" not in said


def test_a_spelling_that_may_be_either_of_two_plates_is_refused(good, tmp_path):
    rows = "".join(f"batch1,{plate},map,compound,A549,short\n" for plate in ("01", "001", "2"))
    with pytest.raises(ConfigError, match="has profiles of batch1/1, which may be batch1/01 or batch1/001"):
        detected(
            bare(good).replace({"Metadata_Plate": {"001": "1"}}), tmp_path, screen_of(good, tmp_path / "screen", rows)
        )


def test_sample_names_that_are_numbers_are_one_name_in_text_and_numbers(good, right, tmp_path):
    number = good["Metadata_broad_sample"].str.removeprefix("CPD-").mask(good["Metadata_broad_sample"] == "")
    number = number.map(lambda name: f"1{name}", na_action="ignore")
    for plate, rows in good.assign(Metadata_broad_sample=number).groupby("Metadata_Plate"):
        kind = {"001": int, "002": float, "003": str}[str(plate)]
        names = rows["Metadata_broad_sample"].map(kind, na_action="ignore")
        write_gallery(rows.assign(Metadata_broad_sample=names), tmp_path / "profiles")
    table, _ = scored(tmp_path)
    assert table["label"].tolist() == [f"1{name[4:]}" for name in right["label"]]
    same(table.assign(label=right["label"]), right)


def test_a_program_that_drops_zeros_makes_no_second_sample_and_two_names_in_one_file_stay_two(good, right, tmp_path):
    number = good["Metadata_broad_sample"].str.removeprefix("CPD-")
    dropped = number.where(good["Metadata_Plate"] != "002", number.str.lstrip("0").mask(number == "000", "0"))
    table, _ = detected(good.assign(Metadata_broad_sample=dropped), tmp_path)
    same(table.assign(label=right["label"]), right)
    both = good.replace({"Metadata_broad_sample": {"CPD-001": "007", "CPD-002": "7"}})
    write_gallery(both, tmp_path / "both")
    assert {"007", "7"} <= set(load_profiles(str(tmp_path / "both"))["Metadata_broad_sample"])


@pytest.mark.parametrize("kind", ["NEGCON", "Negcon", " negcon "])
def test_a_negative_control_is_one_in_any_letters(good, right, tmp_path, kind):
    on_one = (good["Metadata_Plate"] == "002") & (good["Metadata_control_type"] == "negcon")
    table, _ = detected(good.assign(Metadata_control_type=good["Metadata_control_type"].mask(on_one, kind)), tmp_path)
    same(table, right)


def test_controls_of_another_name_are_refused_with_what_was_found(good):
    with pytest.raises(ConfigError, match="never negcon, but DMSO"):
        check_annotations(good.replace({"Metadata_control_type": {"negcon": "DMSO"}}))


def test_annotations_that_are_categories_score_as_text(good, right, tmp_path):
    names = [name for name in good if name.startswith("Metadata_") and name not in ("Metadata_Batch", "Metadata_Plate")]
    blank = good.replace({name: {"": None} for name in ("Metadata_broad_sample", "Metadata_control_type")})
    same(detected(blank.astype(dict.fromkeys(names, "category")), tmp_path)[0], right)
    same(run_task("detection", blank.astype(dict.fromkeys(names, "category")))["detection"], right)


def test_a_plate_that_is_a_copy_of_another_under_its_name_is_said(good, tmp_path):
    copied = good.copy()
    names = list(good.filter(like="Cells_"))
    first, second = (copied["Metadata_Plate"] == plate for plate in PLATES[:2])
    copied.loc[second, names] = copied.loc[first, names].to_numpy()
    assert "batch1/001 and batch1/002 have the same profiles to the last digit" in detected(copied, tmp_path / "a")[1]
    assert "same profiles" not in detected(good, tmp_path / "b")[1]


# What the screen names and the profiles lack.


def test_a_plate_without_profiles_is_said_and_counted(good, tmp_path):
    screen = screen_of(good, tmp_path / "screen")
    two = good[good["Metadata_Plate"] != "002"]
    table, said = detected(bare(two), tmp_path, screen)
    assert "compound A549 short: no profiles of 1 of 3 plates: batch1/002." in said
    assert set(table["n_plates"]) == {2}
    assert set(table["n_plates_missing"]) == {1}
    assert set(table["n_wells_missing"]) == {0}
    same(table, run_task("detection", two)["detection"])


def test_wells_without_profiles_are_said_and_counted_and_empty_ones_are_not(good, tmp_path):
    holes = good.replace({"Metadata_broad_sample": {"CPD-019": "EMPTY"}})
    screen = screen_of(good, tmp_path / "screen")
    there = (holes["Metadata_Plate"] != "001") | (np.arange(len(holes)) >= 10)
    table, said = detected(bare(holes[there]), tmp_path, screen)
    assert "compound A549 short: 10 of 32 wells have no profile, on batch1/001, e.g. A01 of 001." in said
    assert set(table["n_wells_missing"]) == {10}
    assert set(table["n_plates_missing"]) == {0}


def test_without_a_screen_nobody_knows_what_is_missing(right):
    assert right[["n_plates_missing", "n_wells_missing"]].isna().all().all()
    assert set(right["n_plates"]) == {3}


def test_profiles_of_plates_and_wells_that_the_screen_does_not_name_are_said(good, tmp_path):
    screen = screen_of(good, tmp_path / "screen", "batch1,001,map,compound,A549,short\n")
    more = bare(good)
    more.loc[more["Metadata_Well"] == "A05", "Metadata_Well"] = "P24"
    _, said = detected(more, tmp_path, screen)
    assert "Left out, for screen made does not name them: batch1/002, batch1/003." in said
    assert "1 wells are on no plate map of the screen" in said
    assert "batch1/001/P24" in said


def test_profiles_that_do_not_say_their_wells_are_refused_and_a_file_without_a_row_is_said(good, tmp_path):
    screen = screen_of(good, tmp_path / "screen")
    with pytest.raises(ConfigError, match="no column Metadata_Well"):
        detected(bare(good).drop(columns="Metadata_Well"), tmp_path / "a", screen)
    folder = tmp_path / "b/profiles"
    write_gallery(good[good["Metadata_Plate"] != "003"], folder)
    (folder / "batch1/003").mkdir()
    good.iloc[:0].to_parquet(folder / "batch1/003" / f"003_{LEVEL}.parquet")
    assert "Files without a row: those of batch1/003." in scored(tmp_path / "b")[1]


# What is said of plates and samples.


def test_good_profiles_are_not_remarked_upon(good):
    assert describe_wells(good) == []
    assert contradictions(good, good) == []


def on(good: pd.DataFrame, plate: str, **columns: str) -> pd.DataFrame:
    """The profiles with other values on this plate."""
    rows = (good["Metadata_Plate"] == plate).to_numpy()
    return good.assign(**{name: good[name].mask(rows, value) for name, value in columns.items()})


def test_plates_without_negative_controls_or_with_few_are_named(good):
    other = good["Metadata_control_type"].mask((good["Metadata_Plate"] == "002"), "negative_control")
    none = good.assign(Metadata_control_type=other, Metadata_broad_sample=good["Metadata_broad_sample"] + "x")
    (said,) = describe_wells(none)
    assert "No negative control on batch1/002 (Metadata_control_type is never negcon, but negative_control)" in said
    few = good.drop(index=good.index[(good["Metadata_Plate"] == "003") & (good["Metadata_control_type"] != "")][3:])
    (said,) = describe_wells(few)
    assert "Fewer than 4 negative controls on batch1/003 (3)" in said


def test_plates_of_which_nobody_says_what_is_on_them_are_named(good):
    (said,) = describe_wells(on(good, "002", Metadata_broad_sample="", Metadata_control_type=""))
    assert said == "Nobody says what is in any well of batch1/002: left out."
    (said,) = describe_wells(on(good, "002", Metadata_cell_type=""))
    assert said.startswith("Metadata_cell_type is not there on batch1/002")


def test_samples_that_may_be_none_or_one_are_named(good):
    samples = good["Metadata_broad_sample"]
    (said,) = describe_wells(good.assign(Metadata_broad_sample=samples.replace("CPD-001", "nan")))
    assert said.startswith("A sample is called nan")
    (said,) = describe_wells(on(good, "002", Metadata_broad_sample="cpd-000").pipe(controls_of, good))
    assert "small and capital letters alone are scored apart: CPD-000, cpd-000." in said


def controls_of(profiles: pd.DataFrame, good: pd.DataFrame) -> pd.DataFrame:
    """The profiles with the controls of `good`, which hold no sample."""
    return profiles.assign(
        Metadata_broad_sample=profiles["Metadata_broad_sample"].mask(good["Metadata_broad_sample"] == "", "")
    )


def test_samples_that_are_not_those_of_the_plate_maps_are_said(good, tmp_path):
    screen = screen_of(good, tmp_path / "screen")
    turned = good.assign(Metadata_broad_sample=good["Metadata_broad_sample"].replace("CPD-003", "CPD-019"))
    said = detected(turned, tmp_path, screen)[1]
    assert "3 wells hold another sample in the profiles than on the screen's plate maps" in said
    assert "batch1/001 A04 is CPD-019 in the profiles and CPD-003 on the map" in said


def test_a_gene_that_a_program_wrote_as_missing_is_none(good, tmp_path):
    genes = good.assign(Metadata_modality="orf", Metadata_gene="NA", Metadata_target_list="nan")
    write_gallery(genes, tmp_path)
    read = load_profiles(str(tmp_path))
    assert set(read["Metadata_gene"]) | set(read["Metadata_target_list"]) == {""}


@pytest.mark.parametrize(
    "name",
    [f"003_{LEVEL} (1).parquet", f"002_{LEVEL}.parquet", f"003_{LEVEL}.csv.bz2", f"003_{LEVEL}.parquet/part-0.parquet"],
)
def test_files_that_are_not_read_for_their_names_are_said(good, tmp_path, name):
    write_gallery(good, tmp_path / "profiles")
    folder = tmp_path / "profiles/batch1/003"
    moved = (folder / f"003_{LEVEL}.parquet").rename(folder / "moved")
    (folder / name).parent.mkdir(exist_ok=True)
    moved.rename(folder / name)
    (folder / f"._003_{LEVEL}.parquet").write_bytes(b"of a Mac")
    said = scored(tmp_path)[1]
    assert (
        f"Not read, for it is not <batch>/<plate>/<plate>_{LEVEL}.parquet, .csv.gz or .csv: batch1/003/{name}." in said
    )


def test_a_plate_with_profiles_of_another_level_only_is_said(good, tmp_path):
    write_gallery(good, tmp_path / "profiles")
    file = tmp_path / "profiles/batch1/003" / f"003_{LEVEL}.parquet"
    file.rename(file.with_name("003_normalized.parquet"))
    assert "Of batch1/003 there are profiles of other levels only" in scored(tmp_path)[1]
    with pytest.raises(NotFound, match="There are of other levels: normalized, "):
        load_profiles(str(tmp_path / "profiles"), level="augmented")


# What is a feature.


@pytest.mark.parametrize("name", ["Unnamed: 0", "ImageNumber", "Count_Cells", "Cells_Number_Object_Number", "QC_Mean"])
def test_a_number_that_is_no_feature_moves_no_score_and_is_named(good, right, tmp_path, name):
    counted = good.assign(**{name: np.arange(len(good)) * 5.0})
    table, said = detected(counted, tmp_path)
    same(table, right)
    assert f"No features, so left out: {name}" in said


def test_mode_published_ranks_by_every_column_as_the_authors_did_but_says_so(good, tmp_path):
    counted = good.assign(Count_Cells=np.arange(len(good)) * 5.0)
    table, said = detected(counted, tmp_path, mode="published")
    named = counted.rename(columns={"Count_Cells": "Cells_Other"})
    assert table["mean_average_precision"].tolist() == (
        run_task("detection", named, mode="published")["detection"]["mean_average_precision"].tolist()
    )
    assert "Ranked by in mode published, though they may be no features: Count_Cells" in said


def test_a_feature_that_outweighs_all_others_is_left_out_named_and_counted(good, tmp_path):
    name = "Cells_Feature_0"
    exploded = good.assign(**{name: good[name] * 1e13})
    table, said = detected(exploded, tmp_path)
    same(table, run_task("detection", good.drop(columns=name))["detection"])
    assert name in said
    assert set(table["n_features_too_large"]) == {1}
    assert set(table["n_features"]) == {39}
    clipped, said = detected(exploded, tmp_path, steps=["clip"])
    assert set(clipped["n_features_too_large"]) == {0}
    assert len(set(retrieved(clipped)) & set(list(SAMPLES)[:10])) == len(retrieved(clipped)) >= 5
    assert name not in said


def test_a_feature_is_left_out_where_the_others_are_lost_in_rounding_and_named_where_it_rules_them(good):
    name = "Cells_Feature_0"
    condition = conditions(good)[0]
    size = np.sqrt(np.mean(np.square(good.filter(like="Cells_").to_numpy()), axis=0))
    unit = np.sort(size)[19] / size[0]  # times as large as the median of 40, the lower one

    def at(times: float) -> tuple[tuple[str, ...], str]:
        profiles = good.assign(**{name: good[name] * unit * times})
        return wells_of(profiles, condition, Rules()).too_large, " ".join(describe_columns(profiles))

    assert at(TOO_LARGE * 1.2)[0] == (name,)
    left_out, said = at(TOO_LARGE / 1.2)
    assert left_out == ()
    assert f"nearly all that similarities are made of: {name}" in said
    assert name not in at(100)[1]
    assert wells_of(good.assign(**{name: good[name] * 1e13}), condition, Rules("published")).too_large == ()


def test_sphering_does_not_learn_from_a_feature_that_outweighs_all_others(good):
    name = "Cells_Feature_0"
    exploded = corrected(good.assign(**{name: good[name] * 1e13}), ["sphere"])
    without = corrected(good.drop(columns=name), ["sphere"])
    assert exploded[name].isna().all()
    np.testing.assert_allclose(exploded[list(without.filter(like="Cells_"))], without.filter(like="Cells_"))


def test_a_plate_without_any_value_takes_no_feature_from_the_others(good):
    names = list(good.filter(like="Cells_"))
    dead = good.copy()
    dead.loc[dead["Metadata_Plate"] == "002", names] = np.nan
    table = run_task("detection", dead)["detection"]
    same(table, run_task("detection", good[good["Metadata_Plate"] != "002"])["detection"].assign())
    assert set(table["n_features"]) == {40}


@pytest.mark.parametrize("value", ["1,5", "x", "#DIV/0!", [0.5, 2.0]])
def test_a_feature_that_is_no_number_is_refused_with_the_value_and_its_well(good, value):
    values = pd.Series(["1.5"] * len(good), dtype=object)
    values[1] = value
    what = re.escape(str(value))
    with pytest.raises(ConfigError, match=f"no numbers: Cells_Text.* Cells_Text holds {what}.* batch1 001 A02"):
        run_task("detection", good.assign(Cells_Text=values))


def test_a_column_that_pandas_named_a_second_time_is_left_out_and_one_of_other_values_is_not(good, right, tmp_path):
    table, said = detected(good.assign(**{"Cells_Feature_0.1": good["Cells_Feature_0"]}), tmp_path / "a")
    same(table, right)
    assert "left out: Cells_Feature_0.1 (pandas' name for a column that stands twice)" in said
    table, said = detected(good.rename(columns={"Cells_Feature_2": "Cells_Feature_0.2"}), tmp_path / "b")
    same(table, right)
    assert "left out" not in said


def test_a_feature_that_is_one_number_everywhere_is_named(good):
    assert "tells none apart: Cells_Ones." in " ".join(describe_columns(good.assign(Cells_Ones=True)))
    assert "tells none apart" not in " ".join(describe_columns(good.assign(Cells_Zeros=0.0)))


def test_features_of_truth_values_and_of_numbers_written_as_text_are_numbers(good, tmp_path):
    flag = good["Cells_Feature_0"] > 0
    table, _ = detected(
        good.assign(Cells_Feature_0=flag, Cells_Feature_1=good["Cells_Feature_1"].astype(str)), tmp_path
    )
    same(table, run_task("detection", good.assign(Cells_Feature_0=flag.astype(float)))["detection"])


# What is a replicate.


@pytest.fixture(scope="module")
def imaged_again(good) -> pd.DataFrame:
    """The same three plates, imaged in three batches: the noise of a well is its own, whenever it is imaged."""
    rng = np.random.default_rng(7)
    inert = small.screen(dict.fromkeys(SAMPLES, 0.0), n_plates=3, seed=5)
    inert["Metadata_Plate"] = good["Metadata_Plate"]
    again = []
    for batch in ("B1", "B2", "B3"):
        names = list(inert.filter(like="Cells_"))
        moved = inert[names] + 0.3 * rng.normal(size=(len(inert), len(names)))
        again.append(inert.assign(Metadata_Batch=batch, **moved))
    return pd.concat(again, ignore_index=True)


@pytest.mark.parametrize("with_screen", [True, False])
def test_imagings_of_one_plate_are_no_replicates_of_each_other(imaged_again, tmp_path, with_screen):
    screen = screen_of(imaged_again, tmp_path / "screen") if with_screen else None
    table, said = detected(imaged_again, tmp_path, screen)
    assert retrieved(table) == []
    assert table["variant"].unique().tolist() == ["", "batch B2", "batch B3"]
    assert len(table) == 3 * 20
    assert set(table["n_positives"]) == {2}
    assert "Imagings of one plate are no replicates of each other" in said


def test_plates_of_one_name_with_other_samples_on_them_are_other_plates(good, tmp_path):
    other = good.assign(Metadata_Batch="batch2")
    other["Metadata_Well"] = other.groupby("Metadata_Plate")["Metadata_Well"].transform(
        lambda wells: wells.to_numpy()[::-1]
    )
    names = list(good.filter(like="Cells_"))
    other[names] += 0.1 * np.random.default_rng(1).normal(size=(len(good), len(names)))
    write_gallery(pd.concat([good, other]), tmp_path)
    assert conditions(load_profiles(str(tmp_path))) == [Condition(("compound", "A549", "short"))]


def test_the_plates_table_can_say_which_plates_are_one(good, tmp_path):
    rows = "".join(f"{batch},{plate},map,compound,A549,short\n" for batch in ("B1", "B2") for plate in ("1", "2"))
    screen = screen_of(good, tmp_path / "screen", rows)
    path = tmp_path / "screen" / "plates.csv"

    def variants(physical: list[str]) -> list[str]:
        table = pd.read_csv(path, dtype=str).assign(physical_plate=physical)
        table.to_csv(path, index=False)
        wells = well_annotations(screen).drop_duplicates(["Metadata_Batch", "Metadata_Plate"])
        return wells["Metadata_variant"].tolist()

    assert variants(["a", "b", "c", "d"]) == ["", "", "", ""]
    assert variants(["a", "b", "a", "c"]) == ["", "", "batch B2", ""]
    assert variants(["a", "a", "b", "c"]) == ["", "plate 2", "", ""]


DOSED = {f"CPD-{number:03d}": 0.0 for number in range(12)}


def dosed(column: str = "Metadata_mmoles_per_liter") -> pd.DataFrame:
    """Twelve samples at three doses, on three plates; the first six act at the highest dose."""
    strengths = {f"{name}|{dose}": 3.0 if number < 6 and dose == "10" else 0.0
                 for number, name in enumerate(DOSED) for dose in ("0.1", "1", "10")}  # fmt: skip
    profiles = small.screen(strengths, n_plates=3, n_controls=30)
    parts = profiles["Metadata_broad_sample"].str.split("|", expand=True).reindex(columns=[0, 1])
    return profiles.assign(Metadata_broad_sample=parts[0].fillna(""), **{column: parts[1]})


@pytest.mark.parametrize("column", ["Metadata_mmoles_per_liter", "Metadata_dose", "Metadata_Concentration_uM"])
def test_each_dose_of_a_sample_is_a_perturbation_of_its_own(tmp_path, column):
    profiles = dosed(column)
    table, said = detected(profiles, tmp_path)
    assert len(table) == 36
    assert retrieved(table) == [f"CPD-{number:03d} @ 10" for number in range(6)]
    assert set(table["n_positives"]) == {2}
    assert table.loc[0, ["sample", "dose"]].tolist() == ["CPD-000", "0.1"]
    assert "12 samples stand in several doses" in said


def test_doses_that_files_round_in_their_own_ways_are_one_dose(tmp_path):
    profiles = dosed().replace({"Metadata_mmoles_per_liter": {"0.1": 0.33333, "1": 1.0, "10": 10.0}})
    second = profiles["Metadata_Plate"].str.endswith("2")
    profiles.loc[second, "Metadata_mmoles_per_liter"] = profiles["Metadata_mmoles_per_liter"].replace(0.33333, 0.333333)
    table, _ = detected(profiles, tmp_path)
    assert len(table) == 36
    assert table.loc[0, "label"] == "CPD-000 @ 0.333"


@pytest.mark.parametrize(
    "spellings", [("10uM", "10 uM", "10.0 \u00b5M"), ("10 \u03bcM", "10000 nM", "0.01mM"), ("10", "10.0", "10,0")]
)
def test_a_dose_is_one_however_it_is_written(good, right, tmp_path, spellings):
    dose = good["Metadata_Plate"].map(dict(zip(PLATES, spellings, strict=True)))
    table, said = detected(good.assign(Metadata_dose=dose), tmp_path)
    same(table, right)
    assert "several doses" not in said


def test_doses_that_may_be_others_stay_apart():
    table = pd.DataFrame({"Metadata_dose": ["10", "10 uM", "10 mg/ml", "10,000", "NA", "high", "2.5 mM"]})
    assert doses(table).tolist() == ["10", "10 uM", "10 mg/ml", "10,000", "", "high", "2500 uM"]


def test_doses_on_a_plate_map_come_with_the_screen(tmp_path):
    profiles = dosed()
    screen = screen_of(profiles, tmp_path / "screen", Metadata_mmoles_per_liter="mmoles_per_liter")
    table, _ = detected(bare(profiles.drop(columns="Metadata_mmoles_per_liter")), tmp_path, screen)
    assert retrieved(table) == [f"CPD-{number:03d} @ 10" for number in range(6)]


def test_a_sample_at_one_dose_keeps_its_name(good, right, tmp_path):
    table, said = detected(good.assign(Metadata_mmoles_per_liter=5.0), tmp_path)
    same(table, right)
    assert "dose" not in said
    assert "dose" not in table


def test_doses_of_one_compound_are_no_sisters_of_each_other():
    strengths = {f"{name}|{dose}": 3.0 for name in ("a", "b", "c") for dose in ("1", "10")}
    profiles = small.screen(strengths, n_plates=3, targets=dict.fromkeys(strengths, "G"))
    parts = profiles["Metadata_broad_sample"].str.split("|", expand=True)
    profiles = profiles.assign(Metadata_broad_sample=parts[0], Metadata_dose=parts[1])
    targets = profiles["Metadata_broad_sample"].map({"a": "G", "b": "G", "c": "H", "": ""})
    tables = run_task("sisters", profiles.assign(Metadata_target_list=targets))
    assert tables["sisters"][["label", "n_positives"]].values.tolist() == [
        ["G", 2.0]
    ]  # of 4: two of the other compound
    assert tables["sisters_left_out"][["label", "n_queries"]].values.tolist() == [["H", 2]]


def test_plates_asked_for_by_name_are_those_that_should_be_there(good, tmp_path):
    screen = screen_of(good, tmp_path / "screen")
    asked = [Plate("batch1", plate) for plate in ("001", "003")]
    table, said = detected(bare(good[good["Metadata_Plate"] != "003"]), tmp_path, screen, plates=asked)
    assert "compound A549 short: no profiles of 1 of 2 plates: batch1/003." in said
    assert set(table["n_plates"]) == {1}
