import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, strategies as st
from rich.console import Console

from spanledger.reports import render
from spanledger.reports.summary import Group, Summary, load

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=18, allow_nan=False)


@pytest.fixture(scope="module")
def answer(ledger: Client) -> Summary:
    return load(ledger, start=NOON, end=NOON + timedelta(hours=1))


@pytest.fixture(scope="module")
def printed() -> Callable[[Summary], str]:
    def run(answer: Summary) -> str:
        console = Console(file=io.StringIO(), width=100, force_terminal=False)
        console.print(render.summary(answer))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    return run


def test_the_total_is_honest(answer: Summary, printed: Callable[[Summary], str]) -> None:
    text = " ".join(printed(answer).replace("│", " ").split())
    assert (
        "$1.0000, of which 75 % bounded, 25 % exact, between $0.9500 and $1.1500, 1 call unpriced"
    ) in text


def test_what_has_no_price_is_called_unpriced_and_never_zero(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    text = printed(answer)
    (line,) = [line for line in text.splitlines() if "acme-llm-1  " in line and "openai" in line]
    assert line.split()[-1] == "unpriced"
    assert "$0.0000" not in text


def test_a_group_with_an_unpriced_call_costs_at_least_what_is_known(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    (line,) = [line for line in printed(answer).splitlines() if "grace" in line]
    assert "≥ $0.7500" in line


def test_a_call_that_failed_and_costs_nothing_is_a_known_zero(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    text = printed(answer)
    (line,) = [line for line in text.splitlines() if "gpt-4o-mini" in line]
    assert line.split()[-1] == "$0"
    assert "5 calls (1 failed)" in text


def test_a_breakdown_that_says_nothing_is_left_out(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    nameless = replace(answer.by_user[0], name="")
    text = printed(replace(answer, by_user=(nameless,)))
    assert "feature" in text
    assert " user " not in text


def test_rows_beyond_the_limit_are_summed_up_as_others(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    text = printed(replace(answer, by_model=answer.by_model[:1]))
    (line,) = [line for line in text.splitlines() if "others" in line]
    assert line.split() == ["others", "4", "$0.2500"]


def test_an_empty_ledger_says_so(ledger: Client, printed: Callable[[Summary], str]) -> None:
    later = NOON + timedelta(days=1)
    text = printed(load(ledger, start=later, end=later + timedelta(hours=1)))
    assert "nothing recorded" in text
    assert "$" not in text


def test_a_ledger_without_any_price_says_unpriced(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    totals = replace(answer.totals, cost_usd=None, cost_low_usd=None, cost_high_usd=None)
    text = printed(replace(answer, totals=totals, by_class=(), by_model=(), by_user=()))
    assert "unpriced, 1 call unpriced" in text


@pytest.mark.parametrize("name", ["\x1b[2J\x1b]0;owned\x07", "[red]x[/red]", "a\nb", "é" * 200])
def test_a_hostile_name_cannot_command_the_terminal_or_the_layout(
    answer: Summary, printed: Callable[[Summary], str], name: str
) -> None:
    groups = (replace(answer.by_model[0], name=name), *answer.by_model[1:])
    text = printed(replace(answer, by_model=groups))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text.splitlines()) == len(printed(answer).splitlines())
    assert max(map(len, text.splitlines())) <= 100


def test_a_narrow_terminal_cuts_names_but_no_figure(answer: Summary) -> None:
    console = Console(file=io.StringIO(), width=72)
    console.print(render.summary(answer))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 72
    for figure in ("$1.0000", "≥ $0.7500", "$0.2500", "unpriced"):
        assert figure in text
    assert "$0.…" not in text


def test_the_report_fits_a_hundred_columns(
    answer: Summary, printed: Callable[[Summary], str]
) -> None:
    tokens = 10**11
    wide = Group(
        "m" * 40, 999_999, 1, Decimal("99.5"), tokens, tokens, tokens, tokens, 0, "azure.ai.openai"
    )
    text = printed(replace(answer, by_model=(wide,), by_user=(wide,)))
    assert "$99.5000" in text
    assert "999,999" in text
    assert max(map(len, text.splitlines())) <= 100


def test_json_keeps_every_digit_as_text(answer: Summary) -> None:
    body = json.loads(render.summary_json(answer))
    assert body["format"] == "spanledger-summary/1"
    assert body["start"] == "2026-11-01T12:00:00Z"
    assert body["totals"]["cost_usd"] == "1.000000000000000001"
    assert body["by_class"][2] == {"cost_class": "unpriced", "calls": 1, "cost_usd": None}
    assert list(body) == [
        "format",
        "currency",
        "start",
        "end",
        "totals",
        "by_class",
        "by_model",
        "by_user",
        "by_feature",
        "by_customer",
        "unpriced",
    ]


@given(amounts)
def test_json_money_is_the_same_number(amount: Decimal) -> None:
    assert Decimal(render._plain(amount)) == amount


@given(amounts, st.sampled_from([2, 4, 6]))
def test_printed_money_is_within_half_a_step_and_zero_only_when_it_is(
    amount: Decimal, decimals: int
) -> None:
    text = render.money(amount, decimals)
    if text.startswith(("<", ">")):
        assert 0 < abs(amount) <= Decimal(1).scaleb(-decimals)
        return
    number = Decimal(text.replace("$", "").replace(",", ""))
    assert abs(number - amount) <= Decimal(1).scaleb(-decimals) / 2
    assert bool(number) == bool(amount)


@given(st.decimals(min_value=0, max_value=1, places=12))
def test_only_a_whole_is_called_100_percent(part: Decimal) -> None:
    assert (render.percent(part, Decimal(1)) == "100 %") == (part == 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (99_950, "100.0k"),
        (880_123, "880k"),
        (2_500_000, "2.5M"),
        (10**12, "1,000G"),
    ],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert render.short(count) == text


@pytest.mark.parametrize(
    ("part", "cells"), [("1", "████████"), ("0.5", "████"), ("0.0001", "▏"), ("0", "")]
)
def test_a_bar_shows_even_a_little_and_never_nothing_for_something(part: str, cells: str) -> None:
    assert render.bar(Decimal(part), Decimal(1)).plain == cells
