"""What a root of results says of itself: by what its cells are measured, the config, the pipeline file.

    run.json         layout, the measuring and its digest, the engine's inputs and rules, the project's version
    config.yaml      the resolved config of the last call of `run`
    pipeline.cppipe  the pipeline file, for workers, which have none of the driver's files
    illumination.cppipe  the illumination pipeline, where the config names one
    measurings/      roots like this one, each of another measuring (`run --new-measuring`)

A root belongs to one measuring: engine and version, pipeline file, channels, illumination, feature table, layout.
run.json and the pipeline file are written once, before any worker starts. All else may change between two calls of
`run`; every later result names its own inputs (`records`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import pandas as pd
import yaml

from pipeline import __version__
from pipeline.config import Config, differences, digest
from pipeline.errors import Changed, ConfigError, Damaged, NotFound, SettingsDiffer
from pipeline.results.plan import read_plates, read_wells
from pipeline.screen import Plate
from pipeline.screen.columns import PLATE_KEY
from pipeline.seals import BLANK, read_json, seal, sealed_json, without_seal
from pipeline.storage import Location, Storage, open_storage

RECORD, CONFIG, MEASURINGS = "run.json", "config.yaml", "measurings"
CPPIPE, ILLUMINATION_CPPIPE = "pipeline.cppipe", "illumination.cppipe"

#: of everything below a root; another number means another layout
LAYOUT_VERSION = 2


@dataclass(frozen=True)
class Run:
    """One root of results, opened. `record` is run.json.

    `chosen`: the wells that this call works on, as (batch, plate, well); None: all that the root is to hold.
    """

    storage: Storage
    config: Config
    cppipe: str
    record: dict[str, Any]
    chosen: frozenset[tuple[str, str, str]] | None = field(default=None, compare=False)
    #: text of the illumination pipeline; None: CPJUMP1's steps
    illumination_cppipe: str | None = None

    @property
    def measuring12(self) -> str:
        """Names the measuring in the ledger's keys."""
        return str(self.record["digest"])[:12]

    @property
    def rules(self) -> dict[str, str]:
        """The rules files that FlagImage modules name, name -> text."""
        return self.record.get("rules", {})

    @cached_property
    def wells(self) -> pd.DataFrame:
        """Every well that the root is to hold; see `Plan.wells`."""
        return read_wells(self.storage)

    @cached_property
    def plate_table(self) -> pd.DataFrame:
        """One row a plate; see `Plan.plates`."""
        return read_plates(self.storage)

    @cached_property
    def plates(self) -> list[Plate]:
        table = self.plate_table[PLATE_KEY]
        return [Plate(*row) for row in table.itertuples(index=False)]


def make_record(
    config: Config, *, engine: str, inputs: tuple[str, ...], schema: str, reading: int = 0
) -> dict[str, Any]:
    """run.json of a new root. The digest covers all that decides a single cell's number, but for the images.

    `reading`: the revision of the code that reads images.
    """
    measuring = {**config.measuring(), "engine_version": engine, "schema": schema, "image_reading": reading}
    named = {"layout": LAYOUT_VERSION, "measuring": measuring}
    rules = {"rules": config.engine.rules_texts} if config.engine.rules else {}
    return {**named, "digest": digest(named), "inputs": list(inputs), "version": __version__, **rules}


def write_record(run: Run) -> None:
    """Claim a root for a measuring.

    Raises `SettingsDiffer`, naming the fields, where it belongs to another, and `ConfigError` where the store would let
    one writer overwrite another.
    """
    storage, record = run.storage, run.record
    refuse_other(storage, record)
    storage.put_if_absent(CPPIPE, run.cppipe.encode())
    if run.illumination_cppipe is not None:
        storage.put_if_absent(ILLUMINATION_CPPIPE, run.illumination_cppipe.encode())
    _check_conditional_writes(storage, CPPIPE)
    update_config(storage, run.config)
    texts = {CPPIPE: run.cppipe, ILLUMINATION_CPPIPE: run.illumination_cppipe}
    files = {key: sha256(text.encode()).hexdigest() for key, text in texts.items() if text is not None}
    if not storage.put_if_absent(RECORD, sealed_json({**record, "files": files}, indent=1)):
        refuse_other(storage, record)


def _check_conditional_writes(storage: Storage, key: str) -> None:
    """Put an object that is there again, with its own bytes, under conditions that do not hold."""
    data = storage.get(key)
    kept = not storage.put_if_absent(key, data)
    try:
        storage.put_if_unchanged(key, data, etag="0" * 32)
        kept = False
    except Changed:
        pass
    if not kept:
        raise ConfigError(
            f"The server of {storage.location} ignores conditional writes (If-None-Match, If-Match): workers or "
            "runs could overwrite each other's results unseen. Put `results` on a server that honours them, such as "
            "AWS S3, or in a folder."
        )


def refuse_other(storage: Storage, record: dict[str, Any]) -> None:
    """Raises `SettingsDiffer`, with both values, where the root is of another measuring, or of another layout."""
    theirs = read_record(storage)
    if theirs is None:
        return
    check_layout(storage, theirs)
    if found := differences(record["measuring"], theirs["measuring"]):
        raise SettingsDiffer(
            f"The cells at {storage.location} were measured otherwise. What differs:\n"
            + "\n".join(f"  {line}" for line in found)
            + "\nNothing was changed. Measure as it was (config.yaml there, and the same version), give `results` "
            f"another place, or `run --new-measuring`: it measures below {storage.location}/{MEASURINGS}/ and leaves "
            "the old results readable."
        )


def check_layout(storage: Storage, record: dict[str, Any]) -> None:
    """Raises `SettingsDiffer`, with both numbers, where a root is of another layout than this version writes."""
    theirs = record.get("layout", record.get("settings", {}).get("layout"))
    if theirs != LAYOUT_VERSION:
        raise SettingsDiffer(
            f"{storage.location} is of layout {theirs}, and this version of the pipeline writes layout "
            f"{LAYOUT_VERSION}. Its cells, profiles and scores can be read as before (open_cells, open_profiles, "
            "open_scores); to measure on, use the version that began it, or give `results` another place."
        )


def find_root(results: Location, record: dict[str, Any], *, new: bool = False) -> Location:
    """The root, at `results` or below its measurings, that belongs to this measuring; `results` where none does.

    `new`: a place below its measurings where none does, and `results` holds another measuring.
    """
    storage = open_storage(results)
    theirs = read_record(storage)
    if theirs is None or theirs.get("digest") == record["digest"]:
        return results
    name = f"{MEASURINGS}/{record['digest'][:12]}"
    beside = results.join(name)
    return beside if new or read_record(open_storage(beside)) is not None else results


def find_measured(config: Config) -> Location:
    """The root, at the config's results or below its measurings, whose cells were measured as the config says, by
    whatever version of the engine; the results where none was. Raises `ConfigError` where there are several."""
    results, asked = config.results, json.loads(json.dumps(config.measuring()))
    beside = [results.join(MEASURINGS, name) for name in open_storage(results).folders(f"{MEASURINGS}/")]
    found = []
    for place in [results, *beside]:
        measuring = (read_record(open_storage(place)) or {}).get("measuring", {})
        cells = {name: value for name, value in measuring.get("cells", {}).items() if name in asked["cells"]}
        if {name: {**measuring, "cells": cells}.get(name) for name in asked} == asked:
            found.append(place)
    if len(found) > 1:
        raise ConfigError(
            f"The screen was measured more than once as this config says: {', '.join(map(str, found))}. Name the one "
            "that you mean as `results`."
        )
    return found[0] if found else results


def update_config(storage: Storage, config: Config) -> None:
    """Keep the config of the call at hand, for workers."""
    put_if_other(storage, CONFIG, seal(f"# {BLANK}\n{config.to_yaml()}".encode()))


def put_if_other(storage: Storage, key: str, data: bytes) -> bool:
    """Put an object unless these bytes are there; whether it was put."""
    try:
        if storage.get(key) == data:
            return False
    except NotFound:
        pass
    storage.put(key, data)
    return True


def open_run(results: Location) -> Run:
    """The run at a root, read anew: a long-lived worker must not remember the settings, or the run, of yesterday.

    Raises `ConfigError` where there is none, and `SettingsDiffer` where it is of another layout.
    """
    storage = open_storage(results)
    record = read_record(storage)
    if record is None:
        raise ConfigError(f"{results} holds no run (no {RECORD}). Start one with `python -m pipeline run`.")
    check_layout(storage, record)
    config = read_config(storage)
    illumination = _read_text(storage, ILLUMINATION_CPPIPE, record) if config.illumination_pipeline else None
    return Run(storage, config, _read_text(storage, CPPIPE, record), record, illumination_cppipe=illumination)


def read_record(storage: Storage) -> dict[str, Any] | None:
    """run.json, or None where there is none."""
    try:
        return without_seal(read_json(storage.get(RECORD), RECORD))
    except NotFound:
        return None


def read_config(storage: Storage) -> Config:
    """The resolved config of the last call of `run` at this root."""
    return Config.model_validate(yaml.safe_load(storage.get(CONFIG)))


def read_cppipe(storage: Storage) -> str:
    """The pipeline file of the run at this root."""
    return _read_text(storage, CPPIPE, {})


def _read_text(storage: Storage, key: str, record: Mapping[str, Any]) -> str:
    """A pipeline file. Raises `Damaged` where it is another than the one that `record` names."""
    text = storage.get(key).decode("utf-8", errors="replace")
    begun = record.get("files", {}).get(key)
    if begun is not None and sha256(text.encode()).hexdigest() != begun:
        raise Damaged(f"{storage.location}/{key} is damaged: the run began with another (SHA-256 {begun}).")
    return text
