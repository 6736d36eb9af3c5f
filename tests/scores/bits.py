"""Run as a program: select features and score, and keep every bit.

python -m tests.scores.bits PROFILES.npz OUTPUT.npz
"""

import sys

import numpy as np
import pandas as pd

from pipeline.config import SelectConfig
from pipeline.profiles.select import correlations, select_features
from pipeline.scores.detection import detection
from pipeline.scores.precision import cosine
from pipeline.scores.rules import MODES, Rules
from pipeline.scores.wells import conditions, feature_names
from tests.scores.small import screen

SAMPLES = {f"sample {k}": k / 8 for k in range(12)}

if __name__ == "__main__":
    source, output = sys.argv[1:]
    features = np.load(source)["features"]
    table = screen(SAMPLES, n_features=features.shape[1])
    names = feature_names(table)
    selected = select_features(features, names, SelectConfig())
    results = {
        "correlations": correlations(features),
        "cosines": cosine(np.nan_to_num(features), np.nan_to_num(features)),
        "selected": np.array(selected.kept),
    }
    table[names] = features
    table = table.drop(columns=[name for name in names if name not in selected.kept])
    for mode in MODES:
        for condition in conditions(table):
            for name, scored in detection(table, condition, Rules(mode)).items():
                for column in scored:
                    kept = scored[column]
                    is_number = pd.api.types.is_numeric_dtype(kept)
                    results[f"{mode} {name} {column}"] = kept.to_numpy() if is_number else kept.to_numpy().astype(str)
    np.savez(output, **results)
