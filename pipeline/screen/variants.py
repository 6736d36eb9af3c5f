"""Plates that are no replicates of others of their condition: outside the primary group, or imaged again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.columns import (
    BATCH,
    CONDITION,
    GENE,
    IMAGING,
    PHYSICAL_PLATE,
    PLATE,
    PLATE_KEY,
    PLATE_MAP,
    SAMPLE,
    SAMPLE_NAME,
    TARGETS,
    VARIANT,
    WELL,
    column_of,
)
from pipeline.screen.conditions import REQUIRED
from pipeline.screen.doses import dose_columns
from pipeline.screen.groups import is_primary
from pipeline.screen.model import Screen
from pipeline.screen.spelling import text_of
from pipeline.screen.wells import screen_wells


def well_annotations(screen: Screen) -> pd.DataFrame:
    """One row a well of every plate of the screen, with the `Metadata_*` columns that scores use, all text.

    Raises `ConfigError` where the plate map of any plate cannot be read.
    """
    wells, findings = screen_wells(screen)
    if unusable := [finding.what for finding in findings if finding.kind == "plate_unusable"]:
        raise ConfigError(" ".join(unusable[:3]))
    wells = with_variants(wells, screen)
    names = [*REQUIRED, BATCH, *map(column_of, dict.fromkeys((*screen.condition, *CONDITION)))]
    names += [VARIANT, GENE, TARGETS, SAMPLE_NAME, *dose_columns(wells)]
    return wells[[name for name in dict.fromkeys(names) if name in wells]]


def with_variants(wells: pd.DataFrame, screen: Screen) -> pd.DataFrame:
    """The table with `Metadata_variant`: what sets a plate's condition apart besides the condition's own columns.

    That is in what a plate outside the primary group differs from the primary plates of its condition: it is not to be
    taken for a replicate of those. Nor is a plate imaged again one of its first imaging (see `imaged_again`). "" for
    the rest.
    wells: `Metadata_Batch`, `Metadata_Plate` and the columns of the screen's plate table, one or more rows a plate.
    """
    plates = wells.drop_duplicates(PLATE_KEY).reset_index(drop=True)
    plates[VARIANT] = _variants(plates, is_primary(screen, plates), screen)
    plates[VARIANT] = imaged_again(plates, screen.condition)
    rest = wells.drop(columns=VARIANT, errors="ignore")
    return rest.merge(plates[[*PLATE_KEY, VARIANT]], on=PLATE_KEY, how="left")


def _variants(plates: pd.DataFrame, primary: np.ndarray, screen: Screen) -> list[str]:
    """The variant of each plate, of one row each; `primary`: mask of those in the primary group."""
    if PHYSICAL_PLATE in plates:
        names = zip(plates[PLATE], plates[PHYSICAL_PLATE], strict=True)
        plates = plates.assign(**{IMAGING: [plate.removeprefix(physical) for plate, physical in names]})
    condition = [column for name in screen.condition if (column := column_of(name)) in plates]
    named = {name: column_of(name) for name in screen.variant if name not in screen.condition}
    compared = {name: column for name, column in named.items() if column in plates}
    variants = []
    for is_usual, (_, plate) in zip(primary, plates.iterrows(), strict=True):
        parts = []
        if not is_usual:
            usual = plates[primary & (plates[condition] == plate[condition]).all(axis=1)]
            unlike = [name for name, column in compared.items() if plate[column] not in set(usual[column])]
            parts = [f"{name} {plate[compared[name]]}" for name in unlike] or ["secondary"]
        variants.append(" ".join(parts))
    return variants


def imaged_again(plates: pd.DataFrame, columns: Sequence[str] = CONDITION) -> pd.Series:
    """The variant of each plate, with its batch (or, within a batch, its name) where another imaging of the same
    physical plate stands before it in the same condition: a well imaged twice is no replicate of itself.

    plates: one row an imaging. The same physical plate: `Metadata_physical_plate` where it is said, else the same name
    and plate map (`Metadata_plate_map_name`) in another batch. columns: those that make a condition.
    """
    named = plates[PLATE].astype(object)
    if PHYSICAL_PLATE in plates:
        named = plates[PHYSICAL_PLATE].astype(object).where(plates[PHYSICAL_PLATE] != "", named)
    condition = [*map(column_of, columns), VARIANT, PLATE_MAP]
    key = plates.reindex(columns=condition).fillna("").assign(physical=named)
    variants = plates[VARIANT].astype(object).copy()
    for rows in key.groupby(list(key), sort=False).indices.values():
        first, *others = plates.iloc[rows].index
        for row in others:
            batch, plate = map(str, plates.loc[row, PLATE_KEY])
            what = f"batch {batch}" if batch != str(plates.at[first, BATCH]) else f"plate {plate}"
            variants[row] = f"{variants[row]} {what}".strip()
    return variants


def with_imagings_apart(profiles: pd.DataFrame, columns: Sequence[str] = CONDITION) -> pd.DataFrame:
    """Profiles without a screen: those of a plate that was imaged again, in another batch, become a variant.

    The plate is taken for the same where it has the same name and most of the wells that both have hold the same.
    """
    if WELL not in profiles:
        return profiles
    texts = {name: text_of(profiles, name) for name in (*PLATE_KEY, *map(column_of, columns), VARIANT)}
    wells = pd.DataFrame({**texts, "well": text_of(profiles, WELL)}, dtype=object)
    wells["sample"] = text_of(profiles, SAMPLE)
    plates = wells.drop_duplicates(PLATE_KEY).reset_index(drop=True)
    if not plates[PLATE].duplicated().any():
        return profiles
    layouts = [of_plate.set_index("well")["sample"] for _, of_plate in wells.groupby(PLATE_KEY, sort=False)]
    names = plates[PLATE].tolist()
    first = [
        next(i for i in range(at + 1) if i == at or (name == names[i] and _same_layout(layouts[i], layouts[at])))
        for at, name in enumerate(names)
    ]
    plates[PLATE_MAP] = [str(i) for i in first]
    plates = plates.assign(**{VARIANT: imaged_again(plates, columns)})[[*PLATE_KEY, VARIANT]]
    variants = wells[PLATE_KEY].merge(plates, on=PLATE_KEY)[VARIANT]
    return profiles.assign(**{VARIANT: variants.to_numpy(dtype=object)})


def _same_layout(one: pd.Series, other: pd.Series) -> bool:
    both = one.index.intersection(other.index)
    return len(both) > 0 and bool((one[both] == other[both]).mean() > 0.5)
