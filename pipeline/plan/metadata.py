"""What is in each well: plates table, plate maps and annotation tables, joined.

An empty sample is the trap here. On a compound map it means DMSO, on others an empty well; annotation tables write it
as "" or NA; and pandas joins missing to missing, so that DMSO becomes a negative control by accident, or is none. So
every table is read as text, empty stays "", the empty sample gets its name (or none) before anything is joined, and
no table joins on "".
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import PerturbationTable, Screen
from pipeline.errors import ConfigError
from pipeline.plan.checks import Finding
from pipeline.screen import Plate, plate_size, well_name, well_position

#: columns every wells table has, "" where a screen's tables have no such column
ANNOTATION = ("broad_sample", "control_type", "pert_type", "pert_iname", "gene", "target_list")

_WELL_COLUMNS = ("well_position", "Metadata_Well", "Well", "well")


def screen_plates(screen: Screen) -> pd.DataFrame:
    """The plates table, one row an imaging of a plate: Metadata_Batch, Metadata_Plate, the rest as Metadata_<column>.

    All text. Empty where the screen has no plates table.
    """
    condition = list(screen.condition)
    if screen.plates is None:
        return pd.DataFrame(columns=["batch", "plate", *condition], dtype="str").pipe(_with_prefix)
    table = rename(read_table(screen.plates), screen.columns, f"{screen.plates}")
    if "batch" not in table and screen.batch is not None:
        table["batch"] = screen.batch
    for column in ("batch", "plate"):
        if column not in table or (table[column] == "").any():
            raise ConfigError(
                f"{screen.plates}: each row needs a {column}. Columns: {', '.join(table.columns)}. A column of "
                f"another name is given in the screen as `columns: {{{column}: <its name>}}`."
            )
    if unknown := [column for column in condition if column not in table]:
        raise ConfigError(
            f"{screen.plates} has no column {', '.join(unknown)}, of which the screen makes its conditions. It has: "
            f"{', '.join(table.columns)}. Name the column (`columns: {{{unknown[0]}: <its name>}}`) or change "
            "`condition`."
        )
    if (twice := table.duplicated(["batch", "plate"])).any():
        raise ConfigError(f"{screen.plates} has plate {'/'.join(table.loc[twice, ['batch', 'plate']].iloc[0])} twice.")
    front = ["batch", "plate", *condition]
    return table[front + [column for column in table.columns if column not in front]].pipe(_with_prefix)


def screen_wells(screen: Screen, plates: pd.DataFrame | None = None) -> tuple[pd.DataFrame, list[Finding]]:
    """All wells on the plate maps of these plates (default: all the screen's), annotated; one row a well.

    Metadata_Batch, Metadata_Plate, Metadata_Well, Metadata_Row, Metadata_Column (int, from 1), the plate's columns,
    and as Metadata_<column> what plate map and annotation tables say. All text, "" where nothing is known.
    Wells without a sample have Metadata_broad_sample "" and Metadata_pert_type "empty".
    """
    plates = screen_plates(screen) if plates is None else plates
    has_maps = screen.platemaps is not None
    if has_maps and screen.plates is None:
        raise ConfigError("The screen has platemaps and no plates table, which says which plate has which map.")
    if has_maps and "Metadata_plate_map_name" not in plates:
        raise ConfigError(f"{screen.plates} has no column plate_map_name, which names the plate map in platemaps.")
    if any(table.modality for table in screen.perturbations) and "Metadata_modality" not in plates and len(plates):
        raise ConfigError(f"{screen.plates} has no column modality, by which an annotation table finds its plates.")
    maps, findings = [], []
    by = [column for column in ("Metadata_plate_map_name", "Metadata_modality") if column in plates]
    for values in plates[by].drop_duplicates().itertuples(index=False) if has_maps and len(plates) else []:
        row = dict(zip(by, values, strict=True))
        name, modality = row["Metadata_plate_map_name"], row.get("Metadata_modality", "")
        if name:
            wells, unknown = annotated_map(screen, name, modality)
            maps.append(wells.assign(**row))
            for sample in unknown:
                where = f"Plate map {name}" + (f" of {modality} plates" if modality else "")
                what = f"{where} holds {sample}, which no annotation table describes."
                findings.append(Finding("sample_unknown", "", "", what))
    columns = ["Metadata_Well", "Metadata_Row", "Metadata_Column", *(f"Metadata_{name}" for name in ANNOTATION)]
    if not maps:
        return plates.iloc[:0].reindex(columns=[*plates.columns, *columns]), findings
    annotated = pd.concat(maps, ignore_index=True)
    texts = annotated.columns.difference(["Metadata_Row", "Metadata_Column"])
    annotated[texts] = annotated[texts].fillna("")  # columns that only another map has
    # The plate knows best what it is: a column of the plates table hides one of the same name on a map.
    annotated = annotated[[name for name in annotated if name in by or name not in plates]]
    plates = plates.drop(columns="Metadata_image_folder", errors="ignore")
    wells = plates.assign(order=range(len(plates))).merge(annotated, on=by)
    wells = wells.sort_values(["order", "Metadata_Row", "Metadata_Column"], ignore_index=True).drop(columns="order")
    front = ["Metadata_Batch", "Metadata_Plate", *columns]
    return wells[front + [name for name in wells if name not in front]], findings


def annotated_map(screen: Screen, name: str, modality: str) -> tuple[pd.DataFrame, list[str]]:
    """One plate map joined to the annotation tables of this modality, and its samples that no table describes."""
    tables = [table for table in screen.perturbations if table.modality in (None, modality)]
    keys = {table.key for table in tables} or {"broad_sample"}
    negcons = {table.negcon_name for table in tables if table.negcon_name} or {""}
    if len(keys) > 1 or len(negcons) > 1:
        raise ConfigError(
            f"The annotation tables for plates of modality {modality!r} name several keys ({', '.join(sorted(keys))}) "
            f"or negative controls ({', '.join(sorted(negcons))}). Give each table its `modality`."
        )
    (key,), (negcon,) = keys, negcons
    missing = {text for table in tables for text in table.missing}
    wells = read_plate_map(_map_path(screen, name), key)
    # Here the empty sample gets its name, on both sides of the join.
    unnamed = wells["broad_sample"].isin({"", *missing})
    wells["broad_sample"] = (
        wells["broad_sample"].mask(unnamed, negcon).mask(unnamed & is_empty_well(wells, missing), "")
    )
    annotation = (
        pd.concat([read_annotation(table) for table in tables]) if tables else pd.DataFrame({"broad_sample": []})
    )
    annotation = annotation.fillna("")
    if (twice := annotation["broad_sample"].duplicated()).any():
        raise ConfigError(
            f"{annotation.loc[twice, 'broad_sample'].iloc[0]} has several rows in "
            f"{', '.join(str(table.table) for table in tables)}; a sample has one."
        )
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
    joined.loc[is_negcon, "control_type"] = "negcon"
    joined.loc[is_empty, "pert_type"] = "empty"
    described = {*annotation["broad_sample"], "", negcon}
    unknown = sorted(set(joined["broad_sample"]) - described) if tables else []
    return _with_prefix(joined), unknown


def is_empty_well(wells: pd.DataFrame, missing: Collection[str]) -> np.ndarray:
    """Of wells without a sample: those that hold nothing, where on the same map others hold a negative control.

    A plate map says so in `control_type` or `pert_type` ("empty"), or in `solvent`: the well has none ("" or one of
    `missing`), and others without a sample have one. wells: as `read_plate_map`.
    """
    none = {"", *missing}
    unnamed = wells["broad_sample"].isin(none)
    says_so = np.zeros(len(wells), dtype=bool)
    for column in ("control_type", "pert_type"):
        if column in wells:
            says_so |= (wells[column].str.lower() == "empty").to_numpy()
    if "solvent" in wells:
        dry = wells["solvent"].isin(none | {"none", "empty"})
        if (unnamed & ~dry).any():
            says_so |= dry.to_numpy()
    return says_so


def usual_control(kinds: pd.Series | np.ndarray) -> np.ndarray:
    """Types of controls, with a negative control spelt `negcon`, however its letters are written."""
    texts = pd.Series(kinds, dtype=object)
    return texts.mask(texts.str.lower() == "negcon", "negcon").to_numpy(dtype=object)


def read_plate_map(path: Path, key: str) -> pd.DataFrame:
    """Well, Row, Column, broad_sample (the column `key`) and what else the map says of each well."""
    table = read_table(path)
    well = next((column for column in _WELL_COLUMNS if column in table), None)
    if well is None or key not in table:
        raise ConfigError(
            f"{path} needs the columns well_position and {key}; it has {', '.join(table.columns)}. The column that "
            "names the sample is the `key` of its annotation table."
        )
    table = table.rename(columns={key: "broad_sample"})
    try:
        positions = [well_position(name) for name in table.pop(well)]
        plate_size([well_name(*position) for position in positions])
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    table.insert(0, "Well", [well_name(*position) for position in positions])
    table.insert(1, "Row", [row for row, _ in positions])
    table.insert(2, "Column", [column for _, column in positions])
    if (twice := table["Well"].duplicated()).any():
        raise ConfigError(f"{path} has well {table.loc[twice, 'Well'].iloc[0]} twice.")
    return table


def read_annotation(table: PerturbationTable) -> pd.DataFrame:
    """One row a sample, by `broad_sample`, never ""."""
    values = rename(read_table(table.table), table.columns, str(table.table))
    if table.key not in values:
        raise ConfigError(
            f"{table.table} has no column {table.key}; it has {', '.join(values.columns)}. Set its `key`."
        )
    values = values.rename(columns={table.key: "broad_sample"}).replace(dict.fromkeys(table.missing, ""))
    values["broad_sample"] = values["broad_sample"].where(values["broad_sample"] != "", table.negcon_name or "")
    return values[values["broad_sample"] != ""]


def read_table(path: Path) -> pd.DataFrame:
    """A CSV (.csv) or tab-separated file, all text, without spaces around values; empty is ""."""
    separator = "," if ".csv" in path.suffixes else "\t"
    try:
        table = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}") from None
    table.columns = table.columns.str.strip()
    return table.apply(lambda column: column.str.strip())


def rename(table: pd.DataFrame, columns: dict[str, str], where: str) -> pd.DataFrame:
    """`columns`: our name -> the table's. A column that has our name already is replaced."""
    for theirs in columns.values():
        if theirs not in table:
            raise ConfigError(f"{where} has no column {theirs!r}.{nearest(theirs, table)}")
    kept = table.drop(columns=[ours for ours in columns if ours in table and ours not in columns.values()])
    return kept.rename(columns={theirs: ours for ours, theirs in columns.items()})


def plate_list(plates: pd.DataFrame) -> list[Plate]:
    return [Plate(*row) for row in plates[["Metadata_Batch", "Metadata_Plate"]].itertuples(index=False)]


def nearest(name: str, names: object) -> str:
    near = difflib.get_close_matches(name, list(map(str, names)), n=1, cutoff=0.0)  # type: ignore[call-overload]
    return f" Nearest: {near[0]!r}." if near else ""


def _map_path(screen: Screen, name: str) -> Path:
    assert screen.platemaps is not None
    paths = [screen.platemaps / f"{name}{suffix}" for suffix in (".txt", ".tsv", ".csv")]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise ConfigError(
            f"Plate map {name} is not in {screen.platemaps}: there is no {paths[0].name} (or .tsv, .csv)."
        )
    return found


def _with_prefix(table: pd.DataFrame) -> pd.DataFrame:
    names = {"batch": "Metadata_Batch", "plate": "Metadata_Plate"}
    return table.rename(columns=lambda name: names.get(name, f"Metadata_{name}"))
