"""Price records: what the price data says of one model, as dated rules with names.

Promises: every rate has a price id that explains itself and is the same on every machine with the
same data, such as ``genai-prices/openai/gpt-4o/processing=batch@2026-10-14#input_mtok``; which
record holds at an instant follows the rules of genai-prices to the letter.
Never invents a rate: a model that its data leaves empty is free only where that is known.

A record knows its layer and when this installation learned it, so that other layers (the user's,
our corrections) can be laid over this one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from spanledger.ledger.catalog.units import Units
from spanledger.ledger.limits import MONEY_SCALE, RATE_USD_MAX

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

LAYER: Final = "genai-prices"
ANY_INPUT: Final = -1  # below every count: the rate of a call that exceeds no boundary
NS_PER_SECOND: Final = 1_000_000_000
NS_PER_DAY: Final = 86_400 * NS_PER_SECOND

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


@dataclass(frozen=True, slots=True)
class Rate:
    """USD for ``per`` units, in calls of more than ``above`` input tokens."""

    usage_key: str
    per: int
    usd: Decimal
    price_id: str
    above: int = ANY_INPUT

    def __post_init__(self) -> None:
        """Refuse what exact arithmetic has no room for."""
        exponent = self.usd.as_tuple().exponent
        fine = isinstance(exponent, int) and -exponent <= MONEY_SCALE
        if not fine or not 0 <= self.usd <= RATE_USD_MAX:
            message = (
                f"{self.price_id}: a rate of {self.usd} USD; it must be between 0 and "
                f"{RATE_USD_MAX} with at most {MONEY_SCALE} decimals. Correct the price data"
            )
            raise ValueError(message)


@dataclass(frozen=True, eq=False)
class PriceRecord:
    """One rule: these rates hold from an instant on, in a window of the day, in a context.

    ``rates``: usage key -> rates by rising ``above``; the last one that a call exceeds holds.
    """

    name: str  # the price id without its "#price_key"
    layer: str
    context: Mapping[str, str]  # e.g. {"service_tier": "flex"}; empty for the standard price
    valid_from_ns: int | None
    day_window_ns: tuple[int, int] | None  # start and end since midnight UTC, half open
    rates: Mapping[str, tuple[Rate, ...]]
    known_at_ns: int = 0  # 0: came with the installation

    def holds(self, at_ns: int) -> bool:
        """Is the rule in force at an instant (UTC)?"""
        if self.valid_from_ns is not None and at_ns < self.valid_from_ns:
            return False
        if self.day_window_ns is None:
            return True
        start, end = self.day_window_ns
        moment = at_ns % NS_PER_DAY
        return start <= moment < end if start <= end else moment >= start or moment < end


@dataclass(frozen=True, eq=False)
class BookModel:
    """A model of the book with all its records."""

    provider: str  # who sells it, an id of the book
    id: str
    standard: tuple[PriceRecord, ...]  # of those in force the last one holds, else the first
    variants: tuple[PriceRecord, ...]  # for each unit, the first in force that matches holds
    audio_seconds_min: int

    @property
    def is_free(self) -> bool:
        """Is every standard rate a known 0?"""
        rates = [
            rate for record in self.standard for steps in record.rates.values() for rate in steps
        ]
        return bool(rates) and not any(rate.usd for rate in rates)

    def in_force(
        self, context: Mapping[str, str], at_ns: int
    ) -> tuple[PriceRecord, tuple[PriceRecord, ...]]:
        """The standard record and the variants that hold, the strongest variant first."""
        standing = [record for record in self.standard if record.holds(at_ns)]
        variants = tuple(
            record
            for record in self.variants
            if record.holds(at_ns) and record.context.items() <= context.items()
        )
        return (standing[-1] if standing else self.standard[0]), variants

    def records(self) -> Iterator[PriceRecord]:
        """Every record, standard ones first."""
        yield from self.standard
        yield from self.variants


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
        valid_from_ns, day_window_ns = _validity(constraint)
        name = self._name(context, valid_from_ns, day_window_ns)
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
                Rate(unit.usage_key, unit.per, usd, _price_id(name, price_key, above), above)
                for above, usd in steps
            )
        return PriceRecord(name, LAYER, dict(context), valid_from_ns, day_window_ns, rates)

    def _is_free(self) -> bool:
        return self._identity[1].endswith(":free") or self._identity in _DECLARED_FREE

    def _name(
        self, context: Mapping[str, str], from_ns: int | None, window: tuple[int, int] | None
    ) -> str:
        """``LAYER/provider/model/rule``; dates and contexts outlive an index into a list."""
        rule = "+".join(f"{key}={value}" for key, value in sorted(context.items())) or "standard"
        if from_ns is not None:
            day = datetime.fromtimestamp(from_ns // NS_PER_SECOND, UTC).date()
            rule += f"@{day.isoformat()}"
        if window is not None:
            rule += f"@{_clock(window[0])}-{_clock(window[1])}Z"
        name = "/".join((LAYER, *self._identity, rule))
        twins = sum(other.partition("~")[0] == name for other in self._names)
        name = f"{name}~{twins + 1}" if twins else name
        self._names.add(name)
        return name


def _price_id(record: str, price_key: str, above: int) -> str:
    return f"{record}#{price_key}" + (f">{above}" if above != ANY_INPUT else "")


def _clock(moment_ns: int) -> str:
    minutes = moment_ns // NS_PER_SECOND // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _steps(price: "Decimal | TieredPrices") -> Sequence[tuple[int, Decimal]]:
    """(above how many input tokens, USD), rising. The whole call takes one of them."""
    if isinstance(price, Decimal):
        return [(ANY_INPUT, price)]
    return [(ANY_INPUT, price.base), *((tier.start, tier.price) for tier in price.tiers)]


def _validity(
    constraint: "StartDateConstraint | TimeOfDateConstraint | None",
) -> tuple[int | None, tuple[int, int] | None]:
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415 - as above

    if constraint is None:
        return None, None
    if isinstance(constraint, StartDateConstraint):
        midnight = datetime.combine(constraint.start_date, time(), UTC)
        return int(midnight.timestamp()) * NS_PER_SECOND, None
    return None, (
        _since_midnight_ns(constraint.start_time),
        _since_midnight_ns(constraint.end_time),
    )


def _since_midnight_ns(moment: time) -> int:
    """A time of day in UTC; a naive one is UTC already."""
    aware = datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), moment)
    aware = aware.replace(tzinfo=UTC) if aware.tzinfo is None else aware.astimezone(UTC)
    seconds = (aware.hour * 60 + aware.minute) * 60 + aware.second
    return seconds * NS_PER_SECOND + aware.microsecond * 1_000
