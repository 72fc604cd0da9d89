"""spanledger: each vector as a call in a frame of one row, priced by the bundled book."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from protocol import Unsupported, Vector, Work, serve

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, USAGE_COLUMNS

BOOK = PriceBook.bundled()
KNOWN_AT_NS = 1_795_000_000_000_000_000
NOTHING: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Boolean: False, pl.Binary: b""}


def call_of(vector: Vector) -> dict[str, Any]:
    """The row of ``CALLS`` that a span with this usage becomes."""
    context: Mapping[str, Any] = vector["context"]
    for key in ("operator_prices", "percent_off"):
        if key in context:
            raise Unsupported(f"{key}: needs a price list of one's own")
    row: dict[str, Any] = {name: NOTHING.get(dtype) for name, dtype in CALLS.items()}
    tier = "batch" if context.get("processing") == "batch" else context.get("service_tier", "")
    row |= {
        "request": 0,
        "attributes": [],
        "status": "ok",
        "convention": "declared",
        "provider": vector["provider"],
        "request_model": vector.get("requested_model", vector["model"]),
        "response_model": vector["model"],
        "start_time": datetime.fromisoformat(vector["at"]),
        "service_tier": tier,
    }
    if "region" in context:
        if "region" not in CALLS.names():
            raise Unsupported("no way to say region")
        row["region"] = context["region"]
    usage = vector["usage"]
    row |= {key: count for key, count in usage.items() if key in USAGE_COLUMNS}
    row["usage"] = [
        {"key": key, "value": Decimal(count)}
        for key, count in usage.items()
        if key not in USAGE_COLUMNS
    ]
    return row


def prepare(vector: Vector) -> Work:
    """Price the frame; besides the total, the answer has class, bounds and lines."""
    calls = pl.DataFrame([call_of(vector)], schema=CALLS)

    def work() -> Mapping[str, Any]:
        entry = price(calls, BOOK, known_at_ns=KNOWN_AT_NS).row(0, named=True)
        lines = [
            {key: str(line[key]) for key in ("unit", "quantity", "rate_usd", "per", "amount_usd")}
            for line in entry["lines"]
        ]
        return {
            "total": entry["cost_usd"],
            "error": entry["unpriced_reason"] or None,
            "cost_class": entry["cost_class"],
            "low_usd": _text(entry["cost_low_usd"]),
            "high_usd": _text(entry["cost_high_usd"]),
            "lines": lines,
        }

    return work


def _text(money: Decimal | None) -> str | None:
    return None if money is None else format(money, "f")


if __name__ == "__main__":
    serve(prepare)
