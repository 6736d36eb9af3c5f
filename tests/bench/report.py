"""Sections as tables for people (printed, Markdown) and for programs (CSV)."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from rich.console import Console
from rich.table import Table

from tests.conftest import ROOT

FOLDER = ROOT / "bench-results"


@dataclass(frozen=True)
class Target:
    """One promise and what was measured. `is_reached` None: this run cannot tell, and `measured` says why."""

    what: str
    wanted: str
    measured: str
    is_reached: bool | None


@dataclass(frozen=True)
class Section:
    """One table. Columns name their units; `notes` say what was done and how to read it."""

    title: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


class Report:
    """Prints sections as they come and keeps them in bench-results/."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        shutil.rmtree(self.folder, ignore_errors=True)  # tables of another run would pass for this one's
        self.folder.mkdir()
        self.console = Console(width=120)
        self.sections: list[Section] = []
        self._say(
            f"# Bench\n\n{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, load "
            f"{os.getloadavg()[0]:.1f} at the start. Seconds are CPU seconds of one thread unless a column says "
            "otherwise; what is compared was run in turn, in this run."
        )

    def add(self, section: Section) -> None:
        self.sections.append(section)
        self._say(f"\n## {len(self.sections)}. {section.title}\n")
        printed = section.table.map(shown)
        table = Table()
        for column in printed:
            is_number = section.table[column].dtype.kind in "fiu"
            table.add_column(str(column), justify="right" if is_number else "left")
        for row in printed.itertuples(index=False):
            table.add_row(*row)
        self.console.print(table)
        self._write(markdown(printed))
        for note in section.notes:
            self._say(f"\n{note}")
        name = re.sub(r"\W+", "-", section.title).strip("-").lower()
        section.table.to_csv(self.folder / f"{len(self.sections):02d}-{name}.csv", index=False)

    def finish(self, seconds: float) -> None:
        targets = [target for section in self.sections for target in section.targets]
        verdict = {True: "reached", False: "not reached", None: "not measured"}
        rows = [[target.what, target.wanted, target.measured, verdict[target.is_reached]] for target in targets]
        self.add(Section("Targets", pd.DataFrame(rows, columns=["what", "wanted", "measured", ""])))
        self._say(f"\n{seconds / 60:.1f} minutes, load {os.getloadavg()[0]:.1f} at the end. Written to {self.folder}.")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)
        self._write(text)

    def _write(self, text: str) -> None:
        with open(self.folder / "bench.md", "a") as file:
            file.write(text + "\n")


def shown(value: object) -> str:
    """A cell as text: three significant digits; a dash for what was not measured."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, float | np.floating):
        if value == 0:
            return "0"
        digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def markdown(printed: pd.DataFrame) -> str:
    lines = [printed.columns, ["-"] * len(printed.columns), *printed.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
