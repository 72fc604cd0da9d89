"""Collectors whose ledger is on a server: away at start, cut off midway."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_server import running
from collector import Collector
from otlp_requests import chat, request
from ports import free_port
from typer.testing import CliRunner

from spanledger.cli.app import app

pytestmark = pytest.mark.slow

COST = Decimal("0.02375")  # of one chat() with gpt-4o


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    started: list[Collector] = []

    def start(dsn: str, data: str = "data", *options: str) -> Collector:
        started.append(Collector(tmp_path / data, "--set", f"store.dsn='{dsn}'", *options))
        return started[-1]

    yield start
    for collector in started:
        collector.stop()


def totals(collector: Collector) -> tuple[int, Decimal]:
    ((calls, cost),) = collector.rows("SELECT count(), sum(cost_usd) FROM calls")
    return calls, cost


def readiness(collector: Collector) -> tuple[int, Any]:
    status, answer = collector.get("web", "/readyz")
    return status, json.loads(answer)


def what_if(url: str) -> Any:
    asked = ("--from", "2020-01-01", "--to-model", "gpt-5-nano", "--format", "json")
    answer = CliRunner().invoke(app, ["what-if", "--url", url, *asked])
    return json.loads(answer.stdout)["total"]


def body(count: int = 1) -> bytes:
    return request([chat() for _ in range(count)]).SerializeToString()


def test_calls_are_taken_while_the_server_is_away_and_stored_when_it_is_there(
    serve: Callable[..., Collector], tmp_path: Path
) -> None:
    port = free_port()
    collector = serve(f"clickhouse://writer:s3cret%3A%2F%C3%A4@127.0.0.1:{port}")
    for _ in range(3):
        assert collector.post(body(2))[0] == 200
    assert collector.get("web", "/readyz")[0] == 503
    assert collector.metric("spanledger_store_up") == 0
    assert collector.metric("spanledger_items_pending") == 6
    with running(tmp_path / "server", port):
        collector.wait_ready().wait_calls(6)
        assert totals(collector) == (6, 6 * COST)
        beside, itself = (
            what_if(collector.url("SQL")),
            what_if(f"http://127.0.0.1:{port}/spanledger"),
        )
        assert beside == itself
        assert Decimal(beside["today_usd"]) == 6 * COST
        assert collector.metric("spanledger_store_up") == 1
        assert readiness(collector) == (200, {"ready": True})
    # Away again, and nobody sends: who balances load must not take it away, who watches must know.
    collector.wait(lambda: readiness(collector) == (200, {"ready": True, "degraded": ["store"]}))
    assert collector.metric("spanledger_store_up") == 0
    assert collector.post(body(1))[0] == 200
    with running(tmp_path / "server", port):
        collector.wait_calls(7)
        collector.wait(lambda: readiness(collector) == (200, {"ready": True}))
        assert collector.metric("spanledger_store_up") == 1
        assert collector.stop() == 0
    log = collector.log.read_text()
    assert "cannot open the ledger, calls wait in the journal" in log
    assert "s3cret" not in log
    assert not (tmp_path / "data" / "clickhouse").exists()


def test_an_insert_whose_answer_is_lost_is_stored_and_counted_once(
    serve: Callable[..., Collector], tmp_path: Path
) -> None:
    with running(tmp_path / "server") as server:
        collector = serve(server.dsn).wait_ready()
        server.fault(insert=2)
        assert collector.post(body(5))[0] == 200
        collector.wait_calls(5)
        assert collector.post(body(1))[0] == 200
        collector.wait_calls(6)
        assert totals(collector) == (6, 6 * COST)
        received = collector.metric("spanledger_items_received_total")
        stored = collector.metric("spanledger_items_stored_total")
        known = collector.metric("spanledger_items_duplicate_total")
        assert (received, stored + known) == (6, 6)
        assert collector.stop() == 0


def test_a_ledger_on_a_server_is_priced_anew_while_a_collector_goes_on(
    serve: Callable[..., Collector], tmp_path: Path
) -> None:
    """The command has the upkeep meanwhile, and the collector gets it back."""
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "contracts: [{name: less, provider: openai, model: '*', discount_percent: 10}]"
    )
    with running(tmp_path / "server") as server:
        collector = serve(server.dsn, "data", "--set", "settlement.lease_seconds=3")
        collector.post(body(2))
        collector.wait_ready().wait_calls(2)
        asked = ["--from", "2020-01-01", "--to", "2099-01-01", "--format", "json"]
        asked += ["--data-dir", str(tmp_path / "own"), "--set", f"prices.files=[{prices}]"]
        asked += ["--set", f"store.dsn='{server.dsn}'", "--set", "settlement.lease_seconds=3"]
        for changed in (2, 0):
            answer = CliRunner().invoke(app, ["reprice", *asked])
            assert answer.exit_code == 0, answer.output
            assert json.loads(answer.stdout)["total"]["changed"] == changed
            assert totals(collector) == (2, 2 * COST * Decimal("0.9"))
            assert collector.rows("SELECT sum(cost_usd) FROM costs_hourly") == [
                (2 * COST * Decimal("0.9"),)
            ]
        collector.post(body())
        collector.wait_calls(3)
        assert totals(collector) == (3, 2 * COST * Decimal("0.9") + COST)
