"""The published numbers of CPJUMP1: each with where ours stands, what it rests on, and how far apart the two may lie.

One function a table of the screen's `published` folder. Tolerances allow for what nobody can repeat (the authors' nulls
had no seed, and their own runs differ) and for the rounding of what was printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from pipeline.paper.splits import gene_compound_split, representation_split
from pipeline.scores.rules import Rules
from pipeline.scores.significance import fraction_retrieved
from pipeline.screen.columns import GENE, MODALITY
from pipeline.screen.model import Screen
from pipeline.screen.spelling import is_negcon
from pipeline.screen.variants import well_annotations
from pipeline.tasks.polypharmacology import polypharmacology

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Number:
    """One published number. `of(tables)`: ours, from the score tables of one mode; `needs`: the conditions it rests on,
    as parts of their names; () if the screen's tables alone decide.
    """

    item: str
    theirs: float
    of: Callable[[Tables], float]
    tolerance: float
    why_tolerance: str
    why_correct: str = ""
    needs: tuple[Mapping[str, str], ...] = ()


def _one(table: pd.DataFrame, column: str, **where: object) -> float:
    """The value in the one row with these values; KeyError without such a row."""
    chosen = table[np.logical_and.reduce([table[name] == value for name, value in where.items()])]
    if len(chosen) != 1:
        raise KeyError(where)
    return chosen[column].iloc[0]


def _fraction(task: str, **where: object) -> Callable[[Tables], float]:
    return lambda tables: _one(fraction_retrieved(tables[task]), "fraction_retrieved", **where)


def _n_classes(task: str, **where: object) -> Callable[[Tables], float]:
    return lambda tables: _one(fraction_retrieved(tables[task]), "n_classes", **where)


def _classes(n: int, classes: float) -> float:
    """So many classes of n, and the rounding of a fraction printed with three digits."""
    return classes / n + 0.0005


#: Parts of the genes of the gene-compound split, as in the paper.
SPLIT_SHARES = {"train": 0.6, "validate": 0.2, "test": 0.2}

ROUNDED = "no chance in it; profiles rounded to five digits"
RUN_NOISE = "unseeded null: the authors' own runs differ by one class"
FILTER_NOISE = "unseeded null in the activity filter: the authors' own runs differ by up to two classes"
Q_ORDER = "correct: BH over queries, then geometric mean of q; p counts null >= AP"
STRICT = "correct: with one positive a perfect match has p 1/(candidates), where a strict count gives 1e-5"
DUPLICATES = "correct: published ranks every true pair against itself, as positive and as negative"


def _fig4a(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    for row in _rows(published):
        where = {"modality": row.modality, "cell_type": row.cell_type, "timepoint": row.timepoint}
        tolerance = _classes(row.n_perturbations, 1)
        of = _fraction("detection", **where)
        yield Number(_words(where), row.fraction_retrieved, of, tolerance, RUN_NOISE, Q_ORDER, (where,))
        item = f"{_words(where)}, the authors' other run"
        yield Number(item, row.fraction_retrieved_other_run, of, tolerance, RUN_NOISE, Q_ORDER, (where,))


def _extended_data_fig1(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    for row in _rows(published):
        where = {"modality": row.modality, "cell_type": row.cell_type, "timepoint": row.timepoint}
        tolerance = _classes(row.n_groups, 1)
        if row.well_position in ("same", "different"):
            of = _fraction("positions", position=row.well_position, **where)
        else:
            of = _fraction("detection", **where)
        why = f"{STRICT}; its classes are 160 perturbations, not 320 wells" if row.well_position == "same" else Q_ORDER
        item = f"{row.well_position} position, {_words(where)}"
        yield Number(item, row.fraction_retrieved, of, tolerance, RUN_NOISE, why, (where,))


def _fig4b(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    for row in _rows(published):
        where = {"modality": row.modality, "cell_type": row.cell_type, "timepoint": row.timepoint}
        of = _n_classes("sisters", **where)
        yield Number(f"genes, {_words(where)}", row.n_targets, of, 2, FILTER_NOISE, Q_ORDER, (where,))
        of, tolerance = _fraction("sisters", **where), _classes(row.n_targets, 2)
        item = f"fraction, {_words(where)}"
        yield Number(item, row.fraction_retrieved, of, tolerance, FILTER_NOISE, STRICT, (where,))


def _fig4c(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    for row in _rows(published):
        where = {
            "modality": row.genetic_modality,
            "cell_type": row.cell_type,
            "compound_timepoint": row.compound_timepoint,
            "gene_timepoint": row.genetic_timepoint,
        }
        needs = (
            {"modality": "compound", "cell_type": row.cell_type, "timepoint": row.compound_timepoint},
            {"modality": row.genetic_modality, "cell_type": row.cell_type, "timepoint": row.genetic_timepoint},
        )
        of = _n_classes("gene_compound", **where)
        yield Number(f"genes, {_words(where)}", row.n_targets, of, 2, FILTER_NOISE, Q_ORDER, needs)
        yield Number(
            f"fraction, {_words(where)}",
            row.fraction_retrieved,
            _fraction("gene_compound", **where),
            _classes(row.n_targets, 2),
            f"{FILTER_NOISE}; tied pairs fall either way in lists above 16",
            f"{DUPLICATES}; {STRICT}",
            needs,
        )


def _supp_table2(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    for row in _rows(published):
        *parts, cell_type = row.condition.split("_")
        condition = "_".join(parts[:2]) + ("-" + "_".join(parts[2:]) if len(parts) > 2 else "")
        filtered = row.task != "replicate retrieval"
        of = _value("counts", "n_classes", task=row.task, condition=condition, cell_type=cell_type)
        low, high = sorted((row.n_719b4800, row.n_09bc1509))
        why = FILTER_NOISE if filtered else "the layout alone decides"
        item = f"{row.task}, {condition}, {cell_type}"
        tolerance, needs = (high - low) / 2 + 2 * filtered, _needs(condition, cell_type)
        yield Number(item, (low + high) / 2, of, tolerance, why, Q_ORDER if filtered else "", needs)


def _t_tests(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    # Rounding of the profiles; the activity filter; coins for tied pairs.
    shares = {"perturbation detection": 0.001, "within-type matching": 0.03, "gene-compound matching": 0.1}
    for row in _rows(published):
        title, is_pair = row.test.removesuffix(" vs 0"), " vs " in row.condition
        test = "crispr vs orf gene-compound matching" if is_pair else f"{title} vs chance"
        of = _value("t_tests", "statistic", test=test, condition=row.condition, cell_type=row.cell_type)
        share = 0.15 if is_pair else shares[title]
        why = (
            "the lists differ in length, and with it the AP by chance" if is_pair else "mAP is positive by construction"
        )
        tolerance = max(abs(row.statistic) * share, 0.3 * is_pair)
        noise = FILTER_NOISE if share > 0.01 else "rounded profiles"
        why = f"correct: against the AP by chance; published tests against 0, and {why}"
        item, needs = f"{test}, {row.condition}, {row.cell_type}", _needs(row.condition, row.cell_type)
        yield Number(item, row.statistic, of, tolerance, noise, why, needs)
        p = _value("t_tests", "p", test=test, condition=row.condition, cell_type=row.cell_type)
        if row.p_value_as_printed.startswith("<"):
            below = _is_below(p, float(row.p_value_as_printed[1:]))
            yield Number(f"{item}, p {row.p_value_as_printed} (1: yes)", 1, below, 0, "printed as a bound", why, needs)
        else:
            yield Number(f"{item}, p", float(row.p_value_as_printed), p, 0.05, noise, why, needs)


def _fig5(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    for row in _rows(published):
        is_5a = row.figure.startswith("5a")
        comparison = "orf-crispr" if is_5a else f"compound-{row.genetic_perturbation.lower()}"
        where = {"comparison": comparison, "cell_type": row.cell_type, "gene_timepoint": "all"}
        modalities = ("compound", "crispr", "orf") if is_5a else comparison.split("-")
        needs = tuple({"modality": modality, "cell_type": row.cell_type} for modality in modalities)
        why = (
            "correct: ORF-CRISPR pairs themselves; published printed the numbers of compound-gene pairs"
            if is_5a
            else "correct: the null leaves out a compound's other targets and counts a compound once"
        )
        numbers = {
            "n": (row.n, 0),
            "n_below": (row.n_le_5th_percentile, 2),
            "n_above": (row.n_ge_95th_percentile, 2),
            "percent_below": (row.pct_le_5th, 100 * 2 / row.n + 0.005),
            "percent_above": (row.pct_ge_95th, 100 * 2 / row.n + 0.005),
            "odds_ratio": (row.fisher_odds_ratio, 0.05),
        }
        for column, (theirs, tolerance) in numbers.items():
            of = _value("directionality", column, **where)
            item = f"{row.figure}, {comparison}, {row.cell_type}, {column}"
            yield Number(item, theirs, of, tolerance, ROUNDED, why, needs)
        # As a power of ten, for two pairs more or less beyond a threshold change p by a factor.
        below, above = row.n_le_5th_percentile, row.n_ge_95th_percentile
        theirs = np.log10(row.fisher_p_two_sided)
        moved = [_fisher_log10_p(row.n, below + i, above + j) for i in (-2, 2) for j in (-2, 2)]
        item = f"{row.figure}, {comparison}, {row.cell_type}, log10 of Fisher's two-sided p"
        of, tolerance = _log10("directionality", "p", **where), float(np.abs(np.array(moved) - theirs).max())
        yield Number(item, theirs, of, tolerance, f"{ROUNDED}: two pairs at either end", why, needs)


def _fisher_log10_p(n: int, below: int, above: int) -> float:
    return float(np.log10(fisher_exact([[n - below, below], [n - above, above]]).pvalue))


def _top_pairs(published: pd.DataFrame, _: Screen) -> Iterator[Number]:
    pair = ["cell_type", "genetic_perturbation", "pert_iname", "gene"]
    published = published.assign(
        order=np.where(published["list"] == "top10", -published["cosine"], published["cosine"])
    )
    published["nth"] = published.sort_values("order").groupby(["list", *pair]).cumcount()
    for row in _rows(published):
        item = f"{row.list}, {row.cell_type} {row.genetic_perturbation} {row.pert_iname} {row.gene}, {row.nth + 1}."
        modalities = ("compound", row.genetic_perturbation.lower())
        needs = tuple({"modality": modality, "cell_type": row.cell_type} for modality in modalities)
        yield Number(item, row.cosine, _nth_cosine(row), 0.002, ROUNDED, needs=needs)


def _nth_cosine(row: Any) -> Callable[[Tables], float]:
    """The n-th largest (of a bottom list: smallest) cosine of a compound and a gene over combinations of times."""

    def find(tables: Tables) -> float:
        pairs = tables["directionality_pairs"]
        comparison = f"compound-{row.genetic_perturbation.lower()}"
        mine = (pairs["comparison"] == comparison) & (pairs["cell_type"] == row.cell_type)
        mine &= (pairs["pert_iname"] == row.pert_iname) & (pairs["label"] == row.gene)
        return pairs.loc[mine, "cosine"].sort_values(ascending=row.list != "top10").iloc[row.nth]

    return find


def _polypharmacology(published: pd.DataFrame, screen: Screen) -> Iterator[Number]:
    ours = polypharmacology(well_annotations(screen), (), Rules(), {})["polypharmacology"]
    for row in _rows(published):
        of = _just(_one(ours, "count", quantity=row.quantity, value=row.value))
        yield Number(f"{row.quantity}: {row.value}", row.count, of, 0, "the target lists alone decide")


def _dataset_splits(published: pd.DataFrame, screen: Screen) -> Iterator[Number]:
    rows, pairs = representation_split(screen), gene_compound_split(screen)
    for row in _rows(published):
        if row.split == "representation learning":
            ours = ((rows["cell_type"] == row.cell_type) & (rows["part"] == row.part)).sum()
        else:
            chosen = pairs[pairs["part"] == row.part]
            ours = len(chosen) if row.split.endswith("rows") else chosen["gene"].nunique()
        yield Number(f"{row.split}, {row.cell_type}, {row.part}", row.n, _just(float(ours)), 0, "the layout decides")


def _split_genes(published: pd.DataFrame, screen: Screen) -> Iterator[Number]:
    """The published genes against those of the screen's own reagents, and its parts against the shares drawn.

    Which gene fell into which part was drawn with R's generator, and is not repeated here.
    """
    wells = well_annotations(screen)
    for kind in ("orf", "crispr"):
        genes = set(wells.loc[(wells[MODALITY] == kind) & (wells[GENE] != ""), GENE])
        controls = is_negcon(wells)
        genes -= set(wells.loc[controls, GENE]) - set(wells.loc[~controls, GENE])
        both = _just(float(len(genes & set(published["gene"]))))
        yield Number(f"genes that {kind} reagents perturb", len(published), both, 0, "the layout decides")
        other = _just(float(len(genes - set(published["gene"]))))
        yield Number(f"genes of {kind} reagents in no part", 0, other, 0, "the layout decides")
    for part, share in SPLIT_SHARES.items():
        theirs = int((published["split"] == part).sum())
        yield Number(f"genes of {part}", theirs, _just(share * len(genes)), 0.5, "a share of the genes, rounded")


def _needs(condition: str, cell_type: str) -> tuple[Mapping[str, str], ...]:
    """compound_long-crispr_short vs compound_long-orf_short -> the conditions named in it."""
    names = sorted({name for pair in condition.split(" vs ") for name in pair.split("-")})
    parts = [dict(zip(("modality", "timepoint"), name.split("_"), strict=True)) for name in names]
    return tuple({**part, "cell_type": cell_type} for part in parts)


def _value(stem: str, column: str, **where: object) -> Callable[[Tables], float]:
    return lambda tables: _one(tables[stem], column, **where)


def _log10(stem: str, column: str, **where: object) -> Callable[[Tables], float]:
    return lambda tables: float(np.log10(_one(tables[stem], column, **where)))


def _is_below(of: Callable[[Tables], float], bound: float) -> Callable[[Tables], float]:
    """1 if it is, 0 if not; NaN stays NaN."""
    return lambda tables: np.nan if np.isnan(value := of(tables)) else float(value < bound)


def _just(value: float) -> Callable[[Tables], float]:
    return lambda _: value


def _rows(published: pd.DataFrame) -> Iterator[Any]:
    for row in published.to_dict("records"):
        yield SimpleNamespace(**{str(name): value for name, value in row.items()})


def _words(where: Mapping[str, object]) -> str:
    return " ".join(map(str, where.values()))


#: Published table -> its numbers.
NUMBERS: dict[str, Callable[[pd.DataFrame, Screen], Iterator[Number]]] = {
    "fig4a_fraction_retrieved": _fig4a,
    "extended_data_fig1_fraction_retrieved": _extended_data_fig1,
    "fig4b_fraction_retrieved": _fig4b,
    "fig4c_fraction_retrieved": _fig4c,
    "fig5_directionality": _fig5,
    "top_gene_compound_pairs": _top_pairs,
    "t_tests": _t_tests,
    "supp_table2_counts": _supp_table2,
    "polypharmacology_recomputed": _polypharmacology,
    "dataset_splits": _dataset_splits,
    "gene_compound_split_genes": _split_genes,
}
