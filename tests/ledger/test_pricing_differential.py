"""Every model of genai-prices, at every date and tier of its own, against calc_price."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from genai_prices.types import ModelInfo, StartDateConstraint, TieredPrices, TimeOfDateConstraint
from genai_prices.units import _get_registry
from pricing_calls import CONTEXTS, NOON, call, lines_of, models, priced

_INSTANT = timedelta(microseconds=1)
_KEYS = {unit.price_key: unit.usage_key for unit in _get_registry().units.values()}


def _instants(info: ModelInfo, numbers: Random) -> list[datetime]:
    """Noon, a few at random, and each side of every change of price."""
    instants = [NOON]
    instants += [
        datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=numbers.randrange(126_000_000))
        for _ in range(3)
    ]
    conditions: list[Any] = [v.constraint for v in info.price_variants or ()]
    if isinstance(info.prices, list):
        conditions += [price.constraint for price in info.prices]
    for condition in conditions:
        changes = []
        if isinstance(condition, StartDateConstraint):
            changes = [datetime.combine(condition.start_date, time(), UTC)]
        elif isinstance(condition, TimeOfDateConstraint):
            day = datetime(2026, 11, numbers.randrange(1, 28), tzinfo=UTC)
            clocks = (condition.start_time, condition.end_time)
            changes = [datetime.combine(day, clock.replace(tzinfo=UTC)) for clock in clocks]
        instants += [moment for change in changes for moment in (change - _INSTANT, change)]
    return instants


def _tiers(info: ModelInfo) -> list[str]:
    offered = [variant.when for variant in info.price_variants or ()]
    return [t for t, c in CONTEXTS.items() if not c or any(w.items() <= c.items() for w in offered)]


def _usage(  # noqa: C901 - one branch for each family of units
    info: ModelInfo, at: datetime, tier: str, numbers: Random
) -> dict[str, Any]:
    """Random usage of every unit that has a price, parts within their whole."""
    prices = {k: v for k, v in vars(info.get_prices(at, CONTEXTS[tier])).items() if v is not None}
    keys = {_KEYS[price_key] for price_key in prices}
    starts = [t.start for p in prices.values() if isinstance(p, TieredPrices) for t in p.tiers]
    usage: dict[str, Any] = {}

    def part(key: str, of: int) -> int:
        usage[key] = numbers.randrange(of + 1)
        return of - int(usage[key])

    if "input_tokens" in keys:
        around = [start + step for start in starts for step in (-1, 0, 1)]
        rest = usage["input_tokens"] = numbers.choice(
            [numbers.randrange(1, 5_000), numbers.randrange(1, 10**6), 10**9, *around]
        )
        rest = part("cache_read_tokens", rest // 2)
        rest = part("cache_write_tokens", rest)
        part("cache_write_1h_tokens", usage["cache_write_tokens"])
        usage["cache_write_5m_tokens"] = (
            usage["cache_write_tokens"] - usage["cache_write_1h_tokens"]
        )
        kind = numbers.choice(["audio", "image", "video"])
        if f"input_{kind}_tokens" in keys:
            part(f"input_{kind}_tokens", rest)
            both = f"cache_{kind}_read_tokens"
            if both in keys and usage[f"input_{kind}_tokens"] and usage["cache_read_tokens"]:
                usage[both] = 1
    if "output_tokens" in keys:
        rest = usage["output_tokens"] = numbers.randrange(10**6)
        for key in sorted(keys & {"output_audio_tokens", "output_image_tokens"}):
            rest = part(key, rest)
        for key in ("output_reasoning_tokens", "output_citation_tokens", "output_video_tokens"):
            if key in keys or key == "output_reasoning_tokens":
                rest = part(key, rest)
    if "audio_seconds" in keys:
        usage["audio_seconds"] = Decimal(numbers.randrange(1, 10**7)) / numbers.choice([1, 1_000])
        if "input_audio_seconds" in keys:
            usage["input_audio_seconds"] = usage["audio_seconds"] * numbers.randrange(2)
    for key in sorted(keys - {"requests", "output_audio_seconds"}):
        if not key.endswith(("_tokens", "_seconds")):
            usage[key] = numbers.randrange(10**4)
    if "input_annotated_document_pages" in keys:
        usage["input_document_pages"] += usage["input_annotated_document_pages"]
    return {key: value for key, value in usage.items() if value}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_rate_of_every_model_gives_the_lines_of_genai_prices(seed: int) -> None:
    numbers = Random(seed)  # noqa: S311 - the same cases in every run
    cases, calls = [], []
    for provider, info, name in models():
        for tier in _tiers(info):
            for at in _instants(info, numbers):
                usage = _usage(info, at, tier, numbers)
                cases.append((provider, info, usage, at, tier))
                calls.append(call(provider.id, name, at, service_tier=tier, **usage))
    expected = [lines_of(*case) for case in cases]
    entries = priced(*calls)
    different = []
    rated: Counter[str] = Counter()
    for case, lines, row in zip(cases, expected, entries.iter_rows(named=True), strict=True):
        made = {line["unit"]: line["amount_usd"] for line in row["lines"] if line["amount_usd"]}
        rated.update(made)
        unpriced = row["cost_usd"] is None
        if made != lines or (unpriced if lines else row["cost_usd"]):
            different.append((case[0].id, case[1].id, case[2:], made, lines))
    assert different[:3] == []
    assert len(cases) > 10_000
    priced_units = {_KEYS[key] for _, info, _ in models() for key in _price_keys(info)}
    assert priced_units <= set(rated)


def _price_keys(info: ModelInfo) -> set[str]:
    prices: list[Any] = [variant.prices for variant in info.price_variants or ()]
    single = not isinstance(info.prices, list)
    prices += [info.prices] if single else [price.prices for price in info.prices]  # type: ignore[union-attr]
    return {key for each in prices for key, value in vars(each).items() if value is not None}
