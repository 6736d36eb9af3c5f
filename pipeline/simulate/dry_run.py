"""The dry run: the main job, from end to end, on a screen whose answers are known.

<folder>/screen/     the screen's tables, and the planted truth
<folder>/s3/         what the local S3 server keeps: images and results
<folder>/results/    the results, copied out of the bucket, so that they open without the server
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from unittest.mock import patch

import pandas as pd
from rich.console import Console

from pipeline import scores
from pipeline.config import SCREENS, load_config
from pipeline.executors import open_executor
from pipeline.flow import run
from pipeline.progress import Progress
from pipeline.results.run import RECORD
from pipeline.simulate.answer import check_answer
from pipeline.simulate.s3_server import LocalS3
from pipeline.simulate.screen import simulate, write_tables
from pipeline.storage import Location, open_storage

console = Console(file=sys.stdout, markup=False, emoji=False)

#: engine -> the screen it gets through in some minutes on two cores
DESIGN_OF = {"native": "native", "cellprofiler": "dry-run"}


def dry_run(folder: Path, *, engine: str, workers: int, design: str) -> int:
    """Simulate a screen, run everything on it, check the answer. Returns an exit code: 0 as it should be."""
    folder = folder.absolute()
    progress = Progress()
    progress.say("Starting a local S3 server (loopback only, keys made for this run)")
    with LocalS3(folder / "s3") as server:
        progress.say(f"Simulating the screen `{design}`")
        with patch.dict(os.environ, server.environment("admin")):
            place = Location(url=f"s3://images/{design}", profile="admin")
            used = simulate(place, design, workers=workers, progress=True)
        config = load_config(
            SCREENS / "embedded" / "config.yaml",
            **{
                "screen": str(write_tables(folder / "screen", used)),
                "images.url": place.url,
                "results.url": f"s3://results/{design}-{engine}",
                "engine.kind": engine,
                "execution.workers": workers,
            },
        )
        with patch.dict(os.environ, server.environment("worker")):
            summary = run(config, lambda: open_executor(config, progress.say), progress)
            results = folder / "results"
            copy_results(config.results, results)

    console.print(summary.text.replace(str(config.results), str(results)), highlight=False, soft_wrap=True)
    truth = pd.read_csv(folder / "screen" / "truth.csv", keep_default_na=False)
    detection = scores.open_scores(str(results), "detection")
    answer = check_answer(truth, detection)
    console.print(answer.text, highlight=False, soft_wrap=True)
    places = f"\nReport:        {results}/report/index.html\nStores:        {results}\nQuestions:     make notebook"
    console.print(places, highlight=False, soft_wrap=True)
    if summary.failures or not answer.is_right:
        return 1
    return 0


def copy_results(source: Location, target: Path) -> None:
    """Make a folder the copy of a run's results; what is there already with the same bytes is left."""
    bucket, here = open_storage(source), open_storage(str(target))
    present = here.stat(RECORD)
    if present is not None and here.get(RECORD) != bucket.get(RECORD):  # another run's: the two must not mix
        shutil.rmtree(target)
    for entry in bucket.entries():
        present = here.stat(entry.key)
        if present is None or present.etag != entry.etag:
            here.put(entry.key, bucket.get(entry.key))
