"""Every model of genai-prices at every date, tier and band of its own, against ``calc_price``.

Run: python tests/ledger/differential.py [SEEDS]     (``make differential``)

A case is one call with random usage of every unit that has a price there. It is *explained* where
a listed correction of ours has a say in its card; every other case must have the lines of
genai-prices, to the last of 18 digits.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from genai_prices.types import (
    ModelInfo,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.units import _get_registry
from pricing_calls import (
    BOOK,
    CONTEXTS,
    NOON,
    UNCORRECTED,
    call,
    lines_of,
    models,
    nanoseconds,
    priced,
)

from spanledger.ledger.catalog import PriceBook, ResolvedModel

_INSTANT: Final = timedelta(microseconds=1)
KEYS: Final = {unit.price_key: unit.usage_key for unit in _get_registry().units.values()}
# Contexts that no service tier of a response can tell: the calls have no such fact.
_UNTOLD: Final = ("route=", "search_type=")

Case = tuple[Provider, ModelInfo, Mapping[str, Any], datetime, str]


@dataclass
class Result:
    """What came out of some cases."""

    cases: int = 0
    explained: int = 0
    different: list[Any] = field(default_factory=list)
    rated: set[str] = field(default_factory=set)  # price ids that occurred

    def add(self, other: "Result") -> None:
        self.cases += other.cases
        self.explained += other.explained
        self.different += other.different
        self.rated |= other.rated


def run(seed: int, book: PriceBook) -> Result:
    """Compare all cases of a seed, the same in every run."""
    cases, calls = [], []
    for case, made in _cases(Random(seed)):  # noqa: S311 - the same in every run
        cases.append(case)
        calls.append(made)
    entries = priced(*calls, book=book)
    result = Result()
    for case, row in zip(cases, entries.iter_rows(named=True), strict=True):
        result.cases += 1
        result.rated.update(line["price_id"] for line in row["lines"])
        if _is_corrected(book, case, row["request_model"]):
            result.explained += 1
            continue
        expected = lines_of(*case)
        made = {line["unit"]: line["amount_usd"] for line in row["lines"] if line["amount_usd"]}
        unpriced = row["cost_usd"] is None
        if made != expected or (unpriced if expected else row["cost_usd"]):
            result.different.append((case[0].id, case[1].id, *case[2:], made, expected))
    return result


def reachable() -> set[str]:
    """The price ids of the bundled data that some call can have."""
    ids = set()
    for provider, info, name in models():
        model = UNCORRECTED.resolve(provider.id, name, "")
        assert isinstance(model, ResolvedModel), (provider.id, info.id)
        for record in model.entry.records():
            if any(untold in record.name for untold in _UNTOLD):
                continue
            for unit, steps in record.rates.items():
                # Under a minimum all audio counts as input, which has a rate of its own.
                if not (model.entry.audio_seconds_min and unit == "audio_seconds"):
                    ids |= {rate.price_id for rate in steps}
    return ids


def _is_corrected(book: PriceBook, case: Case, name: str) -> bool:
    provider, _, _, at, tier = case
    model = book.resolve(provider.id, name, "")
    return not isinstance(model, str) and book.card(model, tier, nanoseconds(at)).is_corrected


def _cases(numbers: Random) -> Iterator[tuple[Case, dict[str, Any]]]:
    for provider, info, name in models():
        for tier in _tiers(info):
            instants = _instants(info, numbers)
            for turn, at in enumerate(instants, numbers.randrange(8)):
                usage = _usage(info, at, tier, numbers, turn)
                made = call(provider.id, name, at, service_tier=tier, **usage)
                yield (provider, info, usage, at, tier), made


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


def _usage(info: ModelInfo, at: datetime, tier: str, numbers: Random, turn: int) -> dict[str, Any]:
    """Random usage of every unit that has a price, parts within their whole."""
    prices = {k: v for k, v in vars(info.get_prices(at, CONTEXTS[tier])).items() if v is not None}
    # A free model has no prices there; used it can be all the same.
    keys = {KEYS[price_key] for price_key in prices} or {"input_tokens", "output_tokens"}
    starts = [t.start for p in prices.values() if isinstance(p, TieredPrices) for t in p.tiers]
    usage: dict[str, Any] = {}
    if "input_tokens" in keys:
        around = [start + step for start in sorted(set(starts)) for step in (1, 0, -1)]
        sizes = [numbers.randrange(1, 10**6), *around, numbers.randrange(1, 5_000), 10**9]
        usage |= _input(sizes[turn % len(sizes)], keys, numbers)
    if "output_tokens" in keys:
        usage |= _output(numbers.randrange(1, 10**6), keys, numbers)
    if "audio_seconds" in keys:
        seconds = Decimal(numbers.randrange(1, 10**7)) / numbers.choice([1, 1_000])
        usage["audio_seconds"] = seconds
        if "input_audio_seconds" in keys:
            usage["input_audio_seconds"] = seconds * (turn % 2)
    elif "output_audio_seconds" in keys or "input_audio_seconds" in keys:
        for key in sorted(keys & {"input_audio_seconds", "output_audio_seconds"}):
            usage[key] = numbers.randrange(1, 10**6)
    for key in sorted(keys - {"requests"}):
        if not key.endswith(("_tokens", "_seconds")):
            usage[key] = numbers.randrange(1, 10**4)
    if "input_annotated_document_pages" in keys:
        usage["input_document_pages"] += usage["input_annotated_document_pages"]
    return {key: value for key, value in usage.items() if value}


def _input(total: int, keys: set[str], numbers: Random) -> dict[str, int]:
    """Input with what was cached and one modality besides; the rest is text."""
    usage = {"input_tokens": total}
    rest = _part(usage, "cache_read_tokens", total // 2, numbers)
    rest = _part(usage, "cache_write_tokens", total - total // 2, numbers)
    _part(usage, "cache_write_1h_tokens", usage["cache_write_tokens"], numbers)
    usage["cache_write_5m_tokens"] = usage["cache_write_tokens"] - usage["cache_write_1h_tokens"]
    offered = [kind for kind in ("audio", "image", "video") if f"input_{kind}_tokens" in keys]
    if offered:
        kind = numbers.choice(offered)
        _part(usage, f"input_{kind}_tokens", rest, numbers)
        both = f"cache_{kind}_read_tokens"
        if both in keys and usage[f"input_{kind}_tokens"] and usage["cache_read_tokens"]:
            usage[both] = 1
    return usage


def _output(total: int, keys: set[str], numbers: Random) -> dict[str, int]:
    usage, rest = {"output_tokens": total}, total
    for key in sorted(keys & {"output_audio_tokens", "output_image_tokens"}):
        rest = _part(usage, key, rest, numbers)
    for key in ("output_reasoning_tokens", "output_citation_tokens", "output_video_tokens"):
        if key in keys or key == "output_reasoning_tokens":
            rest = _part(usage, key, rest, numbers)
    return usage


def _part(usage: dict[str, int], key: str, of: int, numbers: Random) -> int:
    """Take a random part of ``of``; returns what is left."""
    usage[key] = numbers.randrange(of + 1)
    return of - usage[key]


def main(seeds: int) -> int:
    total = Result()
    for seed in range(1, seeds + 1):
        total.add(run(seed, BOOK))
        total.add(run(seed, UNCORRECTED))
    missing = sorted(reachable() - total.rated)
    sys.stdout.write(
        f"{total.cases:,} cases of {len(list(models())):,} models: {len(total.different)} "
        f"unexplained differences, {total.explained:,} under a listed correction; "
        f"{len(reachable()):,} prices, {len(missing)} of them never occurred\n"
    )
    for text in [*map(str, total.different[:10]), *missing[:20]]:
        sys.stdout.write(f"  {text}\n")
    return int(bool(total.different or missing))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
