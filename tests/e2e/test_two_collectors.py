"""Every span sent to two collectors on one ledger: each call once, at what it cost at first."""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from clickhouse_server import StandIn, running
from collector import Collector
from doubles import TRUE_CALLS, requests_of
from focus_rules import total, violations
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from recorded import OBSERVED, Prices, Truth, reported

from spanledger.cli.export import Request, listener, run
from spanledger.config import Config

pytestmark = pytest.mark.slow

TENANT = "default"
SPANS = [span for capture in TRUE_CALLS for span in requests_of(capture)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    with running(tmp_path / "server") as started:
        yield started


@pytest.fixture
def serve(server: StandIn, tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Starts collectors on one ledger with one price file; it waits for none."""
    with ExitStack() as started:

        def start(name: str, prices: Path) -> Collector:
            options = {
                "store.dsn": f"'{server.dsn}'",
                "prices.files": f"[{prices}]",
                "settlement.every_seconds": "1",
                "settlement.lease_seconds": "3",
            }
            said = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
            collector = Collector(tmp_path / name, *said)
            started.callback(collector.stop)
            return collector

        yield start


def calls(numbers: list[int]) -> list[int]:
    """The observations of calls among some spans, by the numbers they have in ``OBSERVED``."""
    ids = [
        (span.trace_id + span.span_id).hex()
        for number in numbers
        for resource in SPANS[number].resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    key = pl.concat_str(pl.col("trace_id", "span_id").bin.encode("hex"))
    return OBSERVED.filter(key.is_in(ids))["number"].to_list()


def send(collectors: list[Collector], numbers: list[int], seed: int) -> None:
    """To all at once, to each in an order and in requests of its own."""

    def post(collector: Collector, chance: random.Random) -> None:
        order = chance.sample(numbers, len(numbers))
        while order:
            size = chance.randint(1, 12)
            message = ExportTraceServiceRequest()
            for number in order[:size]:
                message.MergeFrom(SPANS[number])
            order = order[size:]
            status, answer = collector.post(message.SerializeToString())
            assert status == 200, answer

    failed: list[BaseException] = []

    def told(collector: Collector, number: int) -> None:
        try:
            post(collector, random.Random(seed + number))  # noqa: S311 - a seed repeats a failure
        except BaseException as error:  # noqa: BLE001 - the test fails of it
            failed.append(error)

    senders = [Thread(target=told, args=(one, number)) for number, one in enumerate(collectors)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert failed == []


def exported(collector: Collector, file: Path) -> pl.DataFrame:
    """The charges of FOCUS, as `spanledger export` writes them."""
    begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (2026, 2027))
    with listener(Config(), collector.url("SQL")) as query:
        run(Request(view="focus", start=begin, end=end, output=str(file)), query)
    return pl.read_parquet(file)


def test_who_spent_what_and_the_bill_are_true_though_prices_change_and_one_is_killed(
    serve: Callable[..., Collector], server: StandIn, tmp_path: Path
) -> None:
    numbers = random.Random(4).sample(range(len(SPANS)), len(SPANS))  # noqa: S311 - likewise
    early, late = numbers[:80], numbers[80:]
    assert len(calls(numbers)) == OBSERVED.height
    prices = Prices(tmp_path / "prices")
    truth = Truth(prices)
    first, second = serve("first", prices.file), serve("second", prices.file)
    send([first, second], early, seed=1)
    truth.recorded(prices.record(calls(early), TENANT, 10**18))
    first.wait_ready().wait_calls(1)
    prices.use(40)
    first.process.kill()  # the one that settles, most likely
    first.process.wait()
    first = serve("first", prices.file)
    second.process.send_signal(signal.SIGHUP)
    second.wait(lambda: "was read anew" in second.log.read_text())
    server.fault(insert=1)  # done, but the answer is lost
    send([first, second], [*late, *early], seed=3)
    truth.recorded(prices.record(calls(late), TENANT, 2 * 10**18))
    true_totals = truth.totals()
    for collector in (first.wait_ready(), second.wait_ready()):
        collector.wait(partial(_is, collector, "spanledger_items_pending", 0))
    spent = sum((usd for _, usd, _ in true_totals["provider"].values()), Decimal(0))
    settled = [(sum(TRUE_CALLS.values()), spent)]
    second.wait(lambda: second.rows("SELECT count(), sum(cost_usd) FROM calls") == settled)
    assert reported(first.rows, TENANT) == reported(second.rows, TENANT) == true_totals
    charges = exported(second, tmp_path / "focus.parquet")
    assert total(charges, "BilledCost") == total(charges, "EffectiveCost") == spent
    assert list(violations(charges, "1.4")) == []
    second.wait(lambda: second.rows("SELECT sum(cost_usd) FROM costs_daily") == [(spent,)])
    assert [collector.stop() for collector in (first, second)] == [0, 0]
    for collector in (first, second):
        assert "cannot be had any more" not in collector.log.read_text()


def _is(collector: Collector, name: str, value: float) -> bool:
    return collector.metric(name) == value
