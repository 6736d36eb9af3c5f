"""One YAML file -> one frozen Config."""

from pipeline.config.files import SCREENS, load_config, load_screen
from pipeline.config.model import (
    Config,
    ScoresConfig,
    SelectConfig,
    Subset,
    differences,
    digest,
)
from pipeline.screen.model import PerturbationTable, Screen

__all__ = [
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
