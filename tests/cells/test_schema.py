from __future__ import annotations

import shutil

import numpy as np
import pytest

from pipeline import cells
from pipeline.cells.create import read_plate
from pipeline.cells.meaning import Meaning, channels_of, meaning
from pipeline.errors import ConfigError, Conflict
from pipeline.screen import Plate
from pipeline.storage import open_storage
from tests.cells.synthetic import COMPARTMENTS, FEATURES, schema

CHANNELS = {"DNA", "ER", "RNA", "Mito_deep", "far_red_Mito_deep"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Texture_Contrast_RNA_3_00_256", Meaning("Texture", "Contrast", "RNA", scale=3, angle=0)),
        ("Texture_InfoMeas1_Mito_deep_10_03_256", Meaning("Texture", "InfoMeas1", "Mito_deep", scale=10, angle=3)),
        ("Texture_Entropy_Cy_3_5_01", Meaning("Texture", "Entropy", "Cy_3", scale=5, angle=1)),
        ("Granularity_3_ER", Meaning("Granularity", "Granularity", "ER", scale=3)),
        ("Intensity_MeanIntensityEdge_Mito_deep", Meaning("Intensity", "MeanIntensityEdge", "Mito_deep")),
        ("Location_CenterMassIntensity_X_DNA", Meaning("Location", "CenterMassIntensity_X", "DNA")),
        ("Location_Center_X", Meaning("Location", "Center_X")),
        ("RadialDistribution_FracAtD_DNA_1of4", Meaning("RadialDistribution", "FracAtD", "DNA", scale=1)),
        ("RadialDistribution_MeanFrac_Mito_deep_Overflow", Meaning("RadialDistribution", "MeanFrac", "Mito_deep")),
        (
            "RadialDistribution_ZernikeMagnitude_ER_4_2",
            Meaning("RadialDistribution", "ZernikeMagnitude", "ER", scale=4, angle=2),
        ),
        ("Correlation_RWC_DNA_ER", Meaning("Correlation", "RWC", "DNA", "ER")),
        ("Correlation_K_Mito_deep_ER", Meaning("Correlation", "K", "Mito_deep", "ER")),
        ("Correlation_Manders_ER_far_red_Mito_deep", Meaning("Correlation", "Manders", "ER", "far_red_Mito_deep")),
        ("AreaShape_Zernike_3_1", Meaning("AreaShape", "Zernike", scale=3, angle=1)),
        ("AreaShape_BoundingBoxMaximum_X", Meaning("AreaShape", "BoundingBoxMaximum_X")),
        ("AreaShape_EulerNumber", Meaning("AreaShape", "EulerNumber", dtype="int")),
        ("Neighbors_NumberOfNeighbors_5", Meaning("Neighbors", "NumberOfNeighbors", scale=5, dtype="int")),
        ("Neighbors_PercentTouching_Adjacent", Meaning("Neighbors", "PercentTouching_Adjacent")),
        ("Children_Cytoplasm_Count", Meaning("Children", "Cytoplasm_Count", dtype="int")),
        ("Parent_Nuclei", Meaning("Parent", "Nuclei", dtype="int")),
        ("Number_Object_Number", Meaning("Number", "Object_Number", dtype="int")),
        ("Math_Ratio_far_red_Mito_deep", Meaning("Math", "Ratio", "far_red_Mito_deep")),
        ("Math_Ratio", Meaning("Math", "Ratio")),
    ],
)
def test_a_feature_name_says_what_was_measured(name, expected):
    assert meaning(name, CHANNELS) == expected


def test_channels_are_found_in_the_names_also_with_underscores():
    found = channels_of(
        ["Intensity_MeanIntensity_Actin_far_red", "Granularity_2_DNA", "AreaShape_Area", "Parent_Cells"]
    )
    assert found == {"Actin_far_red", "DNA"}


def test_columns_keep_their_names_and_each_compartment_its_own():
    table = schema()
    assert set(table.names) == {f"{name}_{feature}" for name, found in FEATURES.items() for feature in found}
    assert table.columns == 100 + len(table.names)
    assert table.index == ("Site", *(f"{name}_ObjectNumber" for name in COMPARTMENTS), "IsMatched")


def test_columns_of_one_compartment_family_and_channel_lie_together():
    table = schema().meaning
    for _, group in table.groupby(["compartment", "family", "channel"]):
        assert (np.diff(group.index) == 1).all()


def test_the_order_of_the_engine_changes_nothing():
    shuffled = {name: tuple(reversed(found)) for name, found in reversed(FEATURES.items())}
    other = cells.Schema.from_features(shuffled, COMPARTMENTS, 64)
    assert other.names == schema().names
    assert other.digest == schema().digest


def test_another_feature_or_capacity_is_another_digest():
    fewer = {**FEATURES, "Cells": FEATURES["Cells"][:3] + FEATURES["Cells"][4:]}
    digests = {schema().digest, schema(65).digest, cells.Schema.from_features(fewer, COMPARTMENTS, 64).digest}
    assert len(digests) == 3


def test_object_sets_that_are_no_compartment_are_left_out_and_said():
    more = {**FEATURES, "Speckles": ("AreaShape_Area", "Parent_Nuclei"), "Image": ("Count_Nuclei",)}
    table = cells.Schema.from_features(more, COMPARTMENTS, 64)
    assert table.left_out == {"Speckles": 1}
    assert table.digest == schema().digest


def test_a_compartment_that_is_not_measured_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=r"no Organelles.*Nuclei, Cells, Cytoplasm"):
        cells.Schema.from_features(FEATURES, ("Nuclei", "Organelles"), 64)


def test_compartments_without_a_relation_are_refused():
    features = {**FEATURES, "Cells": tuple(name for name in FEATURES["Cells"] if not name.startswith("Parent_"))}
    with pytest.raises(ConfigError, match="Cells cannot be joined to Nuclei"):
        cells.Schema.from_features(features, ("Nuclei", "Cells"), 64)


def test_a_schema_is_written_once_and_read_back(tmp_path):
    storage = open_storage(str(tmp_path))
    cells.write_schema(storage, schema())
    cells.write_schema(storage, schema())
    assert cells.read_schema(storage) == schema()
    with pytest.raises(Conflict, match=r"features.json"):
        cells.write_schema(storage, schema(capacity=65))


def test_a_root_that_was_filled_anew_is_read_anew(tmp_path):
    """A worker outlives a run: it must not remember the feature table that the place held yesterday."""
    storage, plate = open_storage(str(tmp_path / "results")), Plate("B1", "P1")
    for table, well in ((schema(), "H12"), (schema(capacity=65), "P24")):
        cells.write_schema(storage, table)
        cells.create_plate(storage, plate, [well], table)
        assert cells.read_schema(storage) == table
        assert read_plate(storage, plate)["wells"] == {"H12": 96, "P24": 384}[well]
        shutil.rmtree(tmp_path / "results")
