"""Which features differ between two groups of wells, by how much, and what cell count alone would have said."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

#: coverage of the intervals
COVERAGE = 0.95


def compare(one: xr.Dataset, other: xr.Dataset) -> pd.DataFrame:
    """One row a feature, by falling absolute effect. Cells of a well are no independent observations: a well counts
    once, by the median of its cells.

    name, compartment, family, channel, channel2; n, n_other: wells with a value; median, median_other; effect: Hedges'
    g, the difference of the means in pooled standard deviations, corrected for few wells (Hedges, J. Educ. Stat. 6,
    1981), with low, high: its 95 % interval (Hedges & Olkin 1985, ch. 5); p: Welch's t test; q: Benjamini and
    Hochberg, over the features; count_correlation: Spearman's with the number of cells of the wells, over both groups.
    The first row, `cell_count`, says the same of the number of cells: what it tells, a feature that goes with it tells
    again.

    Raises `ValueError` where a group has fewer than two wells with cells, or both have a well in common.
    """
    keys = [name for name in ("results", "batch", "plate", "well") if name in one.coords]
    in_both = set(zip(*(one[key].values for key in keys), strict=True)) & set(
        zip(*(other[key].values for key in keys), strict=True)
    )
    if in_both:
        raise ValueError(f"{len(in_both)} wells are in both groups, e.g. {'/'.join(map(str, min(in_both)))}")
    shared = [name for name in one["name"].values if name in set(other["name"].values)]
    values, wanted = [], {"name": shared}
    for group in (one, other):
        group = group.sel(wanted).isel(well=np.flatnonzero(group.cell_count.values > 0))
        if group.sizes["well"] < 2:
            raise ValueError(
                f"A comparison needs two wells with cells or more in each group; one has {group.sizes['well']}."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a feature without a value in a well
            medians = group.features.median("cell").transpose("well", "feature").to_numpy().astype(np.float64)
        values.append(np.column_stack([group.cell_count.values, medians]))
    table = pd.DataFrame({"name": ["cell_count", *shared]}).join(_statistics(*values))
    features = one.sel(wanted)
    for place, column in enumerate(("compartment", "family", "channel", "channel2"), 1):
        table.insert(place, column, ["", *features[column].values.tolist()])
    order = table.index[1:][np.argsort(-table["effect"].abs().fillna(-1).to_numpy()[1:], kind="stable")]
    return table.loc[[0, *order]].reset_index(drop=True)


def _statistics(one: np.ndarray, other: np.ndarray) -> pd.DataFrame:
    """Of each column of two tables (wells, features), the first of which is the number of cells."""
    n, n_other = ((~np.isnan(values)).sum(axis=0) for values in (one, other))
    free = n + n_other - 2
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant or empty features: they get no value
        pooled = np.sqrt(
            ((n - 1) * np.nanvar(one, axis=0, ddof=1) + (n_other - 1) * np.nanvar(other, axis=0, ddof=1)) / free
        )
        effect = (np.nanmean(one, axis=0) - np.nanmean(other, axis=0)) / pooled * (1 - 3 / (4 * free - 1))
        effect[~np.isfinite(effect)] = np.nan
        error = np.sqrt((n + n_other) / (n * n_other) + effect**2 / (2 * (n + n_other)))
        p = stats.ttest_ind(one, other, axis=0, equal_var=False, nan_policy="omit").pvalue
        medians = np.nanmedian(one, axis=0), np.nanmedian(other, axis=0)
        both = pd.DataFrame(np.concatenate([one, other]))
        correlation = both.corrwith(both[0], method="spearman").to_numpy()
    width = stats.norm.ppf((1 + COVERAGE) / 2) * error
    p = np.asarray(p, np.float64)
    q = np.full(len(p), np.nan)
    is_known = ~np.isnan(p)
    is_known[0] = False  # the number of cells is no feature
    q[is_known] = stats.false_discovery_control(p[is_known]) if is_known.any() else []
    columns = {"n": n, "n_other": n_other, "median": medians[0], "median_other": medians[1], "effect": effect}
    columns |= {"low": effect - width, "high": effect + width, "p": p, "q": q, "count_correlation": correlation}
    return pd.DataFrame(columns)
