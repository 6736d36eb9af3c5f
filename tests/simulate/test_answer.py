from __future__ import annotations

import pandas as pd
import pytest

from pipeline.simulate.answer import check_answer
from pipeline.simulate.design import DESIGNS, truth

TRUTH = truth(DESIGNS["native"])


def _detection(retrieved) -> pd.DataFrame:
    """What the score would write if exactly these samples were retrieved."""
    table = TRUTH.loc[TRUTH.expected != "negcon", ["modality", "broad_sample"]].rename(
        columns={"broad_sample": "label"}
    )
    hit = table.label.isin(retrieved)
    return table.assign(retrieved=hit, mean_average_precision=hit.astype(float), p=0.5, q=0.5)


STRONG = list(TRUTH.loc[TRUTH.expected == "strong", "broad_sample"])
INERT = list(TRUTH.loc[TRUTH.expected == "inert", "broad_sample"])
WEAK = list(TRUTH.loc[TRUTH.expected == "weak", "broad_sample"])


def test_all_strong_and_no_inert_is_the_right_answer():
    answer = check_answer(TRUTH, _detection(STRONG))
    assert answer.is_right
    assert answer.table.as_expected[answer.table.expected != "weak"].all()


def test_one_strong_perturbation_missed_is_a_wrong_answer_that_names_it():
    answer = check_answer(TRUTH, _detection(STRONG[1:]))
    assert not answer.is_right
    assert answer.missed == STRONG[:1]
    assert STRONG[0] in answer.text


def test_a_strong_perturbation_without_a_score_is_missed():
    detection = _detection(STRONG)
    answer = check_answer(TRUTH, detection[detection.label != STRONG[3]])
    assert answer.missed == [STRONG[3]]


def test_nothing_is_asked_of_weak_perturbations():
    assert check_answer(TRUTH, _detection(STRONG + WEAK)).is_right
    assert check_answer(TRUTH, _detection(STRONG)).table.as_expected.isna().sum() == len(WEAK)


@pytest.mark.parametrize("more", [0, 1])
def test_as_many_inert_ones_may_be_retrieved_as_chance_explains_and_no_more(more):
    answer = check_answer(TRUTH, _detection(STRONG))
    # Binomial(23, 0.05): P(X <= 4) = 0.994, P(X <= 3) = 0.97.
    assert (len(INERT), answer.inert_allowed) == (23, 4)
    assert check_answer(TRUTH, _detection(STRONG + INERT[: 4 + more])).is_right == (more == 0)
