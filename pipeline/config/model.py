"""One YAML file -> one frozen Config. Every key is documented where it is defined; unknown keys are refused.

`Config.measuring()` is the part that decides the numbers of single cells; its digest names a root of results. All else
may change between two calls of `run`: each later result names the settings that it was made with.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from pipeline.engines import ENGINES
from pipeline.errors import ConfigError
from pipeline.executors import cluster_kinds, kind_of
from pipeline.screen import well_name, well_position
from pipeline.screen.model import Screen
from pipeline.section import Section
from pipeline.storage import Location


class Subset(Section):
    """Less than the whole screen. Empty means all."""

    plates: tuple[str, ...] = Field((), description="Plate names, batch/plate, batches, or groups of the screen.")
    wells: tuple[str, ...] = Field((), description="Wells, e.g. [A01, B07].")
    sites: tuple[int, ...] = Field(
        (),
        description="Site numbers, e.g. [1, 2]. A well measured from some sites is another measuring than the whole.",
    )
    exclude: dict[str, dict[str, Annotated[str, Field(min_length=1)]]] = Field(
        {},
        description="Wells that are not to be measured, with the reason, by plate (or batch/plate, batch, group): "
        "{BR00117035: {B07: pipetting failed}}. They stay in the plan and the report, as excluded, "
        "and out of the profiles; their cells stay if there are any.",
    )


class EngineConfig(Section):
    """What measures a site."""

    kind: str = Field("cellprofiler", description=f"Which engine measures: {' or '.join(ENGINES)}.")
    cppipe: Path = Field(
        description="CellProfiler pipeline file (.cppipe) to run on every site; `cpjump1/analysis.cppipe` is CPJUMP1's."
    )
    rules: dict[str, Path] = Field(
        {},
        description="Rules files by which FlagImage flags, by the names that its modules have for them, e.g. "
        "{rules.txt: qc/rules.txt}. Without its file a FlagImage that skips no site is left out.",
    )

    @property
    def rules_texts(self) -> dict[str, str]:
        """Name -> what stands in the file. Raises `ConfigError` where one cannot be read."""
        return {name: _read(path).decode("utf-8", errors="replace") for name, path in self.rules.items()}

    @field_validator("kind")
    @classmethod
    def _is_an_engine(cls, kind: str) -> str:
        if kind not in ENGINES:
            raise ValueError(f"there is no engine {kind!r}; there are {', '.join(ENGINES)}")
        return kind


class CellsConfig(Section):
    """The single-cell store."""

    compartments: tuple[str, ...] = Field(
        (),
        description="Object sets that make one cell. The first is the one the others name as their parent. Default: "
        "Nuclei, Cells and Cytoplasm where the pipeline measures these, else the sets that it relates to one another.",
    )
    capacity: int = Field(16_384, gt=0, description="Most cells a well can hold in the store.")


class ProfilesConfig(Section):
    """From the cells of a well to its profile."""

    aggregate: Literal["median", "mean"] = Field("median", description="How the cells of a well become its profile.")
    normalize: Literal["mad_robustize", "standardize"] = Field("mad_robustize", description="Normalisation by plate.")
    epsilon: float = Field(
        0.0, ge=0, description="Added to the MAD. 0, as published: a feature whose MAD is 0 becomes NaN or infinite."
    )


class SelectConfig(Section):
    """Feature selection over a batch. The defaults are CPJUMP1's."""

    operations: tuple[
        Literal["variance_threshold", "frequency_threshold", "correlation_threshold", "drop_na_columns", "blocklist"],
        ...,
    ] = Field(
        ("frequency_threshold", "correlation_threshold", "drop_na_columns", "blocklist"),
        description="Rules, in order. `frequency_threshold` is the paper's variance rule (pycytominer before 1.7 "
        "called it variance_threshold), `variance_threshold` is variance < 1e-6.",
    )
    combine: Literal["sequential", "union"] = Field(
        "union",
        description="`union`: each rule sees all features, as in 2021 and in the paper; `sequential`: each sees what "
        "the earlier ones left, as pycytominer does since 2022-12.",
    )
    frequency_cut: float = Field(0.05, description="Drop if second most common / most common count is below this.")
    unique_cut: float = Field(
        0.1, description="Drop if distinct values / wells is below this (0.01 in pycytominer now)."
    )
    correlation: float = Field(0.9, description="Of two features with Pearson r above this, one is dropped.")
    na_cutoff: float = Field(0.05, description="Drop features with a larger share of missing values.")


class ScoresConfig(Section):
    """What is computed from the profiles."""

    mode: Literal["correct", "published", "copairs"] = Field("correct", description="Rules of the statistics.")
    tasks: tuple[str, ...] = Field(
        ("detection", "variance"), description="Scores to compute; `scores --help` lists them."
    )
    steps: tuple[Literal["clip", "centre_positions", "sphere"], ...] = Field(
        (),
        description="Done to the profiles before they are scored, in this order: `clip`: values beyond 20 MADs of the "
        "controls become 20; `centre_positions`: less the mean of each well position over the plates of a batch; "
        "`sphere`: whitened by the negative controls of each condition.",
    )
    seed: int = Field(0, description="Seed of the null distributions.")


class ReportConfig(Section):
    """The page at the end."""

    wells: tuple[str, ...] = Field(
        (), description="Wells to show as pictures, on each plate. Empty: a negative control and the strongest ones."
    )
    colours: dict[str, str] = Field(
        {"DNA": "#3060ff", "ER": "#00c040", "RNA": "#d0d000", "AGP": "#ff8000", "Mito": "#ff2040"},
        description="Stain -> colour in the composite pictures.",
    )
    refresh_minutes: float | None = Field(
        30,
        gt=0,
        description="While a run goes on, so often scores and the page are made of the plates that are ready, "
        "marked as partial. Left empty: at the end only.",
    )

    @field_validator("wells")
    @classmethod
    def _full_names(cls, wells: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(well_name(*well_position(well)) for well in wells)


class Limits(Section):
    """Bounds on one site and one well. They decide what fails, never a number."""

    site_seconds: float = Field(1800, gt=0, description="A site that takes longer fails; its engine is replaced.")
    engine_memory_gb: float = Field(6, gt=0, description="An engine that grows beyond this is replaced.")
    recycle_after_sites: int = Field(500, gt=0, description="An engine is replaced after so many sites.")
    attempts: int = Field(3, ge=1, description="Attempts at a task whose failures may pass, e.g. a throttled store.")
    patience_minutes: float = Field(
        15,
        ge=0,
        description="So long a run and its workers wait for what has gone to come back: a store that does not answer, "
        "a Dask scheduler, the last of the workers.",
    )


class Execution(Section):
    """How the work is done. May change between two calls of `run`."""

    cluster: str = Field(
        "serial", description="`serial`, `local` (worker processes here), or a scheduler's address (tls://...)."
    )
    workers: int = Field(2, ge=1, description="Worker processes, of a cluster that `run` starts.")
    tasks_per_worker: int = Field(3, ge=1, description="Tasks held ready for each worker.")
    certificates: Path | None = Field(
        None, description="Folder with ca.pem, client.pem and client-key.pem, for a tls:// scheduler."
    )
    options: dict[str, Any] = Field(
        {},
        description="What else a kind of cluster is told, by its own names: for `slurm` those of "
        "dask_jobqueue.SLURMCluster, e.g. {queue: main, account: lab, walltime: '12:00:00', memory: 4GB}.",
    )
    prices: Path | None = Field(
        None, description="Table of prices in place of `pipeline/costs/prices.csv`, for forecasts and budgets."
    )

    @field_validator("cluster")
    @classmethod
    def _is_a_cluster(cls, cluster: str) -> str:
        if kind_of(cluster) not in cluster_kinds():
            raise ValueError(
                "must be serial, local, or a scheduler's address such as tls://host:8786; the kinds of cluster that "
                f"there are: {', '.join(cluster_kinds())}"
            )
        return cluster


class Config(Section):
    """One screen, one pipeline, one place for the results."""

    screen: Screen = Field(description="A screen of this project (its name), a screen.yaml, or its keys written here.")
    images: Location = Field(description="Where the images are: a gallery-shaped prefix. Default: the screen's own.")
    results: Location = Field(description="Where everything goes. One place holds one screen, measured in one way.")
    subset: Subset = Field(Subset(), description="Less than the whole screen.")
    engine: EngineConfig
    illumination: Literal["auto", "gallery", "compute", "none"] = Field(
        "auto",
        description="`gallery`: the published .npy functions; `compute`: from the images of each plate; `auto`: the "
        "published ones where a plate has them; `none`: no correction. Computing reads every image of a plate, "
        "also where only some of its wells are asked for.",
    )
    illumination_pipeline: Path | None = Field(
        None,
        description="CellProfiler pipeline file whose steps compute them. Default: those of CPJUMP1's pipeline "
        "(a fifth of the size, mean of all sites, median filter).",
    )
    cells: CellsConfig = CellsConfig()
    profiles: ProfilesConfig = ProfilesConfig()
    select: SelectConfig = SelectConfig()
    scores: ScoresConfig = ScoresConfig()
    report: ReportConfig = ReportConfig()
    limits: Limits = Limits()
    execution: Execution = Execution()

    @model_validator(mode="before")
    @classmethod
    def _images_of_the_screen(cls, values: Any) -> Any:
        if isinstance(values, dict) and "images" not in values and isinstance(values.get("screen"), dict):
            published = values["screen"].get("images")
            if published is not None:
                values = {**values, "images": published}
        return values

    def measuring(self) -> dict[str, Any]:
        """What decides the numbers of a single cell, as plain values; the .cppipe by its content.

        Compartments that the pipeline decides are not among them before it was opened.
        """
        screen = self.screen.model_dump(
            mode="json", include={"name", "channels", "copies", "image_name", "illumination_name", "plane"}
        )
        rules = {"rules": {name: _fingerprint(path) for name, path in self.engine.rules.items()}}
        rules = rules if self.engine.rules else {}
        cells = {"compartments", "capacity"} if self.cells.compartments else {"capacity"}
        named = {
            "screen": screen,
            "sites": list(self.subset.sites),
            "engine": {"kind": self.engine.kind, "cppipe": _fingerprint(self.engine.cppipe), **rules},
            "illumination": self.illumination,
            "cells": self.cells.model_dump(mode="json", include=cells),
        }
        if self.illumination_pipeline is not None:
            named["illumination_pipeline"] = _fingerprint(self.illumination_pipeline)
        return named

    @property
    def digest(self) -> str:
        """SHA-256 of the measuring."""
        return digest(self.measuring())

    def to_yaml(self) -> str:
        """The resolved config, readable and loadable."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def digest(value: Any) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """The fields in which two settings differ: "engine.kind: native here, cellprofiler there"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        return [
            line
            for key in keys
            for line in differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if ours == theirs else [f"{path}: {ours!r} here, {theirs!r} there"]


def _fingerprint(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
