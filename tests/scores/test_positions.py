from __future__ import annotations

import pytest

from pipeline.scores import Condition, Rules, fraction_retrieved
from pipeline.simulate.profiles import simulate_profiles
from pipeline.tasks.positions import positions

ORF = Condition(("orf", "A549", "short"))


@pytest.fixture(scope="module")
def positional(cpjump1):
    """No ORF does anything, but every well position leaves a mark."""
    planted = simulate_profiles(cpjump1, n_features=100, active=0.0, position_effect=1.5)
    return planted.profiles[ORF.rows(planted.profiles)].reset_index(drop=True)


def fractions(profiles, mode: str) -> dict[str, float]:
    table = fraction_retrieved(positions(profiles, (ORF,), Rules(mode), {})["positions"])
    return table.set_index("position")["fraction_retrieved"].to_dict()


def test_a_position_effect_alone_retrieves_the_same_position_and_not_another(positional):
    assert fractions(positional, "published") == {"same": 1.0, "different": 0.0}
    assert fractions(positional, "correct") == {"same": 1.0, "different": 0.0}


def test_published_counts_wells_as_classes_and_correct_counts_perturbations(positional):
    published = positions(positional, (ORF,), Rules("published"), {})["positions"]
    assert published.groupby("position").size().to_dict() == {"same": 320, "different": 160}
    assert published["label"].str.endswith("P04").sum() == 1
    assert set(published["n_candidates"][published["position"] == "same"]) == {61}
    correct = positions(positional, (ORF,), Rules("correct"), {})["positions"]
    assert correct.groupby("position").size().to_dict() == {"same": 160, "different": 160}
    assert set(correct.query("position == 'different'")["n_positives"]) == {2}


def test_the_true_p_of_a_perfect_match_in_one_position_is_one_in_sixty_one(positional):
    # which no correction over 320 queries survives unless a third of them are perfect, as here they all are
    correct = positions(positional, (ORF,), Rules("correct"), {})["positions"].query("position == 'same'")
    assert correct["p_min"].to_numpy() == pytest.approx(1 / 61)
    published = positions(positional, (ORF,), Rules("published"), {})["positions"].query("position == 'same'")
    assert published["p_min"].to_numpy() == pytest.approx(1 / 100_001)


def test_perturbations_in_one_position_only_are_not_asked(cpjump1):
    planted = simulate_profiles(cpjump1, n_features=20)
    condition = Condition(("compound", "A549", "short"))
    assert len(positions(planted.profiles, (condition,), Rules(), {})["positions"]) == 2 * 14
