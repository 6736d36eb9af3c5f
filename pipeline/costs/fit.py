"""From what some tasks took to what others will take: each quantity a constant and parts that grow with sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from scipy.optimize import nnls

from pipeline.costs.spent import Spent


@dataclass(frozen=True)
class Fit:
    """What a task of sizes s takes: `once` + the sum of s[i] * `each[i]`."""

    once: Spent
    each: tuple[Spent, ...]

    def at(self, *sizes: float) -> Spent:
        return sum((part.times(size) for part, size in zip(self.each, sizes, strict=True)), self.once)


def fit(sizes: Sequence[tuple[float, ...]], spent: Sequence[Spent], *, grows: bool) -> Fit:
    """Least squares with no part below 0, each quantity by itself. `sizes`: of each task, one number or several.

    Where all are of one size they do not tell the parts apart: then all of it `grows` with the first, or none does.
    """
    values, terms = np.array([astuple(one) for one in spent], dtype=float), np.array(sizes, dtype=float)
    nothing = (Spent(),) * terms.shape[1]
    if len(set(sizes)) == 1:
        mean = Spent(*map(float, values.mean(axis=0)))
        return Fit(Spent(), (mean.times(1 / sizes[0][0]), *nothing[1:])) if grows else Fit(mean, nothing)
    terms = np.column_stack([np.ones(len(sizes)), terms])
    once, *each = np.array([nnls(terms, column)[0] for column in values.T]).T.tolist()
    return Fit(Spent(*once), tuple(Spent(*part) for part in each))
