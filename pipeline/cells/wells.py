"""What `open_cells` says of the wells: where they are, what is in them, how many cells they have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.cells.create import read_plate
from pipeline.cells.plates import read_publication
from pipeline.errors import NotFound, StoreError
from pipeline.results.ledger import read_entries
from pipeline.results.plan import read_wells
from pipeline.screen import Plate, plate_wells, well_position
from pipeline.screen.columns import BATCH, COLUMN, PLATE, PREFIX, ROW, WELL
from pipeline.storage import Storage

_WELL = [BATCH, PLATE, WELL]
#: coordinates on `well` that the store makes itself
OURS = {"well", "row", "column", "plate", "batch", "cell_count", "unmatched_count", "state", "is_done", "results"}
#: names that a sample column must not hide
_TAKEN = OURS | {"name", "compartment", "family", "feature", "channel", "channel2", "scale", "angle"}
_TAKEN |= {"features", "site", "cell", "is_matched"}


class PlateWells(NamedTuple):
    """`wells`: one row per well of the plate's format. `token`: names this state of the plate."""

    wells: pd.DataFrame
    missing: int
    token: str


def read_plate_wells(storage: Storage, plate: Plate, allow_partial: bool) -> PlateWells:
    try:
        document = read_publication(storage, plate)
    except StoreError:
        if not allow_partial:
            raise
        entries = read_entries(storage, plate)
        document = {"size": read_plate(storage, plate)["wells"], "ledger": "", "schema": ""}
        document["wells"] = {entry["well"]: entry for entry in entries}
    names = plate_wells(document["size"])
    known = document["wells"]
    positions = [well_position(name) for name in names]
    is_partial = not document["ledger"]
    wells = pd.DataFrame(
        {
            "well": names,
            "row": np.array([row for row, _ in positions], np.int16),
            "column": np.array([column for _, column in positions], np.int16),
            "plate": plate.plate,
            "batch": plate.batch,
            "cell_count": [known[name]["n_cells"] if name in known else 0 for name in names],
            "unmatched_count": [known[name]["n_unmatched"] if name in known else 0 for name in names],
            "state": [known[name]["state"] if name in known else "not_imaged" for name in names],
        }
    )
    missing = 0
    if is_partial:
        imaged = _planned(storage)
        imaged = imaged[(imaged[BATCH] == plate.batch) & (imaged[PLATE] == plate.plate)]
        waiting = set(imaged.loc[imaged["sites"] > 0, WELL]) - known.keys() if len(imaged) else set()
        wells.loc[wells["well"].isin(waiting), "state"] = "waiting"
        missing = len(waiting)
    wells["is_done"] = wells["state"].isin(["measured", "no_cells"])
    token = document["ledger"] or str(sorted((name, entry["stored"]) for name, entry in known.items()))
    return PlateWells(wells, missing, token)


def _planned(storage: Storage) -> pd.DataFrame:
    """The plan's wells; a store without a plan, an imported one, has none."""
    try:
        return read_wells(storage)
    except NotFound:
        return pd.DataFrame({name: [] for name in [*_WELL, "sites"]})


def with_samples(storage: Storage, wells: pd.DataFrame) -> pd.DataFrame:
    """The wells with what the plan says is in them."""
    planned = _planned(storage)
    names = {}
    for name in planned.columns.difference([*_WELL, ROW, COLUMN, "sites"], sort=False):
        short = name.removeprefix(PREFIX)
        names[name] = name if short in _TAKEN else short
    keys = wells[["batch", "plate", "well"]].set_axis(_WELL, axis=1)
    found = keys.merge(planned[[*_WELL, *names]].drop_duplicates(_WELL), on=_WELL, how="left")
    for name in names:
        column = found[name]
        is_number = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)
        found[name] = column if is_number else column.astype(object).where(column.notna(), "")
    return pd.concat([wells, found[list(names)].rename(columns=names)], axis=1)
