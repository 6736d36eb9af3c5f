"""A plan for the reader: a table of plates, then what does not fit."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline.plan.checks import KINDS
from pipeline.plan.plan import Plan
from pipeline.screen.columns import BATCH, PLATE, PLATE_KEY, PREFIX

#: findings of one kind that are written out
SHOWN = 5


def show(plan: Plan, condition: tuple[str, ...] = ("modality", "cell_type", "timepoint"), width: int = 140) -> str:
    """Per plate its condition, wells, sites, images and what is missing; then the findings, most serious first."""
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(_plates(plan, condition))
    names = [name for name in plan.sites.columns if name.startswith("Key_")]
    images = int(plan.sites[names].notna().to_numpy().sum())
    size = sum(int(plan.sites[name].sum()) for name in plan.sites.columns if name.startswith("Size_"))
    console.print(
        f"plates: {len(plan.plates):,}   wells with images: {int((plan.wells['sites'] > 0).sum()):,}   "
        f"sites: {len(plan.sites):,}   images: {images:,} ({size / 1e9:,.2f} GB)"
    )
    for kind, findings in plan.findings.groupby("kind", sort=False):
        console.print(f"\n{KINDS[str(kind)]}: {len(findings):,}")
        for what in findings["what"].head(SHOWN):
            console.print(f"  {what}", soft_wrap=True)
        if len(findings) > SHOWN:
            console.print(f"  ... and {len(findings) - SHOWN:,} more, in plan/findings.parquet")
    if plan.findings.empty:
        console.print("Metadata and images agree.")
    return console.file.getvalue()  # type: ignore[attr-defined]


def _plates(plan: Plan, condition: tuple[str, ...]) -> Table:
    table = Table(title=None, header_style="bold")
    for name in ("batch", "plate", "condition", "image"):
        table.add_column(name, overflow="fold")
    for name in ("wells", "imaged", "sites", "images", "missing", "illum"):
        table.add_column(name, justify="right")
    keys = [name for name in plan.sites.columns if name.startswith("Key_")]
    there = plan.sites[PLATE_KEY].assign(
        sites=1, images=plan.sites[keys].notna().sum(axis=1), missing=plan.sites[keys].isna().sum(axis=1)
    )
    sums = there.groupby(PLATE_KEY).sum()
    wells = plan.wells.assign(wells=1, imaged=plan.wells["sites"] > 0).groupby(PLATE_KEY)[["wells", "imaged"]].sum()
    functions = [name for name in plan.plates.columns if name.startswith("Key_")]
    for row in plan.plates.to_dict("records"):
        plate = (row[BATCH], row[PLATE])
        counts = {**wells.loc[plate], **(sums.loc[plate] if plate in sums.index else dict.fromkeys(sums, 0))}
        table.add_row(
            *plate,
            " ".join(str(row[f"{PREFIX}{name}"]) for name in condition if row.get(f"{PREFIX}{name}")),
            _image(row["image_height"], row["image_width"], row["image_dtype"]),
            *(f"{int(counts[name]):,}" for name in ("wells", "imaged", "sites", "images", "missing")),
            str(sum(pd.notna(row[name]) for name in functions)),
        )
    return table


def _image(height: object, width: object, dtype: object) -> str:
    return "unreadable" if pd.isna(height) else f"{height} x {width} {dtype}"  # type: ignore[call-overload]
