"""The store on a real S3 server: the same bytes, the same rules, and no secret that travels."""

from __future__ import annotations

import configparser
import threading
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import numpy as np
import pytest

from pipeline import cells
from pipeline.errors import Conflict
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import Location, open_storage
from tests.cells.synthetic import PLATE, assembled, fill_plate, schema


@pytest.fixture(scope="module")
def server():
    with LocalS3() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials_file))
        yield server


def place(server: LocalS3, prefix: str, role: str = "worker") -> Location:
    return Location(url=f"s3://results/{prefix}", endpoint=server.endpoint, profile=role)


@pytest.fixture(scope="module")
def published(server):
    storage = open_storage(place(server, "run"))
    cells.publish_plate(storage, PLATE, fill_plate(storage))
    return storage


def test_a_store_is_the_same_bytes_on_local_disk_and_on_s3(published, tmp_path):
    local = open_storage(str(tmp_path))
    cells.publish_plate(local, PLATE, fill_plate(local))
    ours, theirs = ({found.key: one.get(found.key) for found in one.entries()} for one in (local, published))
    assert ours == theirs


def test_cells_are_read_from_s3_and_no_secret_travels_with_the_tasks(published, server):
    ds = cells.open_cells(place(server, "run", "reader"))
    profiles = configparser.ConfigParser()
    profiles.read(server.credentials_file)
    assert np.isfinite(ds.features.sel(well="A01").max().compute(scheduler="sync"))  # opens what it opens
    tasks = cloudpickle.dumps((ds, dict(ds.features.data.__dask_graph__())))
    for role in profiles.sections():
        for secret in profiles[role].values():
            assert secret.encode() not in tasks


def test_another_process_reads_with_its_own_credentials(published, server):
    ds = cells.open_cells(f"s3://results/{'run'}", endpoint=server.endpoint, profile="reader")
    chosen = ds.features.isel(well=slice(0, 1), feature=slice(0, 5))
    found = chosen.compute(scheduler="processes", num_workers=1)
    np.testing.assert_array_equal(found[0, :5], assembled(1, 5).rows[:, 100:105])


def test_a_shard_that_was_put_twice_is_known_by_its_metadata_and_a_conflict_stops(published):
    key = "cells/batch 1/BR0001/features/c/0/0/0"
    found = published.stat(key)
    assert found is not None
    encoded = cells.encode_well(schema(), [assembled(1, 5), assembled(2, 4, cells=[1, 2, 4])])
    assert found.metadata["stored"] == encoded.stored
    assert found.metadata["n-cells"] == "8"
    assert cells.put_well(published, PLATE, "A01", encoded, has_entry=True) == "present"
    other = cells.encode_well(schema(), [assembled(3, 2)])
    with pytest.raises(Conflict):
        cells.put_well(published, PLATE, "A01", other, has_entry=True)
    assert cells.put_well(published, PLATE, "H01", other) == "written"
    assert cells.put_well(published, PLATE, "H01", encoded) == "replaced"


def test_of_eight_writers_at_once_one_writes_and_all_succeed(published):
    encoded, start = cells.encode_well(schema(), [assembled(4, 9)]), threading.Barrier(8)

    def write(well: str) -> str:
        start.wait()
        return cells.put_well(published, PLATE, well, encoded)

    with ThreadPoolExecutor(8) as pool:
        for well in ("G01", "G02", "G03"):
            assert sorted(pool.map(write, [well] * 8)) == ["present"] * 7 + ["written"]
