"""Both engines and cp_measure on the same images, module by module; and what the CellProfiler engine adds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil

from pipeline.engines import Engine, SiteMeasurements, open_engine
from pipeline.engines.native.warm import touching_pairs
from tests.bench.cp_measured import cp_measure_seconds
from tests.bench.report import Section, Target
from tests.bench.sites import CPPIPE, HAS_REAL_SITE, NAMES, site

REPEATS = {"native": 5, "cellprofiler": 1}


class EngineCost(NamedTuple):
    """CPU seconds of one site. `children`: of the processes that the engine keeps; `own`: of this one."""

    measured: SiteMeasurements
    own: float
    children: float

    @property
    def total(self) -> float:
        return self.own + self.children

    @property
    def modules(self) -> float:
        return sum(self.measured.seconds.values())


@cache
def measure(kind: str, name: str) -> EngineCost:
    """One site by one engine that is warm; of several repeats the one in the middle."""
    engine, images = _engine(kind), site(name)
    costs = []
    for _ in range(REPEATS[kind]):
        children, own = _children(), time.process_time()
        measured = engine.measure(images)
        costs.append(EngineCost(measured, time.process_time() - own, _children() - children))
    return sorted(costs, key=lambda cost: cost.total)[len(costs) // 2]


@cache
def _engine(kind: str) -> Engine:
    engine = open_engine(kind, CPPIPE)
    engine.measure(touching_pairs(engine.inputs))
    return engine


def _children() -> float:
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(time.user + time.system for time in times)


def run(full: bool) -> Iterator[Section]:
    """One section a site, then the overhead of the CellProfiler engine."""
    for name in ["crop", "whole", "mean"] if HAS_REAL_SITE else ["crop", "mean"]:
        yield _beside(name, with_cellprofiler=full or name != "whole", with_cp_measure=full or name == "crop")
    yield _overhead([name for name in NAMES if name != "whole" or (full and HAS_REAL_SITE)])


def _beside(name: str, with_cellprofiler: bool, with_cp_measure: bool) -> Section:
    native = measure("native", name)
    seconds = pd.DataFrame({"native s": by_module(native.measured.seconds)})
    totals = {"native s": native.total}
    if with_cellprofiler:
        cellprofiler = measure("cellprofiler", name)
        seconds.insert(0, "CellProfiler s", pd.Series(by_module(cellprofiler.measured.seconds)))
        totals["CellProfiler s"] = cellprofiler.total
    if with_cp_measure:
        seconds["cp_measure s"] = pd.Series(cp_measure_seconds(site(name), native.measured.labels))
    seconds.loc["outside modules"] = pd.Series(totals) - seconds.sum()
    seconds.loc["total"] = pd.Series(totals)
    for other in ("CellProfiler", "cp_measure"):
        if f"{other} s" in seconds:
            seconds[f"{other} / native"] = seconds[f"{other} s"] / seconds["native s"]
    seconds.loc["outside modules", seconds.columns.str.contains("/")] = np.nan

    targets = []
    if with_cellprofiler:
        ratio = float(seconds.loc["total", "CellProfiler / native"])
        label = f"CellProfiler / native, whole pipeline ({NAMES[name]})"
        targets.append(Target(label, "20, aim for 50", f"{ratio:.0f}", ratio >= 20))
    height, width = next(iter(site(name).values())).shape
    count = len(native.measured.objects["Cells"].values)
    notes = [f"{height} x {width} pixels, 8 channels, {count} cells. native: the middle of {REPEATS['native']} runs."]
    if not HAS_REAL_SITE:
        notes.append(
            "The whole real sites are not here (../shared/data); the corner that comes with the tests stands in."
        )
    if with_cp_measure:
        both = seconds.dropna(subset="cp_measure s")
        ratio = both["cp_measure s"].sum() / both["native s"].sum()
        notes.append(
            f"cp_measure 0.3.0 takes {ratio:.0f} times native's time for the modules that both have: with its numba "
            "kernels, on native's labels, objects only, while the engines measure Texture and Granularity of whole "
            "images too."
        )
    table = seconds.rename_axis("module").reset_index()
    return Section(f"Engines by module - {NAMES[name]}", table, tuple(notes), tuple(targets))


def by_module(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds by the module's name, several of one name together: {"16 X": 1, "20 X": 2} -> {"X": 3}."""
    summed: dict[str, float] = {}
    for title, spent in seconds.items():
        module = title.split(maxsplit=1)[1]
        summed[module] = summed.get(module, 0.0) + spent
    return summed


def _overhead(names: list[str]) -> Section:
    rows = []
    for name in names:
        cost = measure("cellprofiler", name)
        share = (cost.total - cost.modules) / cost.modules
        rows.append([NAMES[name], cost.modules, cost.children - cost.modules, cost.own, 100 * share])
    columns = ["site", "modules s", "its process, outside modules s", "our process s", "overhead %"]
    table = pd.DataFrame(rows, columns=columns)
    worst = table["overhead %"].max()
    target = Target("CellProfiler engine's overhead over bare module time", "under 5 %", f"{worst:.1f} %", worst < 5)
    return Section("Overhead of the CellProfiler engine", table, targets=(target,))
