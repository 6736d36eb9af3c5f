"""What things cost: worked by hand from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.costs.prices import load_prices
from pipeline.costs.spent import Spent
from pipeline.errors import ConfigError

TABLE = """what,usd,per,as_of,source
worker local,0.5,hour,2026-03,
worker other,2,hour,2026-02,
scheduler other,1,hour,2026-04,
read,0.4,1000 requests,2026-03,
write,5,1000 requests,2026-03,
list,5,1000 requests,2026-03,
in,0.01,GB,2026-03,
out,0.02,GB,2026-03,
stored,0.1,GB and month,2026-03,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "prices.csv"
    path.write_text(TABLE)
    return path


def test_the_prices_that_ship_can_be_read_and_are_dated() -> None:
    assert load_prices().as_of == "2025-01"


def test_requests_are_paid_by_the_thousand_and_bytes_by_the_gigabyte(table: Path) -> None:
    spent = Spent(reads=1000, writes=2000, lists=200, bytes_in=3e9, bytes_out=1e9)
    assert load_prices(table).of_requests(spent) == pytest.approx(0.4 + 10 + 1 + 0.03 + 0.02)
    assert load_prices(table).of_a_month(20e9) == pytest.approx(2.0)


def test_machines_are_paid_by_the_hour_and_the_scheduler_with_them(table: Path) -> None:
    prices = load_prices(table)
    assert prices.of_machines("tls", worker_hours=8, hours=2) == pytest.approx(8 * 2 + 2 * 1)
    assert prices.of_machines("local", worker_hours=8, hours=2) == pytest.approx(4)  # this machine is the scheduler's
    assert prices.of_machines("another", worker_hours=8, hours=2) == prices.of_machines("tls", 8, 2)


def test_the_oldest_price_dates_the_table(table: Path) -> None:
    assert load_prices(table).as_of == "2026-02"


@pytest.mark.parametrize(
    ("line", "changed", "said"),
    [
        ("read,0.4,", "", "no price of read"),
        ("read,0.4,", "read,-1,", "'read' is no amount"),
        ("read,0.4,", "read,much,", "cannot be read as a table"),
        ("what,usd", "name,usd", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_row(table: Path, line: str, changed: str, said: str) -> None:
    lines = [
        (changed + row[len(line) :] if changed else "") if row.startswith(line) else row for row in TABLE.splitlines()
    ]
    table.write_text("\n".join(row for row in lines if row))
    with pytest.raises(ConfigError, match=said):
        load_prices(table)
