"""Hold the scores of a simulated screen against what was planted in it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy.stats import binom

from pipeline.screen.columns import NEGCON

#: Chance that a screen with nothing wrong has more false discoveries than `Answer.inert_allowed`.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Answer:
    """`table`: one row a perturbation that is no negative control: modality, broad_sample, gene, strength, expected,
    relation, mean_average_precision, p, q, retrieved, as_expected (<NA> for weak ones, of which nothing is asked).

    The answer is right when every strong perturbation is retrieved and no more inert ones than `inert_allowed`.
    """

    table: pd.DataFrame
    inert_allowed: int

    @property
    def missed(self) -> list[str]:
        """Strong perturbations that were not retrieved."""
        return list(self.table.loc[(self.table.expected == "strong") & ~self.table.retrieved, "broad_sample"])

    @property
    def false_discoveries(self) -> list[str]:
        """Inert perturbations that were retrieved."""
        return list(self.table.loc[(self.table.expected == "inert") & self.table.retrieved, "broad_sample"])

    @property
    def is_right(self) -> bool:
        return not self.missed and len(self.false_discoveries) <= self.inert_allowed

    @property
    def text(self) -> str:
        """Two lines for the reader: what was retrieved of what was planted."""
        count = self.table.expected.value_counts()
        strong, inert = int(count.get("strong", 0)), int(count.get("inert", 0))
        missed, false = self.missed, self.false_discoveries
        return (
            f"{strong - len(missed)} of {strong} strong perturbations retrieved"
            + (f"; missed: {', '.join(missed)}\n" if missed else "\n")
            + f"{len(false)} of {inert} inert ones retrieved (chance explains up to {self.inert_allowed})"
            + (f": {', '.join(false)}" if false else "")
        )


def check_answer(truth: pd.DataFrame, detection: pd.DataFrame, alpha: float = 0.05) -> Answer:
    """Compare the planted truth (`truth.csv`) with the table of the score `detection`.

    `detection` has one row a perturbation: modality, label, mean_average_precision, p, q, retrieved. `alpha`: the q
    below which it called a perturbation retrieved. A perturbation that is not in it counts as not retrieved.

    With Benjamini and Hochberg's rule an inert perturbation is retrieved only with p < alpha, so the number of them
    is at most binomial(n, alpha); `inert_allowed` is that law's 99th percentile.
    """
    planted = truth[truth.expected != NEGCON]
    scores = detection.rename(columns={"label": "broad_sample"})
    scores = scores[["modality", "broad_sample", "mean_average_precision", "p", "q", "retrieved"]]
    columns = ["modality", "broad_sample", "gene", "strength", "expected", "relation"]
    table = planted[columns].merge(scores, on=["modality", "broad_sample"], how="left", validate="one_to_one")
    table["retrieved"] = table.retrieved.eq(True)
    right = table.retrieved.eq(table.expected == "strong").astype("boolean")
    table["as_expected"] = right.mask(table.expected == "weak")
    inert = int((table.expected == "inert").sum())
    return Answer(table, int(binom.ppf(1 - TOLERANCE, inert, alpha)))
