"""Well profiles of a screen with its true layout and planted effects, whose right answers are known.

Every well is noise, plus what its plate, its position and its perturbation add. Perturbations of one gene share a
direction: compounds and guides along it, overexpression against it. What was planted is in `Planted.truth`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.scores.genes import genes_of
from pipeline.scores.load import LEVEL
from pipeline.screen import Plate, well_position
from pipeline.screen.columns import BATCH, MODALITY, PLATE, PLATE_KEY, SAMPLE, VARIANT, WELL, column_of
from pipeline.screen.conditions import Condition
from pipeline.screen.groups import primary_plates
from pipeline.screen.model import Screen
from pipeline.screen.spelling import is_negcon
from pipeline.screen.variants import well_annotations

#: Sign of a modality's effect along its gene's direction.
SIGN = {"orf": -1.0}


@dataclass(frozen=True)
class Planted:
    """`profiles`: one row a well, `Metadata_*` and features. `truth`: one row a condition and sample, with `strength`
    (length of its effect in units of the noise a feature; 0: inert) and `gene`, along whose direction it points.
    """

    profiles: pd.DataFrame
    truth: pd.DataFrame


def simulate_profiles(
    screen: Screen,
    *,
    plates: Collection[Plate] | None = None,
    n_features: int = 900,
    active: float | Mapping[str | Condition, float] = 0.5,
    strength: float = 1.0,
    likeness: float = 0.8,
    plate_effect: float = 0.1,
    position_effect: float = 0.0,
    seed: int = 0,
) -> Planted:
    """Profiles of these plates (None: the screen's primary plates), float64.

    active: share of perturbations with an effect, one number, or one for each modality or condition;
    `strength`: its size.
    likeness: cosine of a perturbation's direction with its gene's. position_effect: size of a pattern that each well
    position adds on every plate. Equal arguments give equal profiles, whichever plates are asked for.
    """
    wells = well_annotations(screen)
    keys = pd.MultiIndex.from_frame(wells[PLATE_KEY])
    if plates is None:
        wanted = pd.MultiIndex.from_frame(primary_plates(screen)[PLATE_KEY])
    else:
        wanted = pd.MultiIndex.from_tuples([tuple(plate) for plate in plates], names=["batch", "plate"])
    truth = _plant(screen, wells, active, strength, seed)
    wells = wells[keys.isin(wanted)].reset_index(drop=True)

    directions, patterns = _Directions(n_features, seed), _Directions(n_features, seed + 1)
    samples = truth.drop_duplicates([MODALITY, SAMPLE])
    own = directions(samples[MODALITY] + samples[SAMPLE])
    shared = directions(samples["gene"]) * samples[MODALITY].map(SIGN).fillna(1.0).to_numpy()[:, None]
    effect = likeness * shared + np.sqrt(1 - likeness**2) * own
    at = pd.MultiIndex.from_frame(samples[[MODALITY, SAMPLE]])
    row = at.get_indexer(pd.MultiIndex.from_frame(wells[[MODALITY, SAMPLE]]))
    strengths = wells.merge(truth, how="left", on=_sample_key(screen))["strength"].fillna(0).to_numpy()

    plate = wells[BATCH] + wells[PLATE]
    features = np.empty((len(wells), n_features))
    for name, rows in plate.groupby(plate).indices.items():
        rng = np.random.default_rng([seed, *str(name).encode()])
        features[rows] = rng.normal(size=(len(rows), n_features)) + plate_effect * rng.normal(size=n_features)
    affected = strengths > 0
    features[affected] += strengths[affected, None] * effect[row[affected]]
    if position_effect:
        positions = sorted(set(wells[WELL]), key=well_position)
        where = pd.Index(positions).get_indexer(wells[WELL])
        features += position_effect * patterns(pd.Series(positions))[where]
    names = [f"{('Cells', 'Cytoplasm', 'Nuclei')[i % 3]}_Simulated_{i:04d}" for i in range(n_features)]
    return Planted(pd.concat([wells, pd.DataFrame(features, columns=names)], axis=1), truth)


def write_gallery(profiles: pd.DataFrame, folder: Path, level: str = LEVEL, suffix: str = "parquet") -> None:
    """One file a plate in the gallery's layout; `suffix` "parquet" or "csv.gz" (five significant digits, as there)."""
    for (batch, plate), table in profiles.groupby(PLATE_KEY):
        path = folder / str(batch) / str(plate) / f"{plate}_{level}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == "parquet":
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False, float_format="%.5g")


class _Directions:
    """name -> a random direction, entries of variance 1, the same whoever else asks."""

    def __init__(self, n_features: int, seed: int) -> None:
        self.n_features, self.seed = n_features, seed

    def __call__(self, names: pd.Series) -> np.ndarray:
        codes, unique = pd.factorize(names)
        drawn = [
            np.random.default_rng([self.seed, 7, *str(name).encode()]).normal(size=self.n_features) for name in unique
        ]
        return np.array(drawn).reshape(-1, self.n_features)[codes]


def _sample_key(screen: Screen) -> list[str]:
    """The columns of a sample in a condition."""
    return [*map(column_of, screen.condition), VARIANT, SAMPLE]


def _plant(
    screen: Screen, wells: pd.DataFrame, active: float | Mapping[str | Condition, float], strength: float, seed: int
) -> pd.DataFrame:
    """Which samples act in which condition: exactly the share asked for, drawn once for the whole screen."""
    samples = wells[~is_negcon(wells) & (wells[SAMPLE] != "")]
    key = _sample_key(screen)
    samples = samples.drop_duplicates(key).reset_index(drop=True)
    # A compound of several targets points along one of them: the first in the alphabet.
    genes = [min(mine, default=name) for mine, name in zip(genes_of(samples), samples[SAMPLE], strict=True)]
    acts = np.zeros(len(samples), dtype=bool)
    rng = np.random.default_rng([seed, 1])
    keys = samples[key[:-1]].apply(tuple, axis=1)
    for parts, rows in keys.groupby(keys).indices.items():
        *values, variant = map(str, parts)  # type: ignore[call-overload]
        condition = Condition(tuple(values), variant, screen.condition)
        modality = condition.get("modality")
        share = active.get(condition, active.get(modality, 0.0)) if isinstance(active, Mapping) else active
        acts[rng.permutation(rows)[: round(share * len(rows))]] = True
    return samples[key].assign(gene=genes, strength=np.where(acts, strength, 0.0))
