"""The native engine's time and memory as cells and pixels grow."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from pipeline.engines import open_engine
from pipeline.engines.native import warm_up
from tests.bench.cost import apart, cost
from tests.bench.report import Section, Target
from tests.bench.sites import CPPIPE, Images, simulated

#: `cell_count` of the phenotype -> about 100, 400, 700 and 1,150 cells on 1080 x 1080 pixels, half as wide as real
DENSITIES = (-5.2, -2.0, 0.0, 2.5)
SIZES = (540, 1080, 2160)
REPEATS = 5


def run(full: bool) -> Iterator[Section]:
    """Cells a site at one size, then sizes at one density; each site in a process of its own."""
    cells = _table([apart(measure, simulated(1080, density, shrunk=2)) for density in DENSITIES])
    cells["ms a further cell"] = 1000 * cells["native s"].diff() / cells["cells"].diff()
    dearer = 100 * (cells["ms a further cell"].iloc[-1] / cells["ms a further cell"].iloc[1] - 1)
    heaviest = cells["peak MB"].max()
    yield Section(
        "Native engine, 100 to 1,000 cells a site",
        cells,
        ("1080 x 1080 pixels, simulated, cells half as wide as real ones so that 1,000 fit.",),
        (
            Target(
                "native, what a further cell costs, at 1,000 against 100", "no more", f"{dearer:+.0f} %", dearer < 15
            ),
            Target(
                "native peak memory, 1,000 cells on 1080 x 1080", "under 1 GB", f"{heaviest:.0f} MB", heaviest < 1000
            ),
        ),
    )
    pixels = _table([apart(measure, simulated(size, 0.0)) for size in SIZES])
    pixels["s a megapixel"] = pixels["native s"] / pixels["megapixels"]
    dearer = 100 * (pixels["s a megapixel"].iloc[-1] / pixels["s a megapixel"].iloc[-2] - 1)
    yield Section(
        "Native engine, 0.3 to 4.7 megapixels a site",
        pixels,
        ("Simulated at one density, so that cells grow with pixels.",),
        (
            Target(
                "native, what a megapixel costs, at 2160 x 2160 against 1080 x 1080",
                "no more",
                f"{dearer:+.0f} %",
                dearer < 15,
            ),
        ),
    )


def _table(rows: list[dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table["MB for the site"] = table["peak MB"] - table.pop("before")
    return table


def measure(images: Images) -> dict[str, float]:
    """One site by the native engine, several times: the time is the shortest, memory the most."""
    warm_up()
    with open_engine("native", CPPIPE) as engine:
        measured, first = cost(lambda: engine.measure(images))
        cells = len(measured.objects["Cells"].values)
        del measured
        costs = [first, *(cost(lambda: engine.measure(images))[1] for _ in range(REPEATS - 1))]
    return {
        "cells": cells,
        "megapixels": images["OrigDNA"].size / 1e6,
        "native s": min(each.cpu_seconds for each in costs),
        "peak MB": max(each.peak_mb for each in costs),
        "before": first.before_mb,
    }
