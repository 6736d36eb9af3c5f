"""The strongest pairs of directionality (Supplementary Tables 5, 6)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.scores.rules import Rules
from pipeline.scores.score import BOTH_KINDS, GENES, Score, Tables, Unit, together

#: Pairs at each end of Supplementary Tables 5 and 6.
EXTREMES = 10


def pairs(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`pairs`: the 10 largest and 10 smallest cosines of compound-gene pairs per cell type (Supplementary Tables 5, 6).

    Reads `directionality_pairs`. Modalities and time points compete, so a pair can stand there repeatedly.
    """
    found = tables["directionality_pairs"]
    if "compound_timepoint" not in found:
        return {"pairs": found.assign(list="")}  # a single modality
    of_compounds = found[found["compound_timepoint"] != ""]
    strongest = []
    by = list(found.columns[1 : list(found.columns).index("comparison")])
    for _, group in of_compounds.groupby(by, sort=False, dropna=False) if by else [((), of_compounds)]:
        ordered = group.sort_values("cosine", kind="stable")
        strongest.append(ordered.iloc[::-1].head(EXTREMES).assign(list=f"top{EXTREMES}"))
        strongest.append(ordered.head(EXTREMES).iloc[::-1].assign(list=f"bottom{EXTREMES}"))
    table = pd.concat(strongest, ignore_index=True) if strongest else of_compounds.assign(list="")
    return {"pairs": table[["list", *found.columns]]}


SCORE = Score(
    question="Which pairs of a compound and a gene are the strongest? (Supplementary Tables 5, 6)",
    rows={"pairs": "pair"},
    compute=pairs,
    units=together,
    needs=("directionality",),
    wants=(GENES, BOTH_KINDS),
)
