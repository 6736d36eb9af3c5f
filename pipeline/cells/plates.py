"""Which plates a store holds, and which of them may be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.cells import layout
from pipeline.errors import Incomplete
from pipeline.results.plan import planned_plates
from pipeline.results.records import read_record
from pipeline.screen import Plate
from pipeline.storage import Storage


def read_publication(storage: Storage, plate: Plate) -> dict[str, Any]:
    """What was published of a plate: totals, and by well its state, n_cells, n_unmatched and sites used.

    Raises `Incomplete` where the plate is not published, or is being published anew.
    """
    found = read_record(storage, layout.publication_key(plate))
    if found is None:
        raise Incomplete(
            f"{plate} is not published at {storage.location}: its wells are not all done. Finish the run, or read what "
            "there is with allow_partial=True."
        )
    if found.get("inputs", {}) is None:
        raise Incomplete(
            f"{plate} is being published anew at {storage.location}, or was when its run was stopped. Wait, or `run` "
            "again; allow_partial=True reads what there is."
        )
    return found


def is_published(storage: Storage, plate: Plate) -> bool:
    return storage.stat(layout.publication_key(plate)) is not None


def is_readable(storage: Storage, plate: Plate) -> bool:
    """Whether the plate is published, and not being published anew."""
    found = read_record(storage, layout.publication_key(plate))
    return found is not None and found.get("inputs", {}) is not None


def published_plates(storage: Storage) -> list[Plate]:
    """The plates that are published and still in the plan: a plate that the screen names no more is not read."""
    keys = (entry.key for entry in storage.entries("plates/"))
    return _planned(
        storage, [Plate(*key.removesuffix(".json").split("/")[1:]) for key in keys if key.endswith(".json")]
    )


def created_plates(storage: Storage) -> list[Plate]:
    """The plates that are in the store and still in the plan."""
    batches = storage.folders("cells/")
    return _planned(storage, [Plate(batch, plate) for batch in batches for plate in storage.folders(f"cells/{batch}/")])


def _planned(storage: Storage, plates: list[Plate]) -> list[Plate]:
    planned = planned_plates(storage)
    return plates if planned is None else [plate for plate in plates if plate in planned]


def choose_plates(
    storage: Storage, plates: str | Plate | Iterable[str | Plate] | None, *, allow_partial: bool = False
) -> list[Plate]:
    """The plates that are meant by name, by "batch/plate" or as `Plate`; None: all that may be read.

    A name that several batches have means all of them. Raises `Incomplete` where a plate is not published, or none is.
    """
    there = created_plates(storage) if allow_partial else published_plates(storage)
    if plates is None:
        if not there:
            raise Incomplete(
                f"{storage.location} has no {'plate' if allow_partial else 'published plate'} yet. "
                + ("Check the URL." if allow_partial else "Finish the run, or read with allow_partial=True.")
            )
        return there
    names = [plates] if isinstance(plates, str | Plate) else list(plates)
    chosen = []
    for name in names:
        found = [plate for plate in there if name in (plate, plate.key, plate.plate)]
        if not found:
            raise Incomplete(
                f"There is no {'' if allow_partial else 'published '}plate {name} at {storage.location}; there are "
                f"{some([plate.key for plate in there]) or 'none'}."
            )
        chosen += found
    return list(dict.fromkeys(chosen))


def some(names: list[str], most: int = 5) -> str:
    """The first of many names, for a message."""
    return "; ".join(names[:most]) + (f"; and {len(names) - most} more" if len(names) > most else "")
