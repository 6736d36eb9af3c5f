"""Profiles and scores as AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.cells.annotated import make
from pipeline.cells.meaning import channels_of, meaning
from pipeline.profiles.columns import is_metadata

if TYPE_CHECKING:
    from anndata import AnnData

_MEANING = ("family", "feature", "channel", "channel2", "scale", "angle")


def as_anndata(table: pd.DataFrame) -> AnnData:
    """A table of profiles or scores: one row a well, named `<batch>/<plate>/<well>`, or a row of the scores.

    Profiles: `Metadata_*` in `obs`, features in `X` (float64), what their names say in `var`. Scores: numbers with a
    fraction (`mean_average_precision`, `p`, `q` ...) in `X`, all else in `obs`; rows are named by their texts.
    `uns["cellpainting"]` says what was done to the values, where the table knows it (`open_profiles` does).
    """
    metadata = is_metadata(table.columns)
    is_profiles = bool(metadata.any())
    values = ~metadata if is_profiles else np.array([kind.kind == "f" for kind in table.dtypes])
    obs = table.loc[:, ~values].reset_index(drop=True)
    keys = [f"Metadata_{name}" for name in ("Batch", "Plate", "Well")] if is_profiles else _texts(obs)
    names = obs[[key for key in keys if key in obs]].astype(str).agg("/".join, axis=1)
    again = names.groupby(names).cumcount()
    obs.index = pd.Index(names.where(again == 0, names + "-" + again.astype(str)))
    columns = table.columns[values].astype(str)
    about = dict(table.attrs.get("cellpainting", {}))
    x = table.loc[:, values].to_numpy(np.float64)
    operations = about.pop("operations", [])
    return make(x, obs, _var(columns) if is_profiles else pd.DataFrame(index=columns), about, operations)


def _texts(obs: pd.DataFrame) -> list[str]:
    return [str(name) for name in obs if not pd.api.types.is_numeric_dtype(obs[name])]


def _var(columns: pd.Index) -> pd.DataFrame:
    parts = [name.partition("_")[::2] for name in columns]
    channels = channels_of(feature for _, feature in parts)
    rows = [(compartment, *_of(feature, channels)) for compartment, feature in parts]
    table = pd.DataFrame(rows, columns=["compartment", *_MEANING], index=columns)
    return table.astype({"scale": np.float32, "angle": np.float32})


def _of(feature: str, channels: frozenset[str]) -> tuple:
    found = meaning(feature, channels)._asdict()
    return tuple(np.nan if found[name] is None else found[name] for name in _MEANING)
