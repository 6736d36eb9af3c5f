"""What was foreseen beside what was spent, in the words of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.costs.account import FORECAST, actual
from pipeline.costs.spent import Spent
from pipeline.results.records import read_record
from pipeline.storage import Storage


def cost_table(storage: Storage) -> list[dict[str, str]]:
    """One row a quantity: `what`, `foreseen` ("" where there was no forecast), `spent`. Empty where no call of `run`
    kept account."""
    found = actual(storage)
    if not found["calls"]:
        return []
    spent, foreseen = in_words(found), {}
    if forecast := read_record(storage, FORECAST):
        foreseen = in_words({**forecast, "spent": Spent.of_record(forecast["spent"])})
    return [{"what": what, "foreseen": foreseen.get(what, ""), "spent": text} for what, text in spent.items()]


def in_words(found: Mapping[str, Any]) -> dict[str, str]:
    """`found`: `spent`, `seconds`, `worker_hours` and `dollars`; see `actual`."""
    spent: Spent = found["spent"]
    return {
        "requests": f"{spent.requests:,.0f} ({spent.reads:,.0f} GET, {spent.writes:,.0f} PUT, {spent.lists:,.0f} LIST)",
        "bytes in": size(spent.bytes_in),
        "bytes out": size(spent.bytes_out),
        "CPU time": duration(spent.cpu_seconds),
        "wall time": duration(found["seconds"]),
        "worker-hours": f"{found['worker_hours']:,.2f}",
        "money": f"${found['dollars']:,.2f}",
    }


def forecast_text(record: Mapping[str, Any]) -> str:
    """A forecast as it is kept (`costs/forecast.json`), for the reader."""
    words = in_words({**record, "spent": Spent.of_record(record["spent"])})
    words["money"] += f", at the prices of {record['prices']} for `{record['cluster']}`"
    stored = f"{size(record['stored'])}, ${record['dollars_a_month']:,.2f} a month"
    rows = {
        "plates, wells, sites": f"{len(record['plates']):,}, {record['wells']:,}, {record['sites']:,}",
        **words,
        "wall time": f"{words['wall time']} with {record['workers']} workers",
        "storage": stored,
    }
    lines = [f"{what:22}{text}" for what, text in rows.items()]
    if record["plates"]:
        lines += ["", f"{'plate':40}{'sites':>8}{'requests':>12}{'in':>12}{'out':>12}{'CPU':>11}{'money':>10}"]
    for plate, part in record["plates"].items():
        spent = Spent.of_record(part)
        lines.append(
            f"{plate:40}{record['plate_sites'][plate]:>8,}{spent.requests:>12,.0f}{size(spent.bytes_in):>12}"
            f"{size(spent.bytes_out):>12}{duration(spent.cpu_seconds):>11}{record['plate_dollars'][plate]:>10,.2f}"
        )
    if record["lacking"]:
        lines += ["", f"Not in it, for the rehearsal came to none: {', '.join(record['lacking'])}."]
    return "\n".join(lines)


def size(count: float) -> str:
    """In bytes of 10^n: "1.27 TB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.2f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")  # pragma: no cover


def duration(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"
