"""The published vectors, each to the last digit.

Form of ``golden/pricing.json``: provider, model, time, service tier, region and usage (canonical
keys) of one call, and ``expected_total_usd``. ``price_file``: what the user's price file says, for
prices that nobody publishes. ``wrong_total_usd``: a common wrong answer, which must not come out.
``out_of_scope``: why the call alone has no price; then ``expected`` has the honest answer instead.
"""

import json
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import Any

import pytest
from pricing_calls import BOOK, PLACES, book_with, call, priced

VECTORS = json.loads(
    Path(__file__).parents[1].joinpath("golden", "pricing.json").read_text(), parse_float=Decimal
)
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


def _entry(vector: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromisoformat(vector["ts"])
    facts = {"service_tier": vector["service_tier"], "region": vector.get("region", "")}
    book = book_with(vector["price_file"]) if "price_file" in vector else BOOK
    made = call(vector["provider"], vector["model"], at, **facts, **vector["usage"])
    return priced(made, book=book).row(0, named=True)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_a_vector_is_met_to_the_last_digit(vector: dict[str, Any]) -> None:
    entry = _entry(vector)
    for column, value in vector.get("expected", {}).items():
        wanted = Decimal(value) if column.endswith("_usd") else value
        assert entry[column] == wanted
    if "out_of_scope" in vector:
        return
    # A vector may have more digits than money: it is rounded as each line of ours is.
    total = Decimal(vector["expected_total_usd"]).quantize(PLACES, context=_WIDE)
    assert entry["cost_usd"] == total
    assert sum(line["amount_usd"] for line in entry["lines"]) == total
    assert entry["cost_usd"] != Decimal(vector.get("wrong_total_usd", -1))


def test_all_published_vectors_are_here() -> None:
    assert len({vector["id"] for vector in VECTORS}) == len(VECTORS) >= 42
