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
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.config import PerturbationTable, Screen
from pipeline.errors import ConfigError
from pipeline.plan.checks import Finding
from pipeline.screen import Plate, name_fault, plate_size, well_name, well_position
from pipeline.text_table import read_text_table, some_columns

#: columns every wells table has, "" where a screen's tables have no such column
ANNOTATION = ("broad_sample", "control_type", "pert_type", "pert_iname", "gene", "target_list")

#: endings of plate maps, in their folder
MAP_SUFFIXES = (".txt", ".tsv", ".csv")

#: the column of a plate map that names the well, in any case; the first that is there
_WELL_COLUMNS = ("well_position", "metadata_well", "well")
#: columns of one well, which the row of a plate cannot have
_OF_WELLS = ("Well", "Row", "Column", "broad_sample")


def screen_plates(screen: Screen) -> pd.DataFrame:
    """The plates table, one row an imaging of a plate: Metadata_Batch, Metadata_Plate, the rest as Metadata_<column>.

    All text. Empty where the screen has no plates table. Raises `ConfigError` where it, or any row of it, leaves open
    what is meant.
    """
    table, findings = plates_table(screen)
    if findings:
        raise ConfigError(" ".join(finding.what for finding in findings[:3]))
    return table


def plates_table(screen: Screen) -> tuple[pd.DataFrame, list[Finding]]:
    """The table of `screen_plates` without the rows that leave open what is meant, and these as findings."""
    condition = list(screen.condition)
    if screen.plates is None:
        return pd.DataFrame(columns=["batch", "plate", *condition], dtype="str").pipe(_with_prefix), []
    table = _one_of_each(rename(read_table(screen.plates), screen.columns, f"{screen.plates}"), screen)
    if "batch" not in table and screen.batch is not None and _alike("batch", table) is None:
        table["batch"] = screen.batch
    for column in ("batch", "plate"):
        if column not in table:
            raise ConfigError(
                f"{screen.plates}: each row needs a {column}. Columns: {some_columns(table.columns)}. A column of "
                "another name is given in the screen as "
                f"`columns: {{{column}: {_alike(column, table) or '<its name>'}}}`."
            )
    if unknown := [column for column in condition if column not in table]:
        raise ConfigError(
            f"{screen.plates} has no column {', '.join(unknown)}, of which the screen makes its conditions. It has: "
            f"{some_columns(table.columns)}. Name the column (`columns: {{{unknown[0]}: "
            f"{_alike(unknown[0], table) or '<its name>'}}}`) or change `condition`."
        )
    if of_wells := [column for column in _OF_WELLS if column in table]:
        raise ConfigError(
            f"{screen.plates} has a column {of_wells[0]}, and its rows are plates, not wells. Rename it, or move it to "
            "the plate maps."
        )
    front = ["batch", "plate", *condition]
    table = table[front + [column for column in table.columns if column not in front]].drop_duplicates()
    bad, findings = _bad_rows(table, f"{screen.plates}")
    return table[~bad].reset_index(drop=True).pipe(_with_prefix), findings


def _one_of_each(table: pd.DataFrame, screen: Screen) -> pd.DataFrame:
    """Without a second column for batch or plate that differs in case only and says the same."""
    for ours in ("batch", "plate"):
        theirs = ours.capitalize()  # the other name that becomes Metadata_Batch, Metadata_Plate
        if ours in table and theirs in table:
            unlike = table[ours] != table[theirs]
            if unlike.any() and ours not in screen.columns:
                row = table[unlike].iloc[0]
                raise ConfigError(
                    f"{screen.plates} has the columns {ours} and {theirs}, with {row[ours]!r} and {row[theirs]!r} in "
                    f"line {row.name}. Delete one, or name the one to take, as `columns: {{{ours}: {theirs}}}` in the "
                    "screen."
                )
            table = table.drop(columns=theirs)
    return table


def _bad_rows(table: pd.DataFrame, where: str) -> tuple[pd.Series, list[Finding]]:
    """Rows that name no plate, or one that other rows describe otherwise."""
    findings = []
    lacks = (table[["batch", "plate"]] == "").any(axis=1)
    for line, batch, plate in table.loc[lacks, ["batch", "plate"]].itertuples(name=None):
        what = f"{where}, line {line}: each row needs a {'plate' if batch else 'batch'}, and this one has none."
        findings.append(Finding("plate_unusable", batch, plate, what))
    twice = table.duplicated(["batch", "plate"], keep=False) & ~lacks
    for key, rows in table[twice].groupby(["batch", "plate"], sort=False):
        one, other = rows.iloc[0], rows.iloc[1]
        column = str((one != other).idxmax())
        what = (
            f"{where} has plate {'/'.join(map(str, key))} twice, with {column} {one[column]!r} in line {one.name} and "
            f"{other[column]!r} in line {other.name}. Delete one."
        )
        findings.append(Finding("plate_unusable", one["batch"], one["plate"], what))
    return lacks | twice, findings


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
    if has_maps and "Metadata_plate_map_name" not in plates:
        raise ConfigError(
            f"{screen.plates} has no column plate_map_name, which names the plate map in platemaps. If it has another "
            "name, say so in the screen: `columns: {plate_map_name: <its name>}`."
        )
    if any(table.modality for table in screen.perturbations) and "Metadata_modality" not in plates and len(plates):
        raise ConfigError(f"{screen.plates} has no column modality, by which an annotation table finds its plates.")
    by = [column for column in ("Metadata_plate_map_name", "Metadata_modality") if column in plates]
    maps, findings = _annotated_maps(screen, plates, by) if has_maps and len(plates) else ([], [])
    unusable = [finding for finding in findings if finding.kind == "plate_unusable"]
    if unusable and len(unusable) == len(plates):
        raise ConfigError(" ".join(finding.what for finding in unusable[:3]))
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


def _annotated_maps(screen: Screen, plates: pd.DataFrame, by: list[str]) -> tuple[list[pd.DataFrame], list[Finding]]:
    """Each plate map that these plates have, annotated, with the columns `by` of its plates."""
    maps: list[pd.DataFrame] = []
    findings: list[Finding] = []
    samples: dict[str, Samples] = {}
    for values, own in plates.groupby(by, sort=False):
        row = dict(zip(by, map(str, values), strict=True))
        name, modality = row["Metadata_plate_map_name"], row.get("Metadata_modality", "")
        if not name:
            why = "has no plate map (no plate_map_name): nobody knows what is in its wells."
            findings += [Finding("plate_without_map", *plate, f"{plate} {why}") for plate in plate_list(own)]
            continue
        if modality not in samples:
            samples[modality] = _samples(screen, modality)
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


class Samples(NamedTuple):
    """What the annotation tables of one modality say. `key`: the column of a plate map that names the sample;
    `negcon`: the name of the empty sample, or ""; `missing`: texts that mean no value; `table`: one row a sample, None
    where there is no annotation table.
    """

    key: str
    negcon: str
    missing: set[str]
    table: pd.DataFrame | None


def _samples(screen: Screen, modality: str) -> Samples:
    tables = [table for table in screen.perturbations if table.modality in (None, modality)]
    keys = {table.key for table in tables} or {"broad_sample"}
    negcons = {table.negcon_name for table in tables if table.negcon_name} or {""}
    if len(keys) > 1 or len(negcons) > 1:
        raise ConfigError(
            f"The annotation tables for plates of modality {modality!r} name several keys ({', '.join(sorted(keys))}) "
            f"or negative controls ({', '.join(sorted(negcons))}). Give each table its `modality`."
        )
    (key,), (negcon,) = keys, negcons
    if not tables:
        return Samples(key, negcon, set(), None)
    annotation = pd.concat([read_annotation(table) for table in tables]).fillna("")
    if (twice := annotation["broad_sample"].duplicated()).any():
        raise ConfigError(
            f"{annotation.loc[twice, 'broad_sample'].iloc[0]} has several rows in "
            f"{', '.join(str(table.table) for table in tables)}; a sample has one."
        )
    return Samples(key, negcon, {text for table in tables for text in table.missing}, annotation)


def annotated_map(screen: Screen, name: str, samples: Samples) -> tuple[pd.DataFrame, list[str]]:
    """One plate map joined to what is known of its samples, and its samples of which nothing is."""
    negcon = samples.negcon
    annotation = pd.DataFrame({"broad_sample": []}, dtype="str") if samples.table is None else samples.table
    wells = read_plate_map(_map_path(screen, name), samples.key)
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
    joined.loc[is_negcon, "control_type"] = "negcon"
    joined.loc[is_empty, "pert_type"] = "empty"
    described = {*annotation["broad_sample"], "", negcon}
    unknown = sorted(set(joined["broad_sample"]) - described) if samples.table is not None else []
    # Plate and batch are those of the plates table; in other tables such columns speak of other plates.
    joined = joined.drop(columns=[name for name in joined.columns if name.lower() in ("batch", "plate")])
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
    """Well, Row, Column, broad_sample (the column `key`) and what else the map says of each well.

    Columns of the map that are called Well, Row and Column give way to these.
    """
    table = in_our_case(read_table(path), (key, *ANNOTATION, "solvent"), f"{path}")
    named = [column for name in _WELL_COLUMNS for column in table.columns if column.lower() == name]
    if not named or key not in table:
        raise ConfigError(
            f"{path} needs the columns well_position and {key}; it has {some_columns(table.columns)}. The column that "
            "names the sample is the `key` of its annotation table."
        )
    positions = {line: _position(name, f"{path}, line {line}") for line, name in table[named[0]].items()}
    for other in named[1:]:
        for (line, position), one, two in zip(positions.items(), table[named[0]], table[other], strict=True):
            if _is_another_well(two, position):
                raise ConfigError(f"{path}, line {line}: {named[0]} is {one}, and {other} is {two}.")
    try:
        wells = [well_name(*position) for position in positions.values()]
        plate_size(wells)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    table = rename(table, {"broad_sample": key}, f"{path}").drop(columns=[named[0], *_OF_WELLS[:3]], errors="ignore")
    table.insert(0, "Well", wells)
    table.insert(1, "Row", [row for row, _ in positions.values()])
    table.insert(2, "Column", [column for _, column in positions.values()])
    if (twice := table["Well"].duplicated()).any():
        raise ConfigError(f"{path} has well {table.loc[twice, 'Well'].iloc[0]} twice, again in line {twice.idxmax()}.")
    return table.reset_index(drop=True)


def _position(well: str, where: str) -> tuple[int, int]:
    try:
        return well_position(well)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from None


def _is_another_well(name: str, position: tuple[int, int]) -> bool:
    try:
        return well_position(name) != position
    except ValueError:
        return False  # a number, or something else that is called a well


def read_annotation(table: PerturbationTable) -> pd.DataFrame:
    """One row a sample, by `broad_sample`, never ""."""
    values = rename(read_table(table.table), table.columns, str(table.table))
    values = in_our_case(values, (table.key, *ANNOTATION), str(table.table))
    if table.key not in values:
        raise ConfigError(
            f"{table.table} has no column {table.key}; it has {some_columns(values.columns)}. Set its `key`."
        )
    values = rename(values, {"broad_sample": table.key}, str(table.table)).replace(dict.fromkeys(table.missing, ""))
    values["broad_sample"] = values["broad_sample"].where(values["broad_sample"] != "", table.negcon_name or "")
    return values[values["broad_sample"] != ""].drop_duplicates(ignore_index=True)


def read_table(path: Path) -> pd.DataFrame:
    """See `read_text_table`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return read_text_table(data, str(path))


def rename(table: pd.DataFrame, columns: dict[str, str], where: str) -> pd.DataFrame:
    """`columns`: our name -> the table's. A column that has our name already is replaced."""
    for theirs in columns.values():
        if theirs not in table:
            raise ConfigError(f"{where} has no column {theirs!r}.{nearest(theirs, table)}")
    kept = table.drop(columns=[ours for ours in columns if ours in table and ours not in columns.values()])
    return kept.rename(columns={theirs: ours for ours, theirs in columns.items()})


def in_our_case(table: pd.DataFrame, names: Collection[str], where: str) -> pd.DataFrame:
    """With these names for columns that differ from them in case only: Control_Type would count for nothing.

    A column that has the name itself comes first. Raises `ConfigError` where two others could be meant.
    """
    meant: dict[str, str] = {}
    for name in names:
        alike = [column for column in table.columns if column.lower() == name.lower()]
        if name in alike or not alike:
            continue
        if len(alike) > 1:
            raise ConfigError(f"{where} has the columns {' and '.join(alike)}. Call the one to take {name}.")
        meant[alike[0]] = name
    return table.rename(columns=meant)


def plate_list(plates: pd.DataFrame) -> list[Plate]:
    return [Plate(*row) for row in plates[["Metadata_Batch", "Metadata_Plate"]].itertuples(index=False)]


def nearest(name: str, names: object) -> str:
    near = difflib.get_close_matches(name, list(map(str, names)), n=1, cutoff=0.0)  # type: ignore[call-overload]
    return f" Nearest: {near[0]!r}." if near else ""


def _alike(name: str, table: pd.DataFrame) -> str | None:
    """The column that differs from `name` in case only."""
    return next((other for other in table.columns if other.lower() == name.lower()), None)


def _map_path(screen: Screen, name: str) -> Path:
    """The plate map of this name, which may have its ending."""
    assert screen.platemaps is not None
    if fault := name_fault(name):
        raise ConfigError(f"{screen.plates}: {name!r} cannot be a plate map's name: it {fault}.")
    names = [name] if name.endswith(MAP_SUFFIXES) else [f"{name}{suffix}" for suffix in MAP_SUFFIXES]
    found = [screen.platemaps / name for name in names if (screen.platemaps / name).is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"Plate map {name} is in {screen.platemaps} as {', '.join(path.name for path in found)}. Keep one of them."
        )
    if not found:
        have = [path.name for path in sorted(screen.platemaps.glob("[!.]*"))]
        raise ConfigError(
            f"Plate map {name} is not in {screen.platemaps}: there is no {names[0]}"
            f"{' (or .tsv, .csv)' if len(names) > 1 else ''}.{nearest(names[0], have)}"
        )
    return found[0]


def _with_prefix(table: pd.DataFrame) -> pd.DataFrame:
    names = {"batch": "Metadata_Batch", "plate": "Metadata_Plate"}
    return table.rename(columns=lambda name: names.get(name, f"Metadata_{name}"))
