"""What kind of charge comes of a call: exact, bounded, estimated, free, or none with a reason."""

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, KNOWN_AT_NS, NOON, PLACES, call, entry, models, priced

from spanledger.ledger.limits import CALL_COST_USD_MAX, QUANTITY_MAX
from spanledger.ledger.pricing import price
from spanledger.ledger.pricing_lines import wide_amounts
from spanledger.ledger.schema import CALLS, ENTRIES, MONEY

SONNET = ("anthropic", "claude-sonnet-4-5")
REALTIME = ("openai", "gpt-4o-realtime-preview")


def _bounds(row: dict[str, Any]) -> tuple[str, list[Decimal]]:
    return row["cost_class"], [row["cost_low_usd"], row["cost_usd"], row["cost_high_usd"]]


# --- the four zeros and the reasons ---------------------------------------------------------------


def test_a_model_whose_rates_are_zero_is_free_and_its_lines_say_so() -> None:
    row = entry("mistral", "mistral-nemo:free", input_tokens=1_000, output_tokens=1_000)
    assert (row["cost_usd"], row["cost_class"]) == (0, "free")
    assert [line["rate_usd"] for line in row["lines"]] == [0, 0]


def test_a_model_that_the_data_leaves_empty_is_not_free() -> None:
    row = entry("cerebras", "qwen-3-coder-480b", input_tokens=1_000)
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "no_rate_for_unit")


def test_a_free_model_of_the_gemini_api_is_not_free_on_vertex() -> None:
    assert entry("gcp.gemini", "gemma-3", input_tokens=1)["cost_class"] == "free"
    assert entry("gcp.vertex_ai", "gemma-3", input_tokens=1)["cost_usd"] is None


@pytest.mark.parametrize(
    ("provider", "model", "said", "reason"),
    [
        ("openai", "acme-1", {"input_tokens": 1}, "unknown_model"),
        ("acme", "acme-1", {"input_tokens": 1}, "unknown_provider"),
        ("ollama", "mistral-large", {"input_tokens": 1}, "unknown_provider"),
        ("openai", "", {"input_tokens": 1}, "unknown_model"),
        ("openai", "gpt-4o" * 10**6, {"input_tokens": 1}, "unknown_model"),
        ("openai", "gpt-4o", {"usage_missing": True}, "no_usage"),
        ("openai", "gpt-4o", {"input_tokens": -1}, "usage_invalid"),
        ("openai", "gpt-4o", {"input_tokens": 2**62}, "usage_invalid"),
        ("openai", "gpt-4o", {"input_tokens": 5, "cache_read_tokens": 6}, "usage_invalid"),
        ("openai", "gpt-4o", {"output_tokens": 5, "output_reasoning_tokens": 6}, "usage_invalid"),
        ("openai", "gpt-4o", {"input_tokens": 5, "web_searches": -1}, "usage_invalid"),
        ("openai", "gpt-4o", {"input_tokens": 5, "usage_invalid": True}, "usage_invalid"),
        ("openai", "gpt-4o", {"input_tokens": 5, "gpu_seconds": 1}, "no_rate_for_unit"),
        ("mistral", "mistral-small-latest", {"web_searches": 1}, "no_rate_for_unit"),
    ],
)
def test_what_cannot_be_priced_has_a_reason_and_no_money(
    provider: str, model: str, said: dict[str, Any], reason: str
) -> None:
    row = entry(provider, model, **said)
    assert (row["cost_class"], row["unpriced_reason"]) == ("unpriced", reason)
    money = ("cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd")
    assert [row[name] for name in money] == [None] * 4
    assert row["lines"] == []


def test_a_sum_over_nothing_but_unpriced_calls_stays_null_per_call() -> None:
    rows = priced(call("openai", "acme-1"), call("openai", "gpt-4o", input_tokens=1))
    assert rows.get_column("cost_usd").is_null().to_list() == [True, False]


@pytest.mark.parametrize("model", ["gpt-4o", "acme-1"])
def test_an_error_without_usage_costs_nothing_whatever_its_model(model: str) -> None:
    row = entry("openai", model, status="error", usage_missing=True)
    assert (row["cost_usd"], row["cost_class"], row["lines"]) == (0, "exact", [])


def test_an_error_pays_no_fee_for_its_request_but_pays_for_its_usage() -> None:
    assert entry("perplexity", "sonar", status="error")["cost_usd"] == 0
    row = entry("openai", "gpt-4o", status="error", input_tokens=1_000_000)
    assert row["cost_usd"] == Decimal("2.5")


def test_a_tool_that_was_declared_but_not_used_costs_nothing() -> None:
    assert entry("openai", "gpt-4.1", web_searches=0)["cost_usd"] == 0


# --- bounds ---------------------------------------------------------------------------------------


def test_unsplit_cache_writes_are_bounded_by_the_longer_lifetime() -> None:
    usage: dict[str, Any] = {
        "input_tokens": 20_000,
        "cache_read_tokens": 10_000,
        "cache_write_tokens": 6_000,
    }
    row = entry(*SONNET, **usage, output_tokens=1_000)
    low, high = Decimal("0.0525"), Decimal("0.066")
    assert _bounds(row) == ("bounded", [low, low, high])


def test_only_the_part_of_the_writes_without_a_lifetime_is_open() -> None:
    usage: dict[str, Any] = {"input_tokens": 20_000, "cache_write_tokens": 6_000}
    row = entry(*SONNET, **usage, cache_write_1h_tokens=1_000)
    assert row["cost_high_usd"] - row["cost_usd"] == Decimal("2.25") * 5_000 / 10**6
    usage |= {"cache_write_5m_tokens": 5_000, "cache_write_1h_tokens": 1_000}
    assert entry(*SONNET, **usage)["cost_class"] == "exact"


def test_writes_reported_by_lifetime_alone_are_their_own_total() -> None:
    row = entry(*SONNET, input_tokens=20_000, cache_write_1h_tokens=2_000)
    assert row["cost_usd"] == (18_000 * Decimal(3) + 2_000 * Decimal(6)) / 10**6


def test_an_assumed_convention_is_bounded_by_the_other_reading_across_a_context_tier() -> None:
    usage: dict[str, Any] = {
        "input_tokens": 150_000,
        "cache_read_tokens": 100_000,
        "output_tokens": 1_000,
    }
    row = entry("gcp.gemini", "gemini-2.5-pro", convention="assumed", **usage)
    # Read as exclusive, the prompt has 250,000 tokens: the whole call is of the higher tier.
    high = (150_000 * Decimal("2.5") + 100_000 * Decimal("0.25") + 1_000 * Decimal(15)) / 10**6
    assert _bounds(row) == ("bounded", [Decimal("0.085"), Decimal("0.085"), high])


def test_an_unknown_cache_split_is_bounded_by_all_read_and_all_written() -> None:
    row = entry(*SONNET, cache_unknown=True, input_tokens=100_000)
    assert _bounds(row) == ("bounded", [Decimal("0.03"), Decimal("0.3"), Decimal("0.6")])


def test_unknown_cache_writes_leave_the_cached_reads_as_they_are() -> None:
    usage: dict[str, Any] = {"input_tokens": 100_000, "cache_read_tokens": 40_000}
    row = entry(*SONNET, cache_write_unknown=True, **usage)
    low = (60_000 * Decimal(3) + 40_000 * Decimal("0.3")) / 10**6
    assert _bounds(row) == ("bounded", [low, low, low + 60_000 * Decimal(3) / 10**6])


def test_cached_tokens_lost_beside_the_input_make_an_estimate_without_bounds() -> None:
    row = entry(*SONNET, cache_unknown=True, usage_estimated=True, input_tokens=100_000)
    assert _bounds(row) == ("estimated", [Decimal("0.3")] * 3)


def test_cached_audio_that_was_not_reported_is_bounded_by_what_it_can_be() -> None:
    usage: dict[str, Any] = {
        "input_tokens": 1_000,
        "input_audio_tokens": 900,
        "cache_read_tokens": 500,
    }
    row = entry(*REALTIME, **usage)
    assert row["cost_class"] == "bounded"
    # Between 400 (they would not fit beside each other otherwise) and 500 were both.
    most = entry(*REALTIME, **usage, cache_audio_read_tokens=500)
    assert (most["cost_class"], most["cost_usd"]) == ("exact", row["cost_low_usd"])


def test_a_tier_without_a_rate_of_its_own_is_an_estimate_at_the_standard_rate() -> None:
    usage: dict[str, Any] = {"input_tokens": 1_000_000}
    before_there_was_batch = datetime(2024, 4, 14, tzinfo=UTC)
    for tier, at in (("ultrafast", NOON), ("batch", before_there_was_batch)):
        row = entry("openai", "gpt-4o", at, service_tier=tier, **usage)
        assert (row["cost_class"], row["cost_usd"]) == ("estimated", Decimal("2.5"))
    for tier in ("", "auto", "default", "scale"):
        assert entry("openai", "gpt-4o", service_tier=tier, **usage)["cost_class"] == "exact"


# --- vectors with units of their own --------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        ("openai", "whisper-1", {"audio_seconds": 330}, "0.033"),
        ("openai", "whisper-1", {"input_audio_seconds": 330}, "0.033"),
        ("openai", "tts-1-hd", {"input_characters": 5_000}, "0.15"),
        ("openai", "gpt-4o-mini", {"web_searches": 4}, "0.04"),
        ("mistral_ai", "mistral-ocr-latest", {"input_document_pages": 10}, "0.04"),
        ("groq", "whisper-large-v3", {"audio_seconds": "3.5"}, "0.000308333333333333"),
        ("perplexity", "sonar", {"input_tokens": 1_000_000}, "1.012"),
    ],
)
def test_units_beyond_tokens_are_charged(
    provider: str, model: str, usage: dict[str, Any], cost: str
) -> None:
    row = entry(provider, model, **usage)
    assert (row["cost_usd"], row["cost_class"]) == (Decimal(cost), "exact")


# --- laws -----------------------------------------------------------------------------------------

_MIXED = [
    call("openai", "gpt-4o", input_tokens=10_000, cache_read_tokens=8_000, output_tokens=500),
    call("openai", "whisper-1", audio_seconds="330.123456789"),
    call(*SONNET, input_tokens=20_000, cache_write_tokens=6_000),
    call("openai", "acme-1", input_tokens=3),
    call("groq", "whisper-large-v3", audio_seconds="3.5"),
    call("openai", "gpt-4o", status="error", usage_missing=True),
    call("openai", "gpt-4o", input_tokens=1, cache_read_tokens=2),
    call("gcp.gemini", "gemini-2.5-pro", input_tokens=200_001, output_tokens=1_000),
    call("deepseek", "deepseek-v4-pro", datetime(2026, 11, 20, 2, tzinfo=UTC), input_tokens=9),
    call("mistral", "mistral-nemo:free", input_tokens=1_000),
]


@settings(max_examples=50, deadline=None)
@given(
    order=st.lists(st.integers(0, len(_MIXED) - 1), min_size=1, max_size=24), cut=st.integers(0, 24)
)
def test_a_charge_does_not_depend_on_its_batch(order: list[int], cut: int) -> None:
    calls = pl.DataFrame([_MIXED[index] for index in order], schema=CALLS)
    whole = price(calls, BOOK, known_at_ns=KNOWN_AT_NS)
    parts = [part for part in (calls[:cut], calls[cut:]) if part.height]
    split = pl.concat([price(part, BOOK, known_at_ns=KNOWN_AT_NS) for part in parts])
    alone = pl.concat([priced(_MIXED[index]) for index in order])
    assert whole.equals(split)
    assert whole.equals(alone)


def test_the_cost_is_the_sum_of_its_lines_for_every_model() -> None:
    numbers = Random(5)  # noqa: S311 - the same in every run
    calls = [
        call(p.id, name, input_tokens=numbers.randrange(10**6), output_tokens=77)
        for p, _, name in models()
    ]
    for row in priced(*calls).iter_rows(named=True):
        if row["cost_usd"] is not None:
            assert row["cost_usd"] == sum(line["amount_usd"] for line in row["lines"])


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(0, QUANTITY_MAX),
    atto=st.integers(0, 10**18),
    per=st.sampled_from([1, 7, 60, 1_000, 3_600, 10**6, 10**9]),
)
def test_polars_rounds_a_product_and_its_quotient_once_and_half_even(
    count: int, atto: int, per: int
) -> None:
    # pricing_lines stands on this; another Polars might do otherwise.
    rate = Decimal(atto).scaleb(-18)
    quantity, usd = (pl.Series([value], dtype=MONEY) for value in (Decimal(count), rate))
    ours = (quantity * usd) / pl.Series([per]).cast(MONEY)
    assert ours.to_list() == wide_amounts([Decimal(count)], [rate], [per]).to_list()


def test_ties_go_to_the_even_last_digit() -> None:
    counts = [Decimal(n) for n in (1, 3, 5, 7)]
    made = wide_amounts(counts, [Decimal(5).scaleb(-18)] * 4, [10] * 4)
    assert made.to_list() == [0 * PLACES, 2 * PLACES, 2 * PLACES, 4 * PLACES]


def test_nothing_wraps_at_the_caps_and_beyond_the_dearest_call_there_is_no_price() -> None:
    most: dict[str, Any] = {"input_tokens": QUANTITY_MAX, "output_tokens": QUANTITY_MAX}
    rows = priced(*[call("openai", "o1-pro", **most)] * 2_000)
    assert set(rows.get_column("cost_usd")) == {Decimal(750 * QUANTITY_MAX // 10**6)}
    assert 750 * QUANTITY_MAX // 10**6 < CALL_COST_USD_MAX
    fees: dict[str, Any] = {"input_tokens": 1, "web_searches": QUANTITY_MAX}
    row = entry("openai", "gpt-4o", **fees)
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "usage_invalid")


def test_absent_counts_are_no_counts() -> None:
    row = entry("openai", "gpt-4o", input_tokens=None, output_tokens=100)
    assert row["cost_usd"] == Decimal("0.001")


def test_an_empty_frame_has_the_columns_of_a_full_one() -> None:
    assert price(CALLS.to_frame(), BOOK, known_at_ns=1).schema == ENTRIES
    assert priced(_MIXED[0]).schema == ENTRIES
