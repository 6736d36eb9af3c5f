"""A scheduler on another machine is not spoken to without encryption."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.executors import open_executor


@pytest.mark.parametrize("address", ["tcp://10.1.2.3:8786", "tcp://scheduler:8786", "tcp://[2001:db8::1]:8786"])
def test_a_plain_scheduler_elsewhere_is_refused_before_anything_is_sent(address: str, tmp_path: Path) -> None:
    (tmp_path / "x.cppipe").write_text("")
    config = Config.model_validate(
        {
            "screen": {"name": "s", "channels": {1: "DNA"}, "images": {"url": str(tmp_path)}},
            "results": {"url": str(tmp_path / "results")},
            "engine": {"cppipe": tmp_path / "x.cppipe"},
            "execution": {"cluster": address},
        }
    )
    with pytest.raises(ConfigError, match=r"neither encrypted nor closed to others.*make certificates"):
        open_executor(config)
