"""What does not fit in a screen's tables, names and images, in sentences."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """`what` is a sentence that stands alone; the rest says where, as far as it is about one place."""

    kind: str
    batch: str
    plate: str
    what: str
    well: str = ""
    site: int | None = None
    file: str = ""
