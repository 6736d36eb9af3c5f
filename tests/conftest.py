"""What several tests share: the real data where there is some, and where it is not, a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# A kernel's first call compiles it, which takes seconds and says nothing about the example at hand.
settings.register_profile("pipeline", deadline=None)
settings.load_profile("pipeline")


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_linear_algebra() -> Iterator[None]:
    """On small arrays several mostly wait for each other, for minutes where cores are shared."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images, reference results and published numbers, which lie beside the project, not in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("left out: needs real images and reference results in ../shared/data")
    return SHARED_DATA
