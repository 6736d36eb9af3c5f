"""Time and peak memory of the scores, beside copairs on the same profiles of a simulated CPJUMP1.

Each row is a process of its own, so that its peak is its own: interpreter, libraries and profiles included.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator

import pandas as pd

from pipeline.config import load_screen
from pipeline.scores import in_order, names, run_task
from pipeline.scores.wells import feature_names
from pipeline.screen.groups import primary_plates
from pipeline.screen.plates import plate_list, screen_plates
from pipeline.simulate.profiles import simulate_profiles
from tests.bench.cost import apart, cost
from tests.bench.report import Section, Target

#: plates of each size: about 2,000 and 8,000 wells with a sample, the 40 primary plates, and all 107 with every batch
SIZES = (5, 21, 40, 107)
NULL = 100_000
#: of wall time, for copairs: it is left out at sizes that take longer
LIMIT_SECONDS = 180


def detection(profiles: pd.DataFrame) -> None:
    run_task("detection", profiles, null_size=NULL)


def detection_by_copairs(profiles: pd.DataFrame) -> None:
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
    for name in in_order(names()):
        tables |= run_task(name, profiles, null_size=NULL, tables=tables)


CASES: dict[str, tuple[Callable[[pd.DataFrame], None], tuple[int, ...]]] = {
    "detection, ours": (detection, SIZES),
    "detection, copairs": (detection_by_copairs, SIZES[:3]),
    "all tasks, ours": (every_task, SIZES[2:3]),
}


def run(full: bool) -> Iterator[Section]:
    """Detection by both at each size, then every task on the primary plates."""
    rows = []
    for what, (_, sizes) in CASES.items():
        for plates in sizes:
            limit = LIMIT_SECONDS if what == "detection, copairs" else 1800
            try:
                rows.append({"what": what, **apart(measure, what, plates, limit_seconds=limit)})
            except multiprocessing.TimeoutError:
                rows.append({"what": f"{what}: left out, over {limit} s of wall time", "plates": plates})
    table = pd.DataFrame(rows)
    ours, theirs = (table[table["what"] == f"detection, {who}"].set_index("plates") for who in ("ours", "copairs"))
    ratios = (theirs[["CPU s", "peak MB"]] / ours[["CPU s", "peak MB"]]).dropna()
    notes = [
        f"{plates} plates: copairs takes {row['CPU s']:.0f} times the CPU time and {row['peak MB']:.1f} times the "
        "memory."
        for plates, row in ratios.iterrows()
    ]
    everything = table[table["what"] == "all tasks, ours"]
    seconds, peak = everything["CPU s"].max(), everything["peak MB"].max()
    largest = table[table["what"] == "detection, ours"].set_index("plates").loc[SIZES[-1]]
    yield Section(
        "Scores beside copairs",
        table,
        (f"900 features, nulls of {NULL:,}. Memory includes the profiles.", *notes),
        (
            Target(
                "all score tasks, 40 primary plates",
                "under 3 minutes on 2 cores, under 2 GB",
                f"{seconds:.0f} CPU s in one thread, {peak:.0f} MB",
                seconds < 180 and peak < 2000,
            ),
            Target(
                "detection, all 107 plates",
                "in bounded memory: under 1 GB",
                f"{largest['CPU s']:.0f} CPU s, {largest['peak MB']:.0f} MB",
                largest["peak MB"] < 1000,
            ),
        ),
    )


def measure(what: str, plates: int) -> dict[str, float]:
    screen = load_screen("cpjump1")
    found = plate_list(screen_plates(screen) if plates > 40 else primary_plates(screen))[:plates]
    profiles = simulate_profiles(screen, plates=found, active={"compound": 0.8, "crispr": 0.6, "orf": 0.2}).profiles
    _, spent = cost(lambda: CASES[what][0](profiles))
    return {
        "plates": len(found),
        "wells": int((profiles["Metadata_broad_sample"] != "").sum()),
        "CPU s": spent.cpu_seconds,
        "wall s": spent.seconds,
        "peak MB": spent.peak_mb,
    }
