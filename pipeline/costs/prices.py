"""What things cost, in dollars: `prices.csv`, dated, or a table of the reader's own (`execution.prices`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.costs.spent import Spent
from pipeline.errors import ConfigError

PRICES = Path(__file__).with_name("prices.csv")
#: what a table must hold; kinds of cluster that it does not name have the price of `other`
_NEEDED = ("worker other", "scheduler other", "read", "write", "list", "in", "out", "stored")


@dataclass(frozen=True)
class Prices:
    """`usd`: by the names of prices.csv; `as_of`: the oldest of its dates."""

    usd: Mapping[str, float]
    as_of: str

    def of_machines(self, kind: str, worker_hours: float, hours: float) -> float:
        """Workers of a kind of cluster for so many hours together, and its scheduler for so many."""
        return worker_hours * self._machine("worker", kind) + hours * self._machine("scheduler", kind)

    def of_requests(self, spent: Spent) -> float:
        """Requests, and what is carried to and fro."""
        asked = spent.reads * self.usd["read"] + spent.writes * self.usd["write"] + spent.lists * self.usd["list"]
        return asked / 1000 + (spent.bytes_in * self.usd["in"] + spent.bytes_out * self.usd["out"]) / 1e9

    def of_a_month(self, stored_bytes: float) -> float:
        return stored_bytes / 1e9 * self.usd["stored"]

    def _machine(self, what: str, kind: str) -> float:
        if what == "scheduler" and f"worker {kind}" in self.usd and f"scheduler {kind}" not in self.usd:
            return 0.0
        return self.usd.get(f"{what} {kind}", self.usd[f"{what} other"])


def load_prices(path: Path | None = None) -> Prices:
    """Raises `ConfigError`, naming the row, where the table cannot be used."""
    path = path or PRICES
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        usd = {row["what"]: float(row["usd"]) for row in table[["what", "usd", "as_of"]].to_dict("records")}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"execution.prices: {path} cannot be read as a table with the columns what, usd, per, as_of and source, "
            f"as {PRICES.name} is: {error}"
        ) from None
    if missing := [name for name in _NEEDED if name not in usd]:
        raise ConfigError(f"execution.prices: {path} has no price of {', '.join(missing)}")
    if wrong := [name for name, dollars in usd.items() if not 0 <= dollars < float("inf")]:
        raise ConfigError(f"execution.prices: {path}: the price of {wrong[0]!r} is no amount of dollars")
    dates = [date for date in table["as_of"] if date]
    return Prices(usd, min(dates, default="undated"))
