"""Records of genai-prices: what its data says of one model, as dated rules with names.

Promises: every rate has a price id that is the same on every machine with the same data, such as
``genai-prices/openai/gpt-4o/processing=batch@2026-10-14#input_mtok``; which record holds at an
instant follows the rules of genai-prices to the letter.
Never invents a rate: a model that its data leaves empty is free only where that is known.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from spanledger.ledger.catalog.periods import NS_PER_SECOND, Period, instant_ns
from spanledger.ledger.catalog.records import ANY_INPUT, BUNDLED, BookModel, PriceRecord, Rate
from spanledger.ledger.catalog.units import Units

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

# genai-prices leaves the prices of a free model empty, and those of one it knows nothing about as
# well. Free is what says so in its name (":free") and what its provider declares free:
_DECLARED_FREE: Final = frozenset(
    {
        ("github-copilot", "gpt-3.5-turbo"),  # included in the subscription
        ("github-copilot", "gpt-4.1"),
        ("github-copilot", "gpt-4o"),
        ("github-copilot", "gpt-4o-mini"),
        ("google", "gemma-3"),  # no paid tier on the Gemini API
        ("google", "gemma-3n"),
        ("google", "gemma-4-26b-a4b-it"),
        ("google", "gemma-4-31b-it"),
        ("openai", "moderation"),
    }
)
_FREE_KEYS: Final = ("input_mtok", "output_mtok")

# Groq bills at least ten seconds of audio a request (rule of genai-prices, in its code).
_AUDIO_SECONDS_MIN: Final = {
    ("groq", "whisper-large-v3"): 10,
    ("groq", "whisper-large-v3-turbo"): 10,
}


def compile_model(provider: "Provider", model: "ModelInfo", units: Units) -> BookModel:
    """Read the records of one model of genai-prices."""
    from genai_prices.types import ModelPrice  # noqa: PLC0415 - 0.4 s that an app need not pay

    reader = _Reader(provider.id, model.id, units)
    prices = model.prices
    if isinstance(prices, ModelPrice):
        standard = [reader.record(prices, None, {})]
    else:
        standard = [reader.record(item.prices, item.constraint, {}) for item in prices]
    variants = [
        reader.record(variant.prices, variant.constraint, variant.when)
        for variant in model.price_variants or ()
    ]
    return BookModel(
        provider.id,
        model.id,
        tuple(standard),
        tuple(variants),
        _AUDIO_SECONDS_MIN.get((provider.id, model.id), 0),
    )


class _Reader:
    """Makes the records of one model, and keeps their names apart."""

    def __init__(self, provider: str, model: str, units: Units) -> None:
        self._identity = (provider, model)
        self._units = units
        self._names: set[str] = set()

    def record(
        self,
        prices: "ModelPrice",
        constraint: "StartDateConstraint | TimeOfDateConstraint | None",
        context: Mapping[str, str],
    ) -> PriceRecord:
        period = _period(constraint)
        name = self._name(context, period)
        priced = {key: price for key, price in vars(prices).items() if price is not None}
        if not priced and not context and self._is_free():
            priced = dict.fromkeys(_FREE_KEYS, Decimal(0))
        rates: dict[str, tuple[Rate, ...]] = {}
        for price_key, price in priced.items():
            unit = self._units.by_price_key.get(price_key)
            if unit is None:
                continue  # a unit from a later genai-prices: no rate is better than a wrong one
            steps = _steps(price)
            rates[unit.usage_key] = tuple(
                Rate(unit.usage_key, unit.per, usd, price_id(name, price_key, above), above)
                for above, usd in steps
            )
        return PriceRecord(name, BUNDLED, dict(context), period, rates)

    def _is_free(self) -> bool:
        return self._identity[1].endswith(":free") or self._identity in _DECLARED_FREE

    def _name(self, context: Mapping[str, str], period: Period) -> str:
        """``LAYER/provider/model/rule``; dates and contexts outlive an index into a list."""
        rule = "+".join(f"{key}={value}" for key, value in sorted(context.items())) or "standard"
        name = "/".join((BUNDLED, *self._identity, f"{rule}{period}"))
        twins = sum(other.partition("~")[0] == name for other in self._names)
        name = f"{name}~{twins + 1}" if twins else name
        self._names.add(name)
        return name


def price_id(record: str, price_key: str, above: int) -> str:
    return f"{record}#{price_key}" + (f">{above}" if above != ANY_INPUT else "")


def _steps(price: "Decimal | TieredPrices") -> Sequence[tuple[int, Decimal]]:
    """(above how many input tokens, USD), rising. The whole call takes one of them."""
    if isinstance(price, Decimal):
        return [(ANY_INPUT, price)]
    return [(ANY_INPUT, price.base), *((tier.start, tier.price) for tier in price.tiers)]


def _period(constraint: "StartDateConstraint | TimeOfDateConstraint | None") -> Period:
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415 - as above

    if constraint is None:
        return Period()
    if isinstance(constraint, StartDateConstraint):
        return Period(from_ns=instant_ns(datetime.combine(constraint.start_date, time(), UTC)))
    start, end = constraint.start_time, constraint.end_time
    return Period(hours=((_since_midnight_ns(start), _since_midnight_ns(end)),))


def _since_midnight_ns(moment: time) -> int:
    """A time of day in UTC; a naive one is UTC already."""
    aware = datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), moment)
    aware = aware.replace(tzinfo=UTC) if aware.tzinfo is None else aware.astimezone(UTC)
    seconds = (aware.hour * 60 + aware.minute) * 60 + aware.second
    return seconds * NS_PER_SECOND + aware.microsecond * 1_000


def read_providers(data: bytes) -> "list[Provider]":
    """Read a data file of genai-prices: the form in which it publishes newer prices.

    Raises:
        ValueError: it is no such file.
    """
    # Its own reader is private; the public one fetches from the network and changes the process.
    from genai_prices.types import _providers_from_raw  # noqa: PLC0415 - as above

    raw = json.loads(data, parse_float=Decimal)
    if not isinstance(raw, list) or not raw:
        raise ValueError("it is no list of providers")
    return _providers_from_raw(raw)
