"""From the single cells of a plate to one row a well, with what is in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from pipeline import cells
from pipeline.errors import Incomplete, NotFound
from pipeline.profiles.aggregate import aggregate
from pipeline.screen import Plate, well_position
from pipeline.screen.columns import BATCH, CELLS, PLATE, PREFIX, SITES, UNMATCHED, WELL, WELL_KEY
from pipeline.storage import Storage

#: wells in memory at once, each up to some 100 MB
WELLS_AT_ONCE = 2


def well_profiles(storage: Storage, plate: Plate, how: str = "median") -> pd.DataFrame:
    """The profiles of a published plate, in the order of its wells: Metadata_Batch, _Plate, _Well, then

    `Metadata_Count_Cells` (whole cells, of which the profile is made), `Metadata_Count_Unmatched` (objects that belong
    to no whole cell, left out), `Metadata_Sites` (sites measured), and float64 features.

    A well that was measured and has no cells is a row with count 0 and NaN features. A well that failed or was not
    imaged has no row. Raises `Incomplete` where the plate is not published or lacks the cells it should have.
    """
    schema = cells.read_schema(storage)
    published = cells.read_publication(storage, plate)["wells"]
    wells = {well: about for well, about in published.items() if about["state"] in ("measured", "no_cells")}
    wells = dict(sorted(wells.items(), key=lambda item: well_position(item[0])))

    def profile(well: str) -> tuple[int, np.ndarray]:
        if not wells[well]["n_cells"]:
            return 0, np.full(len(schema.names), np.nan)
        try:
            _, values = cells.read_well(storage, plate, well, schema)
        except NotFound:
            raise Incomplete(f"{plate} {well} should have cells, and they are not there. Run `check`.") from None
        return len(values), aggregate(values, how)

    with ThreadPoolExecutor(WELLS_AT_ONCE) as pool:
        rows = list(pool.map(profile, wells))
    table = pd.DataFrame({WELL: list(wells)}, dtype=object)
    table.insert(0, PLATE, plate.plate)
    table.insert(0, BATCH, plate.batch)
    table[CELLS] = np.array([count for count, _ in rows], np.int64)
    for column, what in ((UNMATCHED, "n_unmatched"), (SITES, "sites")):
        table[column] = np.array([about[what] for about in wells.values()], np.int64)
    values = np.array([profile for _, profile in rows]).reshape(len(rows), len(schema.names))
    return pd.concat([table, pd.DataFrame(values, columns=list(schema.names))], axis=1)


def annotate(profiles: pd.DataFrame, wells: pd.DataFrame) -> pd.DataFrame:
    """The profiles with the `Metadata_*` columns of a table of wells, which come after the profiles' own.

    Joined on batch, plate and well, which are never missing: nothing can match by being unknown. Raises `Incomplete`
    where a well is not in the table.
    """
    columns = [name for name in wells.columns if name.startswith(PREFIX) and name not in profiles.columns]
    table = wells.set_index(WELL_KEY)[columns]
    keys = pd.MultiIndex.from_frame(profiles[WELL_KEY])
    lost = keys[~keys.isin(table.index)]
    if len(lost):
        raise Incomplete(f"{len(lost)} wells are not in the plan, e.g. {'/'.join(map(str, lost[0]))}")
    if not table.index.is_unique:
        raise Incomplete("the plan names a well twice")
    found = table.loc[keys].reset_index(drop=True).set_index(profiles.index)
    is_metadata = profiles.columns.str.startswith(PREFIX)
    return pd.concat([profiles.loc[:, is_metadata], found, profiles.loc[:, ~is_metadata]], axis=1)
