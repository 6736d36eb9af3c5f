"""The supplement's t-tests: are the mAP values of a condition better than chance, is CRISPR unlike ORF?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, ttest_ind

from pipeline.scores.rules import Rules
from pipeline.scores.score import CONTROLS, Score, Tables, Unit, together
from pipeline.scores.significance import benjamini_hochberg
from pipeline.tasks._supplement import NAMES, by_condition, place

#: AP values within this are the same value.
NO_SPREAD = 1e-9


def t_tests(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`t_tests` of the mAP values of each condition, and of CRISPR against ORF in gene-compound matching.

    tables: those of NAMES that the screen has; one without genetic plates has no gene-compound matching.

    Correct: mAP less the mAP expected by chance of the same lists, against 0 (one sample), and normalised mAP,
    (mAP - expected) / (1 - expected), of the two modalities; `q` over each family. Published: plain mAP against 0,
    which no list can fail, and plain mAP of the two, which differs by the length of their lists.
    """
    rows = [row for name in NAMES if name in tables for row in _against_chance(name, tables[name], rules)]
    if "gene_compound" in tables:
        rows += _between_modalities(tables["gene_compound"], rules)
    # Without a class to test, e.g. on one plate with each sample in one well, a table without rows.
    table = pd.DataFrame(rows, columns=["test", "condition", "cell_type", "n", "statistic", "p"])
    table["q"] = table.groupby("test", sort=False)["p"].transform(benjamini_hochberg)
    return {"t_tests": table.assign(baseline="0" if rules.published else "expected by chance", mode=rules.mode)}


def _against_chance(name: str, classes: pd.DataFrame, rules: Rules) -> list[dict[str, Any]]:
    rows = []
    for condition, values in by_condition(classes):
        mean = values["mean_average_precision"]
        against = mean if rules.published else mean - values["expected_average_precision"]
        test = {"test": f"{NAMES[name][0]} vs chance", **place(condition), "n": len(values)}
        rows.append({**test, **_tested(ttest_1samp, against, 0.0)})
    return rows


def _between_modalities(classes: pd.DataFrame, rules: Rules) -> list[dict[str, Any]]:
    rows = []
    for (first, ours), (second, theirs) in product(list(by_condition(classes)), repeat=2):
        alike = [name for name in first if name not in ("modality", "gene_timepoint")]
        if first["modality"] >= second["modality"] or any(first[name] != second[name] for name in alike):
            continue
        samples = []
        for values in (ours, theirs):
            mean, expected = values["mean_average_precision"], values["expected_average_precision"]
            samples.append(mean if rules.published else (mean - expected) / (1 - expected))
        name = f"{first['modality']} vs {second['modality']} gene-compound matching"
        one, other = place(first), place(second)
        one["condition"] += f" vs {other['condition']}"
        rows.append({"test": name, **one, "n": sum(map(len, samples)), **_tested(ttest_ind, *samples)})
    return rows


def _tested(test: Callable[..., Any], *samples: pd.Series | float) -> dict[str, float]:
    values = [sample for sample in samples if isinstance(sample, pd.Series)]
    # Without spread there is no t: 0 / 0, or a rounding error's worth of it.
    if min(map(len, values)) < 2 or max(map(np.ptp, values)) < NO_SPREAD:
        return {"statistic": np.nan, "p": np.nan}
    result = test(*samples)
    return {"statistic": float(result.statistic), "p": float(result.pvalue)}


SCORE = Score(
    question="Is the mAP of a condition better than chance, and CRISPR unlike ORF? (the supplement's t-tests)",
    rows={"t_tests": "test"},
    compute=t_tests,
    units=together,
    needs=tuple(NAMES),
    wants=(CONTROLS,),
)
