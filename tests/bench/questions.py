"""What questions to the cells cost: requests, bytes and seconds, with a server 50 ms away.

A plate of 48 mean wells of CPJUMP1 (1,827 cells, 5,795 features), and 107 plates with one small well each. Beside it
the same question to a parquet file a well, through pyarrow, and to an SQLite file a plate as CytoTable and CellProfiler
write them, which has to be fetched whole.
"""

from __future__ import annotations

import configparser
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow.fs
import pyarrow.parquet as pq

from pipeline import cells
from pipeline.cells import layout, lazy
from pipeline.cells.schema import Schema
from pipeline.engines.native import NativeEngine
from pipeline.screen import Plate
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import encode_table
from tests.bench.report import Section
from tests.bench.sites import CPPIPE
from tests.bench.slow_line import SlowLine

DELAY = 0.05
PLATE, WELLS, CELLS = Plate("Batch", "BR00117035"), 48, 1827
PLATES, FEW_CELLS = 107, 64
SCATTERED = ["A01", "A11", "B07", "C20", "D24"]
TEN = ["A01", "A05", "A11", "A20", "B02", "B07", "B13", "B22", "A17", "B24"]
FEATURE = "Nuclei_AreaShape_Area"


def run(full: bool) -> Iterator[Section]:
    """The store filled, the questions asked through a slow line."""
    with tempfile.TemporaryDirectory() as folder, LocalS3(folder) as server:
        with patch.dict(os.environ, server.environment("worker")):
            place = Location(url="s3://results/questions", profile="worker")
            names = fill(place)
        with SlowLine(server.endpoint, DELAY) as line, patch.dict(os.environ, server.environment("reader")):
            os.environ["AWS_ENDPOINT_URL_S3"] = line.endpoint
            open_storage.cache_clear()  # its clients know the way around the line
            rows = list(ask(place, line, _arrow(server, line), names))
    sqlite_mb, sqlite_s = sqlite_of_one_well(names)
    table = pd.DataFrame(rows)
    table["SQLite MB, whole file"] = [sqlite_mb * wells for wells in table.pop("wells of the plate")]
    yield Section(
        "Questions to single cells, a server 50 ms away",
        table,
        (
            f"One plate of wells of {CELLS:,} cells and {len(names):,} features in S3 (a local SeaweedFS, "
            "behind a line that delays every request by 50 ms); asked: bytes of the values that are asked for, as "
            "float32. s: seconds on the clock, where opening is not a question of its own without it.",
            "parquet: one file a well with the same columns, read by pyarrow with the columns that are wanted.",
            f"SQLite: extrapolated from one well, {sqlite_mb:.0f} MB as three tables; a file lies on a disk or is "
            f"fetched whole. One feature of that well then takes {sqlite_s:.2f} s on this disk.",
        ),
    )


def fill(place: Location) -> list[str]:
    """Put the wells; those of a kind are the same bytes. Returns the names of the features."""
    with NativeEngine(CPPIPE.read_text()) as engine:
        schema = Schema.from_features(engine.features, ("Nuclei", "Cells", "Cytoplasm"), 16384)
    storage, plates = open_storage(place), [Plate(f"Batch{n % 5}", f"BR{n:05}") for n in range(PLATES)]
    for below, own, wells, count in (("one", [PLATE], WELLS, CELLS), ("many", plates, 1, FEW_CELLS)):
        root = open_storage(place.join(below))
        encoded = _well(schema, count)
        cells.write_schema(root, schema)
        planned = []
        for number, plate in enumerate(own):
            planned += _put_plate(root, plate, schema, encoded, wells, f"sample{number % 8}")
        root.put("plan/wells.parquet", pd.DataFrame(planned).to_parquet())
    data = encode_table(pd.DataFrame(_values(schema, CELLS)[:, layout.BLOCK_FEATURES :], columns=list(schema.names)))
    for name in {*SCATTERED, *TEN, *_names(WELLS)}:
        storage.put(f"parquet/{name}.parquet", data)
    return list(schema.names)


def _names(wells: int) -> list[str]:
    return [f"{'AB'[n // 24]}{n % 24 + 1:02}" for n in range(wells)]


def _values(schema: Schema, count: int) -> np.ndarray:
    """Columns that resemble measurements: correlated, of limited precision."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(count, 20)) @ rng.normal(size=(20, schema.columns))
    return (hidden + rng.normal(size=hidden.shape)).astype(np.float32)


def _well(schema: Schema, count: int) -> cells.EncodedWell:
    rows = _values(schema, count)
    rows[:, : len(schema.index)] = np.arange(1, count + 1)[:, None]
    rows[:, 0], rows[:, len(schema.index) - 1] = 1, 1
    return cells.encode_well(schema, [cells.SiteCells(1, rows, count, 0, 0)])


def _put_plate(
    storage: Storage, plate: Plate, schema: Schema, encoded: cells.EncodedWell, wells: int, sample: str
) -> list[dict[str, Any]]:
    cells.create_plate(storage, plate, ["A01", "P24"], schema)
    entries, planned = [], []
    for name in {*_names(wells), *(SCATTERED if wells > 1 else ())}:
        cells.put_well(storage, plate, name, encoded)
        cells.put_image_measurements(storage, plate, name, [{"Metadata_Site": 1}])
        entries.append(
            {
                **{"batch": plate.batch, "plate": plate.plate, "well": name, "state": "measured", "reason": ""},
                **{"n_cells": encoded.n_cells, "n_unmatched": 0, "cells_per_site": {"1": encoded.n_cells}},
                **{"stored": encoded.stored, "content": encoded.content, "size": len(encoded.data or b"")},
            }
        )
        where = {"Metadata_Batch": plate.batch, "Metadata_Plate": plate.plate, "Metadata_Well": name}
        planned.append({**where, "Metadata_broad_sample": sample, "sites": 1})
    cells.publish_plate(storage, plate, entries)
    return planned


def ask(place: Location, line: SlowLine, arrow: pyarrow.fs.FileSystem, names: list[str]) -> Iterator[dict[str, Any]]:
    opened: dict[str, Any] = {}

    def opening(below: str) -> int:
        opened[below] = cells.open_cells(place.join(below))
        return 0

    one = lambda: opened["one"]  # noqa: E731
    family = [name for name in names if name.startswith("Nuclei_Texture") and "_RNA_" in name]
    everywhere = sorted({*_names(WELLS), *SCATTERED})
    questions: list[tuple[str, Callable[[], int], Callable[[], Any] | None, int]] = [
        ("open one plate", lambda: opening("one"), None, 0),
        (
            f"one feature of all {len(everywhere)} wells",
            lambda: one().features.sel(feature=FEATURE).values.nbytes,
            lambda: [_parquet(arrow, name, [FEATURE]) for name in everywhere],
            len(everywhere),
        ),
        (
            "all features of one well",
            lambda: one().sel(plate=PLATE.plate, well="B07").features.values.nbytes,
            lambda: _parquet(arrow, "B07", None),
            1,
        ),
        ("all features of a list of one well", lambda: one().isel(well=[30]).features.values.nbytes, None, 1),
        (
            f"{len(family)} features (Nuclei, Texture, RNA) of ten wells",
            lambda: one().sel(well=TEN, compartment="Nuclei", family="Texture", channel="RNA").features.values.nbytes,
            lambda: [_parquet(arrow, name, family) for name in TEN],
            10,
        ),
        (
            "one feature of five scattered wells",
            lambda: one().sel(well=SCATTERED, feature=FEATURE).features.values.nbytes,
            lambda: [_parquet(arrow, name, [FEATURE]) for name in SCATTERED],
            5,
        ),
        (f"open {PLATES} plates", lambda: opening("many"), None, 0),
        (
            f"Texture of Nuclei of 1,000 random cells of each of 8 samples over {PLATES} plates",
            lambda: (
                opened["many"]
                .sel(compartment="Nuclei", family="Texture")
                .cp.sample(1000, by="broad_sample")
                .features.values.nbytes
            ),
            None,
            0,
        ),
    ]
    for what, ours, theirs, wells in questions:
        lazy._places.cache_clear()
        asked, *cost = _cost(ours, line)
        row = {"question": what, "asked MB": asked / 1e6} | dict(zip(("requests", "MB", "s"), cost, strict=True))
        other = _cost(theirs, line)[1:] if theirs else (np.nan,) * 3
        row |= dict(zip(("parquet requests", "parquet MB", "parquet s"), other, strict=True))
        yield row | {"wells of the plate": len(everywhere) if wells else np.nan}


def _cost(question: Callable[[], Any], line: SlowLine) -> tuple[Any, int, float, float]:
    line.count()
    start = time.perf_counter()
    found = question()
    seconds = time.perf_counter() - start
    requests, size = line.count()
    return found, requests, size / 1e6, seconds


def _arrow(server: LocalS3, line: SlowLine) -> pyarrow.fs.FileSystem:
    keys = configparser.ConfigParser()
    keys.read(server.credentials_file)
    return pyarrow.fs.S3FileSystem(
        access_key=keys["reader"]["aws_access_key_id"],
        secret_key=keys["reader"]["aws_secret_access_key"],
        endpoint_override=line.endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
    )


def _parquet(arrow: pyarrow.fs.FileSystem, well: str, columns: list[str] | None) -> Any:
    return pq.read_table(f"results/questions/parquet/{well}.parquet", columns=columns, filesystem=arrow)


def sqlite_of_one_well(names: list[str]) -> tuple[float, float]:
    """MB of the three tables of a well in SQLite, and seconds for one feature of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plate.sqlite"
        with sqlite3.connect(path) as database:
            rng = np.random.default_rng(0)
            for compartment in ("Nuclei", "Cells", "Cytoplasm"):
                own = [name for name in names if name.startswith(f"{compartment}_")]
                columns = ", ".join(f'"{name}" REAL' for name in own)
                database.execute(f"CREATE TABLE {compartment} ({columns})")
                marks = ", ".join("?" * len(own))
                rows = rng.normal(size=(CELLS, len(own))).tolist()
                database.executemany(f"INSERT INTO {compartment} VALUES ({marks})", rows)
        start = time.perf_counter()
        with sqlite3.connect(path) as database:
            assert len(database.execute(f"SELECT {FEATURE} FROM Nuclei").fetchall()) == CELLS
        return path.stat().st_size / 1e6, time.perf_counter() - start
