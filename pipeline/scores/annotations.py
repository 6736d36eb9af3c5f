"""What the screen's own tables say of the wells, filled in where profiles do not say it themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.columns import CONDITION, CONTROL_TYPE, PLATE, SAMPLE, TARGETS, VARIANT, WELL, WELL_KEY, column_of
from pipeline.screen.spelling import text_of, usual_control


def annotate(profiles: pd.DataFrame, annotations: pd.DataFrame, condition: Sequence[str] = CONDITION) -> pd.DataFrame:
    """Profiles with what they lack filled in from `well_annotations`, by batch, plate and well.

    What a file says stands, but for the columns of the condition, and target lists, which the paper replaced after
    profiling. Raises `ConfigError` where nobody says which well a row is of, or what is in the wells.
    """
    if WELL not in profiles:
        raise ConfigError("These profiles have no column Metadata_Well: nobody knows which well a row is of. Add it.")
    key = [name for name in WELL_KEY if name in profiles]
    here = pd.DataFrame({name: text_of(profiles, name) for name in key}, dtype=object)
    here = here.merge(annotations.drop_duplicates(key), on=key, how="left").fillna("")
    if (here[SAMPLE] == "").all() and (text_of(profiles, SAMPLE) == "").all():
        plates = ", ".join(sorted(set(profiles[PLATE].astype(str)))[:3])
        raise ConfigError(f"Neither these profiles nor the screen's tables say what is on {plates}. Is it that screen?")
    screens_own = {*map(column_of, condition), VARIANT, TARGETS}
    columns = {}
    for name in annotations.columns.astype(str):
        screens, files = here[name].to_numpy(dtype=object), text_of(profiles, name)
        first, second = (screens, files) if name in screens_own else (files, screens)
        columns[name] = np.where(first != "", first, second)
    columns[CONTROL_TYPE] = usual_control(columns[CONTROL_TYPE])
    rest = profiles.drop(columns=[name for name in columns if name in profiles])
    return pd.concat([pd.DataFrame(columns, index=profiles.index), rest], axis=1)
