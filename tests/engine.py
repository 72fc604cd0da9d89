"""Entries to put into a ledger, for tests that need a real one.

Any number of ledgers may follow one another, but the engine has one path per process: close a
store before the next one is opened, and give no fixture that holds one a wider scope than "module".
"""

import atexit
import shutil
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from spanledger.ledger.schema import ENTRIES, MONEY, entries_to_arrow
from spanledger.store.client import Store

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

_PLAIN = {
    pl.String: "",
    pl.Int64: 0,
    pl.Boolean: False,
    pl.List: [],
}


def open_ledger(path: Path) -> Store:
    """As ``Store.open_embedded``, which says how; a ledger that is new begins as a copy.

    To make its tables costs the engine more than to open it, and many tests need a new one. That
    they are made is what the tests of migrations and of the client look at.
    """
    if not path.exists():
        shutil.copytree(_nothing(), path, symlinks=True)
    return Store.open_embedded(path)


@cache
def _nothing() -> Path:
    """The directory of a closed ledger without entries; no other may be open when it is made."""
    directory = Path(tempfile.mkdtemp(prefix="spanledger-nothing-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    Store.open_embedded(directory / "ledger").close()
    return directory / "ledger"


def entry(number: int = 1, **facts: Any) -> dict[str, Any]:
    """Describe one charge; ``number`` makes its ids, what is not said is ordinary."""
    plain: dict[str, Any] = {
        name: None if dtype == MONEY else _PLAIN.get(dtype.base_type())
        for name, dtype in ENTRIES.items()
    }
    return (
        plain
        | {
            "kind": "charge",
            "leg": 0,
            "tenant": "default",
            "trace_id": number.to_bytes(16, "big"),
            "span_id": number.to_bytes(8, "big"),
            "parent_span_id": bytes(8),
            "start_time": NOON,
            "known_at": NOON,
            "duration_ns": 1_500_000_000,
            "service": "chat",
            "provider": "openai",
            "model": "gpt-4o",
            "status": "ok",
            "calls": 1,
            "input_tokens": 100,
            "output_tokens": 10,
            "cost_usd": Decimal("0.25"),
            "cost_low_usd": Decimal("0.25"),
            "cost_high_usd": Decimal("0.25"),
            "cost_class": "exact",
        }
        | facts
    )


def entries(*rows: dict[str, Any]) -> pa.Table:
    """Make the table that journal and store hold."""
    return pa.Table.from_batches([entries_to_arrow(pl.DataFrame(list(rows), schema=ENTRIES))])
