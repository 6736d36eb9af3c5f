"""Groups of plates that a screen gives names to."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.columns import column_of, short
from pipeline.screen.model import Screen
from pipeline.screen.plates import screen_plates
from pipeline.screen.tables import nearest

#: The group of plates whose conditions the screen's scores are about, where it names one.
PRIMARY = "primary"


def in_group(screen: Screen, plates: pd.DataFrame, group: str) -> np.ndarray:
    """Mask over the rows of `screen_plates`: those that fit one of the group's rules."""
    chosen = np.zeros(len(plates), dtype=bool)
    for rule in screen.groups[group]:
        fits = np.ones(len(plates), dtype=bool)
        for name, values in rule.items():
            if (column := column_of(name)) not in plates:
                have = [short(other) for other in plates.columns]
                raise ConfigError(f"groups.{group}: the plates table has no column {name!r}.{nearest(name, have)}")
            fits &= plates[column].isin(values).to_numpy()
        chosen |= fits
    return chosen


def is_primary(screen: Screen, plates: pd.DataFrame) -> np.ndarray:
    """Mask over the rows of `screen_plates`: the group "primary", or all where the screen has no such group."""
    return in_group(screen, plates, PRIMARY) if PRIMARY in screen.groups else np.ones(len(plates), dtype=bool)


def primary_plates(screen: Screen) -> pd.DataFrame:
    """The plates of the screen's group "primary" (all plates where it has no such group), as `screen_plates`."""
    plates = screen_plates(screen)
    return plates[is_primary(screen, plates)]
