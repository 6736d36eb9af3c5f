"""The rows of a well's sites -> the bytes of its shard."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.cells import layout
from pipeline.cells.assemble import SiteCells
from pipeline.cells.schema import Schema
from pipeline.errors import StoreError, TooManyCells


@dataclass(frozen=True)
class EncodedWell:
    """A well, ready to be put. `data`: the shard's bytes, None for a well without any object.

    `stored`: SHA-256 of `data`, None without; `content`: SHA-256 of shape, schema and numbers, which stays the same
    where only the encoding changes. `cells_per_site`: site -> whole cells, for every site given.
    """

    data: bytes | None = field(repr=False)
    n_cells: int
    n_unmatched: int
    n_infinite: int
    cells_per_site: dict[int, int]
    stored: str | None
    content: str
    schema: str


def encode_well(schema: Schema, sites: Sequence[SiteCells]) -> EncodedWell:
    """Encode the sites of one well, in order of their numbers: all cells first, then the unmatched objects.

    The same rows give the same bytes, in any process, thread and order of sites. Raises `TooManyCells` where
    there are more rows than the store holds for a well.
    """
    sites = sorted(sites, key=lambda site: site.site)
    numbers = [site.site for site in sites]
    if len(set(numbers)) != len(numbers):
        raise StoreError(f"A site was given twice for one well: {numbers}")
    n_cells = sum(site.n_cells for site in sites)
    n_unmatched = sum(site.n_unmatched for site in sites)
    if n_cells + n_unmatched > schema.capacity:
        raise TooManyCells(
            f"The well has {n_cells} cells and {n_unmatched} unmatched objects; the store holds {schema.capacity} rows "
            f"a well. Set cells.capacity to {n_cells + n_unmatched} or more, and give the run another results place."
        )
    rows = np.concatenate(
        [np.empty((0, schema.columns), np.float32)]
        + [site.rows[: site.n_cells] for site in sites]
        + [site.rows[site.n_cells :] for site in sites]
    )
    content = hashlib.sha256(f"{rows.shape} {schema.digest} ".encode())
    content.update(rows.astype("<f4", copy=False).data)
    data = layout.encode_rows(rows, schema.capacity) if len(rows) else None
    return EncodedWell(
        data=data,
        n_cells=n_cells,
        n_unmatched=n_unmatched,
        n_infinite=sum(site.n_infinite for site in sites),
        cells_per_site={site.site: site.n_cells for site in sites},
        stored=None if data is None else hashlib.sha256(data).hexdigest(),
        content=content.hexdigest(),
        schema=schema.digest,
    )
