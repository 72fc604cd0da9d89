import re
import subprocess
import threading
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from spanledger.collector import responses
from spanledger.collector.budgets import BudgetStatus
from spanledger.collector.metrics import LABEL_CHARS_MAX, Meters
from spanledger.ledger.schema import ENTRIES

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
BY_NAME = (
    "genai_cost_usd_total",
    "genai_tokens_total",
    "genai_calls_total",
    "genai_unpriced_calls_total",
)
SPANLEDGER = {"tenant": "default", "service": "shop", "environment": "prod"}


def entries(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "kind": "charge",
        **SPANLEDGER,
        "provider": "openai",
        "model": "gpt-5",
        "operation": "chat",
        "status": "ok",
        "calls": 1,
        "cost_class": "exact",
        "unpriced_reason": "",
    }
    return pl.DataFrame([usual | row for row in rows], schema=ENTRIES)


def samples(meters: Meters, name: str) -> dict[tuple[str, ...], float]:
    """Values by label values, in the order of their names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in meters.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_corrections_are_counted_apart_up_or_down_as_one_each() -> None:
    meters = Meters(100)

    def leg(run: str, leg: int, cost: str | None, reason: str = "settled") -> dict[str, Any]:
        usd = None if cost is None else Decimal(cost)
        return {"run": run, "leg": leg, "reason": reason, "cost_usd": usd}

    meters.restated(
        entries(leg("a", 1, "-2"), leg("a", 1, "-2"), leg("a", 2, "2"), leg("b", 1, None))
    )
    meters.restated(entries(leg("b", 2, "0.5"), leg("c", 3, "-1", "settled_anew")))
    restated = samples(meters, "genai_cost_restated_usd_total")
    assert restated == {
        ("down", "settled"): 2,
        ("up", "settled"): 0.5,
        ("down", "settled_anew"): 1,
    }
    assert samples(meters, "spanledger_settled_calls_total") == {(): 2}


def by(meters: Meters, name: str, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for family in meters.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def total(meters: Meters, name: str) -> float:
    return sum(samples(meters, name).values())


def full() -> Meters:
    """Meters in which every family has a value."""
    meters = Meters(2_000)
    meters.received("grpc", 9)
    meters.not_a_call({"agent": 1})
    meters.rejected({"no_ids": 1})
    meters.duplicate(2)
    meters.dead("bad \n row", 1)
    meters.request("http", "accepted")
    meters.acknowledged(0.004)
    meters.store_up(up=True)
    meters.stored(
        entries(
            {"cost_usd": Decimal("0.25"), "input_tokens": 10, "model": 'a"b\\c\nd\u2028e'},
            {"cost_class": "unpriced", "unpriced_reason": "unknown_model"},
        )
    )
    meters.restated(
        entries({"run": "r", "leg": 2, "reason": "settled", "cost_usd": Decimal("-0.25")})
    )
    meters.watch(journal_bytes=lambda: 4_096, lag_seconds=lambda: 0.5)
    budget = BudgetStatus("b", "day", Decimal(2), Decimal(1), Decimal("0.5"), Decimal("0.8"))
    meters.refresh({"today": Decimal("1.5")}, [budget], 1_760_000_000.0)
    return meters


@pytest.mark.parametrize("meters", [Meters(2_000), full()], ids=["new", "full"])
def test_promtool_finds_no_fault(meters: Meters) -> None:
    text = generate_latest(meters.registry)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("meters", [Meters(2_000), full()], ids=["new", "full"])
def test_the_openmetrics_form_parses_to_what_was_counted(meters: Meters) -> None:
    text = openmetrics.generate_latest(meters.registry).decode()  # type: ignore[no-untyped-call]
    parsed = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }
    counted = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in meters.registry.collect()
        for sample in family.samples
    }
    assert parsed == counted


def test_the_page_about_metrics_lists_every_one_with_its_type_and_labels() -> None:
    row = re.compile(r"^\| `([a-z_0-9]+)` \| (\w+) \|(.*?)\|", re.MULTILINE)
    told = {
        (name, kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in row.findall(DOCS.read_text())
    }
    suffix = {"counter": "_total", "info": "_info"}
    exposed = {
        (
            family.name + suffix.get(family.type, ""),
            {"info": "gauge"}.get(family.type, family.type),
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in full().registry.collect()
    }
    assert told == exposed


def test_cost_tokens_and_calls_are_those_of_the_entries() -> None:
    meters = Meters(2_000)
    usage = {
        "input_tokens": 1_000,
        "cache_read_tokens": 600,
        "cache_write_tokens": 100,
        "output_tokens": 50,
        "output_reasoning_tokens": 20,
    }
    meters.stored(entries({"cost_usd": Decimal("0.1"), **usage}, {"cost_usd": Decimal("0.2")}))
    meters.stored(entries({"cost_usd": Decimal("0.3"), "status": "error"}))
    # 0.1 + 0.2 in binary is not 0.3, and 0.6 not what three such sums give.
    assert by(meters, "genai_cost_usd_total", "cost_class") == {"exact": 0.6}
    assert by(meters, "genai_calls_total", "status") == {"ok": 2, "error": 1}
    assert by(meters, "genai_tokens_total", "token_type") == {
        "input": 300,
        "cache_read": 600,
        "cache_write": 100,
        "output": 30,
        "reasoning": 20,
    }
    labels = {"tenant", "service", "environment", "provider", "model"}
    for family in meters.registry.collect():
        for sample in family.samples:
            if sample.name in BY_NAME:
                assert labels < set(sample.labels)


def test_more_cached_than_input_tokens_count_as_no_input_rather_than_fewer() -> None:
    meters = Meters(2_000)
    meters.stored(entries({"input_tokens": 5, "cache_read_tokens": 8}, {"input_tokens": 7}))
    meters.stored(entries({"output_tokens": 1, "output_reasoning_tokens": 2}))
    assert by(meters, "genai_tokens_total", "token_type") == {
        "input": 7,
        "cache_read": 8,
        "reasoning": 2,
    }


def test_an_unknown_cost_is_counted_as_unpriced_and_never_as_zero() -> None:
    meters = Meters(2_000)
    unknown = {"cost_class": "unpriced", "unpriced_reason": "unknown_model"}
    meters.stored(entries(unknown, unknown, {"cost_class": "free", "cost_usd": Decimal(0)}))
    assert by(meters, "genai_cost_usd_total", "cost_class") == {"free": 0}
    assert by(meters, "genai_unpriced_calls_total", "reason") == {"unknown_model": 2}
    assert total(meters, "genai_calls_total") == 3


def test_a_correction_never_makes_a_counter_fall() -> None:
    meters = Meters(2_000)
    meters.stored(entries({"cost_usd": Decimal(2), "input_tokens": 5}))
    before = {name: samples(meters, name) for name in BY_NAME}
    reversal = {"kind": "restatement", "cost_usd": Decimal(-2), "calls": -1, "input_tokens": -5}
    meters.stored(entries(reversal))
    assert {name: samples(meters, name) for name in BY_NAME} == before
    assert total(meters, "spanledger_items_stored_total") == 1


def test_columns_that_an_older_version_did_not_write_do_no_harm() -> None:
    meters = Meters(2_000)
    meters.stored(entries({"service": None, "operation": None, "cost_usd": Decimal(1)}))
    assert by(meters, "genai_calls_total", "service") == {"": 1}


def test_money_keeps_digits_that_the_default_context_would_round_away() -> None:
    meters = Meters(2_000)
    large, small = Decimal(10**9), Decimal("0.000000000000000001")
    for amount in (large, large, small, small):
        meters.stored(entries({"cost_usd": amount * 5}))
    exact = next(amount for (name, _), amount in meters._values.items() if name == BY_NAME[0])
    assert exact == Decimal("10000000000.000000000000000010")


def test_a_label_is_bounded_and_holds_no_control_characters() -> None:
    meters = Meters(2_000)
    meters.stored(entries({"service": "x" * 5_000, "model": "a\x00b\x1b[31m\n\x85\u2028c"}))
    assert list(by(meters, "genai_calls_total", "service")) == ["x" * LABEL_CHARS_MAX]
    (model,) = by(meters, "genai_calls_total", "model")
    assert model == "a�b�[31m���c"


def test_names_beyond_the_cap_are_booked_as_other_and_totals_stay_exact() -> None:
    meters = Meters(100)
    rows = [
        {"model": f"m{number}", "cost_usd": Decimal("0.01"), "input_tokens": 3}
        for number in range(500)
    ]
    for start in range(0, 500, 50):
        meters.stored(entries(*rows[start : start + 50]))
    assert sum(len(samples(meters, name)) for name in BY_NAME) <= 100
    assert total(meters, "genai_calls_total") == 500
    assert total(meters, "genai_tokens_total") == 1_500
    assert total(meters, "genai_cost_usd_total") == pytest.approx(5)
    other = by(meters, "genai_calls_total", "model")["other"]
    assert other == total(meters, "spanledger_metric_series_overflow_total") > 0
    assert by(meters, "genai_calls_total", "service")["other"] == other


def test_a_series_that_exists_goes_on_after_the_cap_is_reached() -> None:
    meters = Meters(100)
    meters.stored(entries({"model": "known"}))
    meters.stored(entries(*({"model": f"m{number}"} for number in range(200))))
    meters.stored(entries({"model": "known"}))
    assert by(meters, "genai_calls_total", "model")["known"] == 2


row_strategy = st.fixed_dictionaries(
    {
        "service": st.text(max_size=3),
        "model": st.text(max_size=3),
        "provider": st.sampled_from(["openai", "anthropic", ""]),
        "status": st.sampled_from(["ok", "error"]),
        "cost_usd": st.none() | st.decimals(0, 10**9, places=18),
        "input_tokens": st.integers(0, 10**12),
        "cache_read_tokens": st.integers(0, 10**12),
        "output_tokens": st.integers(0, 10**12),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(row_strategy, min_size=1, max_size=8), min_size=1, max_size=8))
def test_whatever_arrives_the_series_are_bounded_and_the_sums_exact(
    batches: list[list[dict[str, Any]]],
) -> None:
    meters = Meters(100)
    for batch in batches:
        meters.stored(entries(*batch))
    rows = [row for batch in batches for row in batch]
    assert sum(1 for name, _ in meters._values if name in BY_NAME) <= 100

    def inside(name: str) -> Iterable[Any]:
        return (amount for (family, _), amount in meters._values.items() if family == name)

    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    scaled = sum(int(amount.scaleb(18)) for amount in inside("genai_cost_usd_total"))
    assert scaled == sum(int(cost.scaleb(18)) for cost in costs)
    assert sum(inside("genai_unpriced_calls_total")) == len(rows) - len(costs)
    assert sum(inside("genai_calls_total")) == len(rows)


def test_counts_of_items_are_by_transport_and_reason() -> None:
    meters = Meters(2_000)
    meters.received("grpc", 5)
    meters.received("grpc", 2)
    meters.received("http", 1)
    meters.not_a_call({"agent": 2, "tool": 1})
    meters.rejected({"no_ids": 1})
    meters.dead("too_old", 1)
    meters.duplicate(1)
    meters.stored(entries({}, {}))
    assert by(meters, "spanledger_items_received_total", "transport") == {
        "grpc": 7,
        "http": 1,
        "journal": 0,
    }
    assert by(meters, "spanledger_items_not_a_call_total", "reason") == {"agent": 2, "tool": 1}
    parts = ("stored", "duplicate", "not_a_call", "rejected", "dead")
    assert sum(total(meters, f"spanledger_items_{part}_total") for part in parts) == 8


def test_what_can_happen_to_a_request_is_there_from_the_start_at_zero() -> None:
    outcomes = samples(Meters(2_000), "spanledger_requests_total")
    assert len(outcomes) == 2 * len(responses.KINDS)
    assert set(outcomes.values()) == {0}


def test_acknowledgements_fall_into_cumulative_buckets() -> None:
    meters = Meters(2_000)
    for seconds in (0.001, 0.002, 0.3, 99.0):
        meters.acknowledged(seconds)
    buckets = by(meters, "spanledger_ack_duration_seconds_bucket", "le")
    assert (buckets["0.001"], buckets["0.0025"], buckets["0.5"]) == (1, 2, 3)
    assert (buckets["10.0"], buckets["+Inf"]) == (3, 4)
    assert total(meters, "spanledger_ack_duration_seconds_count") == 4
    assert total(meters, "spanledger_ack_duration_seconds_sum") == pytest.approx(99.303)


def test_what_is_watched_is_asked_at_each_scrape() -> None:
    meters = Meters(2_000)
    assert samples(meters, "spanledger_journal_bytes") == {}
    sizes = [7]
    meters.watch(journal_bytes=lambda: sizes[0], lag_seconds=lambda: 2.5)
    assert total(meters, "spanledger_journal_bytes") == 7
    sizes[0] = 0
    assert samples(meters, "spanledger_journal_bytes") == {(): 0}
    assert total(meters, "spanledger_writer_lag_seconds") == 2.5


def test_what_was_received_is_pending_until_its_fate_is_decided() -> None:
    meters = Meters(2_000)
    assert total(meters, "spanledger_items_pending") == 0
    meters.received("grpc", 9)
    meters.received("journal", 2)
    assert total(meters, "spanledger_items_pending") == 11
    meters.not_a_call({"not_genai": 1})
    meters.rejected({"invalid_span_id": 2})
    meters.duplicate(3)
    meters.dead("overflow", 1)
    meters.stored(entries({}, {}, {}))
    assert total(meters, "spanledger_items_pending") == 1


def test_the_store_is_down_until_it_is_said_to_be_up() -> None:
    meters = Meters(2_000)
    assert total(meters, "spanledger_store_up") == 0
    meters.store_up(up=True)
    assert total(meters, "spanledger_store_up") == 1
    meters.store_up(up=False, to="reader")
    meters.store_up(up=True)  # it takes what is written and answers no question
    assert total(meters, "spanledger_store_up") == 0
    meters.store_up(up=True, to="reader")
    assert total(meters, "spanledger_store_up") == 1


def test_a_refresh_replaces_all_that_was_read_from_the_ledger() -> None:
    meters = full()
    assert by(meters, "genai_budget_used_ratio", "budget") == {"b": 0.5}
    meters.refresh({"month": Decimal(3)}, [], 5.0)
    assert by(meters, "genai_spend_usd", "window") == {"month": 3}
    assert samples(meters, "genai_budget_limit_usd") == {}
    assert total(meters, "spanledger_ledger_refresh_timestamp_seconds") == 5


def test_many_threads_lose_no_count() -> None:
    meters = Meters(2_000)
    one = entries({"cost_usd": Decimal("0.1")})

    def work() -> None:
        for _ in range(50):
            meters.received("grpc", 1)
            meters.stored(one)
            meters.acknowledged(0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total(meters, "spanledger_items_received_total") == 200
    assert by(meters, "genai_cost_usd_total", "model") == {"gpt-5": 20.0}
    assert total(meters, "spanledger_ack_duration_seconds_count") == 200


def test_forty_thousand_names_of_any_length_keep_the_page_small_and_the_sums_exact() -> None:
    meters = Meters(2_000)
    for part in range(2):
        rows = pl.DataFrame({"n": range(part * 20_000, (part + 1) * 20_000)})
        usual = entries({"cost_usd": Decimal("0.000000000000000001"), "input_tokens": 3})
        hostile = pl.concat_str("n", pl.lit('"\\\U0001f4b8' * 300)).cast(pl.String)
        frame = rows.join(usual, how="cross").with_columns(model=hostile, service=hostile)
        meters.stored(frame.select(entries().columns))
    meters.stored(entries({"cost_usd": Decimal(1)}))
    for index in range(1_000):
        meters.dead(f"{index}" * 300, 1)
    assert len(generate_latest(meters.registry)) <= 1024 * 1024
    assert len(openmetrics.generate_latest(meters.registry)) <= 1024 * 1024  # type: ignore[no-untyped-call]
    assert total(meters, "genai_calls_total") == 40_001
    assert total(meters, "genai_tokens_total") == 120_000
    assert total(meters, "spanledger_items_dead_total") == 1_000
    assert by(meters, "genai_cost_usd_total", "service")["shop"] == 1.0
    assert total(meters, "spanledger_metric_series_overflow_total") > 30_000


def test_what_nothing_shows_cannot_be_watched() -> None:
    with pytest.raises(TypeError, match="journal_byte"):
        Meters(series_max=10).watch(journal_byte=lambda: 1)
