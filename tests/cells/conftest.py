"""A small store with genes in it."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline import cells
from pipeline.screen import Plate
from pipeline.storage import open_storage
from tests.cells.synthetic import PLATE, fill_plate

OTHER = Plate("batch 2", "BR0002")
GENES = {"A01": ("BRD4", "U2OS", "short"), "B03": ("TP53", "U2OS", "long"), "C05": ("BRD4", "A549", "short")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    storage = open_storage(str(tmp_path_factory.mktemp("results")))
    rows = []
    for seed, plate in enumerate((PLATE, OTHER)):
        cells.publish_plate(storage, plate, fill_plate(storage, plate, seed=10 * seed))
        rows += [(plate.batch, plate.plate, well, *about, 1) for well, about in GENES.items()]
    names = ("Batch", "Plate", "Well", "gene", "cell_type", "timepoint")
    plan = pd.DataFrame(rows, columns=[*(f"Metadata_{name}" for name in names), "sites"])
    storage.put("plan/wells.parquet", plan.to_parquet())
    return storage


@pytest.fixture
def ds(results):
    return cells.open_cells(str(results.root))


def places(ds):
    return list(zip(ds.plate.values.tolist(), ds.well.values.tolist(), strict=True))
