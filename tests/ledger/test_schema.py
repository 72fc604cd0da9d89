"""The frames' schemas: entries of an older version are completed, never reinterpreted."""

from typing import Any

import pyarrow as pa
import pytest
from pricing_calls import call, priced

from spanledger.ledger.schema import ENTRIES_ARROW, completed, entries_to_arrow

_IDS: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "parent_span_id": b"p" * 8}
_BATCH = entries_to_arrow(
    priced(
        call("openai", "gpt-4o", input_tokens=10, web_searches=1, **_IDS),
        call("acme", "acme-1", **_IDS),
    )
)


def test_entries_of_this_version_stay_as_they_are() -> None:
    assert completed(_BATCH) == pa.Table.from_batches([_BATCH])


@pytest.mark.parametrize("missing", ENTRIES_ARROW.names)
def test_a_column_that_was_added_later_says_that_nothing_was_reported(missing: str) -> None:
    older = _BATCH.drop_columns([missing])
    entries = completed(older)
    assert entries.schema.equals(ENTRIES_ARROW)
    assert entries.drop_columns([missing]) == pa.Table.from_batches([older])
    nothing: tuple[Any, ...] = ("", 0, False, None, [])
    assert all(value in nothing for value in entries.column(missing).to_pylist())
