"""What input layouts have in common: the files of a plate, its sites, its published illumination functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from pipeline.screen import Plate, well_name
from pipeline.screen.columns import BATCH, PLATE, SITE, WELL
from pipeline.screen.findings import Finding
from pipeline.storage import Storage
from pipeline.tables import TEXT

#: requests in flight at once while listing
REQUESTS = 16

#: what file managers leave in every folder: .DS_Store, ._<name> and other hidden files, Thumbs.db
_LITTER = re.compile(r"\..*|Thumbs\.db|desktop\.ini", re.IGNORECASE)


class PlateFolder(NamedTuple):
    """The images of one plate. `prefix`: their key up to the file name, ending in "/"."""

    batch: str
    plate: str
    prefix: str

    @property
    def where(self) -> Plate:
        return Plate(self.batch, self.plate)

    @property
    def name(self) -> str:
        """The folder as the microscope named it, <plate>__<time>-Measurement<n>."""
        return self.path.rpartition("/")[2]

    @property
    def path(self) -> str:
        """The key of that folder, without "/" at its end."""
        return self.prefix.rstrip("/").removesuffix("/Images")


class Listed(NamedTuple):
    """What there is of one plate. `images`: row, column, site, image, key, size, etag; `illumination`: its published
    functions, as columns of its row in the plates table (`Key_<function>`, `Size_<function>`, `ETag_<function>`).
    """

    folder: PlateFolder
    images: pd.DataFrame
    illumination: dict[str, object]
    findings: list[Finding]


def list_files(storage: Storage, prefix: str) -> pd.DataFrame:
    """All objects below a prefix: key, name (the part after the last "/"), size, etag.

    Local files have no ETag; their MD5 is computed, as S3 has it for simple uploads.
    """
    entries = [(entry.key, entry.size, entry.etag) for entry in storage.entries(prefix, checksums=True)]
    files = pd.DataFrame(entries, columns=["key", "size", "etag"]).astype({"key": TEXT, "size": "int64", "etag": TEXT})
    return files.assign(name=files["key"].str.replace(r"^.*/", "", regex=True))


def site_table(plate: Plate, images: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """One row a site, in order of rows, columns and sites; see `Plan.sites`.

    `images`: row, column, site, image, key, size, etag. `names`: the images to have columns for, there or not.
    """
    place = ["row", "column", "site"]
    images = images[images["image"].isin(names := list(names))]
    sites = images[place].drop_duplicates().sort_values(place, ignore_index=True)
    table = pd.DataFrame(
        {
            BATCH: plate.batch,
            PLATE: plate.plate,
            WELL: well_names(sites["row"], sites["column"]),
            SITE: sites["site"].astype("int64"),
        },
        index=sites.index,
    ).astype({BATCH: TEXT, PLATE: TEXT, WELL: TEXT})
    for name in names:
        one = sites.merge(images.loc[images["image"] == name, [*place, "key", "size", "etag"]], how="left", on=place)
        table[f"Key_{name}"] = one["key"].astype(TEXT)
        table[f"Size_{name}"] = one["size"].astype("Int64")
        table[f"ETag_{name}"] = one["etag"].astype(TEXT)
    return table


def well_names(rows: pd.Series, columns: pd.Series) -> pd.Series:
    code = 100 * rows + columns
    return code.map({one: well_name(*divmod(int(one), 100)) for one in code.unique()})


def list_illumination(
    storage: Storage, folder: PlateFolder, names: Iterable[str]
) -> tuple[dict[str, object], list[Finding]]:
    """Those of these published illumination functions that a plate has, see `Listed`.

    Files that would be functions of this plate by one half of their place, folder or name, are findings.
    """
    # <batch>/images/<folder>/Images/ -> <batch>/illum/
    around = folder.path.rpartition("/")[0].split("/")
    around = around[:-1] if around[-1] == "images" else around
    batch = "/".join([*around, "illum", ""]).lstrip("/")
    own = f"{batch}{folder.plate}/"
    found = {entry.key: entry for entry in storage.entries(own, checksums=True)}
    columns: dict[str, object] = {}
    lacking = []
    for name in names:
        if entry := found.get(f"{own}{folder.plate}_{name}.npy"):
            columns |= {f"Key_{name}": entry.key, f"Size_{name}": entry.size, f"ETag_{name}": entry.etag}
        else:
            lacking.append(name)
    # Where else people put them: beside the batches.
    places = dict.fromkeys([batch, "illum/", "images/illum/"]) if lacking else {}
    elsewhere = [entry.key for place in places for entry in storage.entries(place) if entry.key not in found]
    findings = []
    for name in lacking:
        near = [key for key in found if key.lower().endswith(f"{name}.npy".lower())]
        near += [key for key in elsewhere if key.endswith(f"/{folder.plate}_{name}.npy")]
        if near:
            what = (
                f"{folder.where}: {near[0]} is not used as its {name}, which is looked for in "
                f"{own}{folder.plate}_{name}.npy."
            )
            findings.append(Finding("illumination_unused", *folder.where, what, file=near[0]))
    others = [key for key in found if key.endswith(".npy") and key not in columns.values()]
    if lacking and others and not findings:
        what = (
            f"{folder.where}: {some_names(pd.Series(others))} are named like no illumination function and not used. "
            f"Its {lacking[0]} is looked for in {own}{folder.plate}_{lacking[0]}.npy."
        )
        findings.append(Finding("illumination_unused", *folder.where, what, file=others[0]))
    return columns, findings


def is_litter(names: pd.Series) -> pd.Series:
    """Which names are of files that are nobody's images, and not worth a word."""
    return pd.Series([_LITTER.fullmatch(name) is not None for name in names], index=names.index, dtype=bool)


def some_names(names: pd.Series, most: int = 3) -> str:
    """ "a.tiff, b.tiff, c.tiff and 14 more files" """

    def parts() -> Iterator[str]:
        yield ", ".join(names.iloc[:most])
        if len(names) > most:
            yield f"and {len(names) - most:,} more files"

    return " ".join(parts())
