"""Both engines on the same sites of a screen: the parity certificate.

verify/certificate.csv    per site, object set and family: columns, largest difference, worst feature and object
verify/certificate.json   what was compared: versions, .cppipe and image hashes, the verdict
verify/index.html         the same for people
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd

from pipeline import __version__
from pipeline.config import Config
from pipeline.engines import open_engine
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import ConfigError, EngineError, ImageError
from pipeline.executors import Executor
from pipeline.flow import flow
from pipeline.measure import SiteInputs
from pipeline.progress import Progress
from pipeline.report.certificate import write_certificate
from pipeline.results.plan import SitePlan, read_sites, read_well_sites
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.screen.columns import SITE, WELL, WELL_KEY
from pipeline.start import start
from pipeline.steps import run_steps


def verify(config: Config, sites: int, executor: Callable[[], Executor], progress: Progress) -> dict[str, Any]:
    """Measure `sites` sites, spread over the screen, with both engines, and write the certificate. Returns its record.

    The illumination functions of their plates are computed first where the run needs them; they stay, and the run
    finds them. A site whose images cannot be used is replaced by none: it is listed.
    """
    run = start(config, progress)
    chosen = _spread(run, sites)
    plates = {site.plate for site in chosen}
    needed = [step for step in flow(run) if step.task.stage in ("illuminate", "smooth")]
    needed = [step for step in needed if Plate(*step.task.place[:2]) in plates]
    with progress.counting(needed), closing(executor()) as machine:
        for outcome, _ in run_steps(needed, machine):
            if outcome.error is not None:
                raise outcome.error

    compared, left_out, images = [], [], {}
    native, reference = (open_engine(kind, run.cppipe, rules=run.rules) for kind in ("native", "cellprofiler"))
    with native, reference:
        for number, site in enumerate(chosen, 1):
            name = f"{site.plate.key} {site.well} site {site.site}"
            progress.say(f"{number} of {len(chosen)}: {name}")
            try:
                inputs = SiteInputs(run, site.plate, native.inputs)
                given = inputs.complete(inputs.read(site))
                ours, theirs = native.measure(given), reference.measure(given)
            except (ImageError, EngineError) as error:
                left_out.append({"site": name, "reason": str(error)})
                continue
            images[name] = hashlib.sha256(b"".join(given[key].tobytes() for key in sorted(given))).hexdigest()
            compared.append(compare(ours, theirs).assign(site=name, equal=lambda rows: _is_equal_by_row(rows)))
        versions = {"pipeline": __version__, "native": native.version, "cellprofiler": reference.version}
    if not compared:
        raise ConfigError(f"No site could be compared: {left_out}")

    table = pd.concat(compared, ignore_index=True)
    record = {
        "versions": versions,
        "cppipe": hashlib.sha256(run.cppipe.encode()).hexdigest(),
        "sites": len(compared),
        "images": images,
        "left_out": left_out,
        "columns": int(compared[0]["columns"].sum()),
        "values": int(table["values"].sum()),
        "unequal_values": int(table["unequal_values"].sum()),
        "is_equal": all(map(is_equal, compared)),
    }
    write_certificate(run.storage, record, table)
    return record


def _spread(run: Run, number: int) -> list[SitePlan]:
    """So many sites, evenly spaced over all plates and wells of the run."""
    imaged = set(run.wells.loc[run.wells["sites"] > 0, WELL_KEY].itertuples(index=False, name=None))
    keys = [
        (plate, well, site)
        for plate in run.plates
        for well, site in read_sites(run.storage, plate)[[WELL, SITE]].itertuples(index=False)
        if (*plate, well) in imaged
    ]
    places = sorted(set(np.linspace(0, len(keys) - 1, min(number, len(keys))).round().astype(int)))
    return [
        planned
        for plate, well, site in (keys[place] for place in places)
        for planned in read_well_sites(run.storage, plate, well)
        if planned.site == site
    ]


def _is_equal_by_row(rows: pd.DataFrame) -> pd.Series:
    return (rows[["unequal_values", "missing", "unexpected"]] == 0).all(axis=1)
