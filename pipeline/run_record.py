"""What a root of results says of itself: the config, the pipeline file, what computes the numbers.

    run.json         settings, their digest, engine and versions, the store's schema digest, the plates
    config.yaml      the resolved config
    pipeline.cppipe  the pipeline file, for workers, which have none of the driver's files

run.json and the pipeline file are written once, before any worker starts: one root belongs to one set of settings.
config.yaml is written by every `run`, because what decides no number (limits, endpoints, workers) may change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.config import Config, differences, digest
from pipeline.errors import Changed, ConfigError, NotFound, SettingsDiffer
from pipeline.screen import Plate
from pipeline.storage import Location, Storage, open_storage

RECORD, CONFIG, CPPIPE = "run.json", "config.yaml", "pipeline.cppipe"

#: of everything below a root; another number means another layout
LAYOUT_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One root of results, opened. `record` is run.json."""

    storage: Storage
    config: Config
    cppipe: str
    record: dict[str, Any]

    @property
    def settings12(self) -> str:
        """Names the run in the ledger's keys."""
        return str(self.record["digest"])[:12]

    @property
    def plates(self) -> list[Plate]:
        return [Plate(*plate) for plate in self.record["plates"]]


def make_record(config: Config, *, engine: str, inputs: tuple[str, ...], schema: str, plates: list[Plate]) -> dict:
    """run.json of a new run. The digest covers all that decides a number: settings, engine, schema, layout."""
    settings = {**config.settings(), "engine_version": engine, "schema": schema, "layout": LAYOUT_VERSION}
    return {
        "digest": digest(settings),
        "settings": settings,
        "inputs": list(inputs),
        "plates": [list(plate) for plate in plates],
    }


def write_record(storage: Storage, config: Config, cppipe: str, record: dict[str, Any]) -> None:
    """Claim a root for a run.

    Raises `SettingsDiffer`, naming the fields, where it belongs to another, and `ConfigError` where the store would let
    one writer overwrite another.
    """
    refuse_other(storage, record["settings"])
    storage.put_if_absent(CPPIPE, cppipe.encode())
    _check_conditional_writes(storage, CPPIPE)
    update_config(storage, config)
    if not storage.put_if_absent(RECORD, _encode(record)):
        refuse_other(storage, record["settings"])


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


def refuse_other(storage: Storage, settings: dict[str, Any]) -> None:
    """Raises `SettingsDiffer` where the root belongs to a run with other settings.

    `settings` may be less than a record's (before the engine is known): what it has is compared.
    """
    try:
        theirs = json.loads(storage.get(RECORD))["settings"]
    except NotFound:
        return
    found = differences(settings, {key: theirs.get(key) for key in settings})
    if found:
        raise SettingsDiffer(
            f"{storage.location} holds the results of another config. They differ in:\n"
            + "\n".join(f"  {line}" for line in found)
            + "\nGive `results` another place, or use the config of that run (config.yaml there)."
        )


def update_config(storage: Storage, config: Config) -> None:
    """Let what may change between two calls of `run` take effect: limits, endpoints, workers."""
    storage.put(CONFIG, config.to_yaml().encode())


def open_run(results: Location) -> Run:
    """The run at a root, read anew: a long-lived worker must not remember the limits, or the run, of yesterday.

    Raises `ConfigError` where there is none.
    """
    storage = open_storage(results)
    try:
        record = json.loads(storage.get(RECORD))
    except NotFound:
        raise ConfigError(f"{results} holds no run (no {RECORD}). Start one with `python -m pipeline run`.") from None
    return Run(storage, read_config(storage), read_cppipe(storage), record)


def read_config(storage: Storage) -> Config:
    """The resolved config of the run at this root."""
    return Config.model_validate(yaml.safe_load(storage.get(CONFIG)))


def read_cppipe(storage: Storage) -> str:
    """The pipeline file of the run at this root."""
    return storage.get(CPPIPE).decode("utf-8", errors="replace")


def _encode(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True).encode()
