"""Run as a program: select features and score, and keep every bit.

python -m tests.scores.bits PROFILES.parquet OUTPUT.npz
"""

import sys

import numpy as np
import pandas as pd

from pipeline.config import SelectConfig
from pipeline.profiles.select import correlations, select_features
from pipeline.scores.registry import in_order, names, run_task
from pipeline.scores.rules import MODES
from pipeline.scores.wells import feature_names

#: whose coordinates are the machine's
APART = "umap"

if __name__ == "__main__":
    source, output = sys.argv[1:]
    profiles = pd.read_parquet(source)
    measured = feature_names(profiles)
    features = profiles[measured].to_numpy()
    selected = select_features(features, measured, SelectConfig())
    results = {"correlations": correlations(features), "selected": np.array(selected.kept)}
    profiles = profiles.drop(columns=[name for name in measured if name not in selected.kept])
    for mode in MODES:
        tables: dict[str, pd.DataFrame] = {}
        for task in in_order(names()):
            if task != APART:
                tables |= run_task(task, profiles, mode=mode, null_size=5000, tables=tables)
        for name, table in tables.items():
            for column in table:
                is_number = pd.api.types.is_numeric_dtype(table[column])
                kept = table[column].to_numpy()
                results[f"{mode} {name} {column}"] = kept if is_number else kept.astype(str)
    np.savez(output, **results)
