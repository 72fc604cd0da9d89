"""The oracle: what the provider's own record costs, and whether the ledger says the same.

Promises: prices come from ``genai_prices`` directly, applied to the exact ``usage`` objects that
the provider sent, at the moment it sent them. Shares no code with spanledger, and agreement means
every digit: totals, call counts, unpriced calls, and each model by itself.

    python demo/check.py --record provider.jsonl --sql-port 8123
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, getcontext
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
from genai_prices import extract_usage

# How genai-prices calls the shape of each endpoint's usage.
FLAVORS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "default",
}
PLACES: Final = Decimal("1e-18")  # what a ledger line is rounded to; ordinary prices are coarser


@dataclass
class Sums:
    """Calls and money of one model, or of all."""

    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    cost_usd: Decimal = Decimal(0)


def price(call: dict[str, Any]) -> Decimal | None:
    """Price one call of the provider's record; ``None`` where no price is known."""
    if call["usage"] is None:  # refused: nothing was used, nothing is billed
        return Decimal(0)
    response = {"model": call["model"], "usage": call["usage"]}
    flavor = FLAVORS[call["path"]]
    try:
        usage = extract_usage(response, provider_id=call["provider"], api_flavor=flavor)
    except LookupError:  # no price list knows the model
        return None
    calculation = usage.calc_price(genai_request_timestamp=datetime.fromisoformat(call["at"]))
    return calculation.total_price.quantize(PLACES, rounding=ROUND_HALF_EVEN)


def expected(lines: Iterable[str]) -> dict[str, Sums]:
    """Add up the provider's record by model; a refused call answers with none, so under ''."""
    sums: dict[str, Sums] = {}
    for line in lines:
        call = json.loads(line)
        answered = call["usage"] is not None
        model = sums.setdefault(call["model"] if answered else "", Sums())
        cost = price(call)
        model.calls += 1
        model.failed += not answered
        model.unpriced += cost is None
        model.cost_usd += cost or 0
    return sums


def recorded(sql_port: int) -> dict[str, Sums]:
    """Read the same sums from the ledger."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=sql_port)
    rows = client.query(
        "SELECT response_model, count(), countIf(status = 'error'), "
        "countIf(cost_class = 'unpriced'), sum(cost_usd) FROM calls GROUP BY response_model"
    ).result_rows
    return {
        model: Sums(calls, failed, unpriced, cost or Decimal(0))
        for model, calls, failed, unpriced, cost in rows
    }


def together(sums: Iterable[Sums]) -> Sums:
    """Add models up."""
    total = Sums()
    for model in sums:
        total.calls += model.calls
        total.failed += model.failed
        total.unpriced += model.unpriced
        total.cost_usd += model.cost_usd
    return total


def differences(provider: dict[str, Sums], ledger: dict[str, Sums]) -> list[str]:
    """Say, one sentence each, where the ledger departs from the provider's record."""
    found = []
    for name in ("all models", *sorted(provider.keys() | ledger.keys())):
        if name == "all models":
            theirs, ours = together(provider.values()), together(ledger.values())
        else:
            theirs, ours = provider.get(name, Sums()), ledger.get(name, Sums())
        who = name or "calls without an answering model"
        for what in ("calls", "failed", "unpriced", "cost_usd"):
            right, wrong = getattr(theirs, what), getattr(ours, what)
            if right != wrong:
                found.append(
                    f"{who}: {what} is {wrong} in the ledger and {right} by the provider's record, "
                    f"a difference of {wrong - right}"
                )
    return found


def main() -> int:
    """Compare and print; 0 if everything agrees."""
    getcontext().prec = 60  # the default of 28 digits would round large sums in silence
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--sql-port", type=int, default=8123)
    arguments = parser.parse_args()
    with arguments.record.open() as lines:
        provider = expected(lines)
    ledger = recorded(arguments.sql_port)
    found = differences(provider, ledger)
    for sentence in found:
        print(sentence)
    total = together(provider.values())
    if not found:
        print(
            f"{total.calls} calls, ${total.cost_usd.normalize():f}, {total.unpriced} unpriced: "
            "the ledger equals the provider's own record to the last digit"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
