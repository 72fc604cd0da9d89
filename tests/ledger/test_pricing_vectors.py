"""The published vectors that the bundled prices know, each to the last digit."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pricing_calls import call, priced

VECTORS = json.loads(Path(__file__).parents[1].joinpath("golden", "pricing.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_a_vector_is_met_to_the_last_digit(vector: dict[str, Any]) -> None:
    at = datetime.fromisoformat(vector["ts"])
    facts = {"service_tier": vector["service_tier"], **vector["usage"]}
    (entry,) = priced(call(vector["provider"], vector["model"], at, **facts)).to_dicts()
    assert entry["cost_usd"] == Decimal(vector["expected_total_usd"])
    assert sum(line["amount_usd"] for line in entry["lines"]) == entry["cost_usd"]
