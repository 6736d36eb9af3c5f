"""The shipped CPJUMP1 tables, counted against what the paper and its repositories say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline.config import SCREENS, Config, load_config, load_screen
from pipeline.engines import cppipe
from pipeline.plan import make_plan, show
from pipeline.screen.groups import in_group
from pipeline.screen.plates import screen_plates
from pipeline.screen.wells import screen_wells

HOME = SCREENS / "cpjump1"


@pytest.fixture(scope="module")
def plates() -> pd.DataFrame:
    return screen_plates(load_screen("cpjump1"))


@pytest.fixture(scope="module")
def wells() -> pd.DataFrame:
    wells, findings = screen_wells(load_screen("cpjump1"))
    assert findings == []  # every sample on every map is described
    return wells


@pytest.fixture
def config(tmp_path: Path):
    def config(images: Path, **keys) -> Config:
        path = tmp_path / "config.yaml"
        values = {"screen": "cpjump1", "images": str(images), "results": "out"}
        path.write_text(yaml.safe_dump({**values, "engine": {"cppipe": str(HOME / "analysis.cppipe")}, **keys}))
        return load_config(path)

    return config


def test_there_are_107_image_plates_of_51_plates(plates):
    assert len(plates) == 107
    assert plates["Metadata_physical_plate"].nunique() == 51
    assert plates.groupby("Metadata_Batch").size().to_dict() == {
        "2020_11_04_CPJUMP1": 51,
        "2020_11_18_CPJUMP1_TimepointDay1": 8,
        "2020_11_19_TimepointDay4": 8,
        "2020_12_02_CPJUMP1_2WeeksTimePoint": 8,
        "2020_12_07_CPJUMP1_4WeeksTimePoint": 8,
        "2020_12_08_CPJUMP1_Bleaching": 24,
    }


def test_the_primary_rule_gives_the_40_plates_that_are_marked_so(plates):
    primary = in_group(load_screen("cpjump1"), plates, "primary")
    assert primary.sum() == 40
    assert (primary == (plates["Metadata_group"] == "primary")).all()
    conditions = plates[primary].groupby(["Metadata_modality", "Metadata_cell_type", "Metadata_timepoint"]).size()
    assert len(conditions) == 12
    assert {name: set(counts) for name, counts in conditions.groupby(level=0)} == {
        "compound": {4},
        "crispr": {4},
        "orf": {2},
    }


@pytest.mark.parametrize(
    ("modality", "negative_controls", "samples", "empty"),
    [("compound", 64, 306, 0), ("crispr", 60, 305, 4), ("orf", 60, 160, 4)],
)
def test_each_plate_has_its_controls_samples_and_empty_wells(wells, modality, negative_controls, samples, empty):
    own = wells[wells["Metadata_modality"] == modality]
    for _, plate in own.groupby(["Metadata_Batch", "Metadata_Plate"]):
        is_control = plate["Metadata_control_type"] == "negcon"
        is_empty = plate["Metadata_pert_type"] == "empty"
        assert len(plate) == 384
        assert is_control.sum() == negative_controls
        assert is_empty.sum() == empty
        assert (plate["Metadata_broad_sample"] == "").equals(is_empty)
        assert plate.loc[~is_control & ~is_empty, "Metadata_broad_sample"].nunique() == samples


def test_dmso_is_the_negative_control_of_compound_plates_and_of_no_others(wells):
    dmso = wells[wells["Metadata_broad_sample"] == "DMSO"]
    assert set(dmso["Metadata_modality"]) == {"compound"}
    assert set(dmso["Metadata_control_type"]) == {"negcon"}
    assert set(dmso["Metadata_pert_iname"]) == {"DMSO"}
    assert len(dmso) == 64 * 48


def test_every_value_is_text_and_none_is_missing(wells, plates):
    assert not wells.isna().any().any()
    assert not plates.isna().any().any()
    assert not wells.isin(["NA", "nan"]).any().any()


def test_the_40_primary_plates_have_15264_wells_with_a_sample(wells, plates):
    # 40 x 384 less 4 empty wells on each of the 24 plates of genes
    primary = plates[in_group(load_screen("cpjump1"), plates, "primary")]
    mine = wells.merge(primary[["Metadata_Batch", "Metadata_Plate"]])
    assert (mine["Metadata_broad_sample"] != "").sum() == 15_264


def test_the_target_list_is_the_one_of_the_published_scores(wells):
    genes = set(wells.loc[wells["Metadata_modality"] == "crispr", "Metadata_gene"]) - {""}
    orfs = wells[(wells["Metadata_modality"] == "orf") & ~wells["Metadata_control_type"].eq("negcon")]
    genes &= set(orfs["Metadata_gene"])
    assert len(genes) == 160
    compounds = wells[wells["Metadata_modality"] == "compound"].drop_duplicates("Metadata_broad_sample")
    pairs = {
        (gene, row.Metadata_broad_sample)
        for row in compounds.itertuples()
        for gene in str(row.Metadata_target_list).split("|")
        if gene in genes
    }
    assert len(pairs) == 466
    assert len({gene for gene, _ in pairs}) == 160


@pytest.mark.real_data
def test_the_pairs_and_plates_are_those_of_the_source_tables(shared_data, wells, plates):
    source = shared_data / "cpjump1"
    pairs = pd.read_csv(source / "perturbations" / "gene_compound_pairs.csv", keep_default_na=False)
    compounds = wells[wells["Metadata_modality"] == "compound"].drop_duplicates("Metadata_broad_sample")
    lists = compounds.set_index("Metadata_broad_sample")["Metadata_target_list"].str.split("|")
    assert all(gene in lists[sample] for gene, sample in zip(pairs["gene"], pairs["broad_sample"], strict=True))

    published = pd.read_csv(source / "experiment-metadata.tsv", sep="\t", dtype=str, keep_default_na=False)
    published = published[~published["Batch"].str.endswith("_DL")]
    ours = plates.rename(columns={"Metadata_Batch": "Batch", "Metadata_Plate": "Assay_Plate_Barcode"})
    both = published.merge(ours, on=["Batch", "Assay_Plate_Barcode"], validate="1:1")
    assert len(both) == len(published) == 107
    for theirs, mine in {
        "Plate_Map_Name": "plate_map_name",
        "Perturbation": "modality",
        "Cell_type": "cell_type",
        "Time": "time_h",
        "Density": "density_pct",
        "Antibiotics": "antibiotics",
        "Cell_line": "cell_line",
        "Anomaly": "anomaly",
        "Number_of_images": "number_of_images",
    }.items():
        assert (both[theirs] == both[f"Metadata_{mine}"]).all(), theirs


def test_the_shipped_config_reads_the_public_bucket_without_credentials():
    config = load_config(HOME / "config.yaml")
    assert config.images.url == "s3://cellpainting-gallery/cpg0000-jump-pilot/source_4"
    assert config.images.anonymous
    assert config.images.region == "us-east-1"


def test_the_channel_map_gives_every_image_that_the_pipeline_files_take():
    screen = load_screen("cpjump1")
    pipeline = cppipe.read((HOME / "analysis.cppipe").read_text())
    (apply,) = (module for module in pipeline.enabled if module.number == 2)
    assert apply.name == "CorrectIlluminationApply"
    assert set(apply.values("Select the input image")) == set(screen.image_names.values())
    assert set(apply.values("Select the illumination function")) == set(screen.illumination_names.values())
    assert cppipe.read((HOME / "illumination.cppipe").read_text()).enabled


@pytest.mark.real_data
def test_a_plate_with_three_of_eight_channels_is_announced_before_anything_runs(shared_data, config):
    images = shared_data / "gallery" / "cpg0000-jump-pilot" / "source_4"
    plan = make_plan(config(images, subset={"plates": ["2020_11_04_CPJUMP1/BR00117006"]}))
    assert plan.sites.filter(like="Key_").notna().sum().to_dict() == {
        f"Key_Orig{stain}": stain in ("AGP", "RNA", "DNA")
        for stain in ("Mito", "AGP", "RNA", "ER", "DNA", "HighZBF", "LowZBF", "Brightfield")
    }
    first, second = plan.findings["what"][:2]
    missing = "OrigMito, OrigER, OrigHighZBF, OrigLowZBF, OrigBrightfield"
    assert first.startswith(f"2020_11_04_CPJUMP1/BR00117006: no site has all images the pipeline needs ({missing}")
    assert second == f"2020_11_04_CPJUMP1/BR00117006 A01 site 1 lacks {missing}."
    assert plan.findings["kind"].value_counts().to_dict() == {
        "plate_unusable": 1,
        "image_missing": 1,
        "well_not_imaged": 383,
    }
    text = show(plan)
    assert "orf A549 long" in text
    assert text.index("Plates of which no site can be measured") < text.index("Wells that are named and have no images")


@pytest.mark.real_data
def test_the_folder_of_the_plates_table_is_the_folder_of_the_real_images(shared_data, config):
    images = shared_data / "gallery" / "cpg0000-jump-pilot" / "source_4"
    plan = make_plan(config(images))
    assert plan.plate_list == [("2020_11_04_CPJUMP1", "BR00117006")]
    assert (plan.findings["kind"] == "plate_not_imaged").sum() == 106
