from __future__ import annotations

import pandas as pd
import pytest

from pipeline.config import Screen, load_screen
from pipeline.simulate.profiles import Planted, simulate_profiles


@pytest.fixture(scope="session")
def cpjump1() -> Screen:
    return load_screen("cpjump1")


@pytest.fixture(scope="session")
def planted(cpjump1) -> Planted:
    """The 40 primary plates with their true layout; few features, so that all tasks are quick."""
    return simulate_profiles(cpjump1, n_features=120, active={"compound": 0.8, "crispr": 0.6, "orf": 0.3}, strength=1.5)


@pytest.fixture(scope="session")
def profiles(planted) -> pd.DataFrame:
    return planted.profiles
