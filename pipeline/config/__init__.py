"""One YAML file -> one frozen Config."""

from pipeline.config.files import SCREENS, load_config, load_screen
from pipeline.config.model import (
    MAP_SUFFIXES,
    Config,
    PerturbationTable,
    ScoresConfig,
    Screen,
    SelectConfig,
    Subset,
    differences,
    digest,
)

__all__ = [
    "MAP_SUFFIXES",
    "SCREENS",
    "Config",
    "PerturbationTable",
    "ScoresConfig",
    "Screen",
    "SelectConfig",
    "Subset",
    "differences",
    "digest",
    "load_config",
    "load_screen",
]
