from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ConfigError, NotFound
from pipeline.scores import Condition, check_annotations, conditions, load, load_profiles, run_task, scores_command
from pipeline.screen import Plate
from pipeline.screen.variants import well_annotations
from pipeline.simulate.profiles import simulate_profiles, write_gallery
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import Location, open_storage

BATCH = "2020_11_04_CPJUMP1"


@pytest.fixture(scope="module")
def few(cpjump1):
    """Two plates of compounds and two of ORFs, A549, short."""
    wells = well_annotations(cpjump1)
    chosen = wells[(wells["Metadata_cell_type"] == "A549") & (wells["Metadata_timepoint"] == "short")]
    chosen = chosen[(chosen["Metadata_Batch"] == BATCH) & (chosen["Metadata_variant"] == "")]
    plates = [
        Plate(BATCH, name)
        for modality in ("compound", "orf")
        for name in sorted(set(chosen.loc[chosen["Metadata_modality"] == modality, "Metadata_Plate"]))[:2]
    ]
    return simulate_profiles(cpjump1, plates=plates, n_features=12, strength=2.0).profiles


@pytest.fixture(scope="module")
def gallery(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    write_gallery(few, folder / "profiles")
    return folder


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    key = ["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]
    a, b = (table.sort_values(key, ignore_index=True) for table in (a, b))
    pd.testing.assert_frame_equal(a, b[a.columns], check_dtype=False)


def test_what_was_written_in_the_gallerys_layout_is_read_back(few, gallery, cpjump1):
    same(load_profiles(str(gallery), cpjump1), few)


def test_compressed_csv_is_read_too_and_parquet_is_preferred(few, tmp_path, cpjump1):
    write_gallery(few, tmp_path, suffix="csv.gz")
    read = load_profiles(str(tmp_path), cpjump1)
    features = [name for name in few if name.startswith(("Cells", "Nuclei", "Cyto"))]
    ordered = few.sort_values(["Metadata_Plate", "Metadata_Well"])[features]
    np.testing.assert_allclose(
        read.sort_values(["Metadata_Plate", "Metadata_Well"])[features], ordered, rtol=1e-4, atol=1e-4
    )
    write_gallery(few, tmp_path)
    same(load_profiles(str(tmp_path), cpjump1), few)


@pytest.mark.parametrize("lacks", ["everything", "control_type", "sample of DMSO"])
def test_what_a_file_lacks_comes_from_the_screens_tables(few, tmp_path, cpjump1, lacks):
    bare = few.copy()
    annotation = [name for name in few if name.startswith("Metadata") and name[9:] not in ("Batch", "Plate", "Well")]
    if lacks == "everything":
        bare = bare.drop(columns=annotation)
    elif lacks == "control_type":
        bare["Metadata_control_type"] = None
    else:  # as in the published files: DMSO wells without a name
        bare.loc[bare["Metadata_broad_sample"] == "DMSO", "Metadata_broad_sample"] = np.nan
    for (batch, plate), table in bare.groupby(["Metadata_Batch", "Metadata_Plate"]):
        path = tmp_path / batch / plate / f"{plate}_normalized_feature_select_negcon_batch.parquet"
        path.parent.mkdir(parents=True)
        table.drop(columns="Metadata_Batch").to_parquet(path)
    same(load_profiles(str(tmp_path), cpjump1), few)


def test_dmso_wells_are_negative_controls_and_empty_wells_are_not(cpjump1):
    wells = well_annotations(cpjump1)
    per_plate = wells.groupby("Metadata_Plate")["Metadata_control_type"].apply(lambda kinds: (kinds == "negcon").sum())
    modality = wells.groupby("Metadata_Plate")["Metadata_modality"].first()
    # plates imaged in several batches count once a batch
    imagings = wells.groupby("Metadata_Plate")["Metadata_Batch"].nunique()
    assert set((per_plate / imagings)[modality == "compound"]) == {64}
    assert set((per_plate / imagings)[modality != "compound"]) == {60}
    empty = wells[wells["Metadata_broad_sample"] == ""]
    assert set(empty["Metadata_control_type"]) == {""}
    assert set(empty["Metadata_modality"]) == {"crispr", "orf"}


def test_secondary_plates_and_reimagings_are_conditions_of_their_own(cpjump1):
    wells = well_annotations(cpjump1)
    plates = wells.drop_duplicates(["Metadata_Batch", "Metadata_Plate"])
    assert (plates["Metadata_variant"] == "").sum() == 40
    variants = set(plates["Metadata_variant"])
    assert {"density_pct 80", "density_pct 120", "antibiotics Puromycin", "cell_line Cas9"} <= variants
    assert "batch 2020_12_08_CPJUMP1_Bleaching imaging C" in variants
    sizes = plates.groupby(["Metadata_modality", "Metadata_cell_type", "Metadata_timepoint", "Metadata_variant"]).size()
    assert sizes.max() == 4


def test_target_lists_are_the_screens(few, tmp_path, cpjump1):
    write_gallery(few.assign(Metadata_target_list="WRONG"), tmp_path)
    read = load_profiles(str(tmp_path), cpjump1)
    assert (read["Metadata_target_list"] == "WRONG").sum() == (few["Metadata_target_list"] == "").sum()


def test_a_folder_without_profiles_and_a_wrong_screen_are_refused(tmp_path, few, cpjump1):
    with pytest.raises(NotFound, match="no profiles"):
        load_profiles(str(tmp_path))
    write_gallery(few.assign(Metadata_Batch="elsewhere", Metadata_Plate="P" + few["Metadata_Plate"]), tmp_path)
    with pytest.raises(ConfigError, match="none of which is a primary plate"):
        load_profiles(str(tmp_path), cpjump1)
    assert len(load_profiles(str(tmp_path))) == len(few)


def test_plates_without_profiles_are_not_found(gallery):
    with pytest.raises(NotFound, match="no profiles of the plates asked for"):
        load_profiles(str(gallery), plates=[Plate(BATCH, "P0")])


def test_plates_of_a_batch_without_a_feature_do_not_lose_it_for_the_others(few, tmp_path):
    first = few["Metadata_Plate"].iloc[0]
    names = [name for name in few if not name.startswith("Metadata")]
    for plate, table in few.groupby("Metadata_Plate"):
        write_gallery(table.drop(columns=names[0]) if plate == first else table, tmp_path)
    read = load_profiles(str(tmp_path))
    assert read[names[0]].isna().sum() == 384
    assert conditions(read) == [Condition(("compound", "A549", "short")), Condition(("orf", "A549", "short"))]


def test_the_scores_command_writes_one_table_a_task_and_returns_them(gallery, cpjump1, tmp_path):
    tables = scores_command(str(gallery), cpjump1, "correct", str(tmp_path), ["sisters", "polypharmacology"])
    assert {path.name for path in tmp_path.glob("*.parquet")} == {f"{name}.parquet" for name in tables} - {
        "detection.parquet",
        "detection_wells.parquet",
    }
    assert set(tables) - {"detection", "detection_wells"} == {"sisters", "sisters_left_out", "polypharmacology"}
    written = pd.read_parquet(tmp_path / "sisters.parquet")
    pd.testing.assert_frame_equal(written, tables["sisters"], check_dtype=False)
    assert (written["mode"] == "correct").all()
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["sisters.svg"]


def test_secondary_plates_are_scored_when_asked_for_and_apart(few, cpjump1, tmp_path):
    again = well_annotations(cpjump1).query("Metadata_variant == 'density_pct 80'")
    plates = {Plate(*row) for row in again[["Metadata_Batch", "Metadata_Plate"]].itertuples(index=False)}
    write_gallery(few, tmp_path)
    write_gallery(simulate_profiles(cpjump1, plates=plates, n_features=12).profiles, tmp_path)

    def variants(**more) -> set[str]:
        table = scores_command(str(tmp_path), cpjump1, "correct", str(tmp_path / "out"), ["detection"], **more)[
            "detection"
        ]
        return set(table["variant"].fillna("")) if "variant" in table else {""}

    assert variants() == {""}
    assert variants(secondary=True) == {"", "density_pct 80"}


def test_annotated_profiles_need_no_screen(few, gallery, cpjump1, tmp_path):
    told: list[str] = []
    tasks = ["detection", "sisters"]
    own = scores_command(str(gallery), None, "correct", str(tmp_path), tasks, tell=told.append)
    assert told == []
    annotated = scores_command(str(gallery), cpjump1, "correct", str(tmp_path), tasks)["detection"]
    counted = ["n_plates_missing", "n_wells_missing"]  # only a screen says how many there should be
    missing = annotated.groupby("modality")["n_plates_missing"].unique().map(list).to_dict()
    assert missing == {"compound": [2], "orf": [0]}  # of four and two plates
    pd.testing.assert_frame_equal(own["detection"].drop(columns=counted), annotated.drop(columns=counted))


def test_profiles_that_say_too_little_are_refused_with_the_columns_they_lack(few, tmp_path):
    lacking = ["Metadata_broad_sample", "Metadata_control_type", "Metadata_cell_type"]
    write_gallery(few.drop(columns=lacking[1:]).assign(Metadata_broad_sample=""), tmp_path)
    with pytest.raises(ConfigError, match="--screen") as refused:
        scores_command(str(tmp_path), None, "correct", str(tmp_path / "out"), ["detection"])
    assert all(name in str(refused.value) for name in lacking)
    assert "Metadata_timepoint" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_profiles_without_negative_controls_are_refused(few):
    with pytest.raises(ConfigError, match=r"never negcon, but poscon_\w+, poscon_\w+, poscon_\w+, trt"):
        check_annotations(few.assign(Metadata_control_type=few["Metadata_control_type"].replace({"negcon": "trt"})))


def test_what_profiles_do_not_say_is_told(few):
    notes = check_annotations(few.drop(columns=["Metadata_cell_type", "Metadata_gene", "Metadata_target_list"]))
    assert [note.split(":")[0] for note in notes] == [
        "Metadata_cell_type",
        "Metadata_gene, Metadata_target_list",
    ]


def test_equal_runs_write_equal_bytes(gallery, cpjump1, tmp_path):
    for name in ("a", "b"):
        scores_command(str(gallery), cpjump1, "published", str(tmp_path / name), ["detection"], seed=3)
    for stem in ("detection", "detection_wells"):
        assert (tmp_path / "a" / f"{stem}.parquet").read_bytes() == (tmp_path / "b" / f"{stem}.parquet").read_bytes()


def test_the_contracts_columns_stand_in_every_score_table(few):
    contract = [
        "modality",
        "cell_type",
        "timepoint",
        "label",
        "n_queries",
        "n_positives",
        "n_candidates",
        "mean_average_precision",
        "p",
        "q",
        "p_min",
        "retrieved",
        "mode",
    ]
    for task in ("detection", "positions", "sisters"):
        assert set(contract) <= set(run_task(task, few, null_size=100)[task])
    assert {"average_precision", "well", "plate", "p", "q"} <= set(run_task("detection", few)["detection_wells"])


def test_one_plate_without_replicates_has_all_tables_and_no_class(few, cpjump1, tmp_path):
    compounds = few[few["Metadata_modality"] == "compound"]
    plate = compounds[compounds["Metadata_Plate"] == compounds["Metadata_Plate"].iloc[0]]
    once = plate.drop_duplicates("Metadata_broad_sample")
    controls = plate[plate["Metadata_control_type"] == "negcon"].drop(index=once.index, errors="ignore")
    write_gallery(pd.concat([once, controls], ignore_index=True), tmp_path / "profiles")
    tables = scores_command(str(tmp_path / "profiles"), cpjump1, "correct", str(tmp_path / "scores"))
    assert len(tables["t_tests"]) == 0
    assert (tables["detection"]["n_queries"] == 0).all()
    assert {path.stem for path in (tmp_path / "scores").glob("*.parquet")} == set(tables)


def test_tables_are_there_when_a_figure_fails_and_a_name_that_is_none_costs_nothing(
    few, gallery, cpjump1, tmp_path, monkeypatch
):
    def fails(*_):
        raise RuntimeError("no figure")

    monkeypatch.setattr(load, "write_figures", fails)
    with pytest.raises(RuntimeError, match="no figure"):
        scores_command(str(gallery), cpjump1, "correct", str(tmp_path / "a"), ["counts"])
    with pytest.raises(ConfigError, match="no score 'typo'"):
        scores_command(str(gallery), cpjump1, "correct", str(tmp_path / "b"), ["counts", "typo"])
    assert (tmp_path / "a" / "counts.parquet").exists()
    assert not (tmp_path / "b").exists()


def test_an_unknown_task_is_refused_with_the_choices(few):
    with pytest.raises(ConfigError, match="counts, detection"):
        run_task("retrieval", few)


def test_profiles_are_read_from_s3_and_scores_written_there(few, cpjump1, tmp_path, monkeypatch):
    with LocalS3() as server:
        for name, value in server.environment("worker").items():
            monkeypatch.setenv(name, value)
        here = Location(url="s3://results/workspace", endpoint=server.endpoint, region="us-east-1")
        write_gallery(few, tmp_path)
        for path in tmp_path.rglob("*.parquet"):
            open_storage(here).put(f"profiles/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
        same(load_profiles(here, cpjump1), few)
        tables = scores_command(here, cpjump1, "correct", here.join("scores"), ["polypharmacology"])
        written = pd.read_parquet(io.BytesIO(open_storage(here).get("scores/polypharmacology.parquet")))
        pd.testing.assert_frame_equal(written, tables["polypharmacology"], check_dtype=False)
