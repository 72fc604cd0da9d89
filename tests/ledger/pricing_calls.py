"""CALLS rows for pricing tests, and genai-prices as the oracle of their lines."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final

import polars as pl
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.decompose import compute_leaf_values
from genai_prices.types import ModelInfo, Provider, TieredPrices, Usage
from genai_prices.units import _get_registry

from spanledger.ledger.catalog import Document, PriceBook, Units, read_document
from spanledger.ledger.catalog.periods import instant_ns
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, USAGE_COLUMNS

BOOK: Final = PriceBook.bundled()
UNCORRECTED: Final = PriceBook.bundled(corrected=False)
UNITS: Final = Units.from_data(unit_data)
NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
KNOWN_AT_NS: Final = 1_795_000_000_000_000_000
PLACES: Final = Decimal(1).scaleb(-18)
CONTEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "": {},
    "batch": {"processing": "batch"},
    "default": {"service_tier": "default"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
_UNITS: Final = _get_registry()
_NOTHING: Final[dict[Any, Any]] = {pl.String: "", pl.Int64: 0, pl.Boolean: False, pl.Binary: b""}


def call(provider: str, model: str, at: datetime = NOON, **said: Any) -> dict[str, Any]:
    """A row of CALLS; usage keys without a column of their own go where they belong."""
    row = {name: _NOTHING.get(dtype) for name, dtype in CALLS.items()}
    row |= {"request": 0, "attributes": [], "status": "ok", "convention": "declared"}
    others = [key for key in said if key not in CALLS.names()]
    row["usage"] = [{"key": key, "value": Decimal(said.pop(key))} for key in others]
    return row | {"provider": provider, "request_model": model, "start_time": at} | said


def priced(*calls: dict[str, Any], book: PriceBook = BOOK) -> pl.DataFrame:
    return price(pl.DataFrame(calls, schema=CALLS), book, known_at_ns=KNOWN_AT_NS)


def entry(
    provider: str, model: str, at: datetime = NOON, *, book: PriceBook = BOOK, **said: Any
) -> dict[str, Any]:
    return priced(call(provider, model, at, **said), book=book).row(0, named=True)


def nanoseconds(at: datetime) -> int:
    return instant_ns(at)


def document(data: object) -> Document:
    """What a user's price file says; plain data, amounts as text."""
    return read_document(_numbers(data), "user", UNITS)


def book_with(*files: object) -> PriceBook:
    """The book with these price files of the user's."""
    documents = [document(data) for data in files]
    assert [fault for each in documents for fault in each.faults] == []
    return PriceBook.bundled(documents)


def _numbers(data: Any) -> Any:
    """Plain data as a reader of YAML makes it: a text that is a number is a Decimal."""
    if isinstance(data, dict):
        return {key: _numbers(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_numbers(value) for value in data]
    is_number = isinstance(data, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", data)
    return Decimal(data) if is_number else data


def models() -> Iterator[tuple[Provider, ModelInfo, str]]:
    """Every model of genai-prices with a name that means it."""
    for provider in providers:
        for info in provider.models:
            names = [info.id, *sorted(_literals(info.match))]
            for name in names:
                if provider.find_model(name, all_providers=providers) is info:
                    yield provider, info, name
                    break
            else:
                raise AssertionError(info.id)


def names() -> Iterator[tuple[Provider, str]]:
    """Every id and every example of a name in the data."""
    for provider in providers:
        for info in provider.models:
            yield from ((provider, name) for name in {info.id, *_literals(info.match)})


def _literals(clause: Any) -> Iterator[str]:
    for key, value in vars(clause).items():
        if isinstance(value, list):
            for inner in value:
                yield from _literals(inner)
        elif key != "regex":
            yield value


def lines_of(
    provider: Provider, info: ModelInfo, usage: Mapping[str, Any], at: datetime, tier: str
) -> dict[str, Decimal]:
    """The lines of ``calc_price``, each quantised half even to 18 places."""
    counts = dict(usage)
    if provider.id == "groq" and info.id.startswith("whisper-large-v3"):
        seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds") or 0
        if seconds > 0:
            counts["audio_seconds"] = counts["input_audio_seconds"] = max(seconds, 10)
    selected = vars(info.get_prices(at, CONTEXTS[tier]))
    rates = [
        (_UNITS.unit_for_price_key(k), rate) for k, rate in selected.items() if rate is not None
    ]
    units = {unit.usage_key: unit for unit, _ in rates if unit.usage_key != "requests"}
    leaves: dict[str, Any] = compute_leaf_values(set(units), Usage(**counts), units)
    lines = {}
    with localcontext(prec=100):
        for unit, rate in rates:
            usd = rate
            if isinstance(rate, TieredPrices):
                above = [t.price for t in rate.tiers if counts.get("input_tokens", 0) > t.start]
                usd = above[-1] if above else rate.base
            amount = Decimal(leaves.get(unit.usage_key, 1)) * usd / unit.per
            if amount:
                lines[unit.usage_key] = amount.quantize(PLACES, ROUND_HALF_EVEN)
    return lines


def columns_of(usage: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Usage with columns of its own, and the rest."""
    own = {key: value for key, value in usage.items() if key in USAGE_COLUMNS}
    return own, {key: value for key, value in usage.items() if key not in own}
