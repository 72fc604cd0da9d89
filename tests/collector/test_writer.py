"""Journal to store: each entry once, whatever the store does meanwhile."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fakes import RECORDED_NS, Meters, unpriced
from otlp_requests import Span, chat, request

from spanledger.collector.dead_letters import DeadLetters
from spanledger.collector.journal import Journal
from spanledger.collector.writer import Writer
from spanledger.ledger import dialects
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.schema import ENTRIES_ARROW, entries_to_arrow
from spanledger.store.errors import BadRows, StoreUnavailable
from spanledger.store.known import KEY


def batch(*spans: Span) -> pa.RecordBatch:
    body = request(spans).SerializeToString()
    decoded = decode([Body(body)], dialects.attribute_keys(), spans_max=1_000)
    return entries_to_arrow(unpriced(dialects.normalise(decoded.spans, "acme").calls))


class MemoryStore:
    """A ledger in memory that fails as told."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.failures: list[Exception] = []
        self.poison: set[bytes] = set()
        self.changed = threading.Condition()
        self.calls: list[int] = []

    def insert(self, entries: pa.Table) -> None:
        rows = entries.to_pylist()
        if self.poison & {row["span_id"] for row in rows}:
            raise BadRows("overflow")
        keys = [tuple(row[name] for name in KEY) for row in rows]
        assert not set(keys) & set(self.rows), "a known entry was inserted again"
        with self.changed:
            self.rows.update(zip(keys, rows, strict=True))
            self.calls.append(len(rows))
            self.changed.notify_all()

    def known(self, entries: pa.Table) -> pa.BooleanArray:
        if self.failures:
            raise self.failures.pop(0)
        seen = set(self.rows)
        known = []
        for key in zip(*(entries[name].to_pylist() for name in KEY), strict=True):
            known.append(key in seen)
            seen.add(key)
        return pa.array(known, pa.bool_())


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = self.opened()
        self.store = MemoryStore()
        self.meters = Meters()

    def opened(self, schema: pa.Schema = ENTRIES_ARROW) -> Journal:
        return Journal.open(
            self.directory / "journal",
            schema,
            segment_bytes_max=10**6,
            retention_seconds=3_600,
            retention_bytes_max=10**7,
            free_bytes_min=0,
        )

    def writer(self, **more: Any) -> Writer:
        bounds = {"batch_rows_max": 1_000, "batch_wait_ms": 0} | more
        dead = DeadLetters(self.directory / "dead.jsonl")
        writer = Writer(self.journal, self.store, self.meters, dead, **bounds)
        writer.start()
        return writer


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_what_the_journal_holds_reaches_the_store_and_the_mark_moves(bench: Bench) -> None:
    bench.journal.append(batch(chat(), chat()))
    writer = bench.writer()
    bench.journal.append(batch(chat()))
    assert writer.close(60)
    assert len(bench.store.rows) == 3
    assert bench.journal.pending_rows == 0
    assert bench.meters.counts == {"stored": 3}


def test_a_second_delivery_is_a_duplicate_within_a_batch_and_across_batches(bench: Bench) -> None:
    span = chat()
    bench.journal.append(batch(span, span))
    assert bench.writer().close(60)
    bench.journal.append(batch(span))
    assert bench.writer().close(60)
    assert bench.meters.counts == {"stored": 1, "duplicate": 2}


def test_of_two_deliveries_the_first_stays(bench: Bench) -> None:
    first = chat(user__id="first")
    second = replace(first, attributes={**first.attributes, "user.id": "second"})
    bench.journal.append(batch(first))
    bench.journal.append(batch(second))
    assert bench.writer().close(60)
    assert [row["user_id"] for row in bench.store.rows.values()] == ["first"]


def test_an_unavailable_store_is_tried_again_until_it_answers(bench: Bench) -> None:
    bench.store.failures = [StoreUnavailable("down"), StoreUnavailable("still down")]
    bench.journal.append(batch(chat()))
    writer = bench.writer()
    with bench.store.changed:
        assert bench.store.changed.wait_for(lambda: bench.store.rows, 60)
    assert writer.close(60)
    assert bench.meters.up == [False, False, True]
    assert bench.meters.counts == {"stored": 1}


def test_giving_up_on_a_store_that_stays_down_loses_nothing(bench: Bench) -> None:
    bench.store.failures = [StoreUnavailable("down")] * 1_000
    bench.journal.append(batch(chat()))
    assert not bench.writer().close(0.1)
    assert bench.journal.pending_rows == 1
    bench.store.failures = []
    bench.journal.close()
    bench.journal = bench.opened()
    assert bench.writer().close(60)
    assert len(bench.store.rows) == 1


def test_a_poison_row_is_put_aside_and_its_neighbours_are_stored(bench: Bench) -> None:
    spans = [chat() for _ in range(9)]
    bench.store.poison = {spans[4].span_id}
    bench.journal.append(batch(*spans))
    assert bench.writer().close(60)
    assert len(bench.store.rows) == 8
    assert bench.meters.counts == {"stored": 8, "dead overflow": 1}
    letters = (bench.directory / "dead.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in letters] == ["overflow"]
    assert json.loads(letters[0])["entry"]["span_id"] == spans[4].span_id.hex()


def test_a_crash_between_commit_and_mark_stores_nothing_twice(bench: Bench) -> None:
    rows = batch(chat(), chat())
    bench.journal.append(rows)
    bench.store.insert(pa.Table.from_batches([rows]))  # committed, but the mark did not move
    assert bench.writer().close(60)
    assert bench.meters.counts == {"duplicate": 2}


def test_what_an_older_version_wrote_is_stored_with_the_columns_added_since(bench: Bench) -> None:
    rows = batch(chat())
    older = rows.drop_columns(["region"])
    bench.journal.close()
    bench.journal = bench.opened(older.schema)
    bench.journal.append(older)
    bench.journal.close()
    bench.journal = bench.opened()
    bench.journal.append(batch(chat()))
    assert bench.writer().close(60)
    assert [row["region"] for row in bench.store.rows.values()] == ["", ""]
    assert bench.meters.counts == {"stored": 2}


def test_lag_is_zero_when_the_ledger_is_level_and_grows_while_it_is_not(bench: Bench) -> None:
    now_ns = [0]
    writer = bench.writer(clock_ns=lambda: now_ns[0])
    assert writer.lag_seconds() == 0
    bench.store.failures = [StoreUnavailable("down")] * 1_000
    bench.journal.append(batch(chat()))
    deadline = threading.Event()
    while not bench.meters.up:
        assert not deadline.wait(0.01)
    now_ns[0] = RECORDED_NS + 7 * 10**9
    assert writer.lag_seconds() == 7
    bench.store.failures = []
    assert writer.close(60)


def test_stored_frames_carry_the_money(bench: Bench) -> None:
    seen: list[Any] = []
    bench.meters.stored = seen.append  # type: ignore[assignment, method-assign]
    bench.journal.append(batch(chat()))
    assert bench.writer().close(60)
    assert seen[0].select("cost_class", "input_tokens").rows() == [("unpriced", 1_500)]
