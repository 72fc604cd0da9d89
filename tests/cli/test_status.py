"""Is every span accounted for, and does the collector keep up?"""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from prometheus_client import generate_latest

from spanledger.cli.status import StatusError, run
from spanledger.collector.budgets import BudgetStatus
from spanledger.collector.metrics import STORED, Meters


def meters() -> Meters:
    made = Meters(1_000)
    made.received("grpc", 10)
    made.duplicate(2)
    made.rejected({"invalid_span_id": 1})
    made.dead("out_of_range", 3)
    made.watch(journal_bytes=lambda: 2_097_152, lag_seconds=lambda: 1.5)
    made.store_up(up=True)
    acme = BudgetStatus("acme", "month", Decimal(200), Decimal(50), Decimal(0), Decimal(1))
    made.refresh({}, [acme], datetime.now(UTC).timestamp())
    return made


def told(made: Meters, capsys: pytest.CaptureFixture[str], *, as_json: bool) -> tuple[int, str]:
    code = run(
        "http://c:1", as_json=as_json, fetch=lambda _: generate_latest(made.registry).decode()
    )
    return code, capsys.readouterr().out


def test_a_collector_that_is_well_is_told_with_its_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, text = told(meters(), capsys, as_json=False)
    assert code == 0
    assert "accounted for" in text
    assert "2.0 MiB" in text
    assert "50.00 of 200.00 USD a month" in text
    assert "spanledger dead list" in text


def test_json_has_every_term_of_the_law(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(meters(), capsys, as_json=True)
    answer = json.loads(text)
    assert code == 0
    assert answer["conserved"] is True
    assert [answer[name] for name in ("received", "pending", "duplicate", "rejected", "dead")] == [
        10,
        4,
        2,
        1,
        3,
    ]


def test_a_span_that_went_missing_or_a_store_that_is_down_is_a_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    down = meters()
    down.store_up(up=False)
    code, text = told(down, capsys, as_json=False)
    assert (code, "DOWN" in text) == (1, True)
    text = generate_latest(meters().registry).decode()
    wrong = text.replace(f"{STORED} 0.0", f"{STORED} 1.0")
    assert run("http://c:1", as_json=False, fetch=lambda _: wrong) == 1
    assert "-1 UNACCOUNTED FOR" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "<html>", "up 1\n"])
def test_what_is_no_collector_is_said_to_be_none(text: str) -> None:
    with pytest.raises(StatusError, match="no spanledger"):
        run("http://c:1", as_json=False, fetch=lambda _: text)


def test_nobody_there_is_one_sentence_with_what_to_do() -> None:
    with pytest.raises(StatusError, match="Is `spanledger serve` running"):
        run("http://127.0.0.1:1", as_json=False)
    with pytest.raises(StatusError, match="not the address"):
        run("file:///etc/passwd", as_json=False)
