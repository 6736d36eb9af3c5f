"""Small screens for the score tests, made of numbers a reader can follow."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.screen import well_name


def screen(
    samples: dict[str, float],
    *,
    n_plates: int = 4,
    n_controls: int = 12,
    n_features: int = 40,
    seed: int = 0,
    modality: str = "compound",
    cell_type: str = "A549",
    timepoint: str = "short",
    targets: dict[str, str] | None = None,
) -> pd.DataFrame:
    """One condition: each sample once a plate, its own random direction times its strength, plus unit noise."""
    rng = np.random.default_rng(seed)
    directions = {sample: rng.normal(size=n_features) for sample in samples}
    rows, features = [], []
    for plate in range(1, n_plates + 1):
        for place, sample in enumerate([*samples, *[""] * n_controls]):
            is_control = sample == ""
            rows.append(
                {
                    "Metadata_Batch": "batch1",
                    "Metadata_Plate": f"{modality}{cell_type}{timepoint}{plate}",
                    "Metadata_Well": well_name(place // 24 + 1, place % 24 + 1),
                    "Metadata_broad_sample": sample,
                    "Metadata_control_type": "negcon" if is_control else "",
                    "Metadata_modality": modality,
                    "Metadata_cell_type": cell_type,
                    "Metadata_timepoint": timepoint,
                    "Metadata_gene": "" if modality == "compound" else (targets or {}).get(sample, ""),
                    "Metadata_target_list": (targets or {}).get(sample, "") if modality == "compound" else "",
                }
            )
            effect = 0 if is_control else samples[sample] * directions[sample]
            features.append(effect + rng.normal(size=n_features))
    table = pd.DataFrame(features, columns=[f"Cells_Feature_{i}" for i in range(n_features)])
    return pd.concat([pd.DataFrame(rows), table], axis=1)
