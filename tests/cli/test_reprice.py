"""spanledger reprice: what was booked at other prices, or at none, follows today's."""

import json
from decimal import Decimal
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from engine import entries, entry, open_ledger
from typer.testing import CliRunner

from spanledger.cli.app import app

STRETCH = ("--from", "2026-11-01", "--to", "2026-11-02")


def reprice(data_dir: Path, *options: str) -> Any:
    return CliRunner().invoke(app, ["reprice", "--data-dir", str(data_dir), *STRETCH, *options])


def costs(data_dir: Path, view: str = "calls") -> Any:
    store = open_ledger(data_dir / "clickhouse")
    sql = f"SELECT sum(cost_usd) FROM {view}"  # noqa: S608 - ours
    found = store._reading.run(lambda client: client.query(sql).result_rows)
    store.close()
    return found


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    store = open_ledger(tmp_path / "clickhouse")
    store.insert(entries(entry(1, request_model="gpt-4o"), entry(2, request_model="gpt-4o")))
    store.close()
    return tmp_path


def test_a_dry_run_tells_what_would_change_and_changes_nothing(data_dir: Path) -> None:
    told = json.loads(reprice(data_dir, "--dry-run", "--format", "json").stdout)
    assert told["total"]["changed"] == 2
    assert Decimal(told["total"]["new_usd"]) == Decimal("0.00070")
    assert costs(data_dir) == [(Decimal("0.5"),)]


def test_a_dry_run_settles_nothing_either(tmp_path: Path) -> None:
    twin: dict[str, Any] = {"response_id": "r", "request_model": "gpt-4o"}
    store = open_ledger(tmp_path / "clickhouse")
    store.insert(entries(entry(1, **twin, scope_name="a"), entry(2, **twin, scope_name="b")))
    store.close()
    reprice(tmp_path, "--dry-run")
    assert costs(tmp_path, "entries") == [(Decimal("0.5"),)]
    reprice(tmp_path)
    assert costs(tmp_path) == [(Decimal("0.00035"),)]


def test_calls_and_their_sums_have_the_new_cost_and_a_second_run_changes_nothing(
    data_dir: Path,
) -> None:
    told = json.loads(reprice(data_dir, "--format", "json").stdout)
    assert Decimal(told["total"]["change_usd"]) == Decimal("0.00070") - Decimal("0.5")
    for view in ("calls", "costs_hourly", "costs_daily", "entries FINAL"):
        assert costs(data_dir, view) == [(Decimal("0.00070"),)]
    again = reprice(data_dir)
    assert again.exit_code == 0
    assert "Changed: 0 of 2 calls" in again.stdout


def test_the_prices_of_a_run_are_kept_and_those_of_a_dry_run_are_not(data_dir: Path) -> None:
    def priced() -> Any:
        sql = """
            SELECT count(), countIf(in_force AND usd = 2.5 AND unit = 'input_tokens')
            FROM (SELECT arrayJoin(lines) AS line FROM calls) AS l
            JOIN prices AS p ON p.price_id = line.price_id
            WHERE line.unit = 'input_tokens'
        """
        store = open_ledger(data_dir / "clickhouse")
        found = store._reading.run(lambda client: client.query(sql).result_rows)
        store.close()
        return found

    reprice(data_dir, "--dry-run")
    assert priced() == [(0, 0)]
    for _ in range(2):
        reprice(data_dir)
        assert priced() == [(2, 2)]


def test_what_is_sealed_is_refused_with_the_first_day_that_is_left(data_dir: Path) -> None:
    store = open_ledger(data_dir / "clickhouse")
    store.seal(1_793_577_600 * 10**9)
    store.close()
    refused = reprice(data_dir)
    assert refused.exit_code != 0
    assert "--from 2026-11-02" in refused.stderr


def test_a_time_that_ends_before_it_begins_is_refused(data_dir: Path) -> None:
    refused = reprice(data_dir, "--to", "2026-10-01")
    assert refused.exit_code != 0
    assert "--from" in refused.stderr


def test_a_directory_without_a_ledger_is_told(tmp_path: Path) -> None:
    refused = reprice(tmp_path)
    assert refused.exit_code != 0
    assert "there is no ledger" in refused.stderr


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and nobody listens
        dsn = f"store.dsn='clickhouse://127.0.0.1:{nobody.getsockname()[1]}'"
        refused = reprice(tmp_path, "--set", dsn)
    assert refused.exit_code == 2
    assert "the server at 127.0.0.1" in refused.stderr
