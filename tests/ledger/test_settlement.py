"""Which observations are of one call, and what the call is."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from doubles import BOOK, KNOWN_AT_NS, TRUE_CALLS, charges_of
from hypothesis import given, settings, strategies as st
from pricing_calls import NOON, call

from spanledger.ledger.pricing import price
from spanledger.ledger.restatement import bookings, legs_to_arrow, reversals, undone
from spanledger.ledger.schema import CALLS, ENTRIES, TIME, USAGE_COLUMNS
from spanledger.ledger.settlement import KEY, sameness
from spanledger.ledger.settlement_merge import Price, books, merge

OTEL, SDK, GATEWAY = "opentelemetry.instrumentation.genai.anthropic", "com.anthropic.sdk", "litellm"


def priced_again(_: str) -> Price:
    return lambda calls: price(calls, BOOK, known_at_ns=KNOWN_AT_NS)


def seen(number: int, scope: str = OTEL, **said: Any) -> dict[str, Any]:
    """One observation of a call to Claude; ``number`` makes its span."""
    usual = {
        "tenant": "t",
        "trace_id": (100 + number).to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "parent_span_id": bytes(8),
        "service": "shop",
        "scope_name": scope,
        "response_model": "claude-sonnet-4-5",
        "duration_ns": 2 * 10**9,
        "input_tokens": 1_333,
        "cache_read_tokens": 1_000,
        "output_tokens": 321,
        "response_id": "msg_1",
    }
    return call("anthropic", "claude-sonnet-4-5") | usual | said


def charged(*rows: dict[str, Any]) -> pl.DataFrame:
    return price(pl.DataFrame(rows, schema=CALLS), BOOK, known_at_ns=KNOWN_AT_NS)


def merged(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls made of observations that have a twin."""
    charges = charged(*rows)
    return merge(charges.drop("run").join(sameness(charges).calls, on=KEY), priced_again).rows(
        named=True
    )


def groups(*rows: dict[str, Any]) -> list[list[int]]:
    """The spans of each call that was seen more than once."""
    calls = sameness(charged(*rows)).calls
    found = calls.group_by("run").agg("span_id")["span_id"].to_list()
    return sorted(sorted(int.from_bytes(span) for span in spans) for spans in found)


# --- what is one call ---------------------------------------------------------------------------


@pytest.mark.parametrize("capture", TRUE_CALLS)
def test_the_calls_of_a_capture_are_those_that_the_provider_answered(capture: str) -> None:
    charges = charges_of(capture)
    found = sameness(charges).calls
    calls = charges.height - found.height + found["run"].n_unique()
    assert calls == TRUE_CALLS[capture]


def test_one_response_id_at_one_time_is_one_call_also_in_two_traces() -> None:
    assert groups(seen(1), seen(2, SDK)) == [[1, 2]]


def test_a_response_id_at_another_time_is_another_call() -> None:
    later = NOON + timedelta(seconds=5)
    assert groups(seen(1), seen(2, SDK, start_time=later)) == []


def test_a_response_id_with_other_counts_is_another_call() -> None:
    assert groups(seen(1), seen(2, SDK, input_tokens=20_000)) == []


def test_a_response_id_of_another_tenant_is_another_call() -> None:
    assert groups(seen(1), seen(2, SDK, tenant="other")) == []


def test_two_spans_of_one_observer_are_two_calls_even_with_one_id() -> None:
    assert groups(seen(1), seen(2)) == []
    assert groups(seen(1), seen(2), seen(3, SDK)) == [[1, 3]]


def test_a_client_and_its_gateway_with_one_instrumentation_are_two_observers() -> None:
    assert groups(seen(1, service="shop"), seen(2, service="gateway")) == [[1, 2]]


def test_a_provider_decides_nothing() -> None:
    assert groups(seen(1), seen(2, SDK, provider="aws.bedrock")) == [[1, 2]]


def test_a_child_with_the_same_counts_is_the_same_call_without_any_id() -> None:
    trace = bytes(15) + b"\7"
    outer = seen(1, trace_id=trace, response_id="")
    inner = seen(2, SDK, trace_id=trace, parent_span_id=(1).to_bytes(8, "big"), response_id="")
    assert groups(outer, inner) == [[1, 2]]
    other = inner | {"output_tokens": 3_000}
    assert groups(outer, other) == []


def test_without_ids_and_traces_the_fingerprint_tells() -> None:
    assert groups(seen(1, response_id=""), seen(2, SDK, response_id="")) == [[1, 2]]
    assert groups(seen(1, response_id=""), seen(2, SDK, response_id="", service="b")) == []
    assert groups(seen(1, response_id=""), seen(2, SDK, response_id="", output_tokens=9)) == []


def test_two_known_ids_are_two_calls_also_with_one_in_between() -> None:
    rows = (seen(1), seen(2, SDK, response_id="msg_2"), seen(3, GATEWAY, response_id=""))
    assert len(groups(*rows)) == 1
    assert len(groups(*rows)[0]) == 2


def test_concurrent_twins_of_one_look_are_matched_one_to_one() -> None:
    def at(milliseconds: int) -> dict[str, Any]:
        return {"start_time": NOON + timedelta(milliseconds=milliseconds), "response_id": ""}

    rows = [seen(1, **at(0)), seen(2, SDK, **at(1)), seen(3, **at(500)), seen(4, SDK, **at(501))]
    assert groups(*rows) == [[1, 2], [3, 4]]


# --- what the call is ---------------------------------------------------------------------------


def test_the_merged_call_has_what_any_observer_knows() -> None:
    outer = seen(1, user_id="ada", agent="planner", start_time=NOON)
    inner = seen(
        2,
        SDK,
        start_time=NOON + timedelta(milliseconds=3),
        service_tier="standard",
        cache_write_tokens=222,
        cache_write_5m_tokens=172,
        cache_write_1h_tokens=50,
        customer="acme",
    )
    (row,) = merged(outer, inner)
    assert (row["user_id"], row["agent"], row["customer"]) == ("ada", "planner", "acme")
    assert (row["span_id"], row["start_time"]) == ((1).to_bytes(8, "big"), NOON)
    assert (row["service_tier"], row["cache_write_1h_tokens"]) == ("standard", 50)
    assert (row["input_tokens"], row["cache_read_tokens"], row["calls"]) == (1_333, 1_000, 1)
    assert row["cost_usd"] == Decimal("0.006393")


def test_what_one_observer_could_price_as_a_whole_keeps_its_first_money() -> None:
    charges = charged(seen(1), seen(2, SDK, user_id="ada"))
    dearer = charges.with_columns(cost_usd=pl.lit(Decimal(9)).cast(ENTRIES["cost_usd"]))
    runs = charges.drop("run").join(sameness(charges).calls, on=KEY)

    def changed(_: str) -> Price:
        raise AssertionError

    assert merge(runs, changed)["cost_usd"].to_list() == [charges["cost_usd"][0]]
    later = pl.col("known_at") + pl.duration(days=1)
    late = pl.concat([charges[:1], dearer[1:].with_columns(later.cast(TIME))])
    runs = late.drop("run").join(sameness(late).calls, on=KEY)
    assert merge(runs, changed)["cost_usd"].to_list() == [charges["cost_usd"][0]]


def test_what_only_both_together_know_is_priced_anew() -> None:
    audio = seen(1, provider="openai", response_model="gpt-4o", request_model="gpt-4o")
    (row,) = merged(
        audio | {"cache_read_tokens": 0, "output_reasoning_tokens": 7},
        audio | {"span_id": b"12345678", "scope_name": SDK, "service_tier": "priority"},
    )
    assert (row["output_reasoning_tokens"], row["service_tier"]) == (7, "priority")
    assert row["cache_read_tokens"] == 1_000
    assert row["cost_usd"] is not None


def test_what_only_both_together_know_is_priced_by_the_book_of_the_first_record() -> None:
    tiered = seen(2, SDK, cache_read_tokens=0, service_tier="priority")
    charges = charged(seen(1, output_reasoning_tokens=7), tiered)
    hour = pl.duration(hours=pl.when(pl.col("span_id") == tiered["span_id"]).then(1).otherwise(2))
    book = pl.concat_str(pl.lit("book of "), "scope_name")
    recorded = charges.with_columns(
        known_at=(pl.col("known_at") + hour).cast(TIME), price_book=book
    )
    runs = recorded.drop("run").join(sameness(recorded).calls, on=KEY)
    asked: list[str] = []

    def of(version: str) -> Price:
        asked.append(version)
        return priced_again(version)

    for order in (runs, runs.reverse()):
        merge(order, of)
        assert books(order)["price_book"].to_list() == [f"book of {SDK}"]
    assert asked == [f"book of {SDK}"] * 2


def test_the_platform_is_paid_not_the_vendor_of_the_model() -> None:
    (row,) = merged(seen(1), seen(2, SDK, provider="aws.bedrock"))
    assert row["provider"] == "aws.bedrock"


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(TRUE_CALLS)), st.randoms(use_true_random=False))
def test_order_and_repetition_of_observations_change_nothing(
    capture: str, chance: random.Random
) -> None:
    charges = charges_of(capture)

    def settled(rows: pl.DataFrame) -> Any:
        found = sameness(rows).calls
        once = rows.unique(KEY).drop("run")
        return merge(once.join(found, on=KEY), priced_again).rows(named=True)

    order = [chance.randrange(charges.height) for _ in range(5)] + chance.sample(
        range(charges.height), charges.height
    )
    assert settled(charges[order]) == settled(charges)


# --- legs ---------------------------------------------------------------------------------------


def test_an_entry_and_its_reversal_sum_to_nothing_in_every_column() -> None:
    charges = charges_of("openllmetry-anthropic").with_columns(settled_into=pl.lit(""))
    back = reversals(charges, pl.lit("r"), "settled", pl.lit(KNOWN_AT_NS + 1))
    for name in (*USAGE_COLUMNS, "calls", "cost_usd", "cost_low_usd", "cost_high_usd"):
        assert pl.concat([charges[name], back[name]]).sum() == 0
    amounts = pl.col("lines").list.eval(pl.element().struct.field("amount_usd")).explode().sum()
    assert charges.select(amounts).item() + back.select(amounts).item() == 0
    again = undone(back, "settled_anew", pl.lit(KNOWN_AT_NS + 2))
    same = [name for name in ENTRIES if name not in {"kind", "run", "leg", "reason", "known_at"}]
    assert again.select(same).equals(charges.select(same))
    assert again["leg"].to_list() == [4] * charges.height


def test_legs_have_the_columns_that_the_store_takes() -> None:
    charges = charges_of("openllmetry-anthropic").with_columns(settled_into=pl.lit("a/b"))
    table = legs_to_arrow(bookings(charges, pl.lit("r"), "settled", pl.lit(KNOWN_AT_NS + 1)))
    assert table.column("settled_into").to_pylist() == ["a/b"] * charges.height
    assert set(table.column("leg").to_pylist()) == {2}
