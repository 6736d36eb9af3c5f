from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.profiles import feature_names, normalize

NEGCON = "Metadata_control_type == 'negcon'"


def plate(**features: list[float]) -> pd.DataFrame:
    wells = len(next(iter(features.values())))
    table = pd.DataFrame({"Metadata_Well": [f"A{number:02d}" for number in range(1, wells + 1)], **features})
    table.insert(1, "Metadata_control_type", ["negcon"] * 3 + [""] * (wells - 3))
    return table


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["BR00147001", "BR00147003"])
def test_published_plates_are_standardized_without_any_difference(shared_data, name):
    folder = shared_data / "pediatric"
    theirs = pd.read_parquet(folder / f"{name}_bulk_normalized.parquet")
    ours = normalize(pd.read_parquet(folder / f"{name}_bulk_annotated.parquet"), "standardize")
    features = feature_names(theirs)
    assert len(features) == 2996
    assert set(ours.columns) == set(theirs.columns)
    np.testing.assert_array_equal(ours[features].to_numpy(), theirs[features].to_numpy())  # NaN where they have NaN


@pytest.mark.parametrize(("samples", "reference"), [("all", slice(None)), (NEGCON, slice(0, 3))])
def test_mad_robustize_is_the_formula(samples, reference):
    x = np.random.default_rng(1).normal(size=(7, 4)) * [1, 10, 100, 0.01]
    table = plate(**{f"Cells_{number}": x[:, number].tolist() for number in range(4)})
    median = np.median(x[reference], axis=0)
    mad = 1.4826 * np.median(np.abs(x[reference] - median), axis=0)
    ours = normalize(table, "mad_robustize", samples)
    np.testing.assert_allclose(ours[feature_names(ours)].to_numpy(), (x - median) / mad, rtol=1e-12)
    assert ours[["Metadata_Well", "Metadata_control_type"]].equals(table[["Metadata_Well", "Metadata_control_type"]])
    with_epsilon = normalize(table, "mad_robustize", samples, epsilon=0.5)
    np.testing.assert_allclose(with_epsilon[feature_names(ours)].to_numpy(), (x - median) / (mad + 0.5), rtol=1e-12)


def test_with_a_mad_of_zero_and_no_epsilon_the_median_is_missing_and_the_rest_infinite():
    ours = normalize(plate(Cells_flat=[5, 5, 5, 5, 7, 4]), "mad_robustize")
    np.testing.assert_array_equal(ours["Cells_flat"], [np.nan] * 4 + [np.inf, -np.inf])


def test_with_a_tiny_epsilon_it_is_zero_and_the_rest_huge():
    ours = normalize(plate(Cells_flat=[5, 5, 5, 5, 7, 4]), "mad_robustize", epsilon=1e-18)
    np.testing.assert_allclose(ours["Cells_flat"], [0, 0, 0, 0, 2e18, -1e18])


def test_a_feature_that_does_not_vary_is_zero_when_standardized():
    np.testing.assert_array_equal(normalize(plate(Cells_flat=[5.0] * 4), "standardize")["Cells_flat"], 0)


@pytest.mark.parametrize("method", ["mad_robustize", "standardize"])
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_missing_and_change_no_other_well(method, nothing):
    values = [1.0, 2.0, 4.0, 8.0, 9.0]
    without = normalize(plate(Cells_a=values), method)["Cells_a"].tolist()
    found = normalize(plate(Cells_a=[*values, nothing]), method)["Cells_a"].tolist()
    assert found[:5] == without
    assert np.isnan(found[5])


@pytest.mark.parametrize("method", ["mad_robustize", "standardize"])
@pytest.mark.filterwarnings("error")
def test_a_feature_without_any_value_in_the_reference_is_missing_everywhere(method):
    table = plate(Cells_a=[np.nan, np.nan, np.nan, 1, 2], Cells_b=[1, 2, 4, 4, 5.0])
    ours = normalize(table, method, NEGCON)
    assert ours["Cells_a"].isna().all()
    assert ours["Cells_b"].notna().all()


def test_no_reference_wells_is_an_error():
    table = plate(Cells_a=[1, 2, 3, 4.0]).assign(Metadata_control_type="")
    with pytest.raises(ValueError, match="no well to take as reference"):
        normalize(table, "standardize", NEGCON)


def test_the_given_table_is_left_as_it_is():
    table = plate(Cells_a=[1, np.inf, 3, 4.0])
    before = table.copy()
    normalize(table, "mad_robustize")
    pd.testing.assert_frame_equal(table, before)


def test_object_sets_of_any_name_are_features():
    ours = normalize(plate(Bacteria_Area=[1, 2, 3, 4.0]), "standardize")
    assert abs(ours["Bacteria_Area"].mean()) < 1e-15
