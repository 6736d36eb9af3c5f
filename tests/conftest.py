"""What several tests share: the real data where there is some, and where it is not, a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# A kernel's first call compiles it, which takes seconds and says nothing about the example at hand.
settings.register_profile("pipeline", deadline=None)
settings.load_profile("pipeline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images, reference results and published numbers, which lie beside the project, not in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("left out: needs real images and reference results in ../shared/data")
    return SHARED_DATA
