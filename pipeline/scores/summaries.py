"""What several scores say together: how many classes each retrieved, and what other rules would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from pipeline.scores.registry import names
from pipeline.scores.significance import condition_columns, fraction_retrieved

#: Columns that are no condition's own, and stand behind those that are.
LAST = ("variant", "position")

#: What a table of classes, retrieved or not, has (see `judge`).
OF_CLASSES = {"label", "n_queries", "mean_average_precision", "retrieved"}


def of_classes(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """The scores among these tables whose rows are classes, retrieved or not."""
    return [name for name in names() if name in tables and set(tables[name]) >= OF_CLASSES]


def overview(tables: Mapping[str, pd.DataFrame], scores: Iterable[str] | None = None) -> pd.DataFrame:
    """One row a score and condition of the tables whose classes are retrieved or not. `scores`: which, default all.

    `n_classes`, `n_retrieved`, `fraction_retrieved` count classes with a valid query; `n_left_out` the others, and
    `n_without_positives` and `n_without_negatives` the queries that have none. `median_map`; `p_min`, the
    smallest of any class.
    """
    shown = of_classes(tables) if scores is None else [name for name in scores if name in tables]
    if not shown:
        return pd.DataFrame(columns=["task"])
    whole = pd.concat([_of_score(name, tables) for name in shown], ignore_index=True)
    counted = ["n_classes", "n_retrieved", "n_left_out", "n_without_positives", "n_without_negatives"]
    whole[counted] = whole[counted].fillna(0).astype(int)
    return _conditions_first(whole, [tables[name] for name in shown])


def _of_score(name: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    table = plain(tables[name])
    by = condition_columns(table)
    valid = table["n_queries"] > 0
    part = fraction_retrieved(table, by).drop(columns="mode").set_index(by)
    own = table[valid].groupby(by)
    part["median_map"], part["p_min"] = own["mean_average_precision"].median(), own["p_min"].min()
    lacking = ["n_without_positives", "n_without_negatives"]
    lists = [table[~valid][[*by, *lacking]], table[valid][[*by, *lacking]]]
    if f"{name}_left_out" in tables:
        alone = plain(tables[f"{name}_left_out"]).rename(columns={"n_queries": "n_without_positives"})
        lists[0] = pd.concat([lists[0], alone[[*by, "n_without_positives"]].assign(n_without_negatives=0)])
    left_out = lists[0].groupby(by).size().rename("n_left_out")
    queries = pd.concat(lists).groupby(by)[lacking].sum()
    part = part.join([left_out, queries], how="outer").reset_index()
    part.insert(0, "task", name)
    return part


def _conditions_first(table: pd.DataFrame, sources: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The table, in which the columns of the sources' conditions come first and say "" where a source has none."""
    named = dict.fromkeys(name for source in sources for name in condition_columns(source))
    front = [*(name for name in named if name not in LAST), *(name for name in LAST if name in named)]
    table = table.fillna(dict.fromkeys(front, ""))
    return table[["task", *front, *(name for name in table if name not in ("task", *front))]]


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table of classes with "" for what its conditions do not name."""
    return table.assign(**{name: table[name].fillna("") for name in condition_columns(table)})


def mode_differences(ours: Mapping[str, pd.DataFrame], others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What another mode would have said of the same profiles: per task and condition, the classes that change.

    ours, others: score tables of two modes. Columns: task, the condition's, n_classes and n_retrieved of both, `gained`
    (retrieved by the other mode alone) and `lost` (by ours alone). These two are of perturbations or genes: published,
    a perturbation in the same position is one class a well, and counts here as retrieved if it is in one of its wells.
    """
    parts = []
    for task in (shown := [name for name in of_classes(ours) if len(ours[name]) and len(others.get(name, ()))]):
        by = condition_columns(ours[task])
        both = _by_perturbation(ours[task], by).merge(
            _by_perturbation(others[task], by), on=[*by, "label"], how="outer", suffixes=("", "_other")
        )
        counted = ["n_classes", "n_classes_other", "n_retrieved", "n_retrieved_other"]
        both[counted] = both[counted].fillna(0).astype(int)
        mine, theirs = both["n_retrieved"] > 0, both["n_retrieved_other"] > 0
        changes = both.assign(gained=theirs & ~mine, lost=mine & ~theirs)
        table = changes.groupby(by, sort=False, dropna=False)[[*counted, "gained", "lost"]].sum().reset_index()
        table.insert(0, "task", task)
        parts.append(table.assign(mode=ours[task]["mode"].iloc[0], other_mode=others[task]["mode"].iloc[0]))
    if not parts:
        return pd.DataFrame(columns=["task", "mode", "other_mode"])
    return _conditions_first(pd.concat(parts, ignore_index=True), [ours[task] for task in shown])


def _by_perturbation(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row a condition and `label`, with its classes and those retrieved; a class "sample, well" is its sample's."""
    if "position" in table:
        in_place = (table["position"] == "same") & (table["mode"] == "published")
        table = table.assign(label=table["label"].mask(in_place, table["label"].str.rpartition(", ")[0]))
    table = table.assign(n_classes=table["n_queries"].gt(0), n_retrieved=table["retrieved"].eq(True))
    return table.groupby([*by, "label"], sort=False, dropna=False)[["n_classes", "n_retrieved"]].sum().reset_index()
