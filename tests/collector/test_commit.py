"""The group commit: every request gets one outcome, after the disk and never before."""

import queue
import weakref
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from doubles import BOOK
from fakes import MemoryJournal, Meters, unpriced
from otlp_requests import Record, Span, chat, claude_request, logs, request

from spanledger.collector.commit import (
    GROUP_ITEMS_MAX,
    Accepted,
    Busy,
    Committer,
    Outcome,
    Refused,
    Request,
    Rules,
)
from spanledger.collector.journal import JournalBehind, JournalBroken, JournalFull
from spanledger.ledger import dialects
from spanledger.ledger.otlp import Body
from spanledger.ledger.otlp_wire import Signal

GOOD = request([chat()]).SerializeToString()


class Bench:
    """A committer with stand-ins around it."""

    def __init__(self, **more: Any) -> None:
        self.journal = MemoryJournal()
        self.meters = Meters()
        self.broken: list[str] = []
        bounds: dict[str, Any] = {"inflight_bytes_max": 10**6, "spans_max": 1_000} | more
        price = bounds.pop("price", unpriced)
        self.committer = Committer(
            self.journal,
            Rules(dialects.attribute_keys(), dialects.normalise, price, BOOK),
            meters=self.meters,
            on_broken=self.broken.append,
            **bounds,
        )

    def submit(
        self,
        body: bytes,
        transport: str = "grpc",
        signal: Signal = Signal.TRACES,
        tenant: str = "acme",
    ) -> "queue.Queue[Outcome]":
        answers: queue.Queue[Outcome] = queue.Queue()
        self.committer.submit(Request(Body(body, signal=signal), transport, tenant, answers.put))
        return answers

    def outcome(self, body: bytes) -> Outcome:
        return self.submit(body).get(timeout=60)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.committer.start()
    yield made
    made.journal.gate.set()
    made.committer.close(10)


def test_an_accepted_request_is_in_the_journal(bench: Bench) -> None:
    span = chat()
    assert bench.outcome(request([span]).SerializeToString()) == Accepted()
    assert bench.journal.span_ids == [span.span_id]


def test_calls_are_of_the_tenant_of_their_own_request() -> None:
    bench = Bench()
    answers = [
        bench.submit(request([chat()]).SerializeToString(), tenant=tenant)
        for tenant in ("acme", "globex", "acme")
    ]
    bench.committer.start()  # one group
    assert [each.get(timeout=60) for each in answers] == [Accepted()] * 3
    bench.committer.close(10)
    (batch,) = bench.journal.batches
    assert batch.column("tenant").to_pylist() == ["acme", "globex", "acme"]


def test_other_rules_hold_from_the_next_group_on(bench: Bench) -> None:
    def priced_by_nobody(calls: pl.DataFrame) -> pl.DataFrame:
        return unpriced(calls).with_columns(pl.lit("other").alias("price_book"))

    assert bench.outcome(GOOD) == Accepted()
    keys = dialects.attribute_keys()
    bench.committer.use(Rules(keys, dialects.normalise, priced_by_nobody, BOOK))
    assert bench.outcome(GOOD) == Accepted()
    books = [batch.column("price_book").to_pylist() for batch in bench.journal.batches]
    assert books[1] == ["other"] != books[0]


def test_no_outcome_is_given_before_the_journal_has_it(bench: Bench) -> None:
    bench.journal.gate.clear()
    answers = bench.submit(GOOD)
    assert bench.journal.appending.wait(60)
    assert answers.empty()
    bench.journal.gate.set()
    assert answers.get(timeout=60) == Accepted()


def test_what_arrives_during_a_commit_is_the_next_group(bench: Bench) -> None:
    bench.journal.gate.clear()
    first = bench.submit(GOOD)
    assert bench.journal.appending.wait(60)
    others = [bench.submit(request([chat()]).SerializeToString()) for _ in range(5)]
    bench.journal.gate.set()
    assert {answers.get(timeout=60) == Accepted() for answers in [first, *others]} == {True}
    assert [batch.num_rows for batch in bench.journal.batches] == [1, 5]


def test_a_malformed_request_is_refused_and_its_group_is_not(bench: Bench) -> None:
    bench.journal.gate.clear()
    bench.submit(GOOD)
    assert bench.journal.appending.wait(60)
    answers = [bench.submit(body) for body in (GOOD, b"\xff\xff", GOOD)]
    bench.journal.gate.set()
    assert [type(answer.get(timeout=60)) for answer in answers] == [Accepted, Refused, Accepted]


def test_bad_spans_are_told_to_their_own_request_by_reason(bench: Bench) -> None:
    body = request([chat(), Span(trace_id=bytes(16)), Span(start_ns=0)]).SerializeToString()
    outcome = bench.outcome(body)
    assert outcome == Accepted({"invalid_trace_id": 1, "start_time_out_of_range": 1})
    assert sum(batch.num_rows for batch in bench.journal.batches) == 1


def test_every_item_is_counted_once(bench: Bench) -> None:
    spans = [chat(), Span({"db.system": "x"}), Span(span_id=bytes(8)), chat()]
    bench.outcome(request(spans).SerializeToString())
    assert bench.meters.counts == {
        "received grpc": 4,
        "not_a_call not_genai": 1,
        "rejected invalid_span_id": 1,
    }
    assert bench.journal.batches[0].num_rows == 2


def test_traces_and_logs_share_a_group_and_every_item_is_counted_once(bench: Bench) -> None:
    bench.journal.gate.clear()
    bench.submit(GOOD)
    assert bench.journal.appending.wait(60)
    records = [claude_request(), Record(body="a line"), claude_request(model="m" * 1_000)]
    answers = [
        bench.submit(logs(records).SerializeToString(), "http", Signal.LOGS),
        bench.submit(request([chat(), Span({"db.system": "x"})]).SerializeToString()),
        bench.submit(b"\xff\xff", "http", Signal.LOGS),
    ]
    bench.journal.gate.set()
    outcomes = [answer.get(timeout=60) for answer in answers]
    assert outcomes[:2] == [Accepted({"model_name_too_long": 1}), Accepted()]
    assert isinstance(outcomes[2], Refused)
    assert [batch.num_rows for batch in bench.journal.batches] == [1, 2]
    assert bench.meters.counts == {
        "received grpc": 1 + 2,
        "received http": 3,
        "not_a_call other_event": 1,
        "not_a_call not_genai": 1,
        "rejected model_name_too_long": 1,
    }


def test_a_request_without_calls_is_accepted_and_writes_nothing(bench: Bench) -> None:
    assert bench.outcome(request([Span({"db.system": "x"})]).SerializeToString()) == Accepted()
    assert bench.outcome(b"") == Accepted()
    assert bench.journal.batches == []


@pytest.mark.parametrize(
    ("full", "reason"), [(JournalFull, "journal_full"), (JournalBehind, "store_behind")]
)
def test_a_full_journal_asks_to_retry_says_why_once_and_recovers_by_itself(
    bench: Bench, caplog: pytest.LogCaptureFixture, full: type[JournalFull], reason: str
) -> None:
    caplog.set_level("INFO")
    bench.journal.failure = full("no room")
    assert [bench.outcome(GOOD) for _ in range(3)] == [Busy(reason)] * 3
    bench.journal.failure = None
    assert [bench.outcome(GOOD) for _ in range(3)] == [Accepted()] * 3
    assert [record.message for record in caplog.records] == [
        "asking senders to retry: no room",
        "the journal takes records again",
    ]
    assert bench.meters.counts == {"received grpc": 3}


def test_a_broken_journal_is_reported_and_nothing_is_acknowledged(bench: Bench) -> None:
    bench.journal.failure = JournalBroken("fdatasync failed")
    assert bench.outcome(GOOD) == Busy("journal_broken")
    assert bench.broken == ["fdatasync failed"]


def test_a_defect_costs_the_request_that_shows_it_and_no_other() -> None:
    def price(calls: pl.DataFrame) -> pl.DataFrame:
        if "poison" in calls["request_model"]:
            raise ZeroDivisionError
        return unpriced(calls)

    bench = Bench(price=price)
    poison = request([chat("poison")]).SerializeToString()
    answers = [bench.submit(body) for body in (GOOD, poison, GOOD)]
    bench.committer.start()
    outcomes = [answer.get(timeout=60) for answer in answers]
    bench.committer.close(10)
    assert outcomes == [Accepted(), Refused("unprocessable"), Accepted()]


@pytest.mark.parametrize("error", [MemoryError, pa.ArrowMemoryError])
def test_a_request_for_which_there_is_no_memory_is_asked_to_come_again(
    error: type[Exception],
) -> None:
    def price(calls: pl.DataFrame) -> pl.DataFrame:
        if "large" in calls["request_model"]:
            raise error
        return unpriced(calls)

    bench = Bench(price=price)
    large = request([chat("large")]).SerializeToString()
    answers = [bench.submit(body) for body in (GOOD, large, GOOD)]
    bench.committer.start()
    outcomes = [answer.get(timeout=60) for answer in answers]
    assert outcomes == [Accepted(), Busy("memory"), Accepted()]
    # However often it comes again, others are served.
    assert [bench.outcome(body) for body in (large, GOOD) * 3] == [Busy("memory"), Accepted()] * 3
    bench.committer.close(10)
    assert bench.meters.counts == {"received grpc": 5}


def test_what_a_group_without_memory_had_decoded_is_let_go_before_its_requests_go_alone() -> None:
    frames: list[weakref.ref[pl.DataFrame]] = []
    alive: list[bool] = []

    def price(calls: pl.DataFrame) -> pl.DataFrame:
        alive.extend(frame() is not None for frame in frames)
        if calls.height > 1:
            frames.append(weakref.ref(calls))
            raise MemoryError
        return unpriced(calls)

    bench = Bench(price=price)
    answers = [bench.submit(GOOD) for _ in range(2)]
    bench.committer.start()
    assert [answer.get(timeout=60) for answer in answers] == [Accepted()] * 2
    bench.committer.close(10)
    assert alive == [False, False]


def test_beyond_the_bytes_in_flight_a_sender_is_asked_to_wait() -> None:
    bench = Bench(inflight_bytes_max=len(GOOD) * 2)
    waiting = [bench.submit(GOOD), bench.submit(GOOD)]
    assert bench.submit(GOOD).get(timeout=60) == Busy("inflight_bytes")
    bench.committer.start()
    assert [answers.get(timeout=60) for answers in waiting] == [Accepted()] * 2
    bench.committer.close(10)


def test_one_request_larger_than_the_bound_is_still_admitted_when_alone() -> None:
    bench = Bench(inflight_bytes_max=1)
    bench.committer.start()
    assert bench.outcome(GOOD) == Accepted()
    bench.committer.close(10)


def test_closing_commits_what_waits_and_takes_nothing_more() -> None:
    bench = Bench()
    waiting = bench.submit(GOOD)
    bench.committer.start()
    bench.committer.close(10)
    assert waiting.get(timeout=60) == Accepted()
    assert bench.submit(GOOD).get(timeout=60) == Busy("shutting_down")


def test_a_request_of_too_many_items_is_refused_before_it_waits() -> None:
    bench = Bench(spans_max=3)  # not started: nothing decodes
    answer = bench.outcome(request([chat() for _ in range(4)]).SerializeToString())
    assert isinstance(answer, Refused)
    assert "more than 3 spans" in answer.reason


def test_a_group_is_bounded_by_its_items_whatever_their_bytes() -> None:
    bench = Bench(spans_max=GROUP_ITEMS_MAX, inflight_bytes_max=10**7)
    half = [Span({}) for _ in range(GROUP_ITEMS_MAX // 2)]
    answers = [bench.submit(request([chat(), *half]).SerializeToString()) for _ in range(2)]
    bench.committer.start()
    bench.committer.close(60)
    assert [answer.get(timeout=60) for answer in answers] == [Accepted()] * 2
    assert len(bench.journal.batches) == 2
