import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from spanledger.cli.report import ReportError, run
from spanledger.reports.summary import Totals

END = datetime(2026, 11, 2, tzinfo=UTC)
START = END - timedelta(days=1)


class Ledger:
    """Answers every question with what three calls cost, or with an error."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.urls: list[str] = []
        self.parameters: list[dict[str, Any]] = []

    def connect(self, url: str) -> Any:
        self.urls.append(url)
        return self

    def query(self, query: str, *, parameters: dict[str, Any]) -> Any:
        self.parameters.append(parameters)
        if self.failure is not None:
            raise self.failure
        if "failed_calls" not in query or "GROUP BY" in query:
            return SimpleNamespace(column_names=[], result_rows=[])
        values: dict[str, Any] = {field.name: 0 for field in fields(Totals)} | {"calls": 3}
        values |= dict.fromkeys(("cost_usd", "cost_low_usd", "cost_high_usd"), Decimal("1.10"))
        return SimpleNamespace(column_names=list(values), result_rows=[list(values.values())])


def test_the_table_says_what_the_range_cost(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    run("http://ledger:8123", START, END, "table", ledger.connect)
    assert "$1.1000" in capsys.readouterr().out
    assert ledger.urls == ["http://ledger:8123"]
    assert ledger.parameters[0]["start"].startswith("2026-11-01 00:00:00")
    assert ledger.parameters[0]["end"].startswith("2026-11-02 00:00:00")


def test_json_is_all_that_stands_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run("http://ledger:8123", START, END, "json", Ledger().connect)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["totals"]["calls"], answer["totals"]["cost_usd"]) == (3, "1.1")


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_refused_query_is_one_line_of_ours(
    form: Literal["table", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(DatabaseError("Unknown table calls\x1b[31m\nstack\nstack"))
    with pytest.raises(ReportError) as told:
        run("http://ledger:8123", START, END, form, ledger.connect)
    assert str(told.value).startswith("the ledger did not answer: Unknown table calls[31m. ")
    assert "\n" not in str(told.value)
    assert capsys.readouterr().out == ""


def test_an_empty_range_asks_nobody() -> None:
    ledger = Ledger()
    with pytest.raises(ReportError, match="nothing lies between"):
        run("http://ledger:8123", END, END, "table", ledger.connect)
    assert ledger.urls == []
