"""calls -> entries, with genai-prices' own calculator as the oracle."""

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, Provider
from hypothesis import given, settings, strategies as st
from otlp_requests import Span, chat, request

from spanledger.ledger import dialects, pricing
from spanledger.ledger.catalog import NS_PER_DAY, PriceBook, Rate, Unit
from spanledger.ledger.limits import CALL_COST_USD_MAX, QUANTITY_MAX
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, ENTRIES, USAGE_COLUMNS

BOOK = PriceBook.bundled()
KNOWN_AT_NS = 1_790_000_000_000_000_000
NOON_NS = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9
PLACES = Decimal(1).scaleb(-18)

# Text columns "", numbers 0, flags false: what a call says when it says nothing.
_NOTHING: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Boolean: False, pl.Binary: b""}


def call(
    model: str, provider: str = "openai", at_ns: int = NOON_NS, **columns: Any
) -> dict[str, Any]:
    """One row of a CALLS frame."""
    row = {name: _NOTHING.get(dtype) for name, dtype in CALLS.items()}
    row |= {"request": 0, "usage": [], "attributes": [], "status": "ok", "convention": "declared"}
    return row | {"provider": provider, "response_model": model, "start_time": at_ns, **columns}


def priced(*calls: dict[str, Any]) -> pl.DataFrame:
    return price(pl.DataFrame(calls, schema=CALLS), BOOK, known_at_ns=KNOWN_AT_NS)


def charge(model: str, provider: str = "openai", **columns: Any) -> dict[str, Any]:
    return priced(call(model, provider, **columns)).row(0, named=True)


# --- genai-prices as oracle -----------------------------------------------------------------------


def oracle(
    provider: Provider, info: ModelInfo, usage: Mapping[str, int], at_ns: int, tier: str
) -> dict[str, Decimal]:
    """The lines of genai-prices, each quantised half even to 18 places."""
    context = {"batch": {"processing": "batch"}, "fast": {"service_tier": "fast", "speed": "fast"}}
    at = datetime.fromtimestamp(at_ns / 1e9, UTC)
    selected = info.get_prices(at, context.get(tier, {"service_tier": tier}) if tier else None)
    lines = {}
    with localcontext(prec=60):
        for key in vars(selected):
            # Alone, a price still takes the quantity that its more specific prices leave it.
            others = {
                name: Decimal(0) for name, value in vars(selected).items() if value is not None
            }
            if key not in others:
                continue
            only = {**others, key: getattr(selected, key)}
            total = ModelPrice(**only).calc_price(Usage(**usage))["total_price"]
            unit = BOOK_UNITS[key]
            if total:
                lines[unit] = total.quantize(PLACES, ROUND_HALF_EVEN)
    return lines


BOOK_UNITS = {price_key: unit.usage_key for price_key, unit in BOOK._units.items()}
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def _usage(seed: random.Random, info: ModelInfo) -> dict[str, int]:
    """Random counts whose parts do not exceed the whole, around the tier boundaries too."""
    boundary = seed.choice([0, 0, 0, 128_000, 200_000, 272_000])
    input_tokens = boundary + seed.choice([0, 1, seed.randrange(1, 50_000)])
    reads = seed.choice([0, seed.randrange(input_tokens // 3 + 1)])
    writes = seed.choice([0, seed.randrange(input_tokens // 3 + 1)])
    usage = {
        "input_tokens": input_tokens,
        "output_tokens": seed.choice([0, seed.randrange(20_000)]),
        "cache_read_tokens": reads,
        "cache_write_tokens": writes,
    }
    if seed.random() < 0.5:
        usage["cache_write_1h_tokens"] = seed.randrange(writes + 1)
        usage["cache_write_5m_tokens"] = writes - usage["cache_write_1h_tokens"]
    usage["output_reasoning_tokens"] = seed.randrange(usage["output_tokens"] + 1)
    return usage


def _cases(
    seed: random.Random, each: int
) -> Iterator[tuple[Provider, ModelInfo, dict[str, int], int, str]]:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    for provider in providers:
        for info in provider.models:
            for _ in range(each):
                at_ns = seed.randrange(round(start.timestamp()), round(end.timestamp())) * 10**9
                tier = seed.choice(["", "", "batch", "flex", "priority", "fast", "default"])
                yield provider, info, _usage(seed, info), at_ns, tier


def test_every_model_costs_what_genai_prices_says_to_the_last_digit() -> None:
    seed = random.Random(7)  # noqa: S311 - a test wants the same numbers every time
    cases, rows = [], []
    for provider, info, usage, at_ns, tier in _cases(seed, each=3):
        rows.append(call(info.id, provider.id, at_ns, service_tier=tier, **usage))
        cases.append((provider, info, usage, at_ns, tier))
    entries = priced(*rows).to_dicts()
    compared, differences = 0, []
    for (provider, info, usage, at_ns, tier), entry in zip(cases, entries, strict=True):
        found = BOOK.resolve(provider.id, "", info.id)
        if isinstance(found, str) or found.info is not info or entry["cost_usd"] is None:
            continue  # another record claims the name, or a count has no rate: tested below
        lines = {line["unit"]: line["amount_usd"] for line in entry["lines"] if line["amount_usd"]}
        expected = oracle(provider, info, usage, at_ns, tier)
        compared += 1
        if lines != expected or entry["cost_usd"] != sum(expected.values()):
            differences.append((provider.id, info.id, usage, tier, lines, expected))
    assert differences[:3] == []
    assert compared > 5_000


def test_the_model_is_the_one_that_genai_prices_finds() -> None:
    for provider in providers:
        for info in provider.models:
            theirs = provider.find_model(info.id, all_providers=providers)
            ours = BOOK.resolve(provider.id, info.id, "")
            assert theirs is (None if isinstance(ours, str) else ours.info), (provider.id, info.id)


# --- vectors --------------------------------------------------------------------------------------

VECTORS = json.loads(Path(__file__).parents[1].joinpath("golden", "pricing.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_a_vector_is_met_to_the_last_digit(vector: dict[str, Any]) -> None:
    columns = {**vector["usage"], "service_tier": vector.get("service_tier", "")}
    at_ns = round(datetime.fromisoformat(vector["ts"]).timestamp()) * 10**9
    entry = charge(vector["model"], vector["provider"], at_ns=at_ns, **columns)
    assert entry["cost_usd"] == Decimal(vector["expected_total_usd"])


# --- classes --------------------------------------------------------------------------------------


def test_an_entry_proves_its_cost_line_by_line() -> None:
    entry = charge("gpt-4o", input_tokens=1_500, output_tokens=2_000, cache_read_tokens=500)
    lines = [(line["unit"], line["quantity"], line["rate_usd"]) for line in entry["lines"]]
    assert lines == [
        ("cache_read_tokens", 500, Decimal("1.25")),
        ("input_tokens", 1_000, Decimal("2.5")),
        ("output_tokens", 2_000, 10),
    ]
    assert sum(line["amount_usd"] for line in entry["lines"]) == entry["cost_usd"]
    assert (entry["cost_class"], entry["model"], entry["calls"]) == ("exact", "gpt-4o", 1)
    assert entry["lines"][0]["price_id"] == "genai-prices/openai/gpt-4o/0#cache_read_mtok"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"model": "acme-llm-1"}, "unknown_model"),
        ({"model": "acme-llm-1", "provider": "nobody"}, "unknown_provider"),
        ({"usage_missing": True}, "no_usage"),
        ({"usage_invalid": True}, "usage_invalid"),
        ({"input_tokens": 1, "cache_read_tokens": 2}, "usage_invalid"),
        ({"input_tokens": -1}, "usage_invalid"),
        ({"input_tokens": QUANTITY_MAX + 1}, "usage_invalid"),
        (
            {"model": "text-embedding-3-small", "input_tokens": 5, "output_tokens": 5},
            "no_rate_for_unit",
        ),
        ({"usage": [{"key": "web_searches", "value": Decimal(1)}]}, "no_rate_for_unit"),
    ],
)
def test_what_cannot_be_priced_has_no_cost_and_a_reason(
    columns: dict[str, Any], reason: str
) -> None:
    entry = charge(**{"model": "gpt-4o", "input_tokens": 1, **columns})
    assert (entry["cost_class"], entry["unpriced_reason"]) == ("unpriced", reason)
    assert [entry[name] for name in ("cost_usd", "cost_low_usd", "cost_high_usd")] == [None] * 3
    assert entry["lines"] == []


def test_an_unpriced_call_keeps_the_name_it_was_made_with() -> None:
    assert charge("acme-llm-1")["model"] == "acme-llm-1"


def test_a_failure_without_usage_costs_nothing_even_if_its_model_is_unknown() -> None:
    for model in ("gpt-4o", "acme-llm-1"):
        entry = charge(model, status="error", usage_missing=True)
        assert (entry["cost_usd"], entry["cost_class"], entry["lines"]) == (0, "exact", [])


def test_a_failure_that_reports_usage_is_charged_for_it() -> None:
    assert charge("gpt-4o", status="error", input_tokens=1_000_000)["cost_usd"] == Decimal("2.5")


def test_cache_writes_without_their_time_to_live_are_bounded() -> None:
    usage = {"input_tokens": 1_333, "cache_read_tokens": 1_000, "cache_write_tokens": 222}
    entry = charge("claude-sonnet-4-5", "anthropic", **usage)
    assert entry["cost_class"] == "bounded"
    assert entry["cost_low_usd"] == entry["cost_usd"]
    assert entry["cost_high_usd"] - entry["cost_usd"] == Decimal("2.25") * 222 / 10**6
    split = {"cache_write_5m_tokens": 172, "cache_write_1h_tokens": 50}
    assert charge("claude-sonnet-4-5", "anthropic", **usage, **split)["cost_class"] == "exact"


def test_an_emitter_that_loses_the_cache_split_bounds_the_cost_from_below() -> None:
    entry = charge("gpt-4o", input_tokens=1_000_000, cache_unknown=True)
    assert [entry["cost_low_usd"], entry["cost_usd"]] == [Decimal("1.25"), Decimal("2.5")]
    assert entry["cost_class"] == "bounded"


def test_an_assumed_convention_bounds_the_cost_from_above() -> None:
    counts: dict[str, Any] = {"input_tokens": 1_000_000, "cache_read_tokens": 400_000}
    entry = charge("gpt-4o", convention="assumed", **counts)
    assert entry["cost_high_usd"] - entry["cost_usd"] == Decimal("1.0")
    assert entry["cost_class"] == "bounded"


def test_estimated_usage_makes_an_estimated_cost() -> None:
    assert charge("gpt-4o", input_tokens=1, usage_estimated=True)["cost_class"] == "estimated"


# --- arithmetic -----------------------------------------------------------------------------------


def test_nothing_overflows_at_the_caps() -> None:
    entry = charge("o1-pro", input_tokens=QUANTITY_MAX, output_tokens=QUANTITY_MAX)
    assert entry["cost_usd"] == (150 + 600) * QUANTITY_MAX // 10**6
    assert entry["cost_usd"] < CALL_COST_USD_MAX


def test_a_rate_without_an_end_as_a_decimal_is_rounded_half_even() -> None:
    seed = random.Random(11)  # noqa: S311
    rates = [
        Rate(
            Unit("x", per, frozenset()),
            Decimal(seed.randrange(1, 10**9)).scaleb(-seed.randrange(3, 30)),
            "p",
        )
        for per in (1, 60, 3_600, 7, 10**6, 10**9)
        for _ in range(20)
    ]
    rows = [seed.randrange(len(rates)) for _ in range(5_000)]
    counts = [seed.choice([1, seed.randrange(10**6), QUANTITY_MAX]) for _ in rows]
    ours = pricing._amounts(
        pl.Series(counts).to_numpy(), rates, pl.Series(rows).to_numpy()
    ).to_list()
    # Python's round() of a Fraction is half even.
    exact = [
        round(Fraction(rates[row].attousd) * count) for row, count in zip(rows, counts, strict=True)
    ]
    assert ours == exact


def test_an_empty_frame_stays_a_frame() -> None:
    assert price(pl.DataFrame(schema=CALLS), BOOK, known_at_ns=0).schema == ENTRIES


def test_the_columns_are_the_declared_ones() -> None:
    assert priced(call("gpt-4o"), call("acme")).schema == ENTRIES


_SOME = [
    call("gpt-4o", input_tokens=10, output_tokens=3),
    call("gpt-4o-mini", input_tokens=10**6),
    call("acme"),
    call("claude-sonnet-4-5", "anthropic", input_tokens=500, cache_write_tokens=200),
    call("gemini-2.5-pro", "gcp.gemini", input_tokens=300_000),
    call("deepseek-chat", "deepseek", at_ns=NOON_NS + 7 * 3_600 * 10**9, input_tokens=9),
    call("gpt-4o", status="error", usage_missing=True),
    call("gpt-5", service_tier="flex", input_tokens=77),
]


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(len(_SOME))), st.integers(1, len(_SOME)))
def test_a_charge_does_not_depend_on_its_batch(order: list[int], cut: int) -> None:
    alone = [priced(row).row(0, named=True) for row in _SOME]
    for part in (order[:cut], order[cut:]):
        if part:
            assert priced(*(_SOME[index] for index in part)).to_dicts() == [alone[i] for i in part]


def test_periods_of_a_column_are_those_of_its_instants() -> None:
    found = [BOOK.resolve(p.id, info.id, "") for p in providers for info in p.models]
    models = [model for model in found if not isinstance(model, str)]
    dated = [model for model in models if model.dates_ns or model.times_ns]
    instants = [NOON_NS + step * NS_PER_DAY // 7 for step in range(-2_000, 100, 13)]
    assert dated
    for model in dated:
        column = pricing._periods(model, pl.Series(instants).to_numpy()).tolist()
        assert column == [model.period(instant) for instant in instants]


# --- junk -----------------------------------------------------------------------------------------


def test_junk_names_are_unknown_and_not_remembered_for_ever() -> None:
    for number in range(6_000):
        assert BOOK.resolve("", f"junk-{number}", "") == "unknown_provider"
    assert BOOK.resolve.cache_info().currsize <= 4_096
    assert BOOK.resolve("openai", "m" * 5_000_000, "") == "unknown_model"


def test_calls_from_spans_are_priced_as_they_are() -> None:
    body = request([chat("gpt-4o"), Span({"gen_ai.request.model": "gpt-4o"})]).SerializeToString()
    spans = decode([Body(body)], dialects.attribute_keys(), spans_max=10).spans
    entries = price(dialects.normalise(spans, "t").calls, BOOK, known_at_ns=KNOWN_AT_NS)
    assert entries["cost_usd"].to_list() == [Decimal("0.02375"), None]
    assert set(USAGE_COLUMNS) <= set(entries.columns)
