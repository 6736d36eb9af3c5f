"""The comparison of two engines: worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.engines.parity import compare, equal_values, is_equal


def site(**columns: list[float]) -> SiteMeasurements:
    names = tuple(columns)
    values = np.array([columns[name] for name in names], float).T
    labels = np.array([[0, 1], [2, 2]])
    return SiteMeasurements({"Cells": ObjectMeasurements(names, values)}, {"Cells": labels}, {"Count_Cells": 2.0})


def row(comparison, family: str):
    return comparison.set_index("family").loc[family]


def test_a_site_equals_itself_nan_and_infinity_included():
    one = site(AreaShape_Area=[1, np.nan], AreaShape_FormFactor=[np.inf, 0])

    comparison = compare(one, one)

    assert is_equal(comparison)
    assert set(comparison["family"]) == {"Labels", "AreaShape", "Count"}
    assert row(comparison, "AreaShape")["values"] == row(comparison, "AreaShape")["identical"] == 4


def test_the_worst_value_is_named_with_its_object():
    ours = site(AreaShape_Area=[1, 2], AreaShape_Extent=[0.5, 0.5])
    theirs = site(AreaShape_Area=[1, 2 + 1e-7], AreaShape_Extent=[0.5, 0.6])

    comparison = compare(ours, theirs)

    found = row(comparison, "AreaShape")
    assert not is_equal(comparison)
    assert (found["worst_feature"], found["worst_object"]) == ("AreaShape_Extent", 2)
    assert (found["worst_ours"], found["worst_theirs"]) == (0.5, 0.6)
    assert (found["columns"], found["unequal_columns"], found["unequal_values"]) == (2, 1, 1)
    assert found["largest_absolute"] == pytest.approx(0.1)
    assert found["largest_relative"] == pytest.approx(0.1 / 0.6)


@pytest.mark.parametrize(
    ("ours", "theirs", "feature", "expected"),
    [
        (1.0, 1.0 + 9e-7, "Texture_Contrast_DNA_3_00_256", True),
        (1.0, 1.0 + 2e-6, "Texture_Contrast_DNA_3_00_256", False),
        (0.0, 9e-10, "Texture_Contrast_DNA_3_00_256", True),
        (0.0, 2e-9, "Texture_Contrast_DNA_3_00_256", False),
        (1e-3, 1e-3 + 9e-7, "Granularity_1_DNA", True),
        (1e3, 1e3 + 2e-6, "Granularity_1_DNA", False),
        (np.nan, np.nan, "Texture_Contrast_DNA_3_00_256", True),
        (np.nan, 0.0, "Texture_Contrast_DNA_3_00_256", False),
        (np.inf, np.inf, "Texture_Contrast_DNA_3_00_256", True),
        (np.inf, -np.inf, "Texture_Contrast_DNA_3_00_256", False),
        (np.inf, 1.0, "Texture_Contrast_DNA_3_00_256", False),
    ],
)
def test_the_limits_are_relative_absolute_and_absolute_alone_for_granularity(ours, theirs, feature, expected):
    assert equal_values(np.array([ours]), np.array([theirs]), feature).tolist() == [expected]


def test_columns_that_only_one_has_are_counted():
    comparison = compare(site(AreaShape_Area=[1, 2]), site(AreaShape_Area=[1, 2], AreaShape_Extent=[1, 1]))

    assert row(comparison, "AreaShape")["missing"] == 1
    assert not is_equal(comparison)
    assert row(compare(site(A_b=[1, 1], A_c=[1, 1]), site(A_b=[1, 1])), "A")["unexpected"] == 1


def test_another_number_of_objects_makes_all_values_unequal():
    comparison = compare(site(AreaShape_Area=[1, 2]), site(AreaShape_Area=[1, 2, 3]))

    assert row(comparison, "AreaShape")["unequal_values"] == 3


def test_pixels_of_other_labels_are_counted():
    ours, theirs = site(AreaShape_Area=[1, 2]), site(AreaShape_Area=[1, 2])
    theirs.labels["Cells"] = np.array([[0, 1], [2, 1]])

    found = row(compare(ours, theirs), "Labels")
    assert (found["values"], found["unequal_values"]) == (4, 1)
    del theirs.labels["Cells"]
    assert row(compare(ours, theirs), "Labels")["unequal_values"] == 4


def test_sites_without_objects_are_equal():
    assert is_equal(compare(site(AreaShape_Area=[]), site(AreaShape_Area=[])))
