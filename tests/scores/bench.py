"""Time and peak memory of the scores, beside copairs on the same profiles: `python -m tests.scores.bench`.

Each row is a process of its own, so that its peak is its own; the peak holds the interpreter and the profiles.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable

import pandas as pd

from pipeline.config import load_screen
from pipeline.plan.metadata import plate_list, screen_plates
from pipeline.scores import TASKS, run_task
from pipeline.scores.annotations import primary_plates
from pipeline.scores.wells import feature_names
from pipeline.simulate.profiles import simulate_profiles

WELLS = (2_000, 8_000, 15_000)
NULL = 100_000


def ours(profiles: pd.DataFrame) -> None:
    run_task("detection", profiles, null_size=NULL)


def copairs(profiles: pd.DataFrame) -> None:
    """The same question to copairs; its test is the one of mode copairs."""
    from copairs.map import average_precision, mean_average_precision

    used = profiles[(profiles["Metadata_broad_sample"] != "")].reset_index(drop=True)
    meta = used.filter(like="Metadata").assign(is_control=used["Metadata_control_type"] == "negcon")
    condition = ["Metadata_modality", "Metadata_cell_type", "Metadata_timepoint"]
    scores = average_precision(
        meta,
        used[feature_names(used)].to_numpy(),
        pos_sameby=["Metadata_broad_sample", *condition, "is_control"],
        pos_diffby=[],
        neg_sameby=["Metadata_Plate"],
        neg_diffby=["is_control"],
        progress_bar=False,
    ).query("not is_control")
    with tempfile.TemporaryDirectory() as cache:
        by = ["Metadata_broad_sample", *condition]
        mean_average_precision(scores, by, NULL, threshold=0.05, seed=0, progress_bar=False, cache_dir=cache)


def every_task(profiles: pd.DataFrame) -> None:
    tables: dict[str, pd.DataFrame] = {}
    for name in TASKS:
        tables |= run_task(name, profiles, null_size=NULL, tables=tables)


def nothing(profiles: pd.DataFrame) -> None:
    """What a process needs that only holds the profiles."""


CASES: dict[str, tuple[Callable[[pd.DataFrame], None], tuple[int | None, ...]]] = {
    "profiles alone": (nothing, (*WELLS, None)),
    "detection, ours": (ours, (*WELLS, None)),
    "detection, copairs": (copairs, WELLS),
    "all tasks": (every_task, (WELLS[-1],)),
}


def bench() -> pd.DataFrame:
    """One row a case and size: what, plates, wells, seconds, peak_mb. A size of None is all 107 plates."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for what, (_, sizes) in CASES.items():
        for size in sizes:
            with context.Pool(1) as pool:  # a fresh process a case
                rows.append({"what": what, **pool.apply(measure, (what, size))})
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def measure(what: str, size: int | None) -> dict[str, float]:
    screen = load_screen("cpjump1")
    plates = plate_list(screen_plates(screen) if size is None else primary_plates(screen))
    chosen = plates if size is None else plates[: round(size / 384)] if size < WELLS[-1] else plates
    profiles = simulate_profiles(screen, plates=chosen, active={"compound": 0.8, "crispr": 0.6, "orf": 0.2}).profiles
    start = time.perf_counter()
    CASES[what][0](profiles)
    return {
        "plates": len(chosen),
        "wells": int((profiles["Metadata_broad_sample"] != "").sum()),
        "seconds": round(time.perf_counter() - start, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    print(bench().to_string(index=False))
