"""Computing a plate's illumination functions: one task for every few wells, and one to finish the plate.

illumination/<batch>/<plate>/parts/<images>/<first well>.npz   sums over some wells; <images> names those of the
                                                               plate, and the method
illumination/<batch>/<plate>/<plate>_Illum<Channel>.npy        the functions
illumination/<batch>/<plate>/<plate>.json                      images used, and those left out with the reason; last

Functions are made once, from all images that the plate has then, whichever of its wells are to be measured: the same
function serves a first look at two wells and the whole plate.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import digest
from pipeline.errors import ImageError, Incomplete
from pipeline.illumination.method import REVISION, Method
from pipeline.illumination.plates import function_key, how_made, image_kind, record_key, sources
from pipeline.illumination.sum import PartialSum
from pipeline.images import describe, prefetch, read_images
from pipeline.results.plan import planned_files, read_sites
from pipeline.results.records import encode, read_record
from pipeline.results.run import Run, open_run, put_if_other
from pipeline.screen import Plate
from pipeline.screen.columns import SITE, WELL
from pipeline.storage import Location, md5, open_storage

#: wells of one task: minutes of work, and 32 partial sums of some MB for a plate of 384
WELLS_PER_TASK = 12


def groups(run: Run, plate: Plate) -> list[list[str]]:
    """The wells of each `sum_wells` task of a plate; none where nothing is to be computed, or all is."""
    if not _to_compute(run, plate) or run.storage.stat(record_key(plate)) is not None:
        return []
    try:
        image_kind(run, plate)
    except ImageError:  # there is nothing to add; each well will say so
        return []
    wells = list(dict.fromkeys(read_sites(run.storage, plate)[WELL]))
    return [wells[start : start + WELLS_PER_TASK] for start in range(0, len(wells), WELLS_PER_TASK)]


def sum_wells(results: Location, batch: str, plate: str, part: str, wells: list[str]) -> dict[str, Any]:
    """Sum the images of some wells of a plate, each read once, and store the sums as `part`.

    An image that cannot be used is left out and listed; the other channels of its site are used. A part that is
    there already is left as it is.
    """
    run, where = open_run(results), Plate(batch, plate)
    table = read_sites(run.storage, where)
    key = f"{_parts(run, where, table)}{part}.npz"
    if run.storage.stat(key) is not None:
        return {"part": key, "wells": len(wells)}
    how = _to_compute(run, where)
    kind = image_kind(run, where)
    source = open_storage(run.config.images)
    names = {image for method in how.values() for image in method.images}
    sums: dict[str, PartialSum] = {}
    left_out: list[dict[str, Any]] = []

    table = table[table[WELL].isin(wells)].sort_values([WELL, SITE])
    sites = [(site, planned_files(site, names)) for site in table.to_dict("records")]
    for (site, files), answer in prefetch(sites, lambda item: read_images(source, item[1], *kind)):
        assert not isinstance(answer, ImageError)  # it reports them instead
        images, unread = answer
        for function, method in how.items():
            reason = next(
                (f"{describe(name, files[name])} {unread[name]}" for name in method.images if name in unread), ""
            )
            try:
                if not reason:
                    _add(sums, function, method.of_site(images))
            except ImageError as error:
                reason = f"{describe(method.images[0], files[method.images[0]])} {error.message}"
            if reason:
                at = {"well": site[WELL], "site": int(site[SITE])}
                left_out.append({"function": function, **at, "reason": reason})

    arrays: dict[str, Any] = {"wells": np.array(sorted(wells)), "left_out": np.array(json.dumps(left_out))}
    for function, partial in sums.items():
        arrays |= {f"total_{function}": partial.total, f"count_{function}": np.array(partial.count)}
    data = io.BytesIO()
    np.savez(data, **arrays)  # its zip members carry no time, so equal sums are equal bytes
    run.storage.put_if_absent(key, data.getvalue())
    return {"part": key, "wells": len(wells), "sites": len(sites), "left_out": len(left_out)}


def finish_plate(results: Location, batch: str, plate: str) -> dict[str, Any]:
    """Merge the parts of a plate into its illumination functions, and record how many images made each.

    A channel of which no image could be used gets no function. Functions that are made already stay. Raises
    `Incomplete` where the parts do not hold every planned well once.
    """
    run, where = open_run(results), Plate(batch, plate)
    made_before = read_record(run.storage, record_key(where))
    if made_before is not None:  # by another run; images may have come since
        return _summary(made_before)
    how = _to_compute(run, where)
    shape = image_kind(run, where).shape
    sums: dict[str, PartialSum] = {}
    left_out: list[dict[str, Any]] = []
    wells: list[str] = []
    table = read_sites(run.storage, where)
    for entry in run.storage.entries(_parts(run, where, table)):
        with np.load(io.BytesIO(run.storage.get(entry.key)), allow_pickle=False) as part:
            wells += part["wells"].tolist()
            left_out += json.loads(str(part["left_out"]))
            for function in how:
                if f"total_{function}" in part:  # else no image of these wells could be used
                    _add(sums, function, PartialSum(part[f"total_{function}"], int(part[f"count_{function}"])))
    _check_wells(where, wells, set(table[WELL]))

    made = {}
    for function, partial in sums.items():
        data = io.BytesIO()
        np.save(data, how[function].finish(partial, shape), allow_pickle=False)
        put_if_other(run.storage, function_key(where, function), data.getvalue())
        made[function] = md5(data.getvalue())
    images = {function: sums[function].count if function in sums else 0 for function in how}
    record = {
        "images": images,
        "functions": made,
        "left_out": sorted(left_out, key=lambda image: (image["well"], image["site"], image["function"])),
    }
    run.storage.put_if_absent(record_key(where), encode(record))
    return _summary(record)


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    images, made, left_out = record["images"], record["functions"], record["left_out"]
    return {"functions": len(made), "images": sum(images.values()), "left_out": len(left_out)}


def _add(sums: dict[str, PartialSum], function: str, partial: PartialSum) -> None:
    sums[function] = sums[function] + partial if function in sums else partial


def _to_compute(run: Run, plate: Plate) -> dict[str, Method]:
    """The functions that are made from the plate's images, and how."""
    where = sources(run, plate)
    return {function: method for function, method in how_made(run).items() if where[function] == "compute"}


def _check_wells(plate: Plate, found: list[str], planned: set[str]) -> None:
    wrong: dict[str, list[str]] = {
        "in several parts": sorted(well for well, times in Counter(found).items() if times > 1),
        "in no part": sorted(planned - set(found)),
        "not in the plan": sorted(set(found) - planned),
    }
    for what, wells in wrong.items():
        if wells:
            raise Incomplete(
                f"Illumination of plate {plate}: {len(wells)} wells are {what} ({', '.join(wells[:5])}). "
                f"Delete illumination/{plate.key}/ and run again."
            )


def _parts(run: Run, plate: Plate, sites: pd.DataFrame) -> str:
    """Where the sums over these images by this method lie: images that come later have a place of their own."""
    keys = [name for name in sites if str(name).startswith(("Key_", "ETag_"))]
    images = sites[[WELL, SITE, *keys]].astype(str).to_numpy().tolist()
    return f"illumination/{plate.key}/parts/{digest([images, run.illumination_cppipe or REVISION])[:12]}/"
