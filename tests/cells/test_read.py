from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline import cells
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.errors import Incomplete, NotFound, SettingsDiffer
from pipeline.results.ledger import empty_entry, write_entry
from pipeline.screen import Plate
from pipeline.storage import open_storage
from tests.cells.synthetic import FEATURES, PLATE, assembled, entry, fill_plate, schema, site

OTHER = Plate("batch 2", "BR0001")
THIRD = Plate("batch 2", "BR0002")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Three published plates, two of one name, and the plan of the first."""
    storage = open_storage(str(tmp_path_factory.mktemp("results")))
    for seed, plate in enumerate((PLATE, OTHER, THIRD)):
        cells.publish_plate(storage, plate, fill_plate(storage, plate, seed=10 * seed))
    plan = pd.DataFrame(
        {
            "Metadata_Batch": PLATE.batch,
            "Metadata_Plate": PLATE.plate,
            "Metadata_Well": ["A01", "B03", "C05"],
            "Metadata_Row": [1, 2, 3],
            "Metadata_broad_sample": ["BRD-1", "", "BRD-2"],
            "Metadata_timepoint": "short",
            "Metadata_channel": "not ours",
            "sites": [2, 1, 1],
        }
    )
    storage.put("plan/wells.parquet", plan.to_parquet())
    return storage


@pytest.fixture(scope="module")
def ds(results):
    return cells.open_cells(str(results.root), [PLATE])


def test_cells_are_where_the_measurements_put_them(ds):
    assert ds.features.dims == ("well", "cell", "feature")
    assert ds.sizes["well"] == 96
    assert ds.sizes["cell"] == 8  # the largest count
    assert tuple(ds.name.values) == schema().names
    well = ds.sel(well="A01").compute()
    assert well.site.values.tolist() == [1, 1, 1, 1, 1, 2, 2, 2]
    assert well.object_number_Nuclei.values.tolist() == [1, 2, 3, 4, 5, 1, 2, 4]
    assert well.object_number_Cells.values.tolist() == [1, 2, 3, 4, 5, 1, 2, 3]
    measured = site(1, 5).objects["Cytoplasm"]
    for feature in FEATURES["Cytoplasm"]:
        found = well.features.sel(name=f"Cytoplasm_{feature}")[:5]
        np.testing.assert_array_equal(found, measured.column(feature).astype(np.float32))


def test_nothing_is_read_before_it_is_asked_for(ds):
    for variable in ds.data_vars.values():
        assert variable.chunks is not None
    assert ds.features.chunks == ((96,), (8,), (185,))


def test_wells_say_what_and_where_they_are(ds):
    chosen = ds.sel(well=["A01", "B03", "C05", "D07", "H12"])
    assert chosen.cell_count.values.tolist() == [8, 3, 0, 0, 0]
    assert chosen.unmatched_count.values.tolist() == [1, 1, 0, 0, 0]
    assert chosen.is_done.values.tolist() == [True, True, True, False, False]
    assert chosen.state.values.tolist() == ["measured", "measured", "no_cells", "failed", "not_imaged"]
    assert chosen.row.values.tolist() == [1, 2, 3, 4, 8]
    assert chosen.column.values.tolist() == [1, 3, 5, 7, 12]
    assert set(chosen.plate.values) == {"BR0001"}
    assert set(chosen.batch.values) == {"batch 1"}
    assert chosen.broad_sample.values.tolist() == ["BRD-1", "", "BRD-2", "", ""]
    assert chosen.timepoint.values.tolist() == ["short", "short", "short", "", ""]
    assert chosen.Metadata_channel.values.tolist()[0] == "not ours"  # `channel` is the feature's
    assert ds.channel.dims == ("feature",)


def test_features_are_chosen_by_meaning(ds):
    chosen = ds.isel(feature=np.flatnonzero((ds.family == "Texture") & (ds.channel == "ER") & (ds.scale == 3)))
    expected = {
        f"{compartment}_Texture_{kind}_ER_3_{angle:02}_256"
        for compartment in FEATURES
        for kind in ("Contrast", "Entropy")
        for angle in range(4)
    }
    assert set(chosen.name.values) == expected
    pairs = ds.isel(feature=np.flatnonzero((ds.family == "Correlation") & (ds.channel2 == "Actin_far_red")))
    assert set(pairs.channel.values) == {"DNA", "ER"}
    assert np.isnan(pairs.scale).all()


def test_the_median_over_cells_is_the_profile(ds):
    measured = [site(1, 5), site(2, 4, cells=[1, 2, 4])]
    whole = {0: [0, 1, 2, 3, 4], 1: [0, 1, 3]}  # nucleus 3 of the second site has no cell
    rows = np.concatenate([one.objects["Nuclei"].values[whole[place]] for place, one in enumerate(measured)])
    expected = pd.Series(np.median(rows.astype(np.float32), axis=0), [f"Nuclei_{name}" for name in FEATURES["Nuclei"]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # wells without cells
        profiles = ds.features.median("cell").compute()
    found = profiles.sel(well="A01").to_series()
    found.index = ds.name.values
    pd.testing.assert_series_equal(found[expected.index], expected, check_dtype=False, check_names=False)
    assert np.isnan(profiles.sel(well=["C05", "D07", "H12"])).all()


def test_unmatched_objects_are_hidden_unless_asked_for(ds, results):
    assert not np.isin(3, ds.sel(well="A01").object_number_Nuclei.where(ds.sel(well="A01").site == 2))
    assert np.isfinite(ds.features.sel(well="B03").isel(cell=2)).all()
    assert np.isnan(ds.features.sel(well="B03").isel(cell=3)).all()  # is in the shard, and no cell
    more = cells.open_cells(str(results.root), [PLATE], unmatched=True)
    assert more.sizes["cell"] == 9
    last = more.sel(well="A01").isel(cell=8).compute()
    assert (last.site, last.object_number_Nuclei, last.is_matched) == (2, 3, 0)
    assert np.isnan(last.object_number_Cells)
    assert np.isfinite(last.features.sel(name="Nuclei_AreaShape_Area"))
    assert np.isnan(last.features.sel(name="Cells_AreaShape_Area"))


def test_several_plates_lie_one_after_another_along_well(results):
    everything = cells.open_cells(str(results.root))
    assert everything.sizes["well"] == 3 * 96
    places = list(zip(everything.batch.values[::96], everything.plate.values[::96], strict=True))
    assert places == [PLATE, OTHER, THIRD]
    single = cells.open_cells(str(results.root), "batch 2/BR0002")
    xr.testing.assert_equal(everything.isel(well=slice(192, None)).features.load(), single.features.load())
    assert cells.open_cells(str(results.root), ["BR0001"]).sizes["well"] == 2 * 96
    assert len(np.unique(everything.features.isel(well=[0, 96, 192], cell=0, feature=1))) == 3


def test_a_plate_that_is_not_there_is_named_with_those_that_are(results):
    with pytest.raises(Incomplete, match=r"no published plate BR9999.*batch 1/BR0001"):
        cells.open_cells(str(results.root), ["BR9999"])


def test_a_flat_table_has_a_row_for_each_cell_metadata_first(ds, results):
    table = cells.cells_frame(ds, wells=["A01", "B03"], features=["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"])
    assert list(table)[:5] == [f"Metadata_{name}" for name in ("Batch", "Plate", "Well", "Site", "ObjectNumber")]
    assert list(table)[-2:] == ["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]
    assert [name for name in table if name.startswith("Metadata_")] == list(table)[:-2]
    assert table["Metadata_Well"].tolist() == ["A01"] * 8 + ["B03"] * 3
    assert table["Metadata_ObjectNumber"].tolist() == [1, 2, 3, 4, 5, 1, 2, 4, 1, 2, 3]
    assert table["Metadata_ObjectNumber_Cells"].tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 1, 2, 3]
    assert table["Metadata_broad_sample"].tolist() == ["BRD-1"] * 8 + [""] * 3
    expected = site(1, 5).objects["Cells"].column("AreaShape_Area").astype(np.float32)
    np.testing.assert_array_equal(table["Cells_AreaShape_Area"][:5], expected)
    # a selection by meaning, from the URL, and of everything
    areas = ds.isel(feature=np.flatnonzero(ds.feature == "Area"))
    assert cells.cells_frame(areas, wells=["A01"]).shape == (8, table.shape[1] + 1)
    pd.testing.assert_frame_equal(
        cells.cells_frame(str(results.root), ["A01", "B03"], list(table)[-2:], plates=[PLATE]), table
    )
    assert len(cells.cells_frame(ds)) == 11


def test_the_flat_table_shows_unmatched_objects_when_the_cells_were_opened_with_them(results):
    table = cells.cells_frame(str(results.root), wells=["A01"], plates=[PLATE], unmatched=True)
    assert table["Metadata_IsMatched"].tolist() == [True] * 8 + [False]
    assert table["Metadata_ObjectNumber_Cells"].isna().tolist() == [False] * 8 + [True]


def test_unknown_wells_and_features_are_named(ds):
    with pytest.raises(KeyError, match="no well Z99"):
        cells.cells_frame(ds, wells=["A01", "Z99"])
    with pytest.raises(KeyError, match="no feature Nuclei_Mood"):
        cells.cells_frame(ds, features=["Nuclei_Mood"])
    assert len(cells.cells_frame(ds, wells=[])) == 0


def test_the_cells_of_a_well_are_read_by_one_request(results, monkeypatch):
    asked = []
    get = type(results).get
    monkeypatch.setattr(type(results), "get", lambda self, key, **more: asked.append(key) or get(self, key, **more))
    index, values = cells.read_well(results, PLATE, "A01", schema())
    assert asked == ["cells/batch 1/BR0001/zarr.json", "cells/batch 1/BR0001/features/c/0/0/0"]
    assert list(index) == list(schema().index)
    assert index["Nuclei_ObjectNumber"].tolist() == [1, 2, 3, 4, 5, 1, 2, 4]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[:5], assembled(1, 5).rows[:, 100:])
    index, values = cells.read_well(results, PLATE, "A01", schema(), matched=False)
    assert index["IsMatched"].tolist() == [True] * 8 + [False]
    assert index.iloc[8].tolist() == [2, 3, 0, 0, False]
    with pytest.raises(NotFound):
        cells.read_well(results, PLATE, "C05", schema())


def test_a_half_written_plate_is_read_only_when_asked_to_and_says_what_is_missing(tmp_path):
    storage = open_storage(str(tmp_path))
    storage.put("run.json", b'{"digest": "0123456789abcdef"}')
    wells = ["A01", "B03", "C05", "D07", "E09"]
    plan = pd.DataFrame({"Metadata_Batch": PLATE.batch, "Metadata_Plate": PLATE.plate, "Metadata_Well": wells})
    storage.put("plan/wells.parquet", plan.assign(sites=[2, 1, 1, 1, 0]).to_parquet())
    for one in fill_plate(storage):
        if one["well"] in ("A01", "D07"):
            write_entry(storage, "0123456789ab", {**empty_entry(PLATE, one["well"], "input"), **one})

    with pytest.raises(Incomplete, match="no published plate"):
        cells.open_cells(str(tmp_path))
    with pytest.raises(Incomplete, match="BR0001"):
        cells.open_cells(str(tmp_path), ["BR0001"])
    with pytest.warns(UserWarning, match="2 wells are not done yet"):
        ds = cells.open_cells(str(tmp_path), allow_partial=True)
    assert ds.state.sel(well=wells).values.tolist() == ["measured", "waiting", "waiting", "failed", "not_imaged"]
    assert np.isfinite(ds.features.sel(well="A01", name="Nuclei_AreaShape_Area")).all()
    assert np.isnan(ds.features.sel(well="B03")).all()  # its shard is there, its entry is not


def test_plates_that_are_not_published_are_left_out_aloud(tmp_path):
    storage = open_storage(str(tmp_path))
    cells.publish_plate(storage, PLATE, fill_plate(storage))
    fill_plate(storage, OTHER)
    with pytest.warns(UserWarning, match="1 of 2 plates are not published"):
        assert cells.open_cells(str(tmp_path)).sizes["well"] == 96


def test_several_roots_are_one_dataset(results, tmp_path):
    storage = open_storage(str(tmp_path))
    cells.publish_plate(storage, PLATE, fill_plate(storage, PLATE, seed=50))
    both = cells.open_cells([str(results.root), tmp_path])
    assert both.sizes["well"] == 4 * 96
    assert set(both.results.values) == {str(results.root), str(tmp_path)}
    found = both.sel(results=str(tmp_path), well="A01", feature="Nuclei_AreaShape_Area")
    alone = cells.open_cells(tmp_path).sel(well="A01", feature="Nuclei_AreaShape_Area")
    np.testing.assert_array_equal(found.features[:8], alone.features)
    assert both.sel(results=str(tmp_path)).timepoint.values.tolist() == [""] * 96  # no plan, no sample


def test_roots_that_were_measured_otherwise_are_refused_unless_asked_for(tmp_path):
    fewer = {name: tuple(one for one in found if "Texture" not in one) for name, found in FEATURES.items()}
    tables = {"a": schema(), "b": cells.Schema.from_features(fewer, ("Nuclei", "Cells", "Cytoplasm"), 128)}
    for root, table in tables.items():
        storage = open_storage(str(tmp_path / root))
        cells.write_schema(storage, table)
        cells.create_plate(storage, PLATE, ["A01", "H12"], table)
        columns = {name: [FEATURES[name].index(one) for one in found] for name, found in table.features.items()}
        measured = site(1, 3)
        objects = {
            name: ObjectMeasurements(table.features[name], measured.objects[name].values[:, columns[name]])
            for name in columns
        }
        rows = cells.assemble_site(1, SiteMeasurements(objects, {}, {}), table)
        encoded = cells.encode_well(table, [rows])
        cells.put_well(storage, PLATE, "A01", encoded)
        cells.put_image_measurements(storage, PLATE, "A01", [{"Metadata_Site": 1}])
        cells.publish_plate(storage, PLATE, [entry("A01", encoded)])
        engine = {"kind": {"a": "native", "b": "cellprofiler"}[root], "cppipe": "0" * 64}
        storage.put("run.json", json.dumps({"digest": root * 64, "measuring": {"engine": engine}}).encode())
    urls = [str(tmp_path / root) for root in tables]
    with pytest.raises(SettingsDiffer, match=r"engine.kind: 'native' here, 'cellprofiler' there") as caught:
        cells.open_cells(urls)
    assert "mixed=True" in str(caught.value)
    both = cells.open_cells(urls, mixed=True)
    assert any("engine.kind" in line for line in both.differences)
    assert set(both["name"].values) == set(tables["b"].names)
    # the same cells, whose columns lie elsewhere in the two stores
    values = both.sel(well="A01").features.values
    assert np.isfinite(values[0, :3]).any()
    np.testing.assert_array_equal(values[0], values[1])
