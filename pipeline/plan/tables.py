"""The plan in a run's results: written once, read back by every stage.

plan/sites/<batch>/<plate>.parquet   plan/wells.parquet   plan/plates.parquet   plan/findings.parquet
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from pipeline.errors import Conflict, NotFound
from pipeline.images import ImageFile, planned_files
from pipeline.plan.gallery import TEXT
from pipeline.plan.plan import KEYS, Plan
from pipeline.screen import Plate
from pipeline.storage import Storage
from pipeline.tables import decode_arrow, encode_table


class SitePlan(NamedTuple):
    """One site and its files: image name -> file, None where it is missing."""

    plate: Plate
    well: str
    site: int
    images: dict[str, ImageFile | None]

    def files(self, names: Iterable[str]) -> dict[str, ImageFile | None]:
        """The files of these images; None also for a name that the channel map does not have."""
        return {name: self.images.get(name) for name in names}


def write_plan(plan: Plan, storage: Storage, *, is_new: bool = True) -> None:
    """Write all tables. The same plan gives the same bytes.

    With `is_new` false, nothing is written: a run goes by the plan it began with. Raises `Conflict`, naming a plate,
    where this plan is another one.
    """
    sites = dict(list(plan.sites.groupby(KEYS, sort=False)))
    tables = {sites_key(plate): sites.get(plate, plan.sites.iloc[:0]) for plate in plan.plate_list}
    tables |= {f"plan/{name}.parquet": getattr(plan, name) for name in ("wells", "plates", "findings")}
    for key, table in tables.items():
        data = encode_table(table)
        if is_new:
            storage.put(key, data)
        elif storage.get(key) != data:
            raise Conflict(
                f"{storage.location} holds a run that was planned from other images or tables ({key} would change). "
                "Nothing was changed. `run` goes on by its plan; for what is there now, give `results` another place."
            )


def read_sites(storage: Storage, plate: Plate) -> pd.DataFrame:
    """The site table of one plate; see `Plan.sites`."""
    return _frame(_read(storage, sites_key(plate)), "Size_")


def read_well_sites(storage: Storage, plate: Plate, well: str) -> list[SitePlan]:
    """The sites of one well, in order."""
    table = _read(storage, sites_key(plate))
    rows = table.filter(pa.compute.equal(table["Metadata_Well"], well)).to_pylist()
    names = [name.removeprefix("Key_") for name in table.column_names if name.startswith("Key_")]
    return [SitePlan(plate, well, row["Metadata_Site"], planned_files(row, names)) for row in rows]


def read_wells(storage: Storage) -> pd.DataFrame:
    """See `Plan.wells`."""
    return _frame(_read(storage, "plan/wells.parquet"))


def read_plates(storage: Storage) -> pd.DataFrame:
    """See `Plan.plates`."""
    return _frame(_read(storage, "plan/plates.parquet"), "Size_", "image_height", "image_width")


def read_findings(storage: Storage) -> pd.DataFrame:
    """See `findings_table`."""
    return _frame(_read(storage, "plan/findings.parquet"), "site")


def sites_key(plate: Plate) -> str:
    return f"plan/sites/{plate.key}.parquet"


def _read(storage: Storage, key: str) -> pa.Table:
    try:
        return decode_arrow(storage.get(key))
    except NotFound:
        raise NotFound(f"{storage.location} holds no {key}: nothing was planned there. Run `plan` first.") from None


def _frame(table: pa.Table, *nullable: str) -> pd.DataFrame:
    """`nullable`: beginnings of the columns of whole numbers that may be missing."""
    frame = table.to_pandas(types_mapper={pa.string(): TEXT}.get)
    return frame.astype({name: "Int64" for name in frame if name.startswith(nullable)} if nullable else {})
