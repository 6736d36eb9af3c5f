"""UMAP of well profiles (Fig. 2, Extended Data Figs. 5 to 10)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.scores.rules import Rules
from pipeline.scores.wells import MOSTLY_EMPTY, Condition, is_compound, wells_of

#: The seeds of the paper's notebooks: of Fig. 2, and of the figure of all plates.
MAIN_SEED, ALL_SEED = 157, 9000

#: Principal components that are embedded. The authors embedded all features: ten times slower, for the same picture.
COMPONENTS = 50

#: Wells below which there is nothing to embed.
FEWEST = 4


def figures(found: list[Condition]) -> list[tuple[Condition, ...]]:
    """What is embedded together: all conditions; and, as Fig. 2, compounds and CRISPR of the first cell type, long."""
    main = [
        c for c in found if c.timepoint == "long" and not c.variant and c.modality.lower() in ("compound", "crispr")
    ]
    main = [condition for condition in main if condition.cell_type == main[0].cell_type]
    alone = len({condition.modality for condition in main}) < 2
    return [tuple(found)] if alone or len(main) == len(found) else [tuple(main), tuple(found)]


def umap(profiles: pd.DataFrame, conditions: tuple[Condition, ...], rules: Rules) -> dict[str, pd.DataFrame]:
    """`umap`: one row a well, `figure` "main" (one cell type and time point) or "all", with its two coordinates.

    "main" holds all non-empty wells; published, without DMSO, whose missing name the authors' table lost. "all" is
    without negative controls. Rows are embedded in order of condition, plate and well, so that a seed gives one result
    on one machine; the authors shuffled them without a seed.

    Only finite values can be embedded: features that are not finite in all these wells are left out; where that leaves
    none, wells that are not finite in all features. No rows where fewer than FEWEST wells are left.
    """
    from sklearn.decomposition import PCA  # both take seconds to import
    from umap import UMAP

    is_main = len({(c.cell_type, c.timepoint) for c in conditions}) == 1
    metas, features = [], []
    for condition in conditions:
        wells = wells_of(profiles, condition, rules)
        shown = wells.finite.copy()
        if not is_main or (rules.published and is_compound(condition)):
            shown &= ~wells.is_negative_control
        metas.append(wells.meta[shown].assign(**condition.columns()))
        features.append(pd.DataFrame(wells.features[shown], columns=list(wells.names)))
    meta = pd.concat(metas, ignore_index=True)
    together = pd.concat(features, ignore_index=True, join="inner")
    rows, columns = embeddable(together.to_numpy())
    meta = meta[rows].reset_index(drop=True)
    names = dict.fromkeys(name for condition in conditions for name in condition.columns())
    seed = MAIN_SEED if is_main else ALL_SEED
    places = np.empty((len(meta), 2), dtype=np.float32)
    if len(meta):
        features = together.to_numpy()[np.ix_(rows, columns)]
        components = PCA(min(COMPONENTS, *features.shape), svd_solver="covariance_eigh").fit_transform(features)
        # Seeded UMAP runs in one thread in any case. It needs more points than neighbours.
        how = {"init": "pca" if components.shape[1] > 1 else "random", "n_neighbors": max(2, min(15, len(meta) - 1))}
        places = UMAP(random_state=seed, n_jobs=1, **how).fit_transform(components.astype(np.float32))
    table = pd.DataFrame(
        {
            "figure": "main" if is_main else "all",
            **{name: meta[name].fillna("") for name in names},
            "label": meta["Metadata_broad_sample"],
            "pert_iname": meta["Metadata_pert_iname"],
            "gene": meta["Metadata_gene"],
            "target_list": meta["Metadata_target_list"],
            "control_type": meta["Metadata_control_type"],
            "plate": meta["Metadata_Plate"],
            "well": meta["Metadata_Well"],
            "umap_1": places[:, 0],
            "umap_2": places[:, 1],
            "seed": seed,
            "mode": rules.mode,
        }
    )
    return {"umap": table}


def embeddable(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the wells and of the features that are finite together, no well where fewer than FEWEST are.

    features: float64 (wells, features). Wells that are mostly not finite go first, so that they do not cost features.
    """
    is_finite = np.isfinite(features)
    rows = is_finite.mean(axis=1) >= 1 - MOSTLY_EMPTY if features.size else np.zeros(len(features), dtype=bool)
    columns = is_finite[rows].all(axis=0)
    if not columns.any():
        rows, columns = is_finite.all(axis=1) & rows, np.ones_like(columns)
    return (rows if rows.sum() >= FEWEST else np.zeros_like(rows)), columns
