"""Neither the features that are selected nor the scores hang on the processor, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.scores.wells import feature_names
from tests.processors import OLDEST, PROCESSORS, assert_same_bits, run, skip_if_lacking, x86_only
from tests.scores import bits
from tests.scores.small import screen

pytestmark = x86_only

PROGRAM = Path(bits.__file__)
#: kernels have nothing to do with it
KINDS = [name for name in PROCESSORS if not name.startswith("Numba")]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory) -> str:
    """Compounds and reagents of twelve genes; 300 features, which resemble each other, some with missing values."""
    genes = {f"gene {k}": k / 8 for k in range(12)}
    compounds = {f"compound {k}": k / 16 for k in range(24)}
    targets = {name: f"gene {k % 12}" for k, name in enumerate(compounds)}
    table = pd.concat(
        [
            screen(compounds, n_features=300, targets=targets),
            screen(genes, n_features=300, modality="crispr", targets={gene: gene for gene in genes}, seed=1),
        ],
        ignore_index=True,
    )
    names = feature_names(table)
    features = table[names].to_numpy(copy=True)
    random = np.random.default_rng(0)
    features[:, 1::3] = features[:, 0::3] + 0.5 * features[:, 1::3]
    features[:, 2::15][random.random((len(features), 20)) < 0.03] = np.nan
    table[names] = features
    path = tmp_path_factory.mktemp("profiles") / "profiles.parquet"
    table.to_parquet(path)
    return str(path)


@pytest.fixture(scope="module")
def here(tmp_path_factory, profiles):
    return run(PROGRAM, profiles, folder=tmp_path_factory.mktemp("here"), environment={})


def test_features_and_scores_are_the_same_bits_on_the_oldest_processor(tmp_path, profiles, here):
    assert 50 < len(here["selected"]) < 280
    assert len({name.split()[1] for name in here if name.startswith("correct ")}) > 10  # tables
    old = {name: value for name, value in OLDEST.items() if not name.startswith("NUMBA")}
    assert_same_bits(run(PROGRAM, profiles, folder=tmp_path, environment=old), here)


@pytest.mark.slow
@pytest.mark.parametrize("processor", KINDS)
def test_features_and_scores_are_the_same_bits_on_every_processor(tmp_path, profiles, here, processor):
    skip_if_lacking(processor)
    assert_same_bits(run(PROGRAM, profiles, folder=tmp_path, environment=PROCESSORS[processor]), here)
