"""How far a run is: every well of the plan with what is known of it. Works while the run goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import cells
from pipeline.results import ledger
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.screen.columns import PLATE_KEY, WELL_KEY

#: states of a well, in the order they are shown; "waiting" is a well that nothing is known of yet
STATES = ("measured", "no_cells", "flagged", "failed", "excluded", "not_imaged", "waiting")


def well_states(run: Run) -> pd.DataFrame:
    """One row a planned well: the plan's columns, then what its ledger entry says: `state`, `n_cells`, `n_unmatched`,
    `sites_used`, `sites_flagged`, `why`.

    A well that the config excludes is "excluded", whether it was measured or not.
    """
    with ThreadPoolExecutor(8) as pool:
        read = partial(ledger.read_entries, run.storage, measuring12=run.measuring12)
        found = zip(run.plates, pool.map(read, run.plates), strict=True)
        known = {(*plate, entry["well"]): entry for plate, entries in found for entry in entries}
    table = run.wells
    keys = table[WELL_KEY].itertuples(index=False, name=None)
    columns = zip(keys, table["sites"], table["excluded"], strict=True)
    rows = [_row(known.get(key), sites, str(reason)) for key, sites, reason in columns]
    return pd.concat([table, pd.DataFrame(rows, index=table.index)], axis=1)


def by_plate(wells: pd.DataFrame) -> Iterator[tuple[Plate, pd.DataFrame]]:
    """The rows of each plate, plates in the plan's order."""
    for (batch, plate), own in wells.groupby(PLATE_KEY, sort=False):
        yield Plate(str(batch), str(plate)), own


def show_status(run: Run, console: Console, *, every_well: bool = False) -> None:
    wells = well_states(run)
    table = Table(title=f"{run.config.screen.name} at {run.storage.location}")
    with ThreadPoolExecutor(16) as pool:
        is_published = dict(
            zip(run.plates, pool.map(partial(cells.is_published, run.storage), run.plates), strict=True)
        )
    states = [state for state in STATES if (wells["state"] == state).any()]  # narrow enough for any terminal
    table.add_column("plate", overflow="fold")
    for name in (*states, "cells", "published"):
        table.add_column(name.replace("_", " "), justify="right")
    for plate, own in by_plate(wells):
        found = Counter(own["state"])
        published = "yes" if is_published[plate] else ""
        table.add_row(plate.key, *(str(found[state] or "") for state in states), f"{own['n_cells'].sum():,}", published)
    console.print(table)

    found = Counter(wells["state"])
    console.print(", ".join(f"{found[state]:,} {state.replace('_', ' ')}" for state in STATES if found[state]))
    attempts = ledger.read_attempts(run.storage, run.measuring12, run.plates)
    if attempts:
        seconds = pd.Series([attempt["seconds"] for attempt in attempts])
        memory = max(attempt["peak_memory_mb"] for attempt in attempts)
        console.print(
            f"{len(attempts):,} attempts, median {seconds.median():.1f} s a well, longest {seconds.max():.0f} s, "
            f"largest memory {memory:,.0f} MB"
        )
    wrong = wells[wells["why"] != ""]
    for well in wrong.itertuples() if every_well else wrong.head(20).itertuples():
        where = f"{well.Metadata_Batch}/{well.Metadata_Plate} {well.Metadata_Well}"
        text = Text.assemble((where, "bold"), f" {well.state}: {well.why}")
        console.print(text, highlight=False, soft_wrap=True)
    if len(wrong) > 20 and not every_well:
        console.print(f"... and {len(wrong) - 20} more; --wells lists them all")


def _row(entry: ledger.Entry | None, sites: int, excluded: str) -> dict[str, Any]:
    if excluded or entry is None:
        state = "excluded" if excluded else "waiting" if sites else "not_imaged"
        return {"state": state, "n_cells": 0, "n_unmatched": 0, "sites_used": 0, "sites_flagged": 0, "why": excluded}
    return {
        "state": entry["state"],
        "n_cells": entry["n_cells"],
        "n_unmatched": entry["n_unmatched"],
        "sites_used": len(entry["sites_used"]),
        "sites_flagged": len(entry["sites_flagged"]),
        "why": ledger.why(entry),
    }
