"""Ledgers of the embedded engine: a fresh one a test, or one a module with its SQL listener."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from engine import NOON, entries, entry, open_ledger
from sql_listener import Bounds

from spanledger.store.client import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_ledger(tmp_path / "ledger")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def bounds() -> Bounds:
    return Bounds()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A ledger of three calls; not beside ``store``: the engine has one path at a time."""
    opened = open_ledger(tmp_path_factory.mktemp("store") / "ledger")
    opened.insert(three_calls())
    yield opened
    opened.close()


def three_calls() -> pa.Table:
    """Two with a price, one without."""
    unknown = dict.fromkeys(("cost_usd", "cost_low_usd", "cost_high_usd"))
    return entries(
        entry(1, customer="acme", user_id="ada", feature="search"),
        entry(2, customer="acme", cost_usd=Decimal("1e-18"), start_time=NOON + timedelta(1)),
        entry(3, model="gpt-99", cost_class="unpriced", unpriced_reason="unknown_model", **unknown),
    )
