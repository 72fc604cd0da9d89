"""A row that the store would not take comes back exactly as it was."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from engine import entries, entry

from spanledger.collector.dead_letters import DeadLetters
from spanledger.collector.journal import Journal
from spanledger.ledger.schema import ENTRIES_ARROW


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    return DeadLetters(tmp_path / "dead.jsonl")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(
        tmp_path / "journal",
        ENTRIES_ARROW,
        segment_bytes_max=10**6,
        retention_seconds=3_600,
        retention_bytes_max=10**7,
        free_bytes_min=0,
    ) as opened:
        yield opened


def rich(number: int) -> pa.Table:
    """An entry with a value in every kind of column, and odd nanoseconds."""
    line = {
        "unit": "input_tokens",
        "quantity": Decimal("1.5"),
        "rate_usd": Decimal("0.000000000000000001"),
        "per": 1_000_000,
        "amount_usd": Decimal(-7),
        "price_id": "p",
    }
    table = entries(
        entry(
            number,
            lines=[line],
            usage=[{"key": "pages", "value": Decimal("2.25")}],
            attributes=[{"key": "a", "value": 'b"\n'}],
            time_to_first_token_ms=0.1,
        )
    )
    at = table.schema.get_field_index("start_time")
    time = pa.array([1_793_491_200_123_456_789], pa.timestamp("ns", "UTC"))
    return table.set_column(at, table.schema.field(at), time)


def test_a_retried_row_is_the_row_that_died(letters: DeadLetters, journal: Journal) -> None:
    rows = [rich(1), rich(2)]
    for row in rows:
        letters.add(row, "out_of_range")
    assert letters.retry(journal) == (2, 0)
    batches, _ = journal.read(journal.mark, 10)
    assert pa.Table.from_batches(batches).equals(pa.concat_tables(rows).cast(ENTRIES_ARROW))
    assert list(letters.letters()) == []


def test_a_line_is_for_eyes_too(letters: DeadLetters) -> None:
    letters.add(rich(1), "out_of_range")
    written = json.loads(letters.path.read_text())
    assert written["reason"] == "out_of_range"
    assert written["entry"]["span_id"] == "0000000000000001"
    assert written["entry"]["start_time"] == "2026-11-01T00:00:00.123456789Z"
    assert written["entry"]["cost_usd"].rstrip("0") == "0.25"
    assert datetime.fromisoformat(written["entry"]["known_at"]).tzinfo == UTC


def test_lines_that_cannot_be_read_stay(letters: DeadLetters, journal: Journal) -> None:
    letters.path.write_text('{"reason": "x", "entry": {"tenant": 1}}\nnonsense\n{"half')
    letters.add(rich(1), "out_of_range")
    assert [letter.reason for letter in letters.letters()] == [
        "x",
        "unreadable",
        "unreadable",
        "out_of_range",
    ]
    assert letters.retry(journal) == (1, 3)
    assert letters.path.read_text() == (
        '{"reason": "x", "entry": {"tenant": 1}}\nnonsense\n{"half\n'
    )


def test_nothing_is_retried_where_nothing_died(letters: DeadLetters, journal: Journal) -> None:
    assert letters.retry(journal) == (0, 0)
    assert not letters.path.exists()
