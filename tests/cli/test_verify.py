"""spanledger verify: the exit code says whether every figure in a ledger can be reproduced."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from engine import open_ledger
from ledgers import Ledger, settle
from pricing_calls import BOOK, NOON, call, priced
from sql_listener import Bounds, listening
from typer.testing import CliRunner

from spanledger.cli.app import app
from spanledger.collector.price_keeper import keep
from spanledger.collector.roller import Roller


def verify(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["verify", *options])
    return result.exit_code, result.stdout, result.stderr


def calls(*numbers: int, model: str = "gpt-4o", **said: Any) -> pl.DataFrame:
    made = [
        call("openai", model, NOON, input_tokens=100 * number, output_tokens=10, tenant="t", **said)
        | {"trace_id": number.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
        | {"parent_span_id": bytes(8)}
        for number in numbers
    ]
    return priced(*made)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Closed; its directory is ``path.parent``."""
    made = Ledger(tmp_path / "clickhouse")
    keep(made.store, BOOK, time.time_ns())
    made.deliver(pl.concat([calls(1, 2), calls(3, model="gpt-5")]))
    settle(made.settler())
    roller = Roller(made.store, clock_ns=lambda: int(NOON.timestamp() + 86_400) * 10**9)
    while roller.run():
        pass
    made.store.close()
    return made


def offline(ledger: Ledger, *options: str) -> tuple[int, str, str]:
    return verify("--offline", "--data-dir", str(ledger.path.parent), *options)


def forge(ledger: Ledger, charges: pl.DataFrame) -> None:
    ledger.store = open_ledger(ledger.path)
    ledger.deliver(charges)
    ledger.store.close()


def test_a_sound_ledger_is_told_so_alone_and_beside_a_collector(ledger: Ledger) -> None:
    code, shown, told = offline(ledger)
    assert (code, told) == (0, "")
    assert "Every figure was reproduced" in shown
    store = open_ledger(ledger.path)
    with listening(store, Bounds()) as port:
        beside = verify("--url", f"http://127.0.0.1:{port}", "--format", "json")
    store.close()
    assert beside[0] == 0
    said = json.loads(beside[1])
    assert said["sound"] is True
    assert said["examples"] == []
    assert said["checks"]["lines"] == {"looked_at": 3, "wrong": 0}
    assert said["checks"]["recompute"] == {"looked_at": 3, "wrong": 0}


def test_a_forged_charge_is_told_with_its_span_and_both_figures(ledger: Ledger) -> None:
    forge(ledger, calls(9).with_columns(pl.col("cost_usd") * 2))
    code, shown, _ = offline(ledger)
    assert code == 1
    assert f"{9:032x}/{9:016x}" in shown
    assert "its lines do not add up to its cost" in shown
    assert "booked 0.0047, comes out 0.00235" in shown
    assert offline(ledger, "--model", "gpt-5")[0] == 0
    assert offline(ledger, "--tenant", "somebody else")[0] == 0
    later = f"{NOON + timedelta(days=1):%Y-%m-%d}"
    assert offline(ledger, "--from", later)[0] == 0
    said = json.loads(offline(ledger, "--to", later, "--format", "json")[1])
    assert said["sound"] is False
    assert {example["check"] for example in said["examples"]} == {"lines", "recompute"}


def test_an_hour_that_changed_since_it_was_summed_up_is_left_out_and_told(ledger: Ledger) -> None:
    forge(ledger, calls(9))
    code, shown, _ = offline(ledger)
    assert code == 0
    assert "1 hours that are not summed up, or changed since, left out" in shown


def test_a_time_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    code, _, told = verify("--from", "2026-11-02", "--to", "2026-11-01")
    assert code == 2
    assert "--from" in told


def test_a_directory_without_a_ledger_is_told(tmp_path: Path) -> None:
    code, _, told = verify("--offline", "--data-dir", str(tmp_path))
    assert code == 2
    assert "there is no ledger" in told
