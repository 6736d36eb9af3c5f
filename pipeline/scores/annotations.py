"""What the screen's own tables say of the wells, filled in where profiles do not say it themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.config import Screen
from pipeline.errors import ConfigError
from pipeline.plan.metadata import screen_plates, screen_wells
from pipeline.plan.subset import in_group
from pipeline.scores.wells import OPTIONAL, REQUIRED, text_of

#: The group of plates whose conditions the screen's scores are about, where it names one.
PRIMARY = "primary"

#: What makes a condition in every screen; the screen's other condition columns go into `variant`.
CONDITION = ("modality", "cell_type", "timepoint")

#: In what a plate outside the primary group can differ from the plates in it; then it is of another variant.
VARIANT_COLUMNS = ("Batch", "density_pct", "antibiotics", "cell_line", "imaging")

#: Where the screen's tables outrank the file: conditions, and targets, which the paper replaced after profiling.
SCREENS_OWN = {f"Metadata_{name}" for name in ("modality", "cell_type", "timepoint", "variant", "target_list")}


def primary_plates(screen: Screen) -> pd.DataFrame:
    """The plates of the screen's group "primary" (all plates where it has no such group), as `screen_plates`."""
    plates = screen_plates(screen)
    return plates[in_group(screen, plates, PRIMARY)] if PRIMARY in screen.groups else plates


def well_annotations(screen: Screen) -> pd.DataFrame:
    """One row a well of every plate of the screen, with the `Metadata_*` columns that scores use, all text.

    Raises `ConfigError` where the plate map of any plate cannot be read.
    """
    wells, findings = screen_wells(screen)
    if unusable := [finding.what for finding in findings if finding.kind == "plate_unusable"]:
        raise ConfigError(" ".join(unusable[:3]))
    wells = with_variants(wells, screen)
    return wells[[name for name in (*REQUIRED, *OPTIONAL) if name in wells]]


def with_variants(wells: pd.DataFrame, screen: Screen) -> pd.DataFrame:
    """The table with `Metadata_variant`: what sets a plate's condition apart besides CONDITION.

    That is the screen's other condition columns, and for plates outside its primary group also in what they differ from
    the primary plates of the same condition: they are not to be taken for replicates of those. "" for the rest.
    wells: `Metadata_Batch`, `Metadata_Plate` and the columns of the screen's plate table, one or more rows a plate.
    """
    key = ["Metadata_Batch", "Metadata_Plate"]
    plates = wells.drop_duplicates(key).reset_index(drop=True)
    primary = in_group(screen, plates, PRIMARY) if PRIMARY in screen.groups else np.ones(len(plates), dtype=bool)
    plates["Metadata_variant"] = _variants(
        plates, primary, [name for name in screen.condition if name not in CONDITION]
    )
    return wells.drop(columns="Metadata_variant", errors="ignore").merge(
        plates[[*key, "Metadata_variant"]], on=key, how="left"
    )


def annotate(profiles: pd.DataFrame, annotations: pd.DataFrame) -> pd.DataFrame:
    """Profiles with what they lack filled in from `well_annotations`, by batch, plate and well.

    What a file says stands, but for conditions and target lists (`SCREENS_OWN`).
    """
    key = [name for name in ("Metadata_Batch", "Metadata_Plate", "Metadata_Well") if name in profiles]
    here = profiles[key].astype(str).merge(annotations.drop_duplicates(key), on=key, how="left").fillna("")
    if (here["Metadata_broad_sample"] == "").all() and (text_of(profiles, "Metadata_broad_sample") == "").all():
        plates = ", ".join(sorted(set(profiles["Metadata_Plate"].astype(str)))[:3])
        raise ConfigError(f"Neither these profiles nor the screen's tables say what is on {plates}. Is it that screen?")
    columns = {}
    for name in annotations.columns.astype(str):
        screens, files = here[name].to_numpy(dtype=object), text_of(profiles, name)
        first, second = (screens, files) if name in SCREENS_OWN else (files, screens)
        columns[name] = np.where(first != "", first, second)
    rest = profiles.drop(columns=[name for name in columns if name in profiles])
    return pd.concat([pd.DataFrame(columns, index=profiles.index), rest], axis=1)


def _variants(plates: pd.DataFrame, primary: np.ndarray, others: list[str]) -> list[str]:
    """The variant of each plate, of one row each; `others`: columns that belong to the condition in any case."""
    if "Metadata_physical_plate" in plates:
        names = zip(plates["Metadata_Plate"], plates["Metadata_physical_plate"], strict=True)
        plates = plates.assign(Metadata_imaging=[plate.removeprefix(physical) for plate, physical in names])
    condition = [f"Metadata_{name}" for name in CONDITION if f"Metadata_{name}" in plates]
    compared = [name for name in VARIANT_COLUMNS if f"Metadata_{name}" in plates and name not in others]
    variants = []
    for is_primary, (_, plate) in zip(primary, plates.iterrows(), strict=True):
        parts = [f"{name} {plate[f'Metadata_{name}']}" for name in others]
        if not is_primary:
            usual = plates[primary & (plates[condition] == plate[condition]).all(axis=1)]
            unlike = [name for name in compared if plate[f"Metadata_{name}"] not in set(usual[f"Metadata_{name}"])]
            parts += [f"{name.lower()} {plate[f'Metadata_{name}']}" for name in unlike] or ["secondary"]
        variants.append(" ".join(parts))
    return variants
