"""Render a whole simulated screen into a bucket or folder, in the Cell Painting Gallery's layout."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml
from rich.progress import track

from pipeline.errors import ConfigError
from pipeline.screen import well_position
from pipeline.simulate.design import (
    BATCH,
    DESIGNS,
    MODALITIES,
    Fault,
    ScreenDesign,
    faults,
    generator,
    image_folder,
    image_plates,
    microscope,
    perturbations,
    phenotype,
    plate_names,
    platemap,
    truth,
    well_sample,
)
from pipeline.simulate.render import CHANNELS, render_site
from pipeline.storage import Location, open_storage

#: written last: a place that holds this design's own needs nothing more
DONE = "design.json"


def simulate(
    location: Location | str,
    design: str | ScreenDesign = "dry-run",
    *,
    seed: int | None = None,
    workers: int = 1,
    progress: bool = False,
) -> ScreenDesign:
    """Render a screen and write it to a location: images, tables, and the planted truth beside them.

    `design`: a size in `DESIGNS` or one's own. `workers`: processes that render; they find the location's credentials
    as this one does. Does nothing where the same screen is already complete. Written are `images/<batch>/images/...`,
    `tables/...` (see `screen_tables`), and `design.json` at the end. Returns the design.
    """
    if isinstance(design, str):
        if design not in DESIGNS:
            raise ConfigError(f"There is no design {design!r}. Choose from: {', '.join(DESIGNS)}.")
        design = DESIGNS[design]
    if seed is not None:
        design = replace(design, seed=seed)
    storage = open_storage(location)
    done = json.dumps(asdict(design), indent=2).encode()
    if storage.stat(DONE) is not None and storage.get(DONE) == done:
        return design
    for name, data in screen_tables(design).items():
        storage.put(f"tables/{name}", data)
    wells = [
        (modality, plate, well)
        for modality in MODALITIES
        for plate in plate_names(design, modality)
        for well in well_sample(design, modality)
    ]
    write = partial(_write_well, location, design)
    with ExitStack() as stack:
        if workers == 1:
            written: Iterator[None] = map(write, wells)
        else:
            # Forking a process that has threads (an S3 client's) can hang; a fresh interpreter cannot.
            pool = stack.enter_context(ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")))
            written = pool.map(write, wells, chunksize=4)
        for _ in track(written, "Rendering wells", total=len(wells), disable=not progress):
            pass
    storage.put(DONE, done)
    return design


def _write_well(location: Location | str, design: ScreenDesign, place: tuple[str, str, str]) -> None:
    """Render one well of one plate and put its images, with the faults that the design has in store for it."""
    modality, plate, well = place
    storage = open_storage(location)
    row, column = well_position(well)
    folder = f"images/{BATCH}/images/{image_folder(plate)}/Images"
    here = [fault for fault in faults(design) if (fault.plate, fault.well) == (plate, well)]
    kinds = {(fault.kind, fault.site, fault.channel) for fault in here}
    if ("not imaged", None, None) in kinds:
        return
    for site in range(1, design.sites + 1):
        for channel, image in enumerate(render_well_site(design, modality, plate, well, site), 1):
            data = encode_tiff(image)
            if ("missing", site, channel) in kinds:
                continue
            if ("truncated", site, channel) in kinds:
                data = data[: len(data) // 2]
            storage.put(f"{folder}/r{row:02d}c{column:02d}f{site:02d}p01-ch{channel}sk1fk1fl1.tiff", data)


def render_well_site(design: ScreenDesign, modality: str, plate: str, well: str, site: int) -> np.ndarray:
    """The pixels of one site, uint16 (8, y, x), the same whatever else is rendered."""
    sample = well_sample(design, modality)[well]
    look = None if sample is None else phenotype(design, plate, well, sample)
    return render_site(generator(design, plate, well, site), look, microscope(design, plate), design.image_size).images


def encode_tiff(image: np.ndarray) -> bytes:
    """A 16-bit, LZW-compressed TIFF of one page and one strip, as the microscope writes them."""
    file = BytesIO()
    tifffile.imwrite(
        file, image, compression="lzw", rowsperstrip=len(image), photometric="minisblack", metadata=None, software=False
    )
    return file.getvalue()


def screen_tables(design: ScreenDesign) -> dict[str, bytes]:
    """File name -> content of all tables of a screen: what the screen's description needs, and the answer.

    `screen.yaml`, `image_plates.csv`, `platemaps/` and `perturbations/` are as those of CPJUMP1; `truth.csv` holds
    the planted effects and `faults.csv` what was broken on purpose.
    """
    made = {
        "image_plates.csv": _table(image_plates(design)),
        "truth.csv": _table(truth(design)),
        "faults.csv": _table(
            pd.DataFrame(faults(design), columns=Fault._fields).astype({"site": "Int64", "channel": "Int64"})
        ),
    }
    barcodes = image_plates(design)[["batch", "plate", "plate_map_name"]]
    barcodes.columns = pd.Index(["batch", "Assay_Plate_Barcode", "Plate_Map_Name"])
    made["platemaps/barcode_platemap.csv"] = _table(barcodes)
    annotations = []
    for modality in MODALITIES:
        wells = platemap(design, modality)
        made[f"platemaps/{wells.plate_map_name[0]}.txt"] = _table(wells, "\t")
        name = f"perturbations/{modality}_metadata.tsv"
        made[name] = _table(perturbations(design, modality), "\t")
        annotations.append({"table": name, "modality": modality})
    annotations[0]["negcon_name"] = "DMSO"
    description = {
        "name": "embedded",
        "channels": dict(enumerate(CHANNELS, 1)),
        "plates": "image_plates.csv",
        "platemaps": "platemaps",
        "perturbations": annotations,
        "columns": {"modality": "perturbation"},
        "groups": {"primary": [{"group": ["primary"]}]},
    }
    made["screen.yaml"] = yaml.safe_dump(description, sort_keys=False).encode()
    return made


def write_tables(directory: str | Path, design: ScreenDesign) -> Path:
    """Write the tables into a local folder, where a config names them. Returns the path of `screen.yaml`."""
    for name, data in screen_tables(design).items():
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Path(directory) / "screen.yaml"


def _table(frame: pd.DataFrame, separator: str = ",") -> bytes:
    return frame.to_csv(sep=separator, index=False, lineterminator="\n").encode()
