"""A question reads the blocks it needs, whichever way it is asked."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import cells
from pipeline.cells import layout, lazy
from pipeline.cells.schema import Schema
from pipeline.screen import Plate
from pipeline.storage import LocalStorage, open_storage
from tests.cells.synthetic import entry

PLATE = Plate("Batch", "BR1")
#: columns in six blocks, rows in up to three
COLUMNS, CAPACITY = 550, 6000
COUNTS = {"A01": 3000, "A02": 100, "B07": 5000, "C03": 700, "H12": 2048}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    names = tuple(f"Texture_F{number:03}_DNA_3_00_256" for number in range(COLUMNS))
    schema = Schema.from_features({"Nuclei": names}, ("Nuclei",), CAPACITY)
    storage = open_storage(str(tmp_path_factory.mktemp("results")))
    cells.write_schema(storage, schema)
    cells.create_plate(storage, PLATE, ["A01", "H12"], schema)
    entries = []
    for well, count in COUNTS.items():
        encoded = cells.encode_well(schema, [cells.SiteCells(1, rows(well, schema.columns), count, 0, 0)])
        cells.put_well(storage, PLATE, well, encoded)
        cells.put_image_measurements(storage, PLATE, well, [{"Metadata_Site": 1}])
        entries.append(entry(well, encoded, PLATE))
    cells.publish_plate(storage, PLATE, entries)
    return storage


def rows(well: str, columns: int = COLUMNS + layout.BLOCK_FEATURES) -> np.ndarray:
    count = COUNTS[well]
    values = np.random.default_rng(count).normal(size=(count, columns)).astype(np.float32)
    values[:, 0], values[:, 1], values[:, 2] = 1, np.arange(1, count + 1), 1
    return values


@pytest.fixture
def ds(results):
    return cells.open_cells(str(results.root))


@pytest.fixture
def asked(monkeypatch):
    """(well's place, bytes) of every part that is read; where blocks are is not remembered."""
    lazy._places.cache_clear()
    found = []
    whole = LocalStorage.get_ranges

    def watched(self, key, ranges):
        found.extend((int(key.split("/")[-3]), end - start) for start, end in ranges)
        return whole(self, key, ranges)

    monkeypatch.setattr(LocalStorage, "get_ranges", watched)
    return found


def expected(well: str, cells=slice(None), features=slice(None)) -> np.ndarray:
    return rows(well)[cells, layout.BLOCK_FEATURES :][:, features]


NAMES = {"A01": 0, "A02": 1, "B07": 18, "C03": 26, "H12": 95}
FIVE = list(COUNTS)


@pytest.mark.parametrize(
    ("question", "blocks"),
    [
        # well -> blocks of rows x blocks of features
        (lambda ds: ds.features.isel(feature=250), {"A01": 2, "A02": 1, "B07": 3, "C03": 1, "H12": 1}),
        (lambda ds: ds.features.sel(well="A02"), {"A02": 6}),
        (lambda ds: ds.features.isel(well=[1]), {"A02": 6}),
        (lambda ds: ds.features.isel(well=slice(1, 2)), {"A02": 6}),
        (lambda ds: ds.sel(well=["C03"]).features, {"C03": 6}),
        (lambda ds: ds.features.sel(well=["B07", "A02"]).isel(feature=[10, 20]), {"B07": 3, "A02": 1}),
        (lambda ds: ds.features.isel(feature=[10, 510], well=[0, 26]), {"A01": 4, "C03": 2}),
        (lambda ds: ds.features.isel(well=18, cell=slice(2048, 2050), feature=0), {"B07": 1}),
        (lambda ds: ds.features.isel(cell=[2999], feature=[3]), {"A01": 1, "B07": 1}),
        (lambda ds: ds.site.sel(well=["A01"]), {"A01": 2}),
        (lambda ds: ds.features.isel(well=[5, 6]), {}),
    ],
)
def test_a_question_reads_its_own_blocks_and_no_other(ds, asked, question, blocks):
    found = question(ds).compute(scheduler="sync")
    assert found.shape == question(ds).shape
    counted: dict[int, int] = {}
    for place, _ in asked:
        counted[place] = counted.get(place, 0) + 1
    assert counted == {NAMES[well]: number for well, number in blocks.items()}


def test_the_values_are_those_that_were_put_whichever_way_they_are_asked_for(ds):
    features = ds.features
    for well, count in COUNTS.items():
        found = features.sel(well=well).values
        np.testing.assert_array_equal(found[:count], expected(well))
        assert np.isnan(found[count:]).all()
    ways = [
        features.isel(well=[18, 0])[:, 2040:2060, [549, 3, 3]],
        features[:, :, [549, 3, 3]][:, 2040:2060].isel(well=[18, 0]),
        features.isel(cell=np.arange(2040, 2060), feature=[549, 3, 3], well=[18, 0]),
        features.sel(well=["B07", "A01"]).isel(cell=slice(2040, 2060)).isel(feature=np.array([549, 3, 3])),
        features.isel(feature=slice(None, None, -1)).isel(well=[18, 0], cell=slice(2040, 2060), feature=[0, 546, 546]),
    ]
    right = np.stack([expected(well, slice(2040, 2060), [549, 3, 3]) for well in ("B07", "A01")])
    for way in ways:
        np.testing.assert_array_equal(way.values, right)
    assert features.isel(well=0, cell=-2001, feature=-1).values == expected("A01")[2999, 549]


def test_what_is_computed_after_a_selection_is_what_numpy_computes(ds):
    medians = ds.features.median("cell").sel(well=FIVE).values
    for place, well in enumerate(FIVE):
        np.testing.assert_array_equal(medians[place], np.median(expected(well), axis=0))
    ratio = (ds.features.isel(feature=0) / ds.features.isel(feature=1)).sel(well="C03").values
    np.testing.assert_array_equal(ratio[:700], expected("C03")[:, 0] / expected("C03")[:, 1])


def test_a_chunk_is_bounded_in_bytes_and_wells_and_ends_with_blocks(ds, monkeypatch):
    monkeypatch.setattr(lazy, "CHUNK_BYTES", 5000 * 4 * 250)
    found = ds.isel(well=[0]).isel(feature=slice(0, 549)).features.chunks
    assert found == ((1,), (5000,), (200, 200, 149))
    assert ds.isel(feature=[0]).features.chunks[0] == (96,)
    assert max(ds.isel(feature=slice(0, 50)).features.chunks[0]) == 5
    np.testing.assert_array_equal(ds.isel(well=[26]).features.values[0, :700], expected("C03"))


def test_opening_asks_once_a_plate(results, monkeypatch):
    keys = []
    whole = LocalStorage.get
    monkeypatch.setattr(LocalStorage, "get", lambda self, key, **more: keys.append(key) or whole(self, key, **more))
    cells.open_cells(str(results.root))
    assert [key for key in keys if "BR1" in key] == ["plates/Batch/BR1.json"]
