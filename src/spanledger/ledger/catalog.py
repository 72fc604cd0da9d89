"""The price book: which model a name means, and what it costs at an instant.

Promises: plain Python that loads nothing heavy; the same answer as genai-prices for every model and
instant of its data; junk names are bounded in size and in number. Never a network access, never a
default price: what is not in the book is unknown, with a reason.

genai-prices is used as data and as matching rules only. Its own ``calc_price`` takes 130 us a call
and remembers every name for ever (measured), so rate cards are compiled from its records here, and
its look-ups are never given a name from outside.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Self

from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX, MONEY_SCALE, RATE_USD_MAX

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider, TieredPrices

# Names and cards that are remembered: more than an installation uses, few enough to stay bounded
# when somebody sends a million names.
_REMEMBERED_MAX: Final = 4_096

_NS_PER_SECOND: Final = 1_000_000_000
NS_PER_DAY: Final = 86_400 * _NS_PER_SECOND

# gen_ai.provider.name -> provider id of genai-prices; other names are looked up as they are.
_PROVIDER_IDS: Final[Mapping[str, str]] = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}

# Service tier of a response -> the request context that selects price variants.
_CONTEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "batch": {"processing": "batch"},
    "default": {"service_tier": "default"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}

# An inference profile of Bedrock, by region ("us.anthropic.claude-...") or as an ARN.
_BEDROCK_REGION: Final = re.compile(r"^(?:us|us-gov|eu|apac|jp|au|ca|sa|global)\.(?=[^.]+\.)")
_BEDROCK_ARN: Final = re.compile(r"^arn:aws[a-z-]*:bedrock:[^/]*/")


@dataclass(frozen=True)
class Unit:
    """A billable unit; one whose dimensions contain another's is a part of it."""

    usage_key: str
    per: int  # how many units one rate is for
    dimensions: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Rate:
    """USD for ``unit.per`` units, and the record that says so.

    Raises:
        ValueError: it is no finite price within the bounds (``limits.RATE_USD_MAX`` a unit).
    """

    unit: Unit
    usd: Decimal
    price_id: str

    def __post_init__(self) -> None:
        if not 0 <= self.usd <= RATE_USD_MAX * self.unit.per:
            raise ValueError(f"{self.price_id}: {self.usd} USD is no price for {self.unit.per}")

    @cached_property
    def attousd(self) -> Fraction:
        """10**-18 USD for one unit, exactly."""
        return Fraction(self.usd) * 10**MONEY_SCALE / self.unit.per


@dataclass(frozen=True, eq=False)
class RateCard:
    """What one model costs in one period and service tier.

    A whole call is rated by one of ``tiers``: by the first where input_tokens do not exceed
    ``tier_starts[0]``, and so on. All tiers rate the same units, the most specific first.
    """

    tier_starts: tuple[int, ...]
    tiers: tuple[tuple[Rate, ...], ...]

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """What the card rates."""
        return tuple(rate.unit for rate in self.tiers[0])

    def tier(self, input_tokens: int) -> tuple[Rate, ...]:
        """The rates of a call; a boundary itself still belongs to the tier below it."""
        return self.tiers[sum(input_tokens > start for start in self.tier_starts)]


@dataclass(frozen=True, eq=False)
class Model:
    """A model of the book, and when its prices change."""

    id: str
    provider: "Provider"
    info: "ModelInfo"
    has_variants: bool
    dates_ns: tuple[int, ...]  # instants from which another record holds
    times_ns: tuple[int, ...]  # the same within every day, since midnight UTC

    def period(self, at_ns: int) -> int:
        """A number that is the same for all instants with the same prices."""
        within_day = bisect_right(self.times_ns, at_ns % NS_PER_DAY)
        return bisect_right(self.dates_ns, at_ns) * (len(self.times_ns) + 1) + within_day


class PriceBook:
    """The records of genai-prices, resolved and compiled on demand. Immutable."""

    def __init__(self, providers: list["Provider"], units: Mapping[str, Unit], name: str) -> None:
        """Take providers and units (price key -> unit); ``name`` is the version of the data."""
        self.version = name
        self._providers = providers
        self._by_id = {provider.id: provider for provider in providers}
        self._units = units
        self.resolve = lru_cache(_REMEMBERED_MAX)(self._resolve)
        self._card = lru_cache(_REMEMBERED_MAX)(self._compile)

    @classmethod
    def bundled(cls) -> Self:
        """The book of the installed genai-prices; takes about half a second to load."""
        from genai_prices.data import providers  # noqa: PLC0415 - 0.4 s that an app need not pay
        from genai_prices.data_units import unit_data  # noqa: PLC0415

        units = {
            raw["price_key"]: Unit(key, raw["per"], frozenset(raw["dimensions"].items()))
            for key, raw in unit_data.items()
        }
        return cls(providers, units, f"genai-prices-{version('genai-prices')}")

    @property
    def units(self) -> tuple[Unit, ...]:
        """Every unit that can have a price."""
        return tuple(self._units.values())

    def _resolve(self, provider: str, request_model: str, response_model: str) -> Model | str:
        """Find the model that was billed, or the reason why it is not known.

        The response knows better than the request; a known provider is asked alone, since another
        one's price for the same name would be a guess.

        Returns:
            The model, or ``unknown_provider`` or ``unknown_model``.
        """
        names = [
            name
            for reported in (response_model, request_model)
            if len(reported.encode()) <= MODEL_NAME_BYTES_MAX
            for name in _spellings(reported.strip().lower())
        ]
        payer = self._find_provider(provider)
        for name in names:
            payers = [payer] if payer else [p for p in self._providers if _claims(p, name)]
            for candidate in payers:
                info = candidate.find_model(name, all_providers=self._providers)
                if info is not None:
                    return _model(candidate, info)
        return "unknown_model" if payer else "unknown_provider"

    def _find_provider(self, name: str) -> "Provider | None":
        wanted = _PROVIDER_IDS.get(name, name)
        if not wanted or len(wanted) > MODEL_NAME_BYTES_MAX:
            return None
        matching = (
            provider
            for provider in self._providers
            if provider.provider_match is not None and provider.provider_match.is_match(wanted)
        )
        return self._by_id.get(wanted) or next(matching, None)

    def card(self, model: Model, service_tier: str, at_ns: int) -> RateCard:
        """The rates of a model in a service tier at an instant (ns since the epoch, UTC)."""
        tier = service_tier if service_tier in _CONTEXTS and model.has_variants else ""
        return self._card(model, tier, _Instant(model.period(at_ns), at_ns))

    def _compile(self, model: Model, service_tier: str, instant: "_Instant") -> RateCard:
        records = _records(model, service_tier, instant.at_ns)
        rates = [
            (self._units[price_key], price, price_id)
            for price_key, (price, price_id) in records.items()
            if price_key in self._units
        ]
        rates.sort(key=lambda rate: (-len(rate[0].dimensions), rate[0].usage_key))
        starts = sorted({start for _, price, _ in rates for start in _starts(price)})
        levels = [-1, *starts]
        return RateCard(
            tuple(starts),
            tuple(
                tuple(Rate(unit, _at_level(price, level), name) for unit, price, name in rates)
                for level in levels
            ),
        )


class _Instant:
    """An instant that equals every other of its period, so that a cache keeps one card for all."""

    def __init__(self, period: int, at_ns: int) -> None:
        self.period = period
        self.at_ns = at_ns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Instant) and self.period == other.period

    def __hash__(self) -> int:
        return hash(self.period)


def _spellings(name: str) -> Iterator[str]:
    """The name as reported, then without what a platform put around it."""
    if name:
        yield name
        bare = _BEDROCK_REGION.sub("", _BEDROCK_ARN.sub("", name))
        if bare != name:
            yield bare
        if "@" in name:
            yield name.replace("@", "-")  # Vertex: claude-sonnet-4-5@20250929


def _claims(provider: "Provider", name: str) -> bool:
    return provider.model_match is not None and provider.model_match.is_match(name)


def _model(provider: "Provider", info: "ModelInfo") -> Model:
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint  # noqa: PLC0415

    conditions = (
        [price.constraint for price in info.prices] if isinstance(info.prices, list) else []
    )
    # Variants of a model that another provider lends are not for sale here (genai-prices' rule).
    own = any(info is other for other in provider.models)
    variants = (info.price_variants or []) if own else []
    conditions += [variant.constraint for variant in variants]
    dates, times = set(), set()
    for condition in conditions:
        if isinstance(condition, StartDateConstraint):
            start = datetime.combine(condition.start_date, time(), UTC)
            dates.add(round(start.timestamp()) * _NS_PER_SECOND)
        elif isinstance(condition, TimeOfDateConstraint):
            times |= {_since_midnight_ns(condition.start_time)}
            times |= {_since_midnight_ns(condition.end_time)}
    return Model(
        info.id, provider, info, bool(variants), tuple(sorted(dates)), tuple(sorted(times))
    )


def _since_midnight_ns(moment: time) -> int:
    """A time of day in ns UTC; a naive one is UTC."""
    aware = datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), moment)
    aware = aware.replace(tzinfo=UTC) if aware.tzinfo is None else aware.astimezone(UTC)
    seconds = (aware.hour * 60 + aware.minute) * 60 + aware.second
    return seconds * _NS_PER_SECOND + aware.microsecond * 1_000


def _records(
    model: Model, service_tier: str, at_ns: int
) -> dict[str, tuple["Decimal | TieredPrices", str]]:
    """Price key -> price and its id: the standard record, then what variants put over it.

    The rules of genai-prices: of conditional prices the last active one holds, else the first; of
    variants the first active one that matches the context holds, for each key on its own.
    """
    at = datetime.fromtimestamp(at_ns // _NS_PER_SECOND, UTC).replace(
        microsecond=at_ns % _NS_PER_SECOND // 1_000
    )
    prefix = f"genai-prices/{model.provider.id}/{model.id}"
    prices, number = model.info.prices, 0
    if isinstance(prices, list):
        active = [
            index
            for index, price in enumerate(prices)
            if price.constraint is None or price.constraint.active(at)
        ]
        number = active[-1] if active else 0
        standard = prices[number].prices
    else:
        standard = prices
    records = {
        key: (price, f"{prefix}/{number}#{key}")
        for key, price in vars(standard).items()
        if price is not None
    }
    context = _CONTEXTS.get(service_tier, {})
    overrides: dict[str, tuple[Decimal | TieredPrices, str]] = {}
    for index, variant in enumerate(model.info.price_variants or [] if context else []):
        if variant.constraint is not None and not variant.constraint.active(at):
            continue
        if all(context.get(key) == value for key, value in variant.when.items()):
            for key, price in vars(variant.prices).items():
                if price is not None:
                    overrides.setdefault(key, (price, f"{prefix}/{service_tier}{index}#{key}"))
    return records | overrides


def _starts(price: "Decimal | TieredPrices") -> list[int]:
    return [] if isinstance(price, Decimal) else [tier.start for tier in price.tiers]


def _at_level(price: "Decimal | TieredPrices", start: int) -> Decimal:
    """The price in the context tier that begins above ``start`` tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= start]
    return reached[-1] if reached else price.base
