"""What calls would have cost elsewhere: the laws of the comparison, and single calls by hand."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, KNOWN_AT_NS, NOON, call, priced

from spanledger.ledger.estimate import estimate
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, MONEY
from spanledger.ledger.what_if import BY_DAY, Compared, Switch, what_if

_SUMS = [name for name, dtype in BY_DAY.items() if dtype.is_numeric()]
_USD = "0.25"


def of_today(calls: pl.DataFrame) -> pl.DataFrame:
    return price(calls, BOOK, known_at_ns=KNOWN_AT_NS)


def facts(*calls: dict[str, Any], booked: str | None = _USD) -> pl.DataFrame:
    """What the ledger has of the calls: not every column, and what was booked."""
    cost = pl.lit(booked and Decimal(booked), MONEY).alias("booked_usd")
    frame = pl.DataFrame(list(calls), schema=CALLS).drop("request", "trace_id", "attributes")
    return frame.with_columns(cost)


def compared(switch: Switch, *calls: dict[str, Any], booked: str | None = _USD) -> Compared:
    return what_if(facts(*calls, booked=booked), switch, of_today)


def total(found: Compared) -> dict[str, Any]:
    return found.by_day.select(pl.col(_SUMS).sum()).row(0, named=True)


@st.composite
def some_calls(draw: st.DrawFn) -> dict[str, Any]:
    seller, model = draw(
        st.sampled_from(
            [
                ("openai", "gpt-5-mini"),
                ("openai", "gpt-4o-audio-preview"),
                ("anthropic", "claude-sonnet-4-5"),
                ("openai", "acme-llm"),
                ("nobody", "gpt-5"),
            ]
        )
    )
    tokens = draw(st.integers(0, 300_000))
    return call(
        seller,
        model,
        NOON + timedelta(hours=draw(st.integers(0, 60))),
        input_tokens=tokens,
        output_tokens=draw(st.integers(0, 20_000)),
        cache_read_tokens=draw(st.integers(0, tokens)),
        input_audio_tokens=draw(st.sampled_from([0, 0, 7])),
        service_tier=draw(st.sampled_from(["", "batch", "priority"])),
        status=draw(st.sampled_from(["ok", "error"])),
        usage_estimated=draw(st.booleans()),
        convention=draw(st.sampled_from(["declared", "assumed"])),
    )


_LISTS = st.lists(some_calls(), max_size=12)


@settings(max_examples=30, deadline=None)
@given(_LISTS)
def test_to_where_the_calls_are_already_the_difference_is_exactly_0(
    calls: list[dict[str, Any]],
) -> None:
    found = compared(Switch(), *calls)
    sums = total(found)
    today = of_today(pl.DataFrame(calls, schema=CALLS)).get_column("cost_usd")
    assert sums["difference_usd"] == 0
    assert sums["left_out_usd"] == 0
    assert sums["switched_usd"] == sums["today_usd"] == (today.sum() or 0)
    assert sums["compared"] == today.is_not_null().sum()


@settings(max_examples=30, deadline=None)
@given(_LISTS, st.sampled_from(["gpt-5-nano", "claude-haiku-4-5", "whisper-1"]))
def test_every_call_is_compared_or_left_out_and_the_money_adds_up(
    calls: list[dict[str, Any]], model: str
) -> None:
    found = compared(Switch(model=model), *calls)
    sums = total(found)
    assert sums["calls"] == len(calls)
    assert sums["calls"] == sums["compared"] + found.left_out.get_column("calls").sum()
    assert sums["difference_usd"] == sums["switched_usd"] - sums["today_usd"]
    today = of_today(pl.DataFrame(calls, schema=CALLS)).get_column("cost_usd")
    assert sums["today_usd"] + sums["left_out_usd"] == (today.sum() or 0)


@settings(max_examples=30, deadline=None)
@given(_LISTS, st.integers(0, 12))
def test_pieces_add_up_to_the_whole(calls: list[dict[str, Any]], cut: int) -> None:
    switch = Switch(model="gpt-5-nano", provider="openai")
    whole = compared(switch, *calls)
    parts = compared(switch, *calls[:cut]) + compared(switch, *calls[cut:])
    assert parts.by_day.equals(whole.by_day)
    assert parts.left_out.equals(whole.left_out)


@settings(max_examples=30, deadline=None)
@given(some_calls(), st.sampled_from(["", "batch", "priority"]))
def test_a_call_costs_what_the_estimator_says_of_its_target(
    made: dict[str, Any], tier: str
) -> None:
    switch = Switch("gpt-5-nano", "openai", tier, "")
    sums = total(compared(switch, made))
    said = (
        estimate(
            model="gpt-5-nano",
            provider="openai",
            service_tier=tier,
            at=made["start_time"],
            input_tokens=made["input_tokens"],
            output_tokens=made["output_tokens"],
            cache_read_tokens=made["cache_read_tokens"],
            input_audio_tokens=made["input_audio_tokens"],
            book=BOOK,
        )
        if made["input_tokens"] + made["output_tokens"]
        else None
    )
    if sums["compared"]:
        assert sums["switched_usd"] == (said.cost_usd if said else 0)


def test_booked_today_and_switched_are_told_apart() -> None:
    made = call("openai", "gpt-5-mini", input_tokens=1_000_000, output_tokens=100_000)
    row = compared(Switch(model="gpt-5-nano"), made).by_day.row(0, named=True)
    assert (row["day"], row["provider"], row["model"]) == (NOON.date(), "openai", "gpt-5-mini")
    assert row["booked_usd"] == Decimal("0.25")
    assert row["today_usd"] == Decimal("0.45")
    assert row["switched_usd"] == Decimal("0.09")
    assert row["difference_usd"] == Decimal("-0.36")


def test_what_was_booked_without_a_price_is_counted() -> None:
    made = call("openai", "gpt-5-mini", input_tokens=10)
    sums = total(compared(Switch(model="gpt-5-nano"), made, booked=None))
    assert (sums["compared"], sums["booked_unpriced"], sums["booked_usd"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("made", "switch", "left"),
    [
        (("openai", "acme-llm"), Switch(model="gpt-5-nano"), ("today", "unknown_model")),
        (("anthropic", "claude-haiku-4-5"), Switch("gpt-5-nano"), ("switched", "unknown_model")),
        (("openai", "gpt-5"), Switch(provider="mistral_ai"), ("switched", "unknown_model")),
    ],
)
def test_what_cannot_be_compared_is_left_out_with_its_reason(
    made: tuple[str, str], switch: Switch, left: tuple[str, str]
) -> None:
    found = compared(switch, call(*made, input_tokens=10))
    assert found.left_out.rows() == [(*left, 1)]
    assert total(found)["compared"] == 0


def test_a_unit_that_the_target_does_not_sell_leaves_the_call_out_with_its_cost() -> None:
    made = call("openai", "gpt-5", input_tokens=10, web_searches=2)
    found = compared(Switch(model="gpt-4"), made)
    assert found.left_out.rows() == [("switched", "no_rate_for_unit", 1)]
    assert total(found)["left_out_usd"] == priced(made)["cost_usd"].sum()


def test_a_tier_that_the_target_does_not_sell_is_a_standin() -> None:
    made = call("openai", "gpt-5-mini", input_tokens=10)
    sums = total(compared(Switch(model="gpt-4", service_tier="flex"), made))
    assert (sums["compared"], sums["standins"], sums["usage_estimated"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("switch", "unmoved"),
    [
        (Switch(region="mars"), 1),
        (Switch(service_tier="default"), 1),
        (Switch(service_tier="batch"), 0),
        (Switch(model="gpt-5-nano"), 0),
    ],
)
def test_a_call_that_the_switch_does_not_move_is_counted(switch: Switch, unmoved: int) -> None:
    made = call("openai", "gpt-5-mini", input_tokens=10)
    assert total(compared(switch, made))["unmoved"] == unmoved


def test_of_no_calls_nothing_is_found() -> None:
    found = Compared.nothing() + compared(Switch(model="gpt-5-nano"))
    assert found.by_day.is_empty()
    assert found.left_out.is_empty()
