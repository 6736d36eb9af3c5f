"""What the supplement says about the scores: t-tests, counts (Supplementary Table 2), polypharmacology."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, ttest_ind

from pipeline.scores.rules import Rules
from pipeline.scores.significance import benjamini_hochberg, condition_columns, fraction_retrieved
from pipeline.scores.wells import genes_of

#: Score table -> the paper's name of the task, for t-tests and counts.
TASKS = {
    "detection": ("perturbation detection", "replicate retrieval"),
    "sisters": ("within-type matching", "sister perturbation retrieval"),
    "gene_compound": ("gene-compound matching", "gene compound retrieval"),
}

#: Tables whose classes are retrieved or not, by a rule that depends on the mode.
COMPARED = (*TASKS, "positions")

#: The same in the order of the paper.
OVERVIEW = ("detection", "positions", "sisters", "gene_compound")

#: AP values within this are the same value.
NO_SPREAD = 1e-9

#: Columns of conditions that some tasks have and others lack.
CONDITION_COLUMNS = ("timepoint", "compound_timepoint", "gene_timepoint", "variant")


def t_tests(tables: Mapping[str, pd.DataFrame], rules: Rules) -> dict[str, pd.DataFrame]:
    """`t_tests` of the mAP values of each condition, and of CRISPR against ORF in gene-compound matching.

    tables: those of TASKS that the screen has; one without genetic plates has no gene-compound matching.

    Correct: mAP less the mAP expected by chance of the same lists, against 0 (one sample), and normalised mAP,
    (mAP - expected) / (1 - expected), of the two modalities; `q` over each family. Published: plain mAP against 0,
    which no list can fail, and plain mAP of the two, which differs by the length of their lists.
    """
    rows: list[dict] = []
    for task, title in ((task, names[0]) for task, names in TASKS.items() if task in tables):
        for condition, values in _by_condition(tables[task]):
            mean = values["mean_average_precision"]
            against = mean if rules.published else mean - values["expected_average_precision"]
            rows.append(
                {
                    "test": f"{title} vs chance",
                    **_place(dict(condition)),
                    "n": len(values),
                    **_tested(ttest_1samp, against, 0.0),
                }
            )
    matching = dict(_by_condition(tables["gene_compound"])) if "gene_compound" in tables else {}
    for a, b in product(matching, matching):
        first, second = dict(a), dict(b)
        alike = [name for name in first if name not in ("modality", "gene_timepoint")]
        if first["modality"] >= second["modality"] or any(first[name] != second[name] for name in alike):
            continue
        samples = []
        for values in (matching[a], matching[b]):
            mean, expected = values["mean_average_precision"], values["expected_average_precision"]
            samples.append(mean if rules.published else (mean - expected) / (1 - expected))
        name = f"{first['modality']} vs {second['modality']} gene-compound matching"
        one, other = _place(first), _place(second)
        one["condition"] += f" vs {other['condition']}"
        rows.append({"test": name, **one, "n": sum(map(len, samples)), **_tested(ttest_ind, *samples)})
    # Without a class to test, e.g. on one plate with each sample in one well, a table without rows.
    table = pd.DataFrame(rows, columns=["test", "condition", "cell_type", "n", "statistic", "p"])
    table["q"] = table.groupby("test", sort=False)["p"].transform(benjamini_hochberg)
    return {"t_tests": table.assign(baseline="0" if rules.published else "expected by chance", mode=rules.mode)}


def overview(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a task and condition of the tables whose classes are retrieved or not.

    `n_classes`, `n_retrieved`, `fraction_retrieved` count classes with a valid query; `n_left_out` the others, and
    `n_without_positives` and `n_without_negatives` the queries that have none. `median_map`; `p_min`, the
    smallest of any class.
    """
    parts = []
    for task in [name for name in OVERVIEW if name in tables]:
        table = tables[task]
        by = condition_columns(table)
        table = _plain(table)
        valid = table["n_queries"] > 0
        part = fraction_retrieved(table, by).drop(columns="mode").set_index(by)
        own = table[valid].groupby(by)
        part["median_map"], part["p_min"] = own["mean_average_precision"].median(), own["p_min"].min()
        lacking = ["n_without_positives", "n_without_negatives"]
        lists = [table[~valid][[*by, *lacking]], table[valid][[*by, *lacking]]]
        if f"{task}_left_out" in tables:
            alone = _plain(tables[f"{task}_left_out"]).rename(columns={"n_queries": "n_without_positives"})
            lists[0] = pd.concat([lists[0], alone[[*by, "n_without_positives"]].assign(n_without_negatives=0)])
        left_out = lists[0].groupby(by).size().rename("n_left_out")
        queries = pd.concat(lists).groupby(by)[lacking].sum()
        part = part.join([left_out, queries], how="outer").reset_index()
        part.insert(0, "task", task)
        parts.append(part)
    if not parts:
        return pd.DataFrame(columns=["task"])
    counted = ["n_classes", "n_retrieved", "n_left_out", "n_without_positives", "n_without_negatives"]
    whole = pd.concat(parts, ignore_index=True)
    whole[counted] = whole[counted].fillna(0).astype(int)
    return _conditions_first(whole)


def counts(tables: Mapping[str, pd.DataFrame], rules: Rules) -> dict[str, pd.DataFrame]:
    """`counts`: `overview` of the tasks of Supplementary Table 2 with the paper's names of tasks and conditions.

    `..._merged`: the same with genes counted once that are hit by exactly the same perturbations.
    """
    whole = overview({name: table for name, table in tables.items() if not name.startswith("positions")})
    parts = []
    for task, table in whole.groupby("task", sort=False):
        by = condition_columns(tables[str(task)])
        if "merged_label" in tables[str(task)]:
            once = _plain(tables[str(task)]).drop_duplicates([*by, "merged_label"])
            merged = fraction_retrieved(once, by).set_index(by)
            table = table.join(merged[["n_classes", "n_retrieved"]].add_suffix("_merged"), on=by)
        parts.append(table.assign(condition=[_place(row)["condition"] for row in table[by].to_dict("records")]))
    table = pd.concat(parts, ignore_index=True)
    table["task"] = table["task"].map({name: names[1] for name, names in TASKS.items()})
    table.insert(1, "condition", table.pop("condition"))
    return {"counts": table.assign(mode=rules.mode)}


def _conditions_first(table: pd.DataFrame) -> pd.DataFrame:
    front = [name for name in ("task", "modality", "cell_type", *CONDITION_COLUMNS, "position") if name in table]
    return _plain(table)[[*front, *[name for name in table if name not in front]]]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with "" for conditions it does not name."""
    names = [name for name in (*CONDITION_COLUMNS, "position") if name in table]
    return table.assign(**{name: table[name].fillna("") for name in names})


def gene_family(gene: str) -> str:
    """The gene symbol up to its first digit, as in the paper: ADRA1A and ADRA2B are ADRA."""
    return next((gene[:at] for at, letter in enumerate(gene) if letter.isdigit()), gene)


def polypharmacology(profiles: pd.DataFrame, rules: Rules) -> dict[str, pd.DataFrame]:
    """`polypharmacology`: how many compounds hit how many genes and gene families, and genes how many compounds.

    Targets are cut to the genes that the screen's own reagents perturb, if it has any.
    """
    meta = pd.DataFrame(
        {
            name: profiles[name].fillna("").astype(str) if name in profiles else ""
            for name in ("Metadata_modality", "Metadata_broad_sample", "Metadata_control_type",
                         "Metadata_gene", "Metadata_target_list")
        }, index=profiles.index
    ).drop_duplicates()  # fmt: skip
    meta = meta[(meta["Metadata_control_type"] != "negcon") & (meta["Metadata_broad_sample"] != "")]
    of_compounds = meta["Metadata_modality"].str.lower() == "compound"
    reagent_genes = set().union(*genes_of(meta[~of_compounds]))
    compounds = meta[of_compounds].drop_duplicates("Metadata_broad_sample")
    targets = [mine & reagent_genes if reagent_genes else mine for mine in genes_of(compounds)]
    per_gene = pd.Series([gene for mine in targets for gene in mine], dtype=object).value_counts()
    quantities = {
        "genes per compound": [len(mine) for mine in targets],
        "gene families per compound": [len({gene_family(gene) for gene in mine}) for mine in targets],
        "compounds per gene": per_gene.to_list(),
    }
    parts = [
        pd.Series(values, dtype=int).value_counts().sort_index().rename_axis("value").reset_index(name="count").assign(
            quantity=quantity, percent=lambda table: 100 * table["count"] / table["count"].sum()
        )
        for quantity, values in quantities.items()
    ]  # fmt: skip
    table = pd.concat(parts, ignore_index=True)[["quantity", "value", "count", "percent"]]
    return {"polypharmacology": table.assign(mode=rules.mode)}


def _by_condition(table: pd.DataFrame):
    by = condition_columns(table)
    for key, values in table[table["n_queries"] > 0].groupby(by, sort=False, dropna=False):
        yield tuple(zip(by, key, strict=True)), values


def _place(part: Mapping) -> dict[str, str]:
    """Condition and cell type in the paper's words: compound_long, compound_long-crispr_short."""
    if "compound_timepoint" in part:
        name = f"compound_{part['compound_timepoint']}-{part['modality']}_{part['gene_timepoint']}"
    else:
        name = f"{part['modality']}_{part['timepoint']}"
    variant = part.get("variant")
    name += f" ({variant})" if isinstance(variant, str) and variant else ""
    return {"condition": name, "cell_type": part["cell_type"]}


def _tested(test, *samples) -> dict[str, float]:
    values = [sample for sample in samples if isinstance(sample, pd.Series)]
    # Without spread there is no t: 0 / 0, or a rounding error's worth of it.
    if min(map(len, values)) < 2 or max(map(np.ptp, values)) < NO_SPREAD:
        return {"statistic": np.nan, "p": np.nan}
    result = test(*samples)
    return {"statistic": float(result.statistic), "p": float(result.pvalue)}


def mode_differences(ours: Mapping[str, pd.DataFrame], others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What another mode would have said of the same profiles: per task and condition, the classes that change.

    ours, others: score tables of two modes. Columns: task, the condition's, n_classes and n_retrieved of both, `gained`
    (retrieved by the other mode alone) and `lost` (by ours alone). These two are of perturbations or genes: published,
    a perturbation in the same position is one class a well, and counts here as retrieved if it is in one of its wells.
    """
    parts = []
    for task in [name for name in COMPARED if len(ours.get(name, ())) and len(others.get(name, ()))]:
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
    return _conditions_first(pd.concat(parts, ignore_index=True))


def _by_perturbation(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row a condition and `label`, with its classes and those retrieved; a class "sample, well" is its sample's."""
    if "position" in table:
        in_place = (table["position"] == "same") & (table["mode"] == "published")
        table = table.assign(label=table["label"].mask(in_place, table["label"].str.rpartition(", ")[0]))
    table = table.assign(n_classes=table["n_queries"].gt(0), n_retrieved=table["retrieved"].eq(True))
    return table.groupby([*by, "label"], sort=False, dropna=False)[["n_classes", "n_retrieved"]].sum().reset_index()
