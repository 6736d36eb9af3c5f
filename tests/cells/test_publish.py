from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline import cells
from pipeline.errors import Conflict, Incomplete
from pipeline.storage import open_storage
from tests.cells.synthetic import PLATE, assembled, entry, fill_plate, schema

WELLS = ["A01", "B03", "C05", "D07"]


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path))


def contents(storage) -> dict[str, bytes]:
    return {found.key: storage.get(found.key) for found in storage.entries()}


def test_creating_a_plate_again_gives_the_same_bytes_and_another_plan_is_refused(storage):
    attributes = {"cell_type": "U2OS", "timepoint": "short"}
    cells.create_plate(storage, PLATE, ["A01", "H12"], schema(), attributes)
    before = contents(storage)
    cells.create_plate(storage, PLATE, ["H12"], schema(), dict(reversed(attributes.items())))
    assert contents(storage) == before
    for wells, table, more in (
        (["P24"], schema(), attributes),
        (["H12"], schema(65), attributes),
        (["H12"], schema(), {}),
    ):
        with pytest.raises(Conflict, match=r"zarr.json is there already|/c/0 is there already"):
            cells.create_plate(storage, PLATE, wells, table, more)
    assert contents(storage) == before


def test_a_published_plate_says_what_is_in_each_well_to_any_reader(storage):
    entries = fill_plate(storage)
    assert not cells.is_published(storage, PLATE)
    summary = cells.publish_plate(storage, PLATE, entries, WELLS)
    assert summary == {"cells": 11, "unmatched": 2, "wells": {"measured": 2, "no_cells": 1, "failed": 1}}
    assert cells.is_published(storage, PLATE)
    assert cells.published_plates(storage) == [PLATE]

    plate = xr.open_zarr(storage.root / "cells" / PLATE.batch / PLATE.plate, consolidated=False).set_index(well="well")
    assert plate.attrs["cell_type"] == "U2OS"
    assert plate.features.dims == ("well", "cell", "feature")
    chosen = plate[["row", "column", "cell_count", "unmatched_count", "site_count", "is_done", "state"]]
    table = chosen.sel(well=[*WELLS, "H12"]).to_dataframe()
    assert table["row"].tolist() == [1, 2, 3, 4, 8]
    assert table["column"].tolist() == [1, 3, 5, 7, 12]
    assert table["cell_count"].tolist() == [8, 3, 0, 0, 0]
    assert table["unmatched_count"].tolist() == [1, 1, 0, 0, 0]
    assert table["site_count"].tolist() == [2, 1, 1, 0, 0]
    assert table["is_done"].tolist() == [True, True, True, False, False]
    assert table["state"].tolist() == ["measured", "measured", "no_cells", "failed", "not_imaged"]
    by_site = plate.site_cell_count.sel(well=[*WELLS, "H12"])
    assert by_site.site.values.tolist() == [1, 2]
    assert by_site.values.tolist() == [[5, 3], [3, -1], [0, -1], [-1, -1], [-1, -1]]


def test_the_feature_table_is_readable_by_plain_xarray(storage):
    fill_plate(storage)
    table = xr.open_zarr(storage.root / "features.zarr", consolidated=False).load()
    assert tuple(table.name.values.tolist()) == schema().names
    assert table.attrs["first_column"] == 100
    rows = table.to_dataframe()
    pd.testing.assert_frame_equal(
        rows.reset_index().astype(object)[list(schema().meaning)], schema().meaning.astype(object)
    )


def test_publishing_again_changes_nothing(storage):
    entries = fill_plate(storage)
    cells.publish_plate(storage, PLATE, entries)
    before = contents(storage)
    cells.publish_plate(storage, PLATE, list(reversed(entries)))
    assert contents(storage) == before


def test_other_entries_do_not_replace_a_publication_unless_asked_to(storage):
    entries = fill_plate(storage)
    cells.publish_plate(storage, PLATE, entries)
    before = contents(storage)
    encoded = cells.encode_well(schema(), [assembled(1, 4)])
    cells.put_well(storage, PLATE, "D07", encoded)
    cells.put_image_measurements(storage, PLATE, "D07", [{"Metadata_Site": 1, "Count_Nuclei": 4.0}])
    repaired = [*entries[1:], entry("D07", encoded)]
    with pytest.raises(Conflict, match="published with other wells"):
        cells.publish_plate(storage, PLATE, repaired)
    assert {key: data for key, data in contents(storage).items() if key in before} == before
    assert cells.publish_plate(storage, PLATE, repaired, replace=True)["cells"] == 15
    assert cells.open_cells(str(storage.root)).cell_count.sel(well="D07") == 4


def test_a_well_without_an_entry_holds_up_the_plate_by_name(storage):
    entries = fill_plate(storage)
    with pytest.raises(Incomplete, match=r"1 of 5 wells have no ledger entry \(E09\)"):
        cells.publish_plate(storage, PLATE, entries, [*WELLS, "E09"])
    assert not cells.is_published(storage, PLATE)


def test_a_lost_or_cut_shard_is_noticed_and_nothing_is_published(storage):
    entries = fill_plate(storage)
    shard = storage.root / "cells" / PLATE.batch / PLATE.plate / "features/c/14/0/0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(Incomplete, match="B03 damaged"):
        cells.publish_plate(storage, PLATE, entries)
    shard.unlink()
    with pytest.raises(Incomplete, match="B03 missing"):
        cells.publish_plate(storage, PLATE, entries)
    assert not cells.is_published(storage, PLATE)


def test_image_measurements_are_one_table_a_plate_in_order_of_wells_and_sites(storage):
    cells.publish_plate(storage, PLATE, fill_plate(storage))
    table = cells.open_image_measurements(str(storage.root), ["BR0001"])
    expected = [("A01", 1, 5.0), ("A01", 2, 3.0), ("B03", 1, 3.0), ("C05", 1, 0.0)]
    assert (
        list(table[["Metadata_Well", "Metadata_Site", "Count_Nuclei"]].itertuples(index=False, name=None)) == expected
    )
    assert set(table["Metadata_Batch"]) == {"batch 1"}


def test_a_measured_well_without_image_measurements_is_noticed(storage):
    entries = fill_plate(storage)
    (storage.root / "image_measurements" / PLATE.batch / PLATE.plate / "B03.parquet").unlink()
    with pytest.raises(Incomplete, match=r"B03.parquet is missing"):
        cells.publish_plate(storage, PLATE, entries)


def test_image_tables_are_the_same_bytes_whatever_the_order_of_rows_and_keys():
    rows = [
        {"Metadata_Site": 2, "Count_Cells": 1.0, "Threshold_DNA": np.nan},
        {"Metadata_Site": 1, "Count_Cells": -0.0},
    ]
    data = cells.encode_image_table(rows)
    assert cells.encode_image_table([dict(reversed(row.items())) for row in reversed(rows)]) == data
    table = pd.read_parquet(io.BytesIO(data))
    assert list(table) == ["Metadata_Site", "Count_Cells", "Threshold_DNA"]
    assert table["Metadata_Site"].tolist() == [1, 2]
    assert table["Threshold_DNA"].isna().all()


def test_the_task_publishes_from_ledger_and_plan(storage):
    from pipeline.results.ledger import empty_entry, write_entry

    storage.put("run.json", b'{"digest": "0123456789abcdef"}')
    imaged = pd.DataFrame({"Metadata_Batch": PLATE.batch, "Metadata_Plate": PLATE.plate, "Metadata_Well": WELLS})
    storage.put("plan/wells.parquet", imaged.assign(sites=[2, 1, 1, 1], excluded="").to_parquet())
    *done, last = fill_plate(storage)
    for one in done:
        write_entry(storage, "0123456789ab", {**empty_entry(PLATE, one["well"], "input"), **one})
    with pytest.raises(Incomplete, match=f"1 of 4 wells have no ledger entry .{last['well']}"):
        cells.publish(storage.location, *PLATE)
    write_entry(storage, "0123456789ab", {**empty_entry(PLATE, last["well"], "input"), **last})
    assert cells.publish(storage.location, *PLATE)["cells"] == 11
