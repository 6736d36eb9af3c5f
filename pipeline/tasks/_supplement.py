"""The supplement's words for scores and conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from pipeline.scores.significance import condition_columns

#: Score -> the paper's names of the task, for t-tests and for counts.
NAMES = {
    "detection": ("perturbation detection", "replicate retrieval"),
    "sisters": ("within-type matching", "sister perturbation retrieval"),
    "gene_compound": ("gene-compound matching", "gene compound retrieval"),
}


def by_condition(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Each condition of a table of classes, and its classes that have a valid query."""
    by = condition_columns(table)
    for key, values in table[table["n_queries"] > 0].groupby(by, sort=False, dropna=False):
        yield dict(zip(by, map(str, key), strict=True)), values


def place(part: Mapping[Any, Any]) -> dict[str, str]:
    """Condition and cell type in the paper's words: compound_long, compound_long-crispr_short."""
    if "compound_timepoint" in part:
        free = ("modality", "cell_type", "compound_timepoint", "gene_timepoint", "variant")
        name = f"compound_{part['compound_timepoint']}-{part['modality']}_{part['gene_timepoint']}"
        name = "_".join([name, *(part[other] for other in part if other not in free)])
    else:
        name = "_".join(part[other] for other in part if other not in ("cell_type", "variant"))
    variant = part.get("variant")
    name += f" ({variant})" if isinstance(variant, str) and variant else ""
    return {"condition": name, "cell_type": part.get("cell_type", "")}
