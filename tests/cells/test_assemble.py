from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cells import Schema, assemble_site
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.errors import SchemaMismatch, StoreError
from tests.cells.synthetic import FEATURES, schema, site


def column(rows: np.ndarray, name: str) -> np.ndarray:
    table = schema()
    names = [*table.index, *[""] * (100 - len(table.index)), *table.names]
    return rows[:, names.index(name)]


def numbers(rows: np.ndarray) -> list[tuple[float, ...]]:
    """Object numbers of each row, 0 for none."""
    return [tuple(row) for row in np.nan_to_num(rows[:, 1:4])]


def changed(measurements: SiteMeasurements, name: str, feature: str, row: int, value: float) -> SiteMeasurements:
    objects = dict(measurements.objects)
    values = objects[name].values.copy()
    values[row, objects[name].features.index(feature)] = value
    objects[name] = dataclasses.replace(objects[name], values=values)
    return dataclasses.replace(measurements, objects=objects)


def test_one_cell_is_one_row_with_the_numbers_of_its_three_objects():
    measured = site(1, nuclei=3, cells=[2, 3, 1])  # cell 1 lies around nucleus 2
    found = assemble_site(7, measured, schema())
    assert (found.site, found.n_cells, found.n_unmatched) == (7, 3, 0)
    assert numbers(found.rows) == [(1, 3, 3), (2, 1, 1), (3, 2, 2)]
    assert (column(found.rows, "Site") == 7).all()
    for name, order in (("Nuclei", [0, 1, 2]), ("Cells", [2, 0, 1]), ("Cytoplasm", [2, 0, 1])):
        for feature in FEATURES[name]:
            expected = measured.objects[name].column(feature)[order].astype(np.float32)
            np.testing.assert_array_equal(column(found.rows, f"{name}_{feature}"), expected)


def test_an_object_without_partners_is_a_row_of_its_own_and_counted():
    # Nucleus 2 has a cell but no cytoplasm, nucleus 3 nothing, cell 3 no nucleus.
    found = assemble_site(1, site(1, nuclei=3, cells=[1, 2, 0], cytoplasm=[(1, 1)]), schema())
    assert (found.n_cells, found.n_unmatched) == (1, 4)
    assert numbers(found.rows) == [(1, 1, 1), (2, 0, 0), (3, 0, 0), (0, 2, 0), (0, 3, 0)]
    assert column(found.rows, "IsMatched").tolist() == [1, 0, 0, 0, 0]
    assert np.isnan(column(found.rows, "Cells_AreaShape_Area")[1:3]).all()
    assert np.isfinite(column(found.rows, "Cells_AreaShape_Area")[3:]).all()


def test_of_two_children_the_first_that_makes_a_whole_cell_is_taken():
    found = assemble_site(1, site(1, nuclei=1, cells=[1, 1], cytoplasm=[(2, 1)]), schema())
    assert numbers(found.rows) == [(1, 2, 1), (0, 1, 0)]
    found = assemble_site(1, site(1, nuclei=1, cells=[1, 1], cytoplasm=[(1, 1), (2, 1)]), schema())
    assert numbers(found.rows) == [(1, 1, 1), (0, 2, 0), (0, 0, 2)]


@given(
    st.integers(0, 5).flatmap(
        lambda nuclei: st.tuples(
            st.just(nuclei),
            cells := st.lists(st.integers(0, nuclei), max_size=6),
            cells.flatmap(lambda known: st.lists(st.tuples(st.integers(0, 6), st.integers(0, nuclei)), max_size=6)),
        )
    )
)
def test_every_object_is_in_exactly_one_row_and_cells_are_joined_as_by_hand(objects):
    nuclei, cells, cytoplasm = objects
    expected = []
    for nucleus in range(1, nuclei + 1):
        whole = [
            (nucleus, cell, plasm)
            for cell, parent in enumerate(cells, 1)
            for plasm, parents in enumerate(cytoplasm, 1)
            if parent == nucleus and parents == (cell, nucleus)
        ]
        expected += whole[:1]
    found = assemble_site(1, site(0, nuclei, cells, cytoplasm), schema())
    assert numbers(found.rows[: found.n_cells]) == expected
    for place, count in enumerate((nuclei, len(cells), len(cytoplasm))):
        assert sorted(row[place] for row in numbers(found.rows) if row[place]) == list(range(1, count + 1))


def test_compartments_may_be_any_sets_that_descend_from_the_first():
    features = {"Spots": ("AreaShape_Area", "Parent_Body"), "Body": ("AreaShape_Area",)}
    table = Schema.from_features(features, ("Body", "Spots"), 8)
    objects = {
        "Body": ObjectMeasurements(features["Body"], np.array([[10.0], [20.0]])),
        "Spots": ObjectMeasurements(features["Spots"], np.array([[1.0, 2.0]])),
    }
    found = assemble_site(1, SiteMeasurements(objects, {}, {}), table)
    assert (found.n_cells, found.n_unmatched) == (1, 1)
    np.testing.assert_array_equal(found.rows[0, 100:], [20, 1, 2])


def filtered(nuclei: int, cells: int, cytoplasm: list[tuple[int, int]]) -> list[tuple[float, ...]]:
    """Object numbers of each row where the cells come from a filter and name no nucleus; `cytoplasm`: (cell, nucleus).

    So it is in the pipelines of JUMP and of Nature Protocols 2023: FilterObjects relabels CellsIncludingEdges as Cells.
    """
    features = {
        "Nuclei": ("AreaShape_Area", "Parent_NucleiIncludingEdges"),
        "Cells": ("AreaShape_Area", "Parent_CellsIncludingEdges"),
        "Cytoplasm": ("AreaShape_Area", "Parent_Cells", "Parent_Nuclei"),
    }
    table = Schema.from_features(features, ("Nuclei", "Cells", "Cytoplasm"), 64)
    values = {
        "Nuclei": np.column_stack([np.ones(nuclei), np.arange(nuclei) + 11]),
        "Cells": np.column_stack([np.ones(cells), np.arange(cells) + 21]),
        "Cytoplasm": np.array([[1.0, *parents] for parents in cytoplasm]).reshape(-1, 3),
    }
    objects = {name: ObjectMeasurements(features[name], found) for name, found in values.items()}
    return numbers(assemble_site(1, SiteMeasurements(objects, {}, {}), table).rows)


def test_cells_that_name_no_nucleus_are_joined_by_the_cytoplasm_that_names_both():
    # Nucleus 2 lost its cell to the filter; cell 1 lies round nucleus 3.
    assert filtered(3, 2, [(1, 3), (2, 1)]) == [(1, 2, 2), (3, 1, 1), (2, 0, 0)]


def test_an_object_is_in_one_cell_at_most():
    assert filtered(2, 1, [(1, 1), (1, 2)]) == [(1, 1, 1), (2, 0, 0), (0, 0, 2)]


def test_compartments_with_nothing_but_a_parent_in_common_are_joined_by_it():
    features = {"Nuclei": ("AreaShape_Area", "Parent_Seeds"), "Cells": ("AreaShape_Area", "Parent_Seeds")}
    table = Schema.from_features(features, ("Nuclei", "Cells"), 64)
    objects = {
        "Nuclei": ObjectMeasurements(features["Nuclei"], np.array([[1.0, 3], [2, 1], [3, 0]])),
        "Cells": ObjectMeasurements(features["Cells"], np.array([[10.0, 1], [20, 3], [30, 0]])),
    }
    found = assemble_site(1, SiteMeasurements(objects, {}, {}), table)
    # Both third objects have no seed, which relates them to nothing.
    assert [row[:2] for row in numbers(np.pad(found.rows, ((0, 0), (0, 1))))] == [(1, 2), (2, 1), (3, 0), (0, 3)]


def test_one_compartment_alone_makes_cells():
    table = Schema.from_features(FEATURES, ("Nuclei",), 8)
    assert assemble_site(1, site(1, nuclei=2), table).n_cells == 2


def test_a_site_without_objects_has_no_rows():
    found = assemble_site(1, site(1, nuclei=0), schema())
    assert found.rows.shape == (0, schema().columns)
    assert (found.n_cells, found.n_unmatched) == (0, 0)


def test_a_site_with_other_features_is_refused_with_the_difference():
    measured = site(1, nuclei=2)
    objects = dict(measured.objects)
    names = ["AreaShape_Volume" if name == "AreaShape_Area" else name for name in FEATURES["Cells"]]
    objects["Cells"] = ObjectMeasurements(tuple(names), objects["Cells"].values)
    with pytest.raises(SchemaMismatch, match=r"site 4: Cells.*missing AreaShape_Area; unexpected AreaShape_Volume"):
        assemble_site(4, dataclasses.replace(measured, objects=objects), schema())
    del objects["Cells"]
    with pytest.raises(SchemaMismatch, match="site 4 has no Cells"):
        assemble_site(4, dataclasses.replace(measured, objects=objects), schema())


def test_features_in_another_order_are_the_same_features():
    measured = site(1, nuclei=3)
    objects = {
        name: ObjectMeasurements(found.features[::-1], found.values[:, ::-1])
        for name, found in measured.objects.items()
    }
    found = assemble_site(1, dataclasses.replace(measured, objects=objects), schema())
    np.testing.assert_array_equal(found.rows, assemble_site(1, measured, schema()).rows)


@pytest.mark.parametrize("value", [16_777_217, 2.5, np.inf])
def test_an_object_number_that_float32_cannot_hold_is_refused(value):
    measured = changed(site(1, nuclei=2), "Cells", "Neighbors_NumberOfNeighbors_5", 1, value)
    with pytest.raises(StoreError, match="site 1: Cells_Neighbors_NumberOfNeighbors_5 of object 2"):
        assemble_site(1, measured, schema())


def test_a_site_number_that_float32_cannot_hold_is_refused():
    with pytest.raises(StoreError, match="site 16777216"):
        assemble_site(2**24, site(1, nuclei=1), schema())


def test_infinite_values_and_those_too_large_for_float32_are_kept_as_infinite_and_counted():
    measured = changed(site(1, nuclei=3), "Nuclei", "AreaShape_Area", 0, 1e39)
    measured = changed(measured, "Nuclei", "AreaShape_Area", 1, -np.inf)
    found = assemble_site(1, measured, schema())
    assert found.n_infinite == 2
    assert column(found.rows, "Nuclei_AreaShape_Area")[:2].tolist() == [np.inf, -np.inf]


def test_equal_numbers_are_equal_bytes_whatever_the_zero_or_the_nan():
    odd_nan = np.frombuffer(np.uint64(0xFFF8_0000_0000_1234).tobytes())[0]
    plain, odd = site(1, nuclei=2), site(1, nuclei=2)
    for value, other, feature in ((np.nan, odd_nan, "AreaShape_Area"), (0.0, -0.0, "AreaShape_Zernike_3_1")):
        plain = changed(plain, "Cells", feature, 0, value)
        odd = changed(odd, "Cells", feature, 0, other)
    odd = changed(odd, "Cells", "Intensity_MeanIntensity_DNA", 0, -1e-60)  # rounds to -0.0
    plain = changed(plain, "Cells", "Intensity_MeanIntensity_DNA", 0, 0.0)
    assert assemble_site(1, plain, schema()).rows.tobytes() == assemble_site(1, odd, schema()).rows.tobytes()
