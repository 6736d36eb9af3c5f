from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.cells import EncodedWell, SiteCells, assemble_site, encode_well, layout
from pipeline.errors import StoreError
from tests.cells.synthetic import assembled, schema, site


def encode_two_sites(_: int = 0) -> EncodedWell:
    return encode_well(schema(), [assembled(1, 20), assembled(2, 4, cells=[1, 2, 4])])


def test_cells_of_all_sites_come_first_then_the_unmatched_objects():
    encoded = encode_well(schema(), [assembled(9, 2, cells=[2]), assembled(3, 3, cells=[1, 3])])
    assert (encoded.n_cells, encoded.n_unmatched, encoded.cells_per_site) == (3, 2, {3: 2, 9: 1})
    assert encoded.data is not None
    rows = np.asarray(layout.open_shard(encoded.data, 64, schema().columns)[0, :5])
    assert rows[:, 0].tolist() == [3, 3, 9, 3, 9]
    assert rows[:, 1].tolist() == [1, 3, 2, 2, 1]


def test_the_same_cells_are_the_same_bytes_again_and_again_in_threads_and_in_processes():
    first = encode_two_sites()
    assert first.data is not None
    assert first.stored == hashlib.sha256(first.data).hexdigest()
    with ThreadPoolExecutor(8) as threads:
        assert all(other == first for other in threads.map(encode_two_sites, range(16)))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        assert process.submit(encode_two_sites).result() == first
    assert encode_well(schema(), [assembled(2, 4, cells=[1, 2, 4]), assembled(1, 20)]) == first


def test_the_content_is_of_the_numbers_and_the_schema():
    one = encode_well(schema(), [assembled(1, 3)])
    assert encode_well(schema(), [assembled(2, 3)]).content != one.content
    wider = encode_well(schema(65), [assemble_site(1, site(1, 3), schema(65))])
    assert wider.content != one.content


def test_a_well_without_objects_has_no_bytes():
    encoded = encode_well(schema(), [assembled(1, 0), assembled(2, 0)])
    assert (encoded.data, encoded.stored, encoded.n_cells) == (None, None, 0)
    assert encoded.cells_per_site == {1: 0, 2: 0}
    assert encode_well(schema(), []).data is None


def test_a_well_of_nothing_but_nan_still_has_its_cells():
    measured = assembled(1, 3)
    measured.rows[:, 100:] = np.nan
    encoded = encode_well(schema(), [measured])
    assert encoded.data is not None
    rows = np.asarray(layout.open_shard(encoded.data, 64, schema().columns)[0, :4])
    assert rows[:3, 1].tolist() == [1, 2, 3]
    assert np.isnan(rows[3]).all()


def test_more_cells_than_the_capacity_are_refused_with_the_count_and_the_setting():
    sites = [assemble_site(1, site(1, 8), schema(10)), assemble_site(2, site(2, 4, cells=[1, 2, 3]), schema(10))]
    with pytest.raises(StoreError, match=r"11 cells and 1 unmatched.*holds 10.*cells.capacity to 12"):
        encode_well(schema(10), sites)
    assert encode_well(schema(12), [assemble_site(1, site(1, 12), schema(12))]).n_cells == 12


def test_a_site_given_twice_is_refused():
    with pytest.raises(StoreError, match="twice"):
        encode_well(schema(), [assembled(1, 2), assembled(1, 2)])


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(1, 30), st.sampled_from([100, 101, 260]), st.integers(30, 5000))
def test_what_was_encoded_is_decoded(data, rows, columns, capacity):
    values = data.draw(arrays(np.float32, (rows, columns), elements=st.floats(width=32), fill=st.just(np.float32(1.5))))
    shard = layout.open_shard(layout.encode_rows(values, capacity), capacity, columns)
    assert shard.shape == (1, capacity, columns)
    np.testing.assert_array_equal(shard[0, :rows], values)
    assert np.isnan(shard[0, rows : rows + 5]).all()


def test_columns_are_stored_feature_by_feature_with_a_checksum_in_one_object():
    metadata = layout.open_shard(b"", 16_384, 5_895).metadata.to_dict()
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == (1, 16_384, 5_900)
    [sharding] = metadata["codecs"]
    assert sharding["configuration"]["chunk_shape"] == (1, 2_048, 100)
    codecs = sharding["configuration"]["codecs"]
    assert tuple(codecs[0]["configuration"]["order"]) == (0, 2, 1)
    assert [codec["name"] for codec in codecs] == ["transpose", "bytes", "blosc", "crc32c"]


def test_an_encoded_site_is_left_as_it_was():
    measured = assembled(1, 3)
    before = SiteCells(1, measured.rows.copy(), 3, 0, 0)
    encode_well(schema(), [measured])
    np.testing.assert_array_equal(measured.rows, before.rows)
