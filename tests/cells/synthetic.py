"""Small measurements made by hand, and a small store of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline import cells
from pipeline.cells import EncodedWell, Schema, SiteCells
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.screen import Plate
from pipeline.storage import Storage

CHANNELS = ("DNA", "ER", "Actin_far_red")
COMPARTMENTS = ("Nuclei", "Cells", "Cytoplasm")
PLATE = Plate("batch 1", "BR0001")

_COMMON = (
    "Number_Object_Number",
    "AreaShape_Area",
    "AreaShape_Zernike_3_1",
    *(f"Intensity_MeanIntensity_{channel}" for channel in CHANNELS),
    *(f"Correlation_RWC_{one}_{other}" for one in CHANNELS for other in CHANNELS if one != other),
    *(
        f"Texture_{kind}_{channel}_{scale}_{angle:02}_256"
        for kind in ("Contrast", "Entropy")
        for channel in CHANNELS
        for scale in (3, 10)
        for angle in range(4)
    ),
)
#: as an engine declares them; 3 x 60 columns, so that a row of the store lies in several blocks
FEATURES = {
    "Nuclei": (*_COMMON, "Children_Cells_Count"),
    "Cells": (*_COMMON, "Parent_Nuclei", "Neighbors_NumberOfNeighbors_5"),
    "Cytoplasm": (*_COMMON, "Parent_Cells", "Parent_Nuclei"),
}


def schema(capacity: int = 64) -> Schema:
    return Schema.from_features(FEATURES, COMPARTMENTS, capacity)


def site(
    seed: int, nuclei: int, cells: list[int] | None = None, cytoplasm: list[tuple[int, int]] | None = None
) -> SiteMeasurements:
    """Random numbers for a site with this many nuclei.

    `cells`: the nucleus of each cell; `cytoplasm`: the (cell, nucleus) of each. Default: one each, in order.
    """
    cells = list(range(1, nuclei + 1)) if cells is None else cells
    cytoplasm = [(cell, nucleus) for cell, nucleus in enumerate(cells, 1)] if cytoplasm is None else cytoplasm
    rng = np.random.default_rng(seed)
    columns: dict[str, dict[str, Any]] = {
        "Nuclei": {"Children_Cells_Count": np.ones(nuclei)},
        "Cells": {"Parent_Nuclei": cells, "Neighbors_NumberOfNeighbors_5": np.zeros(len(cells))},
        "Cytoplasm": {
            "Parent_Cells": [cell for cell, _ in cytoplasm],
            "Parent_Nuclei": [nucleus for _, nucleus in cytoplasm],
        },
    }
    objects = {}
    for name, count in (("Nuclei", nuclei), ("Cells", len(cells)), ("Cytoplasm", len(cytoplasm))):
        values = rng.normal(size=(count, len(FEATURES[name])))
        for feature, column in {"Number_Object_Number": np.arange(1, count + 1), **columns[name]}.items():
            values[:, FEATURES[name].index(feature)] = column
        objects[name] = ObjectMeasurements(FEATURES[name], values)
    return SiteMeasurements(objects, labels={}, image={"Count_Nuclei": float(nuclei), "Threshold_DNA": 0.5})


def assembled(number: int, *args: Any, **kwargs: Any) -> SiteCells:
    return cells.assemble_site(number, site(number, *args, **kwargs), schema())


def entry(well: str, encoded: EncodedWell | None = None, plate: Plate = PLATE, **changes: Any) -> dict[str, Any]:
    """A ledger entry."""
    found: dict[str, Any] = {"batch": plate.batch, "plate": plate.plate, "well": well, "state": "failed"}
    found |= {"n_cells": 0, "n_unmatched": 0, "cells_per_site": {}, "stored": None, "content": None, "size": 0}
    if encoded is not None:
        found |= {"state": "measured" if encoded.n_cells else "no_cells", "n_cells": encoded.n_cells}
        found |= {"n_unmatched": encoded.n_unmatched, "stored": encoded.stored, "content": encoded.content}
        found |= {"size": len(encoded.data or b"")}
        found["cells_per_site"] = {str(number): count for number, count in encoded.cells_per_site.items()}
    return found | changes


def fill_plate(storage: Storage, plate: Plate = PLATE, seed: int = 0) -> list[dict[str, Any]]:
    """Create a 96-well plate and put A01 (2 sites), B03 (1 site), each with an unmatched nucleus, and C05 (no objects).

    Gives their ledger entries, and that of D07, which failed.
    """
    table = schema()
    cells.write_schema(storage, table)
    cells.create_plate(storage, plate, ["A01", "B03", "C05", "D07", "H12"], table, {"cell_type": "U2OS"})
    sites = {
        "A01": [assembled(seed + 1, 5), assembled(seed + 2, 4, cells=[1, 2, 4])],
        "B03": [assembled(seed + 1, 4, cells=[1, 2, 3])],
        "C05": [assembled(seed + 1, 0)],
    }
    entries = [entry("D07", plate=plate)]
    for well, measured in sites.items():
        encoded = cells.encode_well(table, measured)
        cells.put_well(storage, plate, well, encoded)
        rows = [{"Metadata_Site": one.site, "Count_Nuclei": float(one.n_cells)} for one in measured]
        cells.put_image_measurements(storage, plate, well, rows)
        entries.append(entry(well, encoded, plate))
    return entries
