"""What a call of `run` has spent: its workers by the hour, its requests, and what earlier calls left on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.costs.account import FORECAST, Account, actual
from pipeline.costs.meter import SPENT
from pipeline.costs.shown import cost_table
from pipeline.costs.spent import Spent
from pipeline.executors import Outcome, Task
from pipeline.results.records import encode
from pipeline.storage import Storage, open_storage
from tests.costs.test_prices import TABLE

EXPECTED = Spent(reads=100, writes=10)  # 4 and 5 cents by the table below


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "prices.csv").write_text(TABLE)
    (tmp_path / "x.cppipe").write_text("")
    return Config.model_validate(
        {
            "screen": {"name": "s", "channels": {1: "DNA"}, "images": {"url": str(tmp_path / "images")}},
            "results": {"url": str(tmp_path / "results")},
            "engine": {"cppipe": tmp_path / "x.cppipe"},
            "execution": {"cluster": "local", "prices": tmp_path / "prices.csv"},
        }
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ended(well: str = "A01") -> Outcome:
    task = Task("measure", ("B", "P", well), dict, ())
    return Outcome(task, {SPENT: EXPECTED.as_record()})


def opened(config: Config, clock: Clock, **more: Any) -> tuple[Storage, Account]:
    storage = open_storage(config.results)
    return storage, Account(storage, config, clock=clock, **more)


def test_workers_cost_by_the_hour_also_while_they_wait(config: Config, clock: Clock) -> None:
    _, account = opened(config, clock)
    clock.now = 1800
    account.add(ended(), workers=4)
    kept = 0.005  # its record has been written meanwhile, which is a request too
    assert account.dollars == pytest.approx(0.5 * 4 * 0.5 + 0.04 + 0.05 + kept, abs=1e-4)


def test_a_budget_is_of_all_calls_at_a_root(config: Config, clock: Clock) -> None:
    storage, first = opened(config, clock, budget=1.0)
    clock.now = 3600
    first.add(ended(), workers=1)
    assert first.dollars == pytest.approx(0.595, abs=1e-4)
    assert not first.is_exhausted
    first.keep()
    first.keep()  # again: the same record
    _, second = opened(config, clock, budget=1.0, tasks=4)
    assert second.dollars == pytest.approx(0.60, abs=0.01)
    clock.now = 7200
    second.add(ended("A02"), workers=1)
    assert second.is_exhausted
    assert "$1.00 is spent" in second.stopped
    assert "3 tasks were not begun" in second.stopped
    second.keep()
    assert actual(storage)["calls"] == 2
    assert actual(storage)["worker_hours"] == pytest.approx(2)


def test_without_a_budget_nothing_is_ever_spent_up(config: Config, clock: Clock) -> None:
    _, account = opened(config, clock)
    clock.now = 1e9
    account.add(ended(), workers=1000)
    assert not account.is_exhausted


def test_what_is_spent_is_said_beside_what_was_foreseen(config: Config, clock: Clock) -> None:
    foreseen = {"spent": EXPECTED.as_record(), "seconds": 60.0, "worker_hours": 1.0, "dollars": 4.5}
    open_storage(config.results).put(FORECAST, encode(foreseen))
    storage, account = opened(config, clock)
    clock.now = 7200
    account.add(ended(), workers=2)
    assert str(account) == "$2.10 of $4.50 foreseen"
    account.keep()
    rows = {row["what"]: row for row in cost_table(storage)}
    assert rows["money"]["foreseen"] == "$4.50"
    assert rows["money"]["spent"] == "$2.10"
    assert rows["worker-hours"]["spent"] == "4.00"


def test_a_root_that_no_call_worked_on_has_no_costs(config: Config) -> None:
    assert cost_table(open_storage(config.results)) == []
