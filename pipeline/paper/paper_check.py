"""Every published number of CPJUMP1 beside ours: in mode `published`, which should reproduce it, and in `correct`.

`published_numbers` says where each number stands in ours, on which conditions it rests, how far the two may lie apart,
and which defect of the published computation moves it in mode `correct`.

All published numbers rest on the 40 primary plates alone; other plates are left aside here. A number resting on a
condition that is not whole in the profiles is not computable, and neither agrees nor disagrees.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.paper.published_numbers import NUMBERS, Number, Tables
from pipeline.scores.load import load_profiles
from pipeline.scores.registry import run_task
from pipeline.screen.columns import PLATE, PLATE_KEY, SAMPLE, WELL_KEY
from pipeline.screen.conditions import Condition, conditions
from pipeline.screen.groups import primary_plates
from pipeline.screen.model import Screen
from pipeline.screen.spelling import text_of
from pipeline.screen.variants import well_annotations
from pipeline.storage import Location

#: The tasks whose numbers are published.
CHECKED = (
    "detection",
    "positions",
    "sisters",
    "gene_compound",
    "directionality",
    "t_tests",
    "counts",
)

COLUMNS = [
    "table",
    "item",
    "theirs",
    "ours",
    "difference",
    "tolerance",
    "agrees",
    "why_not",
    "ours_correct",
    "why_tolerance",
    "why_correct",
]

#: Share of a plate's wells that profiles may lack: a few without cells move numbers within their tolerance.
LACKING = 0.02


def paper_check(
    profiles: Location | str | pd.DataFrame, screen: Screen, seed: int = 0, null_size: int = 100_000
) -> pd.DataFrame:
    """One row a published number, with COLUMNS. `agrees` is None where `why_not` says why it is not computable.

    profiles: a folder or URL in the gallery's layout, or loaded profiles. Raises `ConfigError` where they hold no whole
    condition of the screen's primary plates.
    """
    if screen.published is None:
        raise ConfigError(f"Screen {screen.name} names no folder with published numbers. cpjump1 has one.")
    numbers = {
        name: list(of_table(pd.read_csv(screen.published / f"{name}.csv", keep_default_na=False), screen))
        for name, of_table in NUMBERS.items()
    }
    table = profiles if isinstance(profiles, pd.DataFrame) else load_profiles(profiles, screen)
    lacks = lacking(table, screen)
    if all(lacks.values()):
        raise ConfigError(
            f"No published number can be computed from these profiles: of {screen.name}'s {len(lacks)} conditions none "
            f"is whole, e.g. {next(iter(lacks.values()))}. Give profiles of all primary plates of a condition."
        )
    whole = [condition for condition, why in lacks.items() if not why]
    table = table[np.logical_or.reduce([condition.rows(table) for condition in whole])].reset_index(drop=True)
    scores = {mode: _score(table, mode, seed, null_size) for mode in ("published", "correct")}
    rows = [_row(name, number, scores, lacks) for name, listed in numbers.items() for number in listed]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"agrees": object})


def _row(table: str, number: Number, scores: Mapping[str, Tables], lacks: Mapping[Condition, str]) -> dict[str, object]:
    """One published number beside ours. scores: the tables of each mode."""
    why_not = _why_not(number, lacks)
    ours, correct = (np.nan if why_not else _lookup(number, scores[mode]) for mode in ("published", "correct"))
    if not why_not and np.isnan(ours):
        why_not = "these profiles give no such row, e.g. no class to take a fraction of"
    return {
        "table": table,
        "item": number.item,
        "theirs": number.theirs,
        "ours": ours,
        "difference": ours - number.theirs,
        "tolerance": number.tolerance,
        "agrees": None if why_not else bool(abs(ours - number.theirs) <= number.tolerance),
        "why_not": why_not,
        "ours_correct": correct,
        "why_tolerance": number.why_tolerance,
        "why_correct": number.why_correct,
    }


def lacking(profiles: pd.DataFrame, screen: Screen) -> dict[Condition, str]:
    """Each condition of the screen's primary plates, and what of it is not in the profiles; "" if it is whole."""
    wells = well_annotations(screen).merge(primary_plates(screen)[PLATE_KEY], on=PLATE_KEY)
    wells = wells[wells[SAMPLE] != ""]
    here = pd.MultiIndex.from_arrays([text_of(profiles, name) for name in WELL_KEY])
    wells = wells.assign(here=pd.MultiIndex.from_frame(wells[WELL_KEY]).isin(here))
    found = {}
    for condition in conditions(wells, screen.condition):
        plates = wells[condition.rows(wells)].groupby(PLATE)["here"].agg(["sum", "size"])
        absent, part = plates[plates["sum"] == 0], plates[plates["sum"].between(1, (1 - LACKING) * plates["size"])]
        name = condition.title
        if len(absent):
            found[condition] = f"{len(absent)} of {len(plates)} plates of {name} are not there"
        elif len(part):
            first = part.iloc[0]
            found[condition] = f"{name}: plate {part.index[0]} has {first['sum']} of {first['size']} wells"
        else:
            found[condition] = ""
    return found


def verdict(check: pd.DataFrame) -> tuple[str, bool]:
    """How many numbers agree, disagree, and cannot be computed; whether none disagrees."""
    computable = check[check["why_not"] == ""]
    agree = int(computable["agrees"].sum())
    text = f"{agree} of {len(computable)} computable numbers agree; {len(check) - len(computable)} are not computable."
    return text, agree == len(computable)


def as_text(check: pd.DataFrame) -> str:
    """The check for a terminal: per table its numbers, and once each reason."""
    parts = []
    for name, table in check.groupby("table", sort=False):
        parts.append(f"{name}: {verdict(table)[0]}")
        table = table.assign(agrees=table["agrees"].map({True: "yes", False: "NO"}).fillna("not computable"))
        shown = table[["item", "theirs", "ours", "tolerance", "agrees", "ours_correct"]].rename(
            columns={"ours": "ours, published", "ours_correct": "ours, correct"}
        )
        parts.append(shown.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"))
        for why, opening in (("why_tolerance", "tolerance"), ("why_correct", ""), ("why_not", "not computable")):
            parts += [f"  {opening}{opening and ': '}{reason}" for reason in table[why].unique() if reason]
        parts.append("")
    return "\n".join([*parts, f"In all: {verdict(check)[0]}"])


def _why_not(number: Number, lacks: Mapping[Condition, str]) -> str:
    needed = [
        condition
        for condition in lacks
        if any(all(condition.get(name) == value for name, value in parts.items()) for parts in number.needs)
    ]
    return "; ".join(lacks[condition] for condition in needed if lacks[condition])


def _score(profiles: pd.DataFrame, mode: str, seed: int, null_size: int) -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = {}
    for task in CHECKED:
        tables |= run_task(task, profiles, mode=mode, seed=seed, null_size=null_size, tables=tables)
    return tables


def _lookup(number: Number, tables: Tables) -> float:
    try:
        return float(number.of(tables))
    except (KeyError, IndexError):
        return np.nan
