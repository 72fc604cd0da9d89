"""A small ledger to report on: the view's columns as a table of the embedded engine."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

COLUMNS = {
    "start_time": "DateTime64(9, 'UTC')",
    "provider": "String",
    "model": "String",
    "user_id": "String",
    "feature": "String",
    "customer": "String",
    "status": "String",
    "cost_class": "String",
    "unpriced_reason": "String",
    "input_tokens": "Int64",
    "cache_read_tokens": "Int64",
    "cache_write_tokens": "Int64",
    "output_tokens": "Int64",
    "reasoning_tokens": "Int64",
    "cost_usd": "Nullable(Decimal(38, 18))",
    "cost_low_usd": "Nullable(Decimal(38, 18))",
    "cost_high_usd": "Nullable(Decimal(38, 18))",
}


def call(**facts: Any) -> dict[str, Any]:
    """Describe one call; what is not said is ordinary."""
    row: dict[str, Any] = {
        "start_time": NOON,
        "provider": "openai",
        "model": "gpt-4o",
        "user_id": "",
        "feature": "",
        "customer": "",
        "status": "ok",
        "cost_class": "exact",
        "unpriced_reason": "",
        "input_tokens": 100,
        "cache_read_tokens": 40,
        "cache_write_tokens": 0,
        "output_tokens": 10,
        "reasoning_tokens": 0,
        "cost_usd": Decimal("0.25"),
    } | facts
    row.setdefault("cost_low_usd", row["cost_usd"])
    row.setdefault("cost_high_usd", row["cost_usd"])
    return row


CALLS = [
    call(user_id="ada", feature="chat", customer="acme"),
    call(user_id="ada", feature="chat", customer="acme", cost_usd=Decimal("1e-18")),
    call(
        user_id="grace",
        feature="search",
        customer="acme",
        model="claude-sonnet-4-6",
        provider="anthropic",
        cost_class="bounded",
        cost_usd=Decimal("0.75"),
        cost_low_usd=Decimal("0.70"),
        cost_high_usd=Decimal("0.90"),
        cache_write_tokens=20,
        reasoning_tokens=5,
    ),
    call(
        user_id="grace",
        feature="search",
        model="acme-llm-1",
        cost_class="unpriced",
        unpriced_reason="unknown_model",
        cost_usd=None,
    ),
    call(
        model="gpt-4o-mini",
        status="error",
        cost_usd=Decimal(0),
        input_tokens=0,
        cache_read_tokens=0,
        output_tokens=0,
    ),
    call(user_id="too early", start_time=NOON - timedelta(microseconds=1)),
    call(user_id="too late", start_time=NOON + timedelta(hours=1)),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an embedded engine that holds ``CALLS``."""
    path = tmp_path_factory.mktemp("ledger")
    client = clickhouse_connect.get_client(interface="chdb", path=str(path))
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    client.command(f"CREATE TABLE calls ({columns}) ENGINE = MergeTree ORDER BY start_time")
    client.insert("calls", [[row[name] for name in COLUMNS] for row in CALLS], list(COLUMNS))
    yield client
    client.close()
