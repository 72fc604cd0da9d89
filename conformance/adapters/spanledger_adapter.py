"""spanledger: each vector as a call in a frame of one row, priced by the bundled book.

What the operator of a vector knows (rates of his own, a contract) goes into a price file first, as
an installation would say it.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from genai_prices.data_units import unit_data
from protocol import Vector, Work, serve

from spanledger.ledger.catalog import PriceBook, Units, read_document
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, USAGE_COLUMNS

BOOK = PriceBook.bundled()
UNITS = Units.from_data(unit_data)
KNOWN_AT_NS = 1_795_000_000_000_000_000
NOTHING: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Boolean: False, pl.Binary: b""}


def call_of(vector: Vector) -> dict[str, Any]:
    """The row of ``CALLS`` that a span with this usage becomes."""
    context: Mapping[str, Any] = vector["context"]
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
    row["region"] = context.get("region", "")
    usage = vector["usage"]
    row |= {key: count for key, count in usage.items() if key in USAGE_COLUMNS}
    row["usage"] = [
        {"key": key, "value": Decimal(count)}
        for key, count in usage.items()
        if key not in USAGE_COLUMNS
    ]
    return row


def book_of(vector: Vector) -> PriceBook:
    """The bundled book, under the price file that the vector's operator has."""
    whose = {"provider": vector["provider"], "model": vector["model"]}
    if "operator_prices" in vector["context"]:
        rates = {
            line["unit"]: {"usd": Decimal(line["rate_usd"]), "per": line["per"]}
            for line in vector["lines"]
        }
        said: dict[str, Any] = {"prices": [{**whose, "rates": rates}]}
    elif "percent_off" in vector["context"]:
        percent = Decimal(vector["context"]["percent_off"])
        said = {"contracts": [{"name": "contract", **whose, "discount_percent": percent}]}
    else:
        return BOOK
    return PriceBook.bundled([read_document(said, "user", UNITS)])


def prepare(vector: Vector) -> Work:
    """Price the frame; besides the total, the answer has class, bounds and lines."""
    calls = pl.DataFrame([call_of(vector)], schema=CALLS)
    book = book_of(vector)

    def work() -> Mapping[str, Any]:
        entry = price(calls, book, known_at_ns=KNOWN_AT_NS).row(0, named=True)
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
