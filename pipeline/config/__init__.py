"""One YAML file -> one frozen Config."""

from pipeline.config.files import SCREENS, load_config, load_screen
from pipeline.config.model import (
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
