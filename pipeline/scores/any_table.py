"""Well profiles of any table: which columns say what is chosen by whoever asks, not by the names this project uses.

The columns chosen become those that scores know: what makes two wells replicates, `Metadata_broad_sample`; which wells
are negative controls, `Metadata_control_type`. What is held fixed when wells are compared are columns of any name, as
of a screen's condition.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError, NotFound
from pipeline.profiles.columns import is_metadata, ranked_columns
from pipeline.profiles.read import decode
from pipeline.scores.load import score_table
from pipeline.scores.notes import describe_columns
from pipeline.scores.steps import corrected
from pipeline.screen.columns import CONTROL_TYPE, FILE, NEGCON, PLATE, PREFIX, SAMPLE, WELL, column_of, short
from pipeline.screen.doses import dose_columns
from pipeline.screen.spelling import as_text, is_negcon
from pipeline.storage import Location, open_storage

ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")

#: usual names of the columns that name a plate and a well, without Metadata_, best first
PLATES = ("Plate", "plate", "Assay_Plate_Barcode", "Barcode", "barcode", "plate_barcode", "PlateID", "plate_id")
WELLS = ("Well", "well", "well_position", "Well_Position", "WellID", "well_id")


class Grouping(NamedTuple):
    """What is asked of a table. Columns by their names, with or without Metadata_.

    `replicates`: wells that agree in all of these are replicates. `negcon`: a condition in pandas' words that is true
    of negative controls, e.g. `genotype == "WT"`. `condition`: wells are compared only where they agree in these.
    """

    replicates: tuple[str, ...]
    negcon: str
    condition: tuple[str, ...] = ()
    plate: str = ""
    well: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that make a condition, without Metadata_."""
        return tuple(short(name) for name in self.condition)


def score_any_table(
    sources: Sequence[str],
    grouping: Grouping,
    mode: str,
    out: Location | str,
    tasks: Sequence[str] = (),
    *,
    seed: int = 0,
    steps: Sequence[str] = (),
    tell: Callable[[str], object] = lambda note: None,
    **options: str | None,
) -> dict[str, pd.DataFrame]:
    """Score the tables at `sources` by a grouping of the reader's, and write the scores as `scores_command` does.

    `tasks`: default detection. `tell` is given what `as_profiles` says. Raises what `read_tables` and `as_profiles` do.
    """
    profiles, notes = as_profiles(read_tables(sources, **options), grouping)
    columns = grouping.columns
    for note in [*notes, *describe_columns(profiles, mode, steps, columns)]:
        tell(note)
    ready = corrected(profiles, steps, columns)
    return score_table(ready, mode, out, tasks or ("detection",), columns, seed=seed, tell=tell)


def read_tables(sources: Sequence[str], **options: str | None) -> pd.DataFrame:
    """The rows of these files, folders (all tables below them) or patterns, one under the other.

    `options`: those of `pipeline.storage.Location`. Raises `NotFound` where a source has no table, and `ConfigError`,
    naming the file, where one cannot be read.
    """
    tables = []
    for source in sources:
        found = list(_files(source, **options))
        if not found:
            raise NotFound(f"{source}: there is no table here (a name that ends in {', '.join(ENDINGS)}).")
        tables += [decode(data, name).assign(**{FILE: Path(name).name}) for name, data in found]
    joined = pd.concat(tables, ignore_index=True)
    return joined if len(tables) > 1 else joined.drop(columns=FILE)


def _files(source: str, **options: str | None) -> Iterator[tuple[str, bytes]]:
    if "://" in source:
        folder, _, name = source.rpartition("/")
        is_file = name.endswith(ENDINGS)
        storage = open_storage(Location(url=folder if is_file else source, **options))
        keys = [name] if is_file else [entry.key for entry in storage.entries() if entry.key.endswith(ENDINGS)]
        yield from ((f"{storage.location}/{key}", storage.get(key)) for key in keys)
        return
    paths = [Path(source)] if Path(source).exists() else [Path(name) for name in sorted(glob.glob(source))]
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        yield from ((str(one), one.read_bytes()) for one in inside if one.name.endswith(ENDINGS))


def as_profiles(table: pd.DataFrame, grouping: Grouping) -> tuple[pd.DataFrame, list[str]]:
    """The table as scores read it, and lines that say which columns were taken for what, and how much there is.

    Raises `ConfigError`, naming what there is, for a column that is not there, a condition that cannot be evaluated or
    is true of no well or of all, and wells that stand there twice.
    """
    table = _with_metadata(table, grouping)
    replicates = [_column(table, name, "--replicates") for name in grouping.replicates]
    condition = [_column(table, name, "--condition") for name in grouping.condition]
    plate = _column(table, grouping.plate, "--plate") if grouping.plate else _usual(table, PLATES)
    well = _column(table, grouping.well, "--well") if grouping.well else _usual(table, WELLS)
    is_control = _controls(table, grouping.negcon)

    held = {column_of(short(name)): as_text(table[name]) for name in condition}
    own = pd.DataFrame(
        {
            PLATE: as_text(table[plate]) if plate else "",
            WELL: as_text(table[well]) if well else [f"row {row}" for row in range(1, len(table) + 1)],
            SAMPLE: _joined(table, replicates),
            CONTROL_TYPE: np.where(is_control, NEGCON, ""),
            **held,
        },
        index=table.index,
    )
    _refuse_twice(table, own, [*held, PLATE, WELL])
    # What was asked decides, not a column of doses that happens to be there.
    others = dict.fromkeys([*dose_columns(table.columns), *table.columns.intersection(own.columns)])
    profiles = pd.concat([own, table.drop(columns=list(others))], axis=1)
    return profiles, _notes(profiles, grouping, plate, well, replicates, condition)


def _refuse_twice(table: pd.DataFrame, own: pd.DataFrame, where: list[str]) -> None:
    """Raises `ConfigError` where wells stand there twice; `where`: the columns of `own` that tell wells apart."""
    if not (twice := own.duplicated(where)).any():
        return
    first = own.loc[twice, where].iloc[0]
    alike = (own[where] == first).all(axis=1)
    files = list(dict.fromkeys(table.loc[alike, FILE])) if FILE in table else []
    come = f" They come from {_some(files, 3)}." if len(files) > 1 else ""
    raise ConfigError(
        f"Well {first[WELL]} of plate {first[PLATE] or '(none is named)'} stands in several rows, and would be "
        f"its own replicate ({int(twice.sum())} rows too many).{come} Give a table of one row a well, or name the "
        "columns that tell plates and wells apart (--plate, --well)."
    )


def _with_metadata(table: pd.DataFrame, grouping: Grouping) -> pd.DataFrame:
    """The table, in which whatever is asked for is metadata, and so are text, truth values and categories."""
    asked = {*grouping.replicates, *grouping.condition, grouping.plate, grouping.well, *PLATES, *WELLS}
    asked |= set(re.findall(r"[^\W\d]\w*", grouping.negcon))
    is_named = is_metadata(table.columns)
    called = {
        name: f"{PREFIX}{name}"
        for name, is_meta in zip(table, is_named, strict=True)
        if not is_meta and (name in asked or pd.api.types.is_bool_dtype(table[name]) or not _is_numeric(table[name]))
    }
    return table.rename(columns=called)


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _column(table: pd.DataFrame, name: str, option: str) -> str:
    found = next((column for column in (name, f"{PREFIX}{name}") if column in table), None)
    if found is None:
        there = [short(column) for column in table.columns[is_metadata(table.columns)]]
        raise ConfigError(f"{option}: the table has no column {name!r}. Its metadata are: {_some(there)}.")
    return found


def _usual(table: pd.DataFrame, names: Collection[str]) -> str:
    columns = (column for name in names for column in (f"{PREFIX}{name}", name))
    return next((column for column in columns if column in table), "")


def _controls(table: pd.DataFrame, negcon: str) -> np.ndarray:
    """Mask of the wells of which the condition is true. Text that reads as numbers is compared as numbers."""
    plain: dict[str, pd.Series] = {}
    for name in table:
        column = table[name]
        numbers = pd.to_numeric(column, errors="coerce") if column.dtype.kind not in "iufb" else column
        plain[short(name)] = column if numbers.isna().gt(column.isna()).any() else numbers
    try:
        found = pd.DataFrame(plain).eval(negcon, engine="python")
    except Exception as error:  # whatever pandas says of the reader's expression
        raise ConfigError(
            f"--negcon: {negcon!r} cannot be evaluated ({error}). Write it in pandas' words, e.g. "
            f"'genotype == \"WT\"'; columns: {_some([name for name in plain if f'{PREFIX}{name}' in table])}."
        ) from None
    if not isinstance(found, pd.Series) or not pd.api.types.is_bool_dtype(found):
        raise ConfigError(f"--negcon: {negcon!r} is no condition; write one, e.g. 'genotype == \"WT\"'.")
    if not found.any() or found.all():
        raise ConfigError(
            f"--negcon: {negcon!r} is true of {'every' if found.all() else 'no'} well. It has to be true of the "
            "negative controls and of nothing else."
        )
    return found.to_numpy(dtype=bool)


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """The values of several columns as one text a row, "" where one of them says nothing."""
    texts = pd.DataFrame({name: as_text(table[name]) for name in columns}, index=table.index, dtype=object)
    rows = [" | ".join(row) for row in texts.itertuples(index=False, name=None)]
    return pd.Series(rows, index=table.index, dtype=object).mask((texts == "").any(axis=1), "")


def _notes(
    profiles: pd.DataFrame, grouping: Grouping, plate: str, well: str, replicates: list[str], condition: list[str]
) -> list[str]:
    is_control, sample = is_negcon(profiles), profiles[SAMPLE]
    n_conditions = len(profiles[[column_of(name) for name in grouping.columns]].drop_duplicates()) if condition else 1
    nothing = int((~is_control & (sample == "")).sum())
    lines = [
        f"Plates: {plate or 'no column names them, so all wells are taken for one plate'}; wells: "
        f"{well or 'no column names them, so each row is one'}.",
        f"Replicates agree in {' and '.join(replicates)}; negative controls: {grouping.negcon}; compared within "
        f"{' and '.join(condition) or 'all wells'}.",
        f"{len(profiles):,} wells on {profiles[PLATE].nunique():,} plates; "
        f"{sample[~is_control & (sample != '')].nunique():,} classes; {int(is_control.sum()):,} negative controls; "
        f"{n_conditions:,} conditions; {len(ranked_columns(profiles).features):,} features.",
    ]
    if nothing:
        lines.append(f"{nothing:,} wells say nothing in {' or '.join(replicates)}: they are in no class.")
    return lines


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
