"""Two roots of results, side by side: what they were made with, and which of their objects differ."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd

from pipeline.config import differences
from pipeline.results.run import Run
from pipeline.storage import Storage
from pipeline.tables import decode_table

#: of what a run leaves behind, all that must be the same whoever ran it, in whatever order and however often killed
RESULTS = (
    *("run.json", "pipeline.cppipe", "features", "plan/", "illumination/", "cells/", "image_measurements/"),
    *("previews/", "ledger/", "plates/", "profiles/", "scores/"),
)


def stored(storage: Storage) -> dict[str, str]:
    """Key -> SHA-256 of everything a run leaves behind that must not depend on how it went."""
    keys = [entry.key for entry in storage.entries() if entry.key.startswith(RESULTS)]
    with ThreadPoolExecutor(16) as pool:
        return dict(zip(keys, pool.map(lambda key: sha256(storage.get(key)).hexdigest(), keys), strict=True))


@dataclass(frozen=True)
class Comparison:
    """`settings`: fields in which configs and measurings differ, in words; keys of objects that only one root has, and
    of those that differ."""

    settings: list[str]
    only_here: list[str]
    only_there: list[str]
    differ: list[str]

    @property
    def is_equal(self) -> bool:
        return not (self.only_here or self.only_there or self.differ)


def compare(here: Run, there: Run) -> Comparison:
    ours, theirs = stored(here.storage), stored(there.storage)
    leave = {"results", "limits", "execution", "report"}
    config, other = (run.config.model_dump(mode="json", exclude=leave) for run in (here, there))
    record, another = (run.record["measuring"] | {"version": run.record.get("version")} for run in (here, there))
    return Comparison(
        settings=[*differences(config, other), *differences(record, another, "run.json")],
        only_here=sorted(ours.keys() - theirs.keys()),
        only_there=sorted(theirs.keys() - ours.keys()),
        differ=sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
    )


def described(here: Run, there: Run, found: Comparison) -> Iterator[str]:
    """A line for each difference of settings, then one for each folder of objects that differ, with the values."""
    yield from (f"setting {line}" for line in found.settings)
    for what, keys in (("only here", found.only_here), ("only there", found.only_there)):
        for folder, number in pd.Series([_folder(key) for key in keys], dtype=str).value_counts(sort=False).items():
            yield f"{what}: {number:,} objects of {folder}"
    for key in found.differ:
        yield f"differs: {key}{_values(here.storage, there.storage, key)}"
    if found.is_equal:
        yield "All objects are equal, byte for byte."


def _folder(key: str) -> str:
    return key.partition("/")[0]


def _values(here: Storage, there: Storage, key: str) -> str:
    """Of two tables of one shape, how many values differ and by how much."""
    if not key.endswith(".parquet"):
        return ""
    ours, theirs = decode_table(here.get(key)), decode_table(there.get(key))
    if list(ours) != list(theirs) or len(ours) != len(theirs):
        return f": {len(ours)} rows, {ours.shape[1]} columns here, {len(theirs)} rows, {theirs.shape[1]} columns there"
    unequal = (ours != theirs) & ~(ours.isna() & theirs.isna())
    numbers = ours.select_dtypes("number").columns
    apart = np.abs(ours[numbers].to_numpy(float) - theirs[numbers].to_numpy(float))
    largest = float(np.nanmax(apart)) if np.isfinite(apart).any() else 0.0
    columns = [str(name) for name in ours if unequal[name].any()]
    number, named = int(unequal.to_numpy().sum()), ", ".join(columns[:3])
    return f": {number:,} values in {len(columns)} columns ({named}, ...), by up to {largest:g}"
