"""UMAP of well profiles (Fig. 2, Extended Data Figs. 5 to 10)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.scores.rules import Rules
from pipeline.scores.wells import Condition, is_compound, wells_of

#: The seeds of the paper's notebooks: of Fig. 2, and of the figure of all plates.
MAIN_SEED, ALL_SEED = 157, 9000

#: Principal components that are embedded. The authors embedded all features: ten times slower, for the same picture.
COMPONENTS = 50


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
    """
    from sklearn.decomposition import PCA  # both take seconds to import
    from umap import UMAP

    is_main = len({(c.cell_type, c.timepoint) for c in conditions}) == 1
    metas, features = [], []
    for condition in conditions:
        wells = wells_of(profiles, condition, rules)
        shown = wells.finite & np.isfinite(wells.features).all(axis=1)
        if not is_main or (rules.published and is_compound(condition)):
            shown &= ~wells.is_negative_control
        metas.append(wells.meta[shown].assign(**condition.columns()))
        features.append(pd.DataFrame(wells.features[shown], columns=list(wells.names)))
    meta = pd.concat(metas, ignore_index=True)
    together = pd.concat(features, ignore_index=True, join="inner")
    names = dict.fromkeys(name for condition in conditions for name in condition.columns())
    seed = MAIN_SEED if is_main else ALL_SEED
    components = PCA(min(COMPONENTS, *together.shape), svd_solver="covariance_eigh").fit_transform(together.to_numpy())
    # Seeded UMAP runs in one thread in any case. It needs more points than neighbours.
    embedding = UMAP(random_state=seed, n_jobs=1, init="pca", n_neighbors=max(2, min(15, len(meta) - 1)))
    places = embedding.fit_transform(components.astype(np.float32))
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
