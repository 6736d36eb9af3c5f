"""How far two engines agree on one site: the rows of a parity certificate."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.engines.base import SiteMeasurements

#: two values are equal within `RELATIVE` of the greater, or within `ABSOLUTE`
RELATIVE = 1e-6
ABSOLUTE = 1e-9
#: Granularity is a difference of nearly equal means, in percent: no relative limit holds for it.
GRANULARITY_ABSOLUTE = 1e-6

COLUMNS = [
    *("object_set", "family", "columns", "values", "identical", "unequal_columns", "unequal_values"),
    *("largest_relative", "largest_absolute", "worst_feature", "worst_object", "worst_ours", "worst_theirs"),
    *("missing", "unexpected"),
]


def compare(ours: SiteMeasurements, theirs: SiteMeasurements) -> pd.DataFrame:
    """One row for each object set (and "Image") and family of features, and one for each label image.

    `columns`, `values`: how many were compared; `identical`: values with the same bits, NaN beside NaN included;
    `unequal_columns`, `unequal_values`: beyond the limits. `largest_relative`, `largest_absolute`: over all values
    that are finite in both. The worst value is the one farthest beyond its limit (or nearest to it), with its
    object number (0 for the image). `missing`, `unexpected`: columns that only `theirs`, or only `ours`, has.

    Label images are the family "Labels": `values` are pixels, and a pixel is equal or not. Where two engines find
    different numbers of objects, no value is compared: `unequal_values` counts all of the larger table.
    """
    rows = []
    for name in sorted(set(ours.labels) | set(theirs.labels)):
        rows.append(_compare_labels(name, ours.labels.get(name), theirs.labels.get(name)))
    for name in sorted(set(ours.objects) | set(theirs.objects)):
        mine, other = (_by_family(_table(site, name)) for site in (ours, theirs))
        rows += [_compare_family(name, family, mine, other) for family in sorted(set(mine) | set(other))]
    mine, other = (_by_family({key: np.array([value]) for key, value in site.image.items()}) for site in (ours, theirs))
    rows += [_compare_family("Image", family, mine, other) for family in sorted(set(mine) | set(other))]
    return pd.DataFrame(rows, columns=COLUMNS)


def is_equal(comparison: pd.DataFrame) -> bool:
    """Whether label images are identical, columns the same and all values within the limits."""
    return not comparison[["unequal_values", "missing", "unexpected"]].to_numpy().any()


def equal_values(ours: np.ndarray, theirs: np.ndarray, feature: str) -> np.ndarray:
    """bool, elementwise: equal within the limits of the feature; NaN equals NaN, infinity itself."""
    return _excess(ours, theirs, feature) <= 1


def _table(site: SiteMeasurements, name: str) -> dict[str, np.ndarray]:
    if name not in site.objects:
        return {}
    return dict(zip(site.objects[name].features, site.objects[name].values.T, strict=True))


def _by_family(columns: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    families: dict[str, dict[str, np.ndarray]] = {}
    for feature, values in columns.items():
        families.setdefault(feature.partition("_")[0], {})[feature] = values
    return families


def _excess(ours: np.ndarray, theirs: np.ndarray, feature: str) -> np.ndarray:
    """Difference over the limit: up to 1 is equal."""
    limit: float | np.ndarray = GRANULARITY_ABSOLUTE
    with np.errstate(invalid="ignore"):
        if not feature.startswith("Granularity_"):
            limit = np.maximum(RELATIVE * np.maximum(np.abs(ours), np.abs(theirs)), ABSOLUTE)
        excess = np.abs(ours - theirs) / limit
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return np.where(same, 0.0, np.where(np.isfinite(excess), excess, np.inf))


def _compare_labels(name: str, ours: np.ndarray | None, theirs: np.ndarray | None) -> dict:
    row = dict.fromkeys(COLUMNS, 0) | {"object_set": name, "family": "Labels", "columns": 1, "worst_feature": ""}
    if ours is None or theirs is None or ours.shape != theirs.shape:
        present = next(labels for labels in (theirs, ours) if labels is not None)
        return row | {"values": present.size, "unequal_columns": 1, "unequal_values": present.size}
    unequal = int(np.count_nonzero(ours != theirs))
    return row | {
        "values": ours.size,
        "identical": ours.size - unequal,
        "unequal_columns": int(unequal > 0),
        "unequal_values": unequal,
    }


def _compare_family(
    name: str, family: str, ours: dict[str, dict[str, np.ndarray]], theirs: dict[str, dict[str, np.ndarray]]
) -> dict:
    mine, other = ours.get(family, {}), theirs.get(family, {})
    shared = [feature for feature in other if feature in mine]
    row = dict.fromkeys(COLUMNS, 0) | {
        "object_set": name,
        "family": family,
        "columns": len(shared),
        "worst_feature": "",
        "missing": len(other) - len(shared),
        "unexpected": len(mine) - len(shared),
    }
    if not shared:
        return row
    if len(mine[shared[0]]) != len(other[shared[0]]):
        values = len(shared) * max(len(mine[shared[0]]), len(other[shared[0]]))
        return row | {"values": values, "unequal_columns": len(shared), "unequal_values": values}
    a, b = (np.stack([table[feature] for feature in shared]) for table in (mine, other))
    if a.size == 0:
        return row
    excess = np.stack([_excess(a[k], b[k], feature) for k, feature in enumerate(shared)])
    worst_column, worst_object = np.unravel_index(np.argmax(excess), excess.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        absolute = np.abs(a - b)
        relative = np.where(absolute == 0, 0, absolute / np.maximum(np.abs(a), np.abs(b)))
    finite = np.isfinite(a) & np.isfinite(b)
    return row | {
        "values": a.size,
        "identical": int(np.count_nonzero((a == b) | (np.isnan(a) & np.isnan(b)))),
        "unequal_columns": int(np.count_nonzero((excess > 1).any(axis=1))),
        "unequal_values": int(np.count_nonzero(excess > 1)),
        "largest_relative": float(relative[finite].max(initial=0)),
        "largest_absolute": float(absolute[finite].max(initial=0)),
        "worst_feature": shared[worst_column],
        "worst_object": int(worst_object) + 1 if name != "Image" else 0,
        "worst_ours": float(a[worst_column, worst_object]),
        "worst_theirs": float(b[worst_column, worst_object]),
    }
