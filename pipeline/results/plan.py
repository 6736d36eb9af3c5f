"""The plan in a root of results: written by every call of `run` that finds it changed, read back by every stage.

plan/sites/<batch>/<plate>.parquet   plan/wells.parquet   plan/plates.parquet   plan/findings.parquet
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pyarrow as pa

from pipeline.errors import NotFound
from pipeline.screen import Plate
from pipeline.screen.columns import PLATE_KEY, SITE, WELL
from pipeline.storage import Location, Storage
from pipeline.tables import TEXT, decode_arrow, encode_table

if TYPE_CHECKING:
    from pipeline.plan import Plan

#: the last site table of which a well was asked for, by its place, plate and ETag
_kept: dict[tuple[Location, Plate, str | None], pa.Table] = {}


class ImageFile(NamedTuple):
    """One file as it was when the work was planned; None: not known."""

    key: str
    size: int | None = None
    etag: str | None = None


class SitePlan(NamedTuple):
    """One site and its files: image name -> file, None where it is missing."""

    plate: Plate
    well: str
    site: int
    images: dict[str, ImageFile | None]

    def files(self, names: Iterable[str]) -> dict[str, ImageFile | None]:
        """The files of these images; None also for a name that the channel map does not have."""
        return {name: self.images.get(name) for name in names}


def write_plan(plan: Plan, storage: Storage) -> None:
    """Write all tables that are not there already with the same content. The same plan gives the same bytes."""
    sites = dict(list(plan.plate_sites.groupby(PLATE_KEY, sort=False)))
    tables = {sites_key(plate): sites.get(plate, plan.plate_sites.iloc[:0]) for plate in plan.plate_list}
    tables |= {f"plan/{name}.parquet": getattr(plan, name) for name in ("wells", "plates", "findings")}
    for key, table in tables.items():
        data = encode_table(table)
        if not _holds(storage, key, data):
            storage.put(key, data)


def _holds(storage: Storage, key: str, data: bytes) -> bool:
    try:
        return storage.get(key) == data
    except NotFound:
        return False


def read_sites(storage: Storage, plate: Plate) -> pd.DataFrame:
    """The site table of one plate, of all its wells that have images; see `Plan.plate_sites`."""
    return _frame(_read(storage, sites_key(plate)), "Size_")


def read_well_sites(storage: Storage, plate: Plate, well: str) -> list[SitePlan]:
    """The sites of one well, in order.

    The table of a plate, half a megabyte, is kept by a process that goes from well to well, under its ETag.
    """
    found = storage.stat(sites_key(plate))
    name = (storage.location, plate, None if found is None else found.etag)
    table = _kept.get(name)
    if table is None:
        table = _read(storage, sites_key(plate))
        _kept.clear()
        _kept[name] = table
    return site_plans(plate, well, table.filter(pa.compute.equal(table[WELL], well)).to_pylist())


def site_plans(plate: Plate, well: str, rows: list[dict[Any, Any]]) -> list[SitePlan]:
    """The rows of one well of a site table."""
    names = [str(name).removeprefix("Key_") for name in rows[0] if str(name).startswith("Key_")] if rows else []
    return [SitePlan(plate, well, int(row[SITE]), planned_files(row, names)) for row in rows]


def read_wells(storage: Storage) -> pd.DataFrame:
    """See `Plan.wells`."""
    return _frame(_read(storage, "plan/wells.parquet"))


def read_plates(storage: Storage) -> pd.DataFrame:
    """See `Plan.plates`."""
    return _frame(_read(storage, "plan/plates.parquet"), "Size_", "image_height", "image_width")


def planned_plates(storage: Storage) -> set[Plate] | None:
    """The plates that a root is to hold; None where there is no plan. What is stored of others was left behind."""
    try:
        table = read_plates(storage)
    except NotFound:
        return None
    return {Plate(*row) for row in table[PLATE_KEY].itertuples(index=False)}


def read_findings(storage: Storage) -> pd.DataFrame:
    """See `findings_table`."""
    return _frame(_read(storage, "plan/findings.parquet"), "site")


def planned_files(site: Mapping[Any, Any], names: Iterable[str]) -> dict[str, ImageFile | None]:
    """The files of a row of the site table (`Key_<image>`, `Size_<image>`, `ETag_<image>`); None where one is missing.

    A name of which the table knows nothing counts as missing.
    """
    files: dict[str, ImageFile | None] = {}
    for name in names:
        key, size, etag = (_known(site.get(f"{column}_{name}")) for column in ("Key", "Size", "ETag"))
        files[name] = ImageFile(key, None if size is None else int(size), etag) if key else None
    return files


def _known(value: Any) -> Any:
    """A cell of a table, with every way of saying "nothing" as None."""
    return None if pd.isna(value) or value == "" else value


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
