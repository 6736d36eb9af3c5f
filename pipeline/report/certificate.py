"""The parity certificate: how far the native engine's numbers were held against CellProfiler's, on which images.

verify/certificate.csv    per site, object set and family: columns, largest difference, worst feature and object
verify/certificate.json   what was compared: versions, .cppipe and image hashes, the verdict
verify/index.html         the same for people
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jinja2
import pandas as pd

from pipeline.errors import NotFound
from pipeline.storage import Storage

TABLE, RECORD, PAGE = "verify/certificate.csv", "verify/certificate.json", "verify/index.html"


def write_certificate(storage: Storage, record: dict[str, Any], table: pd.DataFrame) -> None:
    """Write all three files. `table`: rows of `engines.parity.compare`, with `site`."""
    storage.put(TABLE, table.to_csv(index=False).encode())
    storage.put(RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    storage.put(PAGE, _page(record, table).encode())


def read_certificate(storage: Storage, cppipe: str, engine_version: str) -> dict[str, Any] | None:
    """The certificate at this root, if it is about this pipeline file and this version of the native engine."""
    try:
        record: dict[str, Any] = json.loads(storage.get(RECORD))
    except NotFound:
        return None
    same_file = record["cppipe"] == hashlib.sha256(cppipe.encode()).hexdigest()
    return record if same_file and record["versions"]["native"] == engine_version else None


def _page(record: dict[str, Any], table: pd.DataFrame) -> str:
    families = table.groupby(["object_set", "family"], sort=True)
    worst = table.loc[families["largest_relative"].idxmax()]
    summed = families.agg(
        columns=("columns", "first"),
        values=("values", "sum"),
        identical=("identical", "sum"),
        unequal=("unequal_values", "sum"),
    )
    rows = summed.reset_index().merge(
        worst[
            ["object_set", "family", "largest_relative", "largest_absolute", "worst_feature", "worst_object", "site"]
        ],
        on=["object_set", "family"],
    )
    templates = jinja2.Environment(loader=jinja2.PackageLoader("pipeline.report", "."), autoescape=True)
    return templates.get_template("certificate.html").render(record=record, rows=rows.to_dict("records"))
