"""What the screen's own tables say of the wells, filled in where profiles do not say it themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.config import Screen
from pipeline.errors import ConfigError
from pipeline.plan.metadata import screen_plates, screen_wells, usual_control
from pipeline.plan.subset import in_group
from pipeline.profiles.columns import dose_columns
from pipeline.scores.wells import OPTIONAL, PLATE, REQUIRED, text_of

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
    return wells[[name for name in (*REQUIRED, *OPTIONAL, *dose_columns(wells)) if name in wells]]


def with_variants(wells: pd.DataFrame, screen: Screen) -> pd.DataFrame:
    """The table with `Metadata_variant`: what sets a plate's condition apart besides CONDITION.

    That is the screen's other condition columns, and for plates outside its primary group also in what they differ from
    the primary plates of the same condition: they are not to be taken for replicates of those. Nor is a plate imaged
    again one of its first imaging (see `imaged_again`). "" for the rest.
    wells: `Metadata_Batch`, `Metadata_Plate` and the columns of the screen's plate table, one or more rows a plate.
    """
    key = ["Metadata_Batch", "Metadata_Plate"]
    plates = wells.drop_duplicates(key).reset_index(drop=True)
    primary = in_group(screen, plates, PRIMARY) if PRIMARY in screen.groups else np.ones(len(plates), dtype=bool)
    plates["Metadata_variant"] = _variants(
        plates, primary, [name for name in screen.condition if name not in CONDITION]
    )
    plates["Metadata_variant"] = imaged_again(plates)
    return wells.drop(columns="Metadata_variant", errors="ignore").merge(
        plates[[*key, "Metadata_variant"]], on=key, how="left"
    )


def imaged_again(plates: pd.DataFrame) -> pd.Series:
    """The variant of each plate, with its batch (or, within a batch, its name) where another imaging of the same
    physical plate stands before it in the same condition: a well imaged twice is no replicate of itself.

    plates: one row an imaging. The same physical plate: `Metadata_physical_plate` where it is said, else the same name
    and plate map (`Metadata_plate_map_name`) in another batch.
    """
    named = plates["Metadata_Plate"].astype(object)
    if "Metadata_physical_plate" in plates:
        named = plates["Metadata_physical_plate"].astype(object).where(plates["Metadata_physical_plate"] != "", named)
    condition = [f"Metadata_{name}" for name in (*CONDITION, "variant", "plate_map_name")]
    key = plates.reindex(columns=condition).fillna("").assign(physical=named)
    variants = plates["Metadata_variant"].astype(object).copy()
    for rows in key.groupby(list(key), sort=False).indices.values():
        first, *others = plates.iloc[rows].index
        for row in others:
            batch, plate = map(str, plates.loc[row, PLATE])
            what = f"batch {batch}" if batch != str(plates.at[first, "Metadata_Batch"]) else f"plate {plate}"
            variants[row] = f"{variants[row]} {what}".strip()
    return variants


def with_imagings_apart(profiles: pd.DataFrame) -> pd.DataFrame:
    """Profiles without a screen: those of a plate that was imaged again, in another batch, become a variant.

    The plate is taken for the same where it has the same name and most of the wells that both have hold the same.
    """
    if "Metadata_Well" not in profiles:
        return profiles
    texts = {
        name: text_of(profiles, name) for name in (*PLATE, *(f"Metadata_{name}" for name in (*CONDITION, "variant")))
    }
    wells = pd.DataFrame({**texts, "well": text_of(profiles, "Metadata_Well")}, dtype=object)
    wells["sample"] = text_of(profiles, "Metadata_broad_sample")
    plates = wells.drop_duplicates(PLATE).reset_index(drop=True)
    if not plates["Metadata_Plate"].duplicated().any():
        return profiles
    layouts = [of_plate.set_index("well")["sample"] for _, of_plate in wells.groupby(PLATE, sort=False)]
    names = plates["Metadata_Plate"].tolist()
    first = [
        next(i for i in range(at + 1) if i == at or (name == names[i] and _same_layout(layouts[i], layouts[at])))
        for at, name in enumerate(names)
    ]
    plates["Metadata_plate_map_name"] = [str(i) for i in first]
    variants = wells.merge(plates.assign(Metadata_variant=imaged_again(plates))[[*PLATE, "Metadata_variant"]], on=PLATE)
    return profiles.assign(Metadata_variant=variants["Metadata_variant_y"].to_numpy(dtype=object))


def _same_layout(one: pd.Series, other: pd.Series) -> bool:
    both = one.index.intersection(other.index)
    return len(both) > 0 and bool((one[both] == other[both]).mean() > 0.5)


def annotate(profiles: pd.DataFrame, annotations: pd.DataFrame) -> pd.DataFrame:
    """Profiles with what they lack filled in from `well_annotations`, by batch, plate and well.

    What a file says stands, but for conditions and target lists (`SCREENS_OWN`). Raises `ConfigError` where nobody says
    which well a row is of, or what is in the wells.
    """
    if "Metadata_Well" not in profiles:
        raise ConfigError("These profiles have no column Metadata_Well: nobody knows which well a row is of. Add it.")
    key = [name for name in ("Metadata_Batch", "Metadata_Plate", "Metadata_Well") if name in profiles]
    here = pd.DataFrame({name: text_of(profiles, name) for name in key}, dtype=object)
    here = here.merge(annotations.drop_duplicates(key), on=key, how="left").fillna("")
    if (here["Metadata_broad_sample"] == "").all() and (text_of(profiles, "Metadata_broad_sample") == "").all():
        plates = ", ".join(sorted(set(profiles["Metadata_Plate"].astype(str)))[:3])
        raise ConfigError(f"Neither these profiles nor the screen's tables say what is on {plates}. Is it that screen?")
    columns = {}
    for name in annotations.columns.astype(str):
        screens, files = here[name].to_numpy(dtype=object), text_of(profiles, name)
        first, second = (screens, files) if name in SCREENS_OWN else (files, screens)
        columns[name] = np.where(first != "", first, second)
    columns["Metadata_control_type"] = usual_control(columns["Metadata_control_type"])
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
