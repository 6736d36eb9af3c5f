"""What is in each well: plates table, plate maps and annotation tables, joined.

An empty sample is the trap here. On a compound map it means DMSO, on others an empty well; annotation tables write it
as "" or NA; and pandas joins missing to missing, so that DMSO becomes a negative control by accident, or is none. So
every table is read as text, empty stays "", the empty sample gets its name (or none) before anything is joined, and
no table joins on "".
"""

from __future__ import annotations

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.annotations import ANNOTATION, Samples, samples_of
from pipeline.screen.columns import BATCH, COLUMN, IMAGE_FOLDER, MODALITY, NEGCON, PLATE, PLATE_MAP, PREFIX, ROW, WELL
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.screen.plate_maps import is_empty_well, map_path, read_plate_map
from pipeline.screen.plates import plate_list, screen_plates, with_prefix
from pipeline.screen.spelling import usual_control


def screen_wells(screen: Screen, plates: pd.DataFrame | None = None) -> tuple[pd.DataFrame, list[Finding]]:
    """All wells on the plate maps of these plates (default: all the screen's), annotated; one row a well.

    Metadata_Batch, Metadata_Plate, Metadata_Well, Metadata_Row, Metadata_Column (int, from 1), the plate's columns,
    and as Metadata_<column> what plate map and annotation tables say. All text, "" where nothing is known.
    Wells without a sample have Metadata_broad_sample "" and Metadata_pert_type "empty".

    A plate whose map cannot be read is a finding (`plate_unusable`) and has no wells; so is a plate without a map
    (`plate_without_map`). Raises `ConfigError` where no plate has a map that can be read.
    """
    plates = screen_plates(screen) if plates is None else plates
    has_maps = screen.platemaps is not None
    if has_maps and screen.plates is None:
        raise ConfigError("The screen has platemaps and no plates table, which says which plate has which map.")
    if has_maps and PLATE_MAP not in plates:
        raise ConfigError(
            f"{screen.plates} has no column plate_map_name, which names the plate map in platemaps. If it has another "
            "name, say so in the screen: `columns: {plate_map_name: <its name>}`."
        )
    if any(table.modality for table in screen.perturbations) and MODALITY not in plates and len(plates):
        raise ConfigError(f"{screen.plates} has no column modality, by which an annotation table finds its plates.")
    by = [column for column in (PLATE_MAP, MODALITY) if column in plates]
    maps, findings = _annotated_maps(screen, plates, by) if has_maps and len(plates) else ([], [])
    unusable = [finding for finding in findings if finding.kind == "plate_unusable"]
    if unusable and len(unusable) == len(plates):
        raise ConfigError(" ".join(finding.what for finding in unusable[:3]))
    columns = [WELL, ROW, COLUMN, *(f"{PREFIX}{name}" for name in ANNOTATION)]
    if not maps:
        return plates.iloc[:0].reindex(columns=[*plates.columns, *columns]), findings
    annotated = pd.concat(maps, ignore_index=True)
    texts = annotated.columns.difference([ROW, COLUMN])
    annotated[texts] = annotated[texts].fillna("")  # columns that only another map has
    # The plate knows best what it is: a column of the plates table hides one of the same name on a map.
    annotated = annotated[[name for name in annotated if name in by or name not in plates]]
    plates = plates.drop(columns=IMAGE_FOLDER, errors="ignore")
    wells = plates.assign(order=range(len(plates))).merge(annotated, on=by)
    wells = wells.sort_values(["order", ROW, COLUMN], ignore_index=True).drop(columns="order")
    front = [BATCH, PLATE, *columns]
    return wells[front + [name for name in wells if name not in front]], findings


def _annotated_maps(screen: Screen, plates: pd.DataFrame, by: list[str]) -> tuple[list[pd.DataFrame], list[Finding]]:
    """Each plate map that these plates have, annotated, with the columns `by` of its plates."""
    maps: list[pd.DataFrame] = []
    findings: list[Finding] = []
    samples: dict[str, Samples] = {}
    for values, own in plates.groupby(by, sort=False):
        row = dict(zip(by, map(str, values), strict=True))
        name, modality = row[PLATE_MAP], row.get(MODALITY, "")
        if not name:
            why = "has no plate map (no plate_map_name): nobody knows what is in its wells."
            findings += [Finding("plate_without_map", *plate, f"{plate} {why}") for plate in plate_list(own)]
            continue
        if modality not in samples:
            samples[modality] = samples_of(screen, modality)
        try:
            wells, unknown = annotated_map(screen, name, samples[modality])
        except ConfigError as error:
            why = f"cannot be planned: {error}"
            findings += [Finding("plate_unusable", *plate, f"{plate} {why}") for plate in plate_list(own)]
            continue
        maps.append(wells.assign(**row))
        for sample in unknown:
            where = f"Plate map {name}" + (f" of {modality} plates" if modality else "")
            what = f"{where} holds {sample}, which no annotation table describes."
            findings.append(Finding("sample_unknown", "", "", what))
    return maps, findings


def annotated_map(screen: Screen, name: str, samples: Samples) -> tuple[pd.DataFrame, list[str]]:
    """One plate map joined to what is known of its samples, and its samples of which nothing is."""
    negcon = samples.negcon
    annotation = pd.DataFrame({"broad_sample": []}, dtype="str") if samples.table is None else samples.table
    wells = read_plate_map(map_path(screen, name), samples.key)
    # Here the empty sample gets its name, on both sides of the join.
    unnamed = wells["broad_sample"].isin({"", *samples.missing})
    is_empty = unnamed & is_empty_well(wells, samples.missing)
    wells["broad_sample"] = wells["broad_sample"].mask(unnamed, negcon).mask(is_empty, "")
    joined = wells.merge(annotation, on="broad_sample", how="left", suffixes=("", " (table)"), validate="m:1").fillna(
        ""
    )
    for column in [name for name in joined.columns if name.endswith(" (table)")]:
        own = column.removesuffix(" (table)")  # the map speaks of this very well, the table of the sample anywhere
        joined[own] = joined[own].where(joined[own] != "", joined.pop(column))
    for column in ANNOTATION:
        if column not in joined:
            joined[column] = ""
    is_empty, is_negcon = joined["broad_sample"] == "", (joined["broad_sample"] == negcon) & (negcon != "")
    joined["control_type"] = usual_control(joined["control_type"])
    joined.loc[is_negcon, "control_type"] = NEGCON
    joined.loc[is_empty, "pert_type"] = "empty"
    described = {*annotation["broad_sample"], "", negcon}
    unknown = sorted(set(joined["broad_sample"]) - described) if samples.table is not None else []
    # Plate and batch are those of the plates table; in other tables such columns speak of other plates.
    joined = joined.drop(columns=[name for name in joined.columns if name.lower() in ("batch", "plate")])
    return with_prefix(joined), unknown
