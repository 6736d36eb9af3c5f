"""A ledger entry is written once, says the same whoever writes it, and is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Conflict
from pipeline.results import ledger
from pipeline.screen import Plate
from pipeline.seals import without_seal
from pipeline.storage import Storage, open_storage

PLATE = Plate("B1", "P1")
RUN = "0123456789ab"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


def entry(well: str = "A01", **changes: object) -> ledger.Entry:
    return {**ledger.empty_entry(PLATE, well, "f" * 64), "state": "measured", "n_cells": 7, **changes}  # type: ignore[typeddict-item]


def test_an_entry_makes_its_well_finished(storage: Storage) -> None:
    ledger.write_entry(storage, RUN, entry("A01"))
    ledger.write_entry(storage, RUN, entry("A10"))
    assert set(ledger.listed_wells(storage, RUN, PLATE)) == {"A01", "A10"}
    assert ledger.listed_wells(storage, "another-run", PLATE) == {}
    assert ledger.listed_wells(storage, RUN, Plate("B2", "P1")) == {}
    assert ledger.is_finished(storage, RUN, PLATE, "A01")
    assert not ledger.is_finished(storage, RUN, PLATE, "A1")


def test_writing_the_same_entry_again_is_harmless(storage: Storage) -> None:
    ledger.write_entry(storage, RUN, entry())
    ledger.write_entry(storage, RUN, entry())
    assert list(map(without_seal, ledger.read_entries(storage, PLATE, RUN))) == [entry()]


def test_another_result_for_a_finished_well_is_refused_and_the_first_stays(storage: Storage) -> None:
    ledger.write_entry(storage, RUN, entry())
    with pytest.raises(Conflict, match="B1/P1 A01"):
        ledger.write_entry(storage, RUN, entry(n_cells=8))
    assert without_seal(ledger.read_entry(storage, RUN, PLATE, "A01")) == entry()


def test_why_names_every_site_that_failed() -> None:
    failed = [{"site": 2, "kind": "image", "reason": "gone"}, {"site": 3, "kind": "engine", "reason": "hung"}]
    assert ledger.why(entry(sites_failed=failed)) == "site 2: gone; site 3: hung"
    assert ledger.why(entry(reason="its worker died")) == "its worker died"
    assert ledger.why(entry()) == ""


class Counting:
    """A store that takes down which objects are read."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self.read = storage, list[str]()

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return self._storage.get(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)


def attempt(well: str, number: int) -> dict[str, object]:
    return {"well": well, "seconds": float(number)}


def test_entries_of_a_plate_and_its_attempts_are_read_from_its_summary_by_one_request(storage: Storage) -> None:
    for number, well in enumerate(("A01", "A02", "A03")):
        ledger.write_entry(storage, RUN, entry(well))
        ledger.write_attempt(storage, PLATE, well, "x", attempt(well, number))
    entries = ledger.read_entries(storage, PLATE, RUN)
    attempts = ledger.read_attempts(storage, RUN, [PLATE])
    assert [found["well"] for found in entries] == ["A01", "A02", "A03"]
    ledger.summarise(storage, RUN, PLATE, entries)
    counting = Counting(storage)
    assert ledger.read_entries(counting, PLATE, RUN) == entries  # type: ignore[arg-type]
    assert len(counting.read) == 1
    assert ledger.read_attempts(counting, RUN, [PLATE]) == attempts  # type: ignore[arg-type]
    assert len(counting.read) == 2


def test_a_summary_that_is_old_changes_nothing_of_what_is_read(storage: Storage) -> None:
    for well in ("A01", "A02", "A03"):
        ledger.write_entry(storage, RUN, entry(well))
        ledger.write_attempt(storage, PLATE, well, "x", attempt(well, 1))
    ledger.summarise(storage, RUN, PLATE, ledger.read_entries(storage, PLATE, RUN))
    ledger.remove_entry(storage, RUN, PLATE, "A02")  # opened again,
    ledger.remove_entry(storage, RUN, PLATE, "A03")
    ledger.write_entry(storage, RUN, entry("A02", n_cells=8))  # measured again from the same images,
    ledger.write_entry(storage, RUN, {**entry("A03"), "input": "e" * 64})  # and from others
    ledger.write_entry(storage, RUN, entry("A04"))
    ledger.write_attempt(storage, PLATE, "A02", "y", attempt("A02", 2))
    found = {one["well"]: (one["n_cells"], one["input"][0]) for one in ledger.read_entries(storage, PLATE, RUN)}
    assert found == {"A01": (7, "f"), "A02": (8, "f"), "A03": (7, "e"), "A04": (7, "f")}
    assert sum(one["seconds"] for one in ledger.read_attempts(storage, RUN, [PLATE])) == 3 + 2
