"""Selection by meaning, held against the same selection made by hand from the plain coordinates."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr

from pipeline.errors import PipelineError, UnknownLabel
from tests.cells.conftest import places


def test_several_labels_of_both_dimensions_select_together(ds):
    found = ds.sel(gene="BRD4", cell_type=["U2OS", "A549"], compartment="Nuclei", family="Texture", channel="ER")
    assert places(found) == [("BR0001", "A01"), ("BR0001", "C05"), ("BR0002", "A01"), ("BR0002", "C05")]
    by_hand = (ds.compartment == "Nuclei") & (ds.family == "Texture") & (ds.channel == "ER")
    assert found["name"].values.tolist() == ds["name"].values[by_hand.values].tolist()
    wells = np.flatnonzero((ds.gene == "BRD4").values)
    expected = ds.features.isel(well=wells, feature=np.flatnonzero(by_hand.values)).values
    np.testing.assert_array_equal(found.features.values, expected)


def test_a_well_of_a_plate_is_one_place_and_takes_the_dimension_away(ds):
    found = ds.sel(plate="BR0002", well="B03")
    assert "well" not in found.dims
    assert (found.plate.item(), found.well.item(), found.cell_count.item()) == ("BR0002", "B03", 3)
    assert ds.sel(well="B03").sizes["well"] == 2  # on two plates
    assert ds.sel(plate="BR0002", well=["B03"]).sizes["well"] == 1
    assert ds.sel(gene="TP53", plate="BR0002").sizes["well"] == 1  # a gene is no name of one well


@pytest.mark.parametrize("label", ["feature", "name"])
def test_a_feature_is_selected_by_its_full_name(ds, label):
    found = ds.features.sel({label: "Nuclei_AreaShape_Area"})
    assert found.dims == ("well", "cell")
    assert found["name"].item() == "Nuclei_AreaShape_Area"
    place = ds["name"].values.tolist().index("Nuclei_AreaShape_Area")
    np.testing.assert_array_equal(found.values, ds.features.isel(feature=place).values)
    both = ds.sel({label: ["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]})["name"]
    assert both.values.tolist() == ["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]


def test_the_short_name_selects_all_features_that_share_it_and_the_coordinate_holds_it(ds):
    assert set(ds.sel(feature="Area")["name"].values) == {f"{name}_AreaShape_Area" for name in ds.compartment.values}
    assert set(ds.feature.values[ds["name"].values == "Cells_AreaShape_Area"]) == {"Area"}
    assert list(ds.features.isel(well=0).median("cell").to_pandas().index) == ds["name"].values.tolist()


def test_numbers_are_selected_by_value_slice_and_function(ds):
    assert set(ds.sel(scale=slice(3, 9)).scale.values) == {3, 5}
    assert set(ds.sel(scale=slice(3, 10)).scale.values) == {3, 5, 10}
    assert set(ds.sel(scale=slice(5, None)).scale.values) == {5, 10}
    assert set(ds.sel(scale=10, angle=[0, 2]).angle.values) == {0, 2}
    assert set(ds.sel(row=1, column=slice(2, 4)).well.values) == {"A02", "A03", "A04"}
    assert places(ds.sel(cell_count=lambda count: count > 3)) == [("BR0001", "A01"), ("BR0002", "A01")]
    assert set(ds.sel(gene=lambda gene: gene.startswith("BR")).gene.values) == {"BRD4"}
    assert set(ds.sel(is_done=True).well.values) == {"A01", "B03", "C05"}


def test_names_come_in_the_order_of_the_list_and_all_else_in_that_of_the_store(ds):
    assert places(ds.sel(well=["B03", "A01"], plate="BR0001")) == [("BR0001", "B03"), ("BR0001", "A01")]
    assert places(ds.sel(gene=["TP53", "BRD4"], plate="BR0001")) == [("BR0001", well) for well in ("A01", "B03", "C05")]
    assert ds.isel(well=slice(96)).sel(well=slice("A02", "A04")).well.values.tolist() == ["A02", "A03", "A04"]


def test_truth_values_and_points_select_as_everywhere_in_xarray(ds):
    assert set(ds.sel(feature=ds.family == "Texture").family.values) == {"Texture"}
    assert ds.sel(feature=(ds.family == "Nothing").values).sizes["feature"] == 0
    assert ds.sel(well=[]).sizes["well"] == 0
    one = ds.isel(well=slice(96))
    points = {"well": ["A01", "B03"], "name": ["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]}
    found = one.features.sel({name: xr.DataArray(values, dims="point") for name, values in points.items()})
    for place, (well, name) in enumerate(zip(*points.values(), strict=True)):
        np.testing.assert_array_equal(found.isel(point=place), one.features.sel(well=well, name=name))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"gene": "BRD5"}, "no gene 'BRD5' here. Nearest: 'BRD4'"),
        ({"gene": ["BRD4", "tp54"]}, "no gene 'tp54' here. Nearest: 'TP53'"),
        ({"well": "A99"}, "no well 'A99' here. Nearest: 'A0"),
        ({"scale": 4}, r"no scale 4 here. Nearest: 3.0, 5.0"),
        (
            {"feature": "Nuclei_AreaShape_Aera"},
            "no feature 'Nuclei_AreaShape_Aera' here. Nearest: 'Nuclei_AreaShape_Ar",
        ),
        ({"gene": "TP53", "timepoint": "short"}, r"No well has all of gene='TP53', timepoint='short'.*gene is 'BRD4'"),
        ({"cell_count": slice(1000, None)}, "No well has cell_count=slice"),
        ({"channel": "ER", "family": "AreaShape"}, "No feature has all of .*family is 'Correlation'"),
    ],
)
def test_what_is_not_there_is_an_error_that_names_the_nearest(ds, labels, message):
    with pytest.raises(KeyError, match=message) as caught:
        ds.sel(labels)
    assert isinstance(caught.value, UnknownLabel)
    assert isinstance(caught.value, PipelineError)


def test_a_question_that_failed_leaves_nothing_for_the_next(ds):
    for labels in ({"gene": "BRD4", "timepoint": "never"}, {"gene": "BRD4", "cell": 999}):
        with pytest.raises((KeyError, IndexError)):
            ds.sel(labels)
        assert ds.sel(timepoint="long").well.values.tolist() == ["B03", "B03"]
    with pytest.raises(KeyError):
        ds.sel(gene="BRD4", mood="good")  # no coordinate at all
    assert ds.sel(timepoint="long").sizes["well"] == 2


def test_selection_survives_isel_concat_boolean_selection_and_pickling(ds):
    parts = [ds.isel(well=[0, 14]), ds.isel(well=slice(96, 120)), ds.where(ds.plate == "BR0002", drop=True)]
    for part in (*parts, pickle.loads(pickle.dumps(ds)), ds.isel(well=ds.cell_count > 0), ds.copy(deep=True)):
        chosen = part.sel(gene="BRD4", channel="ER", scale=3)
        assert set(chosen.gene.values) == {"BRD4"}
        assert set(chosen.channel.values) == {"ER"}
    joined = xr.concat(parts[:2], "well")
    found = joined.sel(well="A01", feature="Nuclei_AreaShape_Area")
    assert places(found) == [("BR0001", "A01"), ("BR0002", "A01")]
    np.testing.assert_array_equal(found.features, ds.sel(well="A01", feature="Nuclei_AreaShape_Area").features)
    assert joined.isel(well=0).sel(channel="DNA").sizes.keys() == {"cell", "feature"}


def test_the_rest_of_xarray_goes_on_working(ds):
    ds["ratio"] = abs(ds.features.sel(feature="Nuclei_AreaShape_Area"))
    assert ds.sel(gene="TP53").ratio.dims == ("well", "cell")
    assert "gene" not in ds.drop_vars("gene").coords
    assert set(ds.rename(gene="target").sel(target="TP53").target.values) == {"TP53"}
    medians = ds.features.median("cell")
    assert (ds.features - medians).dims == ("well", "cell", "feature")
    by_gene = medians.isel(feature=[0]).groupby("gene").median()
    assert set(by_gene.gene.values) == {"", "BRD4", "TP53"}
    assert set(ds.assign_coords(dose=("well", np.arange(192))).sel(gene="TP53").dose.values) == {14, 110}
    assert ds.copy().query(well="cell_count > 3").sizes["well"] == 2
    with pytest.raises(ValueError, match="Two selections with other places along well"):
        ds.cell_count.isel(well=[0, 1]) + ds.cell_count
