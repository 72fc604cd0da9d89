"""``spanledger prune``: what goes, what stays, and what it refuses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from engine import NOON, entries, entry, open_ledger
from typer.testing import CliRunner

from spanledger.cli.app import app
from spanledger.cli.prune import PruneError, run
from spanledger.config import Config

NOW = NOON + timedelta(days=40)


def test_calls_go_settled_and_their_sums_stay(tmp_path: Path) -> None:
    store = open_ledger(tmp_path / "clickhouse")
    twins = [entry(number, response_id="r", scope_name=str(number)) for number in (1, 2)]
    store.insert(entries(*twins, entry(3, start_time=NOW - timedelta(days=3))))
    store.close()
    assert (
        run(Config(data_dir=tmp_path), NOON + timedelta(days=1), NOW) == 5
    )  # two charges, three legs
    store = open_ledger(tmp_path / "clickhouse")
    try:
        calls = "(SELECT count() FROM calls)"
        sql = f"SELECT {calls}, sum(calls), toString(sum(cost_usd)) FROM costs_daily"  # noqa: S608
        assert store._reading.run(lambda client: client.query(sql).result_rows) == [(1, 2, "0.5")]
    finally:
        store.close()


def test_a_day_that_is_too_near_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PruneError, match="at least 2 days ago"):
        run(Config(data_dir=tmp_path), datetime.now(UTC))


def test_a_directory_without_a_ledger_is_told(tmp_path: Path) -> None:
    before = ["prune", "--before", "2026-01-01", "--data-dir", str(tmp_path / "none")]
    result = CliRunner().invoke(app, before)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no ledger in" in result.stderr
