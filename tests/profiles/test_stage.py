"""From a published store to selected profiles, on three small plates in two batches."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import cells, profiles
from pipeline.config import Config
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.errors import Incomplete, NotFound
from pipeline.plan import Plan
from pipeline.results import ledger
from pipeline.results.plan import write_plan
from pipeline.results.run import Run, make_record, open_run, write_record
from pipeline.screen import Plate
from pipeline.storage import Location, open_storage

FEATURES = ("AreaShape_Area", "AreaShape_FormFactor", "AreaShape_Twin", "Granularity_Flat", "Texture_Rare")
SCHEMA = cells.Schema.from_features({"Cells": FEATURES}, ("Cells",), capacity=64)
PLATES = [Plate("B1", "P1"), Plate("B1", "P2"), Plate("B2", "P1")]
WELLS = [f"{row}{column:02d}" for row in "ABC" for column in range(1, 9)]
NEGCON = WELLS[:6]
EMPTY, FAILED, NOT_IMAGED = "B01", "B02", "B03"
PROFILED = [well for well in WELLS if well not in (FAILED, NOT_IMAGED)]


def site_values(plate: Plate, well: str, site: int) -> np.ndarray:
    seed = [*plate.key.encode(), *well.encode(), site]
    random = np.random.default_rng(seed)
    values = random.normal(size=(0 if well == EMPTY else 5 + site, len(FEATURES))) + random.normal(size=len(FEATURES))
    values[:, 2] = values[:, 0] * 2 + values[:, 1] * 1e-3
    values[:, 3] = 7
    values[:, 4] = np.where(well in ("A01", "C07"), np.inf if well == "C07" else np.nan, values[:, 4])
    return values


class Built:
    """A store of these plates, of which some are published."""

    def __init__(
        self, folder, plates=PLATES, *, method="mad_robustize", how="median", negcon=NEGCON, published=PLATES
    ) -> None:
        self.location = Location(url=str(folder / "results"))
        self.storage = open_storage(self.location)
        folder.mkdir(exist_ok=True)
        (folder / "a.cppipe").write_text("nothing")
        config = Config.model_validate(
            {
                "screen": {"name": "small", "channels": {5: "DNA"}},
                "images": {"url": str(folder)},
                "results": self.location,
                "engine": {"cppipe": folder / "a.cppipe"},
                "profiles": {"normalize": method, "aggregate": how},
                "select": {"unique_cut": 0.01, "na_cutoff": 0.2},
            }
        )
        wells = pd.DataFrame([(*plate, well) for plate in plates for well in WELLS], columns=profiles.wells.WELL_KEY)
        wells["Metadata_broad_sample"] = [f"S{number % 5}" for number in range(len(wells))]
        wells["Metadata_control_type"] = ["negcon" if well in negcon else "" for well in wells["Metadata_Well"]]
        wells["sites"] = [0 if well == NOT_IMAGED else 2 for well in wells["Metadata_Well"]]
        wells["excluded"] = ""
        table = pd.DataFrame(plates, columns=["Metadata_Batch", "Metadata_Plate"])
        sites = wells[wells["sites"] > 0].drop(columns="sites").assign(Metadata_Site=1)
        write_plan(Plan(sites, wells.sample(frac=1, random_state=0), table, pd.DataFrame(), sites), self.storage)
        cells.write_schema(self.storage, SCHEMA)
        write_record(Run(self.storage, config, "nothing", make_record(config, engine="", inputs=(), schema="")))
        for plate in plates:
            cells.create_plate(self.storage, plate, WELLS, SCHEMA)
            self.entries = [self._measure(plate, well) for well in WELLS if well != NOT_IMAGED]
            if plate in published:
                cells.publish_plate(self.storage, plate, self.entries)

    def _measure(self, plate: Plate, well: str) -> ledger.Entry:
        entry = ledger.empty_entry(plate, well, "")
        if well == FAILED:
            return entry
        sites = [
            cells.assemble_site(
                site,
                SiteMeasurements({"Cells": ObjectMeasurements(FEATURES, site_values(plate, well, site))}, {}, {}),
                SCHEMA,
            )
            for site in (1, 2)
        ]
        encoded = cells.encode_well(SCHEMA, sites)
        cells.put_well(self.storage, plate, well, encoded)
        cells.put_image_measurements(self.storage, plate, well, [{"Metadata_Site": 1}])
        entry["state"] = "measured" if encoded.n_cells else "no_cells"
        entry["n_cells"], entry["stored"], entry["content"] = encoded.n_cells, encoded.stored, encoded.content
        entry["size"] = len(encoded.data or b"")
        entry["cells_per_site"] = {str(site): count for site, count in encoded.cells_per_site.items()}
        return entry

    @property
    def run(self) -> Run:
        return open_run(self.location)

    def profile_all(self) -> None:
        for plate in self.run.plates:
            profiles.profile_plate(self.location, *plate)

    def table(self, level: str, plate: Plate = PLATES[0]) -> pd.DataFrame:
        return profiles.open_profiles(self.location, level, plate)

    def bytes(self) -> dict[str, bytes]:
        return {entry.key: self.storage.get(entry.key) for entry in self.storage.entries("profiles/")}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    built = Built(tmp_path_factory.mktemp("built"))
    built.profile_all()
    for batch in ("B1", "B2"):
        profiles.select_batch(built.location, batch)
    return built


def test_a_profile_is_the_median_over_the_cells_of_all_sites_of_a_well(built):
    table = built.table("")
    assert table["Metadata_Well"].tolist() == PROFILED  # in plate order, without those that were not measured
    well = table[table["Metadata_Well"] == "C05"].iloc[0]
    values = np.concatenate([site_values(PLATES[0], "C05", site) for site in (1, 2)]).astype(np.float32)
    for number, name in enumerate(FEATURES):
        assert well[f"Cells_{name}"] == np.median(values[:, number].astype(float))
    assert (well["Metadata_Count_Cells"], well["Metadata_Sites"], well["Metadata_Count_Unmatched"]) == (13, 2, 0)


def test_the_mean_can_be_chosen(tmp_path):
    built = Built(tmp_path, PLATES[:1], how="mean")
    profiles.profile_plate(built.location, *PLATES[0])
    table = built.table("").set_index("Metadata_Well")
    values = np.concatenate([site_values(PLATES[0], "C05", site) for site in (1, 2)]).astype(np.float32)
    assert table.loc["C05", "Cells_AreaShape_Area"] == pytest.approx(values[:, 0].mean(dtype=float), rel=1e-14)


def test_a_well_without_cells_is_a_row_with_count_zero_and_no_values(built):
    for level in ("", "augmented", "normalized", "normalized_negcon", "normalized_feature_select_negcon_batch"):
        row = built.table(level).set_index("Metadata_Well").loc[EMPTY]
        assert row["Metadata_Count_Cells"] == 0
        assert row.filter(like="Cells_").isna().all()
        assert row["Metadata_Sites"] == 2


def test_augmented_profiles_say_what_is_in_each_well(built):
    table = built.table("augmented")
    assert table.loc[table["Metadata_control_type"] == "negcon", "Metadata_Well"].tolist() == NEGCON
    samples = dict(zip(table["Metadata_Well"], table["Metadata_broad_sample"], strict=True))
    assert samples["A01"] == "S0"
    assert samples["A08"] == "S2"
    assert "sites" not in table


def test_each_normalisation_has_its_own_reference(built):
    raw = built.table("augmented").set_index("Metadata_Well")["Cells_AreaShape_Area"]
    for level, reference in (("normalized", raw.dropna()), ("normalized_negcon", raw.loc[NEGCON])):
        scale = 1.4826 * (reference - reference.median()).abs().median()
        ours = built.table(level).set_index("Metadata_Well")["Cells_AreaShape_Area"]
        np.testing.assert_allclose(ours, (raw - reference.median()) / scale, rtol=1e-12)


def test_a_feature_with_a_mad_of_zero_stays_missing_and_is_not_selected(built):
    assert built.table("normalized")["Cells_Granularity_Flat"].isna().all()
    assert "Cells_Granularity_Flat" not in built.table("normalized_feature_select_batch")


def test_infinite_values_stay_in_the_measured_profile_and_are_missing_in_the_normalised_one(built):
    raw, normalized = (built.table(level).set_index("Metadata_Well") for level in ("augmented", "normalized"))
    assert raw.loc["C07", "Cells_Texture_Rare"] == np.inf
    assert np.isnan(normalized.loc["C07", "Cells_Texture_Rare"])
    assert "Cells_Texture_Rare" in built.table("normalized_feature_select_batch")


def test_all_plates_of_a_batch_get_the_same_features_chosen_from_all_of_their_wells(built):
    one, other = (built.table("normalized_feature_select_batch", plate) for plate in PLATES[:2])
    assert list(one.columns) == list(other.columns)
    kept = profiles.feature_names(one)
    assert 2 <= len(kept) < len(FEATURES)
    assert len({"Cells_AreaShape_Area", "Cells_AreaShape_Twin"} & set(kept)) == 1
    normalized = pd.concat([built.table("normalized", plate) for plate in PLATES[:2]])
    names = profiles.feature_names(normalized)
    assert kept == profiles.select_features(normalized[names].to_numpy(), names, built.run.config.select).kept
    pd.testing.assert_frame_equal(one[kept], built.table("normalized")[kept])
    selection = json.loads(built.storage.get("profiles/B1/selection.json"))["levels"]
    about = selection["normalized_feature_select_batch"]
    assert about["plates"] == ["P1", "P2"]
    assert about["kept"] == kept
    assert about["wells"] == len(normalized)


def test_files_have_the_gallerys_names(built):
    names = {key for key in built.bytes() if key.startswith("profiles/B1/P1/")}
    levels = ["", "_augmented", "_normalized", "_normalized_negcon"]
    levels += ["_normalized_feature_select_batch", "_normalized_feature_select_negcon_batch"]
    assert names == {f"profiles/B1/P1/P1{level}.parquet" for level in levels} | {"profiles/B1/P1/P1.json"}
    table = pq.read_table(io.BytesIO(built.storage.get("profiles/B1/P1/P1_normalized.parquet")))
    assert table.column_names[:3] == ["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]
    first_feature = next(number for number, name in enumerate(table.column_names) if name.startswith("Cells_"))
    assert all(name.startswith("Metadata_") for name in table.column_names[:first_feature])
    assert not any(name.startswith("Metadata_") for name in table.column_names[first_feature:])


def test_doing_it_again_elsewhere_gives_the_same_bytes_and_here_changes_nothing(built, tmp_path):
    before = built.bytes()
    modified = {entry.key: entry.modified for entry in built.storage.entries("profiles/")}
    built.profile_all()
    profiles.select_batch(built.location, "B1")
    assert {entry.key: entry.modified for entry in built.storage.entries("profiles/")} == modified
    other = Built(tmp_path)
    other.profile_all()
    for batch in ("B2", "B1"):
        profiles.select_batch(other.location, batch)
    assert other.bytes() == before


def test_a_plate_that_is_published_anew_is_profiled_and_selected_anew(tmp_path):
    built = Built(tmp_path, PLATES[:2])
    for plate in PLATES[:2]:
        profiles.profile_plate(built.location, *plate)
    profiles.select_batch(built.location, "B1")
    before = built.bytes()
    entries = [dict(built._measure(PLATES[0], well)) for well in WELLS if well not in (NOT_IMAGED, "C05")]
    cells.publish_plate(built.storage, PLATES[0], entries, replace=True)
    profiles.profile_plate(built.location, *PLATES[0])
    profiles.select_batch(built.location, "B1")
    assert "C05" not in built.table("")["Metadata_Well"].tolist()
    assert "C05" not in built.table("normalized_feature_select_batch")["Metadata_Well"].tolist()
    after = built.bytes()
    assert {key for key in after if after[key] != before[key]} > {
        "profiles/B1/selection.json",
        "profiles/B1/P1/P1.json",
    }


def test_a_plate_without_negative_controls_has_no_profile_against_them_and_says_why(tmp_path):
    built = Built(tmp_path, PLATES[:1], negcon=[EMPTY, FAILED])
    summary = profiles.profile_plate(built.location, *PLATES[0])
    assert summary["missing"] == {
        "normalized_negcon": "no negative control of the plate has cells (Metadata_control_type negcon)"
    }
    built.profile_all()
    assert profiles.select_batch(built.location, "B1")["normalized_feature_select_negcon_batch"] == 0
    with pytest.raises(NotFound, match=r"no profiles of level 'normalized_negcon'; there are .*normalized"):
        built.table("normalized_negcon")
    assert len(built.table("normalized_feature_select_batch")) == len(PROFILED)


def test_a_plate_without_any_cells_has_no_normalised_profile_and_does_not_stop_its_batch(tmp_path):
    built = Built(tmp_path, PLATES[:2], published=PLATES[:1])
    entries = [ledger.empty_entry(PLATES[1], well, "") for well in WELLS]
    cells.publish_plate(built.storage, PLATES[1], entries)
    summary = [profiles.profile_plate(built.location, *plate) for plate in PLATES[:2]][1]
    assert (summary["wells"], set(summary["missing"])) == (0, {"normalized", "normalized_negcon"})
    assert built.table("augmented", PLATES[1]).empty
    assert profiles.select_batch(built.location, "B1")["normalized_feature_select_batch"] > 0


def test_standardize_can_be_chosen(tmp_path):
    built = Built(tmp_path, PLATES[:1], method="standardize")
    profiles.profile_plate(built.location, *PLATES[0])
    values = built.table("normalized")["Cells_AreaShape_Area"]
    assert values.mean() == pytest.approx(0, abs=1e-12)
    assert values.std(ddof=0) == pytest.approx(1)


def test_a_plate_that_is_not_published_is_not_profiled(tmp_path):
    built = Built(tmp_path, PLATES[:2], published=PLATES[:1])
    with pytest.raises(Incomplete, match="B1/P2 is not published"):
        profiles.profile_plate(built.location, *PLATES[1])
    with pytest.raises(Incomplete, match="No plate of B1 is profiled yet"):
        profiles.select_batch(built.location, "B1")


def test_a_batch_is_selected_over_the_plates_that_are_profiled_and_again_when_others_follow(tmp_path):
    built = Built(tmp_path, PLATES[:2], published=PLATES[:1])
    profiles.profile_plate(built.location, *PLATES[0])
    profiles.select_batch(built.location, "B1")
    assert profiles.batch_standing(built.run, "B1").is_current
    assert json.loads(built.storage.get("profiles/B1/selection.json"))["inputs"]["profiles"].keys() == {"P1"}
    cells.publish_plate(built.storage, PLATES[1], built.entries)
    profiles.profile_plate(built.location, *PLATES[1])
    assert profiles.batch_standing(built.run, "B1").why == "profiles.P2 is new"
    profiles.select_batch(built.location, "B1")
    whole = Built(tmp_path / "whole", PLATES[:2])
    whole.profile_all()
    profiles.select_batch(whole.location, "B1")
    assert built.bytes() == whole.bytes()


ONE_CONTROL = "only one negative control of the plate has cells, and its MAD is 0"


@pytest.mark.parametrize(
    ("n", "levels", "missing", "notes"),
    [
        (1, ["normalized"], {"normalized_negcon": ONE_CONTROL}, []),
        (3, ["normalized", "normalized_negcon"], {}, ["normalized_negcon"]),
        (4, ["normalized", "normalized_negcon"], {}, []),
    ],
)  # fmt: skip
def test_controls_too_few_for_a_mad_are_named_in_the_plates_record(tmp_path, n, levels, missing, notes):
    built = Built(tmp_path, PLATES[:1], negcon=[*WELLS[:n], EMPTY, NOT_IMAGED])  # only those with cells count
    made = profiles.profile_plate(built.location, *PLATES[0])
    record = json.loads(built.storage.get("profiles/B1/P1/P1.json"))
    assert record["levels"] == levels
    assert made["missing"] == missing
    assert list(made.get("notes", {})) == notes
    lines = profiles.profile_notes(built.run)
    assert len(lines) == (n < 4)
    assert all(line.startswith("B1/P1: ") and "normalized_negcon" in line for line in lines)
    if notes:
        assert "3 negative controls (control_type negcon): too few for a MAD, which takes 4" in lines[0]


def test_one_control_is_enough_for_other_normalisations(tmp_path):
    built = Built(tmp_path, PLATES[:1], method="standardize", negcon=WELLS[:1])
    made = profiles.profile_plate(built.location, *PLATES[0])
    assert "notes" not in made
    assert made["missing"] == {}


def test_a_lost_shard_stops_the_profile_by_name(tmp_path):
    built = Built(tmp_path, PLATES[:1])
    (shard,) = (entry.key for entry in built.storage.entries("cells/B1/P1/features/c/0/"))
    (built.storage.root / shard).unlink()
    with pytest.raises(Incomplete, match="B1/P1 A01 should have cells"):
        profiles.profile_plate(built.location, *PLATES[0])


def test_a_well_that_the_plan_does_not_name_is_refused_rather_than_left_unknown(built):
    table = built.table("")
    wells = built.table("augmented")[[*profiles.wells.WELL_KEY, "Metadata_broad_sample"]]
    with pytest.raises(Incomplete, match=r"1 wells are not in the plan, e\.g\. B1/P1/A01"):
        profiles.annotate(table, wells[wells["Metadata_Well"] != "A01"])
    with pytest.raises(Incomplete, match="names a well twice"):
        profiles.annotate(table, pd.concat([wells, wells.iloc[:1]]))


def test_profiles_of_several_plates_are_read_as_one_table(built):
    table = profiles.open_profiles(built.storage.root, "normalized")
    assert len(table) == 3 * len(PROFILED)
    both = profiles.open_profiles(str(built.storage.root), "normalized", plates="P1")
    assert both["Metadata_Batch"].unique().tolist() == ["B1", "B2"]
    assert len(profiles.open_profiles(built.location, "normalized", plates=["B1/P1", PLATES[1]])) == 2 * len(PROFILED)
    with pytest.raises(NotFound, match=r"no profiles of plate P9 .*there are B1/P1, B1/P2, B2/P1"):
        profiles.open_profiles(built.location, "normalized", plates="P9")


def test_the_gallerys_own_files_are_read_too(tmp_path):
    folder = tmp_path / "2020_11_04_CPJUMP1" / "00117"
    folder.mkdir(parents=True)
    (folder / "readme.txt").write_text("no profile")
    pd.DataFrame(
        {
            "Metadata_Plate": ["00117"] * 3,
            "Metadata_broad_sample": ["NA", "", "S1"],
            "Cells_a": [1.5, np.nan, np.inf],
            "Cells_b": [1, 2, 3],
        }
    ).to_csv(folder / "00117_normalized_feature_select_negcon_batch.csv.gz", index=False)
    table = profiles.open_profiles(tmp_path)
    assert table["Metadata_Batch"].tolist() == ["2020_11_04_CPJUMP1"] * 3
    assert table["Metadata_Plate"].tolist() == ["00117"] * 3  # a name, whatever it looks like
    assert table["Metadata_broad_sample"].tolist() == ["NA", "", "S1"]
    np.testing.assert_array_equal(table["Cells_a"], [1.5, np.nan, np.inf])
