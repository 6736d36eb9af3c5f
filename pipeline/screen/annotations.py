"""The annotation tables of a screen: what each sample is."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.model import PerturbationTable, Screen
from pipeline.screen.tables import in_our_case, read_table, rename
from pipeline.text_table import some_columns

#: columns every wells table has, "" where a screen's tables have no such column
ANNOTATION = ("broad_sample", "control_type", "pert_type", "pert_iname", "gene", "target_list")


class Samples(NamedTuple):
    """What the annotation tables of one modality say. `key`: the column of a plate map that names the sample;
    `negcon`: the name of the empty sample, or ""; `missing`: texts that mean no value; `table`: one row a sample, None
    where there is no annotation table.
    """

    key: str
    negcon: str
    missing: set[str]
    table: pd.DataFrame | None


def samples_of(screen: Screen, modality: str) -> Samples:
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
