"""One whole well through the pipeline, from TIFF files to the store: what is left outside the kernels.

The functions of the flow itself are run, on a plate of one well in a local folder; a stopwatch hangs on the calls
inside. From that the forecast for all of CPJUMP1, and what the store makes of a mean well.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from pipeline import cells, illumination
from pipeline.cells import layout
from pipeline.config import Config, load_screen
from pipeline.engines.native import NativeEngine, warm_up
from pipeline.measure import measure_well
from pipeline.progress import Progress
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.simulate.screen import encode_tiff
from pipeline.start import start
from tests.bench import engines
from tests.bench.cost import apart, cost
from tests.bench.report import Section
from tests.bench.sites import CELLS, CPPIPE, MEAN_DENSITY, PLATES, SITES, simulated

PLATE, WELL, WARM = Plate("Batch", "BENCH1"), "A02", "A01"
WELL_SITES = 9

#: what is timed -> where the flow looks it up, and by which clock: that of its thread while the next site is read
#: beside it, and afterwards that of the process, because zarr encodes in threads of its own
WATCHED: dict[str, tuple[str, Callable[[], float]]] = {
    "decode": ("pipeline.images.read.decode", time.thread_time),
    "join objects to cells": ("pipeline.cells.assemble_site", time.thread_time),
    "preview": ("pipeline.measure.well.encode_preview", time.thread_time),
    "encode and hash the shard": ("pipeline.cells.encode_well", time.process_time),
    "put the shard": ("pipeline.cells.put_well", time.process_time),
    "image measurements": ("pipeline.cells.put_image_measurements", time.process_time),
}


def run(full: bool) -> Iterator[Section]:
    """Where a well's time goes, the forecast, and the store."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "images")
        found = apart(measure, folder)
    yield _well(found)
    yield _forecast(found)
    yield _store(found)


def _well(found: dict[str, Any]) -> Section:
    spent, total = found["spent"], found["well"].cpu_seconds
    spent |= {"the rest: read, plan, Python": total - sum(spent.values())}
    rows = [[what, seconds / WELL_SITES, 100 * seconds / total] for what, seconds in spent.items()]
    rows.append(["total", total / WELL_SITES, 100.0])
    sums = found["sums"].cpu_seconds / (WELL_SITES + 1)
    rows.append(["illumination sums, a stage of their own", sums, 100 * sums * WELL_SITES / total])
    outside = 100 * (1 - spent["kernels"] / total)
    return Section(
        "A well of 9 sites through the pipeline, native engine",
        pd.DataFrame(rows, columns=["what", "s a site", "share %"]),
        (
            f"{found['cells']} cells in {WELL_SITES} simulated sites of 1080 x 1080 x 8; LZW TIFF, local folder. "
            f"{outside:.1f} % of the CPU time is spent outside the engine's modules. The worker held at most "
            f"{found['well'].peak_mb:.0f} MB, {found['well'].before_mb:.0f} before the well.",
        ),
    )


def _forecast(found: dict[str, Any]) -> Section:
    theirs, ours = (engines.measure(kind, "mean") for kind in ("cellprofiler", "native"))
    around = found["well"].cpu_seconds / WELL_SITES - found["spent"]["kernels"] / WELL_SITES
    sums, finish = found["sums"].cpu_seconds / (WELL_SITES + 1), found["finish"].cpu_seconds
    rows = []
    for name, engine in (("CellProfiler", theirs.total), ("native", found["spent"]["kernels"] / WELL_SITES)):
        hours = [SITES * each / 3600 for each in (engine, around, sums)] + [PLATES * finish / 3600]
        rows.append([name, *hours[:2], hours[2] + hours[3], sum(hours)])
    columns = ["engine", "engine core-hours", "reading and storing core-hours", "illumination core-hours", "core-hours"]
    table = pd.DataFrame(rows, columns=columns)
    ratio = table["core-hours"][0] / table["core-hours"][1]
    engine_ratio = theirs.total / ours.total
    return Section(
        f"Forecast for CPJUMP1: {SITES:,} sites, {PLATES} plates",
        table,
        (
            f"From the simulated sites with CPJUMP1's mean number of cells. The whole run is {ratio:.0f} times cheaper "
            f"with native, where the engines alone differ {engine_ratio:.0f} times.",
        ),
    )


def _store(found: dict[str, Any]) -> Section:
    raw, rows = found["raw_mb"], []
    for what, spent in (("encode", found["encode"]), ("decode", found["decode"])):
        rows.append([what, raw, found["stored_mb"], spent.cpu_seconds, raw / spent.cpu_seconds])
    per_cell = 1e6 * found["stored_mb"] / found["cells"]
    return Section(
        "The store: one well as a shard",
        pd.DataFrame(rows, columns=["what", "raw MB", "stored MB", "CPU s", "raw MB a CPU s"]),
        (
            f"{found['cells']} cells x {found['columns']} columns: {per_cell:,.0f} bytes a cell, "
            f"{raw / found['stored_mb']:.2f} times smaller than float32; {per_cell * CELLS / 1e12:.2f} TB for the "
            f"{CELLS / 1e6:.0f} million cells of CPJUMP1.",
        ),
    )


def write_images(folder: Path) -> None:
    """The images of the well, different sites each, and a well of one site to warm up on; as the gallery has them."""
    channels = load_screen("cpjump1").channels
    for number in range(WELL_SITES + 1):
        images = simulated(1080, MEAN_DENSITY, seed=number)
        well = f"r01c02f{number:02d}" if number else "r01c01f01"
        for channel, stain in channels.items():
            path = folder / f"images/{PLATE.batch}/images/{PLATE.plate}__2026-01-01T00_00_00-Measurement1/Images"
            path.mkdir(parents=True, exist_ok=True)
            (path / f"{well}p01-ch{channel}sk1fk1fl1.tiff").write_bytes(encode_tiff(images[f"Orig{stain}"]))


def measure(folder: str) -> dict[str, Any]:
    """Plan, illuminate and measure the plate as `run` would, in this process."""
    warm_up()
    run = start(_config(folder), Progress(quiet=True))
    results, wells = run.storage.location, [WARM, WELL]
    _, sums = cost(lambda: illumination.sum_wells(results, *PLATE, WARM, wells))
    _, finish = cost(lambda: illumination.finish_plate(results, *PLATE))
    measure_well(results, *PLATE, WARM)
    spent: dict[str, float] = {"kernels": 0.0, "engine, outside modules": 0.0}
    with ExitStack() as watching:
        for what, (place, clock) in WATCHED.items():
            watching.enter_context(mock.patch(place, watched(place, clock, what, spent)))
        watching.enter_context(mock.patch.object(NativeEngine, "measure", _watched_engine(spent)))
        record, well = cost(lambda: measure_well(results, *PLATE, WELL))
    assert record["sites"] == WELL_SITES, record
    return {"spent": spent, "well": well, "sums": sums, "finish": finish} | _through_the_store(run)


def _config(folder: str) -> Config:
    screen = {"name": "bench", "channels": load_screen("cpjump1").channels}
    engine = {"kind": "native", "cppipe": CPPIPE}
    places = {name: {"url": f"{folder}/{name}"} for name in ("images", "results")}
    return Config.model_validate({"screen": screen, "engine": engine, "illumination": "compute", **places})


def watched(place: str, clock: Callable[[], float], what: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function at this place, with its CPU seconds added to `spent[what]`."""
    module, _, name = place.rpartition(".")
    function: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    lock = threading.Lock()
    spent[what] = 0.0

    def call(*arguments: Any, **named: Any) -> Any:
        begin = clock()
        try:
            return function(*arguments, **named)
        finally:
            with lock:
                spent[what] += clock() - begin

    return call


def _watched_engine(spent: dict[str, float]) -> Callable[..., Any]:
    inner = NativeEngine.measure

    def call(engine: NativeEngine, images: dict[str, np.ndarray]) -> Any:
        begin = time.thread_time()
        measured = inner(engine, images)
        modules = sum(measured.seconds.values())
        spent["kernels"] += modules
        spent["engine, outside modules"] += time.thread_time() - begin - modules
        return measured

    return call


def _through_the_store(run: Run) -> dict[str, Any]:
    schema = cells.read_schema(run.storage)
    key = layout.shard_key(PLATE, 1)
    data = run.storage.get(key)
    (index, values), decode = cost(lambda: cells.read_well(run.storage, PLATE, WELL, schema, matched=False))
    rows = np.asarray(layout.open_shard(data, schema.capacity, schema.columns)[0, : len(index)])
    encoded, encode = cost(lambda: layout.encode_rows(rows, schema.capacity))
    assert encoded == data
    sizes = {"raw_mb": values.nbytes / 1e6, "stored_mb": len(data) / 1e6}
    return {
        "cells": int(index["IsMatched"].sum()),
        "columns": values.shape[1],
        "encode": encode,
        "decode": decode,
    } | sizes
