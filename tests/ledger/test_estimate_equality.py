"""An estimate is the charge that the ledger would book, to the last digit."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, NOON, book_with, call, models, priced

from spanledger.ledger.estimate import Estimate, estimate
from spanledger.ledger.limits import QUANTITY_MAX

NAMES = [(provider.id, name) for provider, _, name in models()]
UNITS = [unit.usage_key for unit in BOOK.units if unit.usage_key != "requests"]
TIERS = ["", "batch", "flex", "priority", "fast", "default", "ultrafast", "auto"]
VECTORS = json.loads(
    Path(__file__).parents[1].joinpath("golden", "pricing.json").read_text(), parse_float=Decimal
)

MONEY = ("cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd")
SAME = (*MONEY, "cost_class", "unpriced_reason", "model", "price_book")
LINE = ("unit", "quantity", "rate_usd", "per", "amount_usd", "price_id")


def told(answer: Estimate) -> dict[str, Any]:
    lines = [{name: getattr(line, name) for name in LINE} for line in answer.lines]
    return {name: getattr(answer, name) for name in SAME} | {"lines": lines}


def booked(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in (*SAME, "lines")}


def counts_of(key: str) -> st.SearchStrategy[int | Decimal]:
    whole = st.one_of(
        st.sampled_from([0, 1, 199_999, 200_000, 200_001, 272_001, 10**9, QUANTITY_MAX]),
        st.integers(0, 5_000),
        st.integers(0, 10**6),
    )
    if key.endswith("_tokens"):
        return whole
    # More digits than a clock has, too: they are rounded in the same way.
    return st.one_of(whole, st.decimals(0, 10**4, places=3), st.decimals(0, 100, places=12))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, dict[str, int | Decimal]]:
    """A model, and usage that is mostly of units it has prices for, parts mostly in their whole."""
    provider, name = draw(st.sampled_from(NAMES))
    found = BOOK.resolve(provider, name, "")
    assert not isinstance(found, str)
    priced_units = sorted({key for record in found.entry.records() for key in record.rates})
    likely = sorted({*priced_units, "cache_read_tokens", "cache_write_tokens"} - {"requests"})
    keys = draw(st.lists(st.one_of(st.sampled_from(likely), st.sampled_from(UNITS)), unique=True))
    usage = {key: draw(counts_of(key)) for key in keys}
    if draw(st.integers(0, 3)):
        for direction in ("input", "output"):
            parts = [
                count
                for key, count in usage.items()
                if f"{direction}_tokens" in BOOK.units.wholes(key)
            ]
            whole = f"{direction}_tokens"
            usage[whole] = min(usage.get(whole, 0) + sum(parts), QUANTITY_MAX)
    return provider, name, usage


INSTANTS = st.one_of(
    st.just(NOON),
    st.sampled_from([*BOOK.dates_ns]).flatmap(
        lambda ns: st.sampled_from([ns, ns - 1_000]).map(
            lambda at_ns: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_ns // 1_000)
        )
    ),
    st.datetimes(datetime(2021, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


@settings(max_examples=150, deadline=None)
@given(
    asked=calls(),
    at=INSTANTS,
    tier=st.sampled_from(TIERS),
    region=st.sampled_from(["", "us", "eu", "global"]),
    flags=st.tuples(*[st.booleans()] * 4),
)
def test_an_estimate_is_the_charge_of_the_engine(
    asked: tuple[str, str, dict[str, int | Decimal]],
    at: datetime,
    tier: str,
    region: str,
    flags: tuple[bool, bool, bool, bool],
) -> None:
    provider, name, usage = asked
    guessed, unknown, unwritten, assumed = flags
    answer = estimate(
        model=name,
        provider=provider,
        usage=usage,
        service_tier=tier,
        region=region,
        at=at,
        usage_estimated=guessed,
        cache_unknown=unknown,
        cache_write_unknown=unwritten,
        convention_assumed=assumed,
        book=BOOK,
    )
    facts: dict[str, Any] = {
        "region": region,
        "usage_missing": not usage,
        "usage_estimated": guessed,
        "cache_unknown": unknown,
        "cache_write_unknown": unwritten,
        "convention": "assumed" if assumed else "declared",
    }
    entry = priced(call(provider, name, at, service_tier=tier, **facts, **usage)).to_dicts()[0]
    assert told(answer) == booked(entry)


def _rich(provider: str, name: str) -> bool:
    """Has the model a price for more than plain input and output?"""
    found = BOOK.resolve(provider, name, "")
    assert not isinstance(found, str)
    return any(len(record.rates) > 4 for record in found.entry.records())


RICH = [each for each in NAMES if _rich(*each)]


def _random_call(
    numbers: Random, provider: str, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is asked of ``estimate``, what the engine is given): usage that can be true."""
    found = BOOK.resolve(provider, name, "")
    assert not isinstance(found, str)
    at = NOON - timedelta(seconds=numbers.randrange(10**8))
    tier, region = numbers.choice(["", *TIERS]), numbers.choice(["", "us"])
    priced_units = BOOK.card(found, tier, int(at.timestamp()) * 10**9).shape.units
    often = sorted(priced_units - {"requests", "input_tokens", "output_tokens"})
    usage: dict[str, Any] = {}
    for key in numbers.sample(often, numbers.randint(0, min(len(often), 4))):
        usage[key] = numbers.randrange(1, 150_000)
        if not key.endswith("_tokens") and numbers.random() < 0.5:
            usage[key] = Decimal(numbers.randrange(1, 10**9)).scaleb(-numbers.randrange(13))
    if "cache_write_1h_tokens" in usage:
        more = usage.get("cache_write_tokens", 0) * numbers.randrange(2)
        usage["cache_write_tokens"] = usage["cache_write_1h_tokens"] + more
    for whole in ("input_tokens", "output_tokens"):
        parts = [count for key, count in usage.items() if whole in BOOK.units.wholes(key)]
        # All parts side by side, or all of them in one another.
        least = sum(parts) if numbers.random() < 0.7 else max(parts, default=0)
        if whole in priced_units or least:
            usage[whole] = least + numbers.choice([0, 1, numbers.randrange(10**5)])
    guessed, unknown, unwritten, assumed = (numbers.random() < 0.15 for _ in range(4))
    facts: dict[str, Any] = {
        "usage_estimated": guessed,
        "cache_unknown": unknown,
        "usage_missing": not usage,
    }
    asked = {
        "model": name,
        "provider": provider,
        "usage": usage,
        "service_tier": tier,
        "region": region,
        "at": at,
        "usage_estimated": guessed,
        "cache_unknown": unknown,
        "cache_write_unknown": unwritten,
        "convention_assumed": assumed,
    }
    facts |= {
        "cache_write_unknown": unwritten,
        "convention": "assumed" if assumed else "declared",
        "service_tier": tier,
        "region": region,
    }
    return asked, call(provider, name, at, **facts, **usage)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_model_is_estimated_as_it_is_booked(seed: int) -> None:
    numbers = Random(seed)  # noqa: S311 - the same cases in every run
    pairs = [_random_call(numbers, *each) for each in [*NAMES, *RICH * 4]]
    entries = priced(*(row for _, row in pairs))
    classes: Counter[str] = Counter()
    for (asked, _), entry in zip(pairs, entries.iter_rows(named=True), strict=True):
        answer = estimate(**asked, book=BOOK)
        assert told(answer) == booked(entry)
        classes[answer.cost_class] += 1
        classes[f"{len(answer.lines)} lines"] += 1
    assert min(classes[name] for name in ("exact", "bounded", "estimated", "free")) > 50
    assert sum(classes[f"{count} lines"] for count in (4, 5, 6)) > 100


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_a_published_vector_is_estimated_as_it_is_booked(vector: dict[str, Any]) -> None:
    at = datetime.fromisoformat(vector["ts"])
    book = book_with(vector["price_file"]) if "price_file" in vector else BOOK
    tier, region = vector["service_tier"], vector.get("region", "")
    usage = {key: Decimal(str(count)) for key, count in vector["usage"].items()}
    provider, model = vector["provider"], vector["model"]
    answer = estimate(
        model=model,
        provider=provider,
        service_tier=tier,
        region=region,
        at=at,
        usage=usage,
        book=book,
    )
    row = call(provider, model, at, service_tier=tier, region=region, **vector["usage"])
    assert told(answer) == booked(priced(row, book=book).to_dicts()[0])


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "acme-1", {"input_tokens": 1}),
        ("acme", "acme-1", {"input_tokens": 1}),
        ("ollama", "mistral-large", {"input_tokens": 1}),
        ("openai", "", {"input_tokens": 1}),
        ("openai", "acme-1", {"input_tokens": 5, "cache_read_tokens": 6}),
        ("openai", "acme-1", {}),
        ("openai", "gpt-4o", {}),
        ("openai", "gpt-4o", {"input_tokens": 0}),
        ("perplexity", "sonar", {"output_tokens": 0}),
        ("gcp.vertex_ai", "gemma-3", {"input_tokens": 1}),
        ("openai", "gpt-4o", {"input_tokens": QUANTITY_MAX, "web_searches": QUANTITY_MAX}),
        ("openai", "whisper-1", {"audio_seconds": Decimal("0.5"), "input_tokens": 2 * 10**9}),
    ],
)
def test_what_has_no_price_has_the_reason_that_the_engine_gives(
    provider: str, model: str, usage: dict[str, Any]
) -> None:
    answer = estimate(model=model, provider=provider, usage=usage, at=NOON, book=BOOK)
    row = call(provider, model, usage_missing=not usage, **usage)
    assert told(answer) == booked(priced(row).to_dicts()[0])


OWN = {
    "prices": [
        {
            "provider": "acme",
            "model": "ranged",
            "input_tokens": "(0, 1000]",
            "rates": {"input_mtok": "1", "output_mtok": "2", "images": "0.5", "images_4k": "0.8"},
        },
        {
            "provider": "acme",
            "model": "ranged",
            "input_tokens": "> 5000",
            "rates": {"input_mtok": "3"},
        },
        {
            "provider": "acme",
            "model": "least",
            "rates": {
                "audio_seconds": {"usd": "0.123456789123456789", "per": 60, "min": 10},
                "gpu_seconds": {"usd": "2.80", "per": 3600, "min": 60},
                "emails": {"usd": "0.10", "per": 1000},
            },
            "free_allowance": {"emails": "100 a day", "gpu_seconds": "an hour a month"},
        },
        {"provider": "acme", "model": "committed", "account_state": "paid by the month"},
        {"provider": "openai", "model": "gpt-4o", "region": "eu", "multiply": {"tokens": "1.1"}},
    ],
    "contracts": [
        {"name": "ours", "provider": "openai", "model": "*", "discount_percent": "22"},
        {"name": "theirs", "provider": "acme", "model": "*", "rates": {"emails": "0.01"}},
    ],
}
OWN_BOOK = book_with(OWN)


@settings(max_examples=150, deadline=None)
@given(
    model=st.sampled_from(["acme/ranged", "acme/least", "acme/committed", "openai/gpt-4o"]),
    usage=st.fixed_dictionaries(
        {},
        optional={
            "input_tokens": st.sampled_from([0, 1, 999, 1_000, 1_001, 5_000, 5_001, QUANTITY_MAX]),
            "output_tokens": st.integers(0, 5_000),
            "cache_read_tokens": st.integers(0, 1_000),
            "images": st.integers(0, 4),
            "images_4k": st.integers(0, 2),
            "audio_seconds": st.decimals(0, 100, places=9),
            "gpu_seconds": st.one_of(st.integers(0, 100), st.decimals(0, 100, places=3)),
            "emails": st.integers(0, 10**6),
        },
    ),
    region=st.sampled_from(["", "eu"]),
    unknown=st.booleans(),
)
def test_prices_and_contracts_of_a_price_file_are_estimated_as_they_are_booked(
    model: str, usage: dict[str, Any], region: str, *, unknown: bool
) -> None:
    provider, _, name = model.partition("/")
    answer = estimate(
        model=name,
        provider=provider,
        region=region,
        usage=usage,
        at=NOON,
        cache_unknown=unknown,
        book=OWN_BOOK,
    )
    facts: dict[str, Any] = {"usage_missing": not usage, "cache_unknown": unknown}
    row = call(provider, name, NOON, region=region, **facts, **usage)
    assert told(answer) == booked(priced(row, book=OWN_BOOK).to_dicts()[0])


@pytest.mark.parametrize(
    ("model", "usage", "cost_class"),
    [
        ("acme/ranged", {"input_tokens": 1_000, "output_tokens": 9}, "exact"),
        ("acme/ranged", {"input_tokens": 1_001, "output_tokens": 9}, "unpriced"),
        ("acme/least", {"gpu_seconds": 5}, "bounded"),
        ("acme/committed", {"input_tokens": 5}, "unpriced"),
        ("openai/gpt-4o", {"input_tokens": 5}, "exact"),
    ],
)
def test_the_price_file_above_is_understood_as_it_is_meant(
    model: str, usage: dict[str, Any], cost_class: str
) -> None:
    provider, _, name = model.partition("/")
    answer = estimate(model=name, provider=provider, usage=usage, at=NOON, book=OWN_BOOK)
    assert answer.cost_class == cost_class
    if provider == "openai":
        assert answer.cost_usd is not None
        assert answer.list_cost_usd is not None
        assert answer.cost_usd == answer.list_cost_usd * Decimal("0.78")
