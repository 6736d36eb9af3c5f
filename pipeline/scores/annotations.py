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

#: In what a plate outside that group can differ from the plates in it: another condition then, with a `variant`.
VARIANT_COLUMNS = ("Batch", "density_pct", "antibiotics", "cell_line", "imaging")

#: Where the screen's tables outrank the file: conditions, and targets, which the paper replaced after profiling.
SCREENS_OWN = {f"Metadata_{name}" for name in ("modality", "cell_type", "timepoint", "variant", "target_list")}


def primary_plates(screen: Screen) -> pd.DataFrame:
    """The plates of the screen's group "primary" (all plates where it has no such group), as `screen_plates`."""
    plates = screen_plates(screen)
    return plates[in_group(screen, plates, PRIMARY)] if PRIMARY in screen.groups else plates


def well_annotations(screen: Screen) -> pd.DataFrame:
    """One row a well of every plate of the screen, with the `Metadata_*` columns that scores use, all text."""
    plates = screen_plates(screen)
    wells, _ = screen_wells(screen, plates.assign(Metadata_variant=_variants(plates, primary_plates(screen).index)))
    return wells[[name for name in (*REQUIRED, *OPTIONAL) if name in wells]]


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


def _variants(plates: pd.DataFrame, primary: pd.Index) -> pd.Series:
    """ "" for primary plates; for others, in what they differ from the primary plates of their condition."""
    columns = {f"Metadata_{name}": name for name in VARIANT_COLUMNS}
    plates = plates.copy()
    if "Metadata_physical_plate" in plates:
        names = zip(plates["Metadata_Plate"], plates["Metadata_physical_plate"], strict=True)
        plates["Metadata_imaging"] = [plate.removeprefix(physical) for plate, physical in names]
    condition = [f"Metadata_{name}" for name in ("modality", "cell_type", "timepoint") if f"Metadata_{name}" in plates]
    variants = []
    for at, plate in plates.iterrows():
        usual = plates.loc[primary]
        usual = usual[(usual[condition] == plate[condition]).all(axis=1)]
        differences = [
            f"{name.lower()} {plate[column]}"
            for column, name in columns.items()
            if column in plates and plate[column] not in set(usual[column])
        ]
        variants.append("" if at in primary else " ".join(differences) or "secondary")
    return pd.Series(variants, index=plates.index)
