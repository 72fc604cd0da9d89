"""A cost that was recorded stays, however often it comes and at whatever price since."""

import random
import signal
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from crash.killer import Victim
from crash.wires import GrpcWire, HttpWire
from engine import entries, entry, open_ledger
from fakes import Meters
from otlp_requests import Span, chat, request

from spanledger.collector.dead_letters import DeadLetters
from spanledger.collector.journal import Journal
from spanledger.collector.writer import Writer
from spanledger.ledger.schema import ENTRIES_ARROW

MONTH_END = datetime(2026, 11, 1, tzinfo=UTC)
RECORDED = datetime(2026, 11, 2, tzinfo=UTC)
SPANS = 60


def delivered(number: int, delivery: int) -> dict[str, Any]:
    """One span as a later delivery would record it: known later, at another price."""
    start = MONTH_END + timedelta(seconds=number - SPANS // 2)
    cost = Decimal(number) / 100 * delivery
    known = RECORDED + timedelta(minutes=delivery)
    return entry(number, start_time=start, known_at=known, cost_usd=cost)


def run(directory: Path, batches: list[pa.Table]) -> None:
    """One life of a collector: take the batches, store them, stop."""
    store = open_ledger(directory / "ledger")
    journal = Journal.open(
        directory / "journal",
        ENTRIES_ARROW,
        segment_bytes_max=20_000,
        retention_seconds=3_600,
        retention_bytes_max=10**7,
        free_bytes_min=0,
    )
    dead = DeadLetters(directory / "dead.jsonl")
    writer = Writer(journal, store, Meters(), dead, batch_rows_max=40, batch_wait_ms=0)
    for batch in batches:
        journal.append(batch.combine_chunks().to_batches()[0])
    writer.start()
    assert writer.close(30)
    journal.close()
    store.close()


def test_the_first_recorded_cost_stays_over_prices_batches_restarts_and_a_months_end(
    tmp_path: Path,
) -> None:
    dice = random.Random(5)  # noqa: S311 - no secret
    first: dict[str, Decimal] = {}
    for life in range(3):
        batches = []
        for turn in range(6):
            delivery = life * 6 + turn + 1
            rows = [delivered(dice.randint(1, SPANS), delivery) for _ in range(30)]
            for row in rows:
                first.setdefault(row["span_id"].hex(), row["cost_usd"])
            batches.append(entries(*rows))
        run(tmp_path, batches)
    store = open_ledger(tmp_path / "ledger")
    sql = "SELECT span_id, cost_usd FROM calls"
    ledger = store._reading.run(lambda client: client.query(sql).result_rows)
    store.close()
    assert len(ledger) == len(first)
    assert dict(ledger) == first  # type: ignore[arg-type]


def acme(price: Path, dollars: int) -> None:
    """Write the price of a million input tokens."""
    price.write_text(
        f"prices: [{{provider: acme, model: acme-1, rates: {{input_mtok: {dollars}}}}}]\n"
    )


def send(victim: Victim, *spans: Span) -> None:
    """Deliver the same spans over both wires, and wait until the ledger has decided on them."""
    body = request(spans).SerializeToString()
    for wire in (GrpcWire(victim.address["otlp.grpc"]), HttpWire(victim.address["otlp.http"])):
        assert wire.export(body)
        wire.close()
    victim.drain()


@pytest.mark.slow
def test_a_retried_span_keeps_its_first_cost_over_reloads_of_prices_restarts_and_a_kill(
    tmp_path: Path,
) -> None:
    prices = tmp_path / "acme.yaml"
    acme(prices, 1)
    spans = [chat("acme-1", 1_000_000, 0, gen_ai__provider__name="acme") for _ in range(4)]
    costs: dict[str, int] = {}

    def delivered(victim: Victim, dollars: int) -> None:
        """Every span so far and one more, which is what the present price is for."""
        costs[spans[len(costs)].span_id.hex()] = dollars
        send(victim, *spans[: len(costs)])
        assert dict(victim.rows("SELECT span_id, cost_usd FROM calls")) == costs  # type: ignore[arg-type]

    with Victim(tmp_path, f"prices.files=['{prices}']", "store.batch_wait_ms=20") as victim:
        assert victim.start().wait_answer("/readyz")
        delivered(victim, 1)
        acme(prices, 2)
        victim.reload()
        delivered(victim, 2)
        for dollars, how in ((3, signal.SIGTERM), (4, signal.SIGKILL)):
            acme(prices, dollars)
            victim.signal(how)
            assert victim.wait_dead()
            assert victim.start().wait_answer("/readyz")
            delivered(victim, dollars)
        assert victim.conserved()
