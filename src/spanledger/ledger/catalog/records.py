"""Price records: dated rules with names, from any layer of the book.

Promises: a rate that exact arithmetic has no room for cannot exist; every rate has a price id that
explains itself. Plain data: how records are read from a source is in ``bundled`` and ``document``,
which of them hold together is in ``cards``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from spanledger.ledger.catalog.periods import Period
from spanledger.ledger.limits import MONEY_SCALE, RATE_USD_MAX

ANY_INPUT: Final = -1  # below every count: the rate of a call that exceeds no boundary

# Layers, strongest first. A fallback prices only what no other layer does.
USER: Final = "user"
CORRECTIONS: Final = "spanledger"
BUNDLED: Final = "genai-prices"
FALLBACK: Final = "fallback"

TIER_KEYS: Final = frozenset({"service_tier", "processing", "speed"})

_PLACE: Final = Decimal(1).scaleb(-MONEY_SCALE)
_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


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

    def times(self, factor: Decimal, why: str) -> "Rate | None":
        """This rate, multiplied; rounded half even to the places that money has.

        None beyond what arithmetic has room for: then the unit has no price, rather than a wrong
        one.
        """
        usd = _WIDE.multiply(self.usd, factor).quantize(_PLACE, context=_WIDE)
        if usd > RATE_USD_MAX:
            return None
        usd = usd.normalize(_WIDE) if usd % 1 else usd.to_integral_value()
        price_id = f"{self.price_id} *{factor.normalize():f} {why}"
        return Rate(self.usage_key, self.per, usd, price_id, self.above)


@dataclass(frozen=True, eq=False)
class PriceRecord:
    """One rule: these rates hold in a period, in a context, in a range of input tokens.

    ``rates``: usage key -> rates by rising ``above``; the last one that a call exceeds holds.
    ``multiply``: usage key, or ``tokens`` for every unit of tokens -> factor on the rate that
    other records give.
    """

    name: str  # the price id without its "#price_key"
    layer: str
    context: Mapping[str, str]  # e.g. {"service_tier": "flex"}; empty for the standard price
    period: Period
    rates: Mapping[str, tuple[Rate, ...]]
    multiply: Mapping[str, Decimal] = field(default_factory=dict)
    above: int = ANY_INPUT  # for calls of more input tokens than this,
    up_to: int | None = None  # and at most this many
    any_tier: bool = False  # holds whatever the service tier is
    minimums: Mapping[str, int] = field(default_factory=dict)  # billed at least, if used at all
    allowances: Mapping[str, str] = field(default_factory=dict)  # unit -> how much is free
    account_state: str = ""  # why no price can be told from the call alone
    reason: str = ""
    source: str = ""
    known_at_ns: int = 0  # 0: came with the installation

    @property
    def is_of_tier(self) -> bool:
        """Does it speak of the call's service tier?"""
        return self.any_tier or bool(TIER_KEYS & self.context.keys())

    def matches(self, context: Mapping[str, str], at_ns: int) -> bool:
        """Does it hold for a call's context, at an instant?"""
        return self.context.items() <= context.items() and self.period.holds(at_ns)

    def covers(self, floor: int) -> bool:
        """Does it hold for calls just above so many input tokens?"""
        return self.above <= floor and (self.up_to is None or floor < self.up_to)

    def rank(self) -> tuple[int, int, int]:
        """Of two records of a layer that hold, the one of the higher rank wins.

        The more conditions, the stronger; of two equally narrow ones that which is for more input
        tokens, then that which began later.
        """
        ranged = self.above != ANY_INPUT or self.up_to is not None
        conditions = len(self.context) + bool(self.period.hours) + bool(self.period.days) + ranged
        return conditions, self.above, self.period.from_ns or 0


@dataclass(frozen=True, eq=False)
class Contract:
    """What was agreed with a seller: other rates, or a factor on the list price."""

    name: str
    provider: str  # an id of the book, "" for any
    models: tuple[str, ...]  # patterns; "*" for any
    context: Mapping[str, str]
    period: Period
    rates: Mapping[str, tuple[Rate, ...]]
    factor: Decimal = Decimal(1)
    known_at_ns: int = 0

    def matches(self, context: Mapping[str, str], at_ns: int) -> bool:
        """Does it hold for a call's context, at an instant?"""
        return self.context.items() <= context.items() and self.period.holds(at_ns)


@dataclass(frozen=True, eq=False)
class BookModel:
    """A model of the book with all its records."""

    provider: str  # who sells it, an id of the book
    id: str
    standard: tuple[PriceRecord, ...]  # of those in force the last one holds, else the first
    variants: tuple[PriceRecord, ...]  # for each unit, the first in force that matches holds
    audio_seconds_min: int = 0

    @property
    def is_free(self) -> bool:
        """Is every standard rate a known 0?"""
        rates = [
            rate for record in self.standard for steps in record.rates.values() for rate in steps
        ]
        return bool(rates) and not any(rate.usd for rate in rates)

    def in_force(
        self, context: Mapping[str, str], at_ns: int
    ) -> tuple[tuple[PriceRecord, ...], tuple[PriceRecord, ...]]:
        """The standard record, if there is any, and the variants that hold, strongest first."""
        standing = [record for record in self.standard if record.period.holds(at_ns)]
        variants = tuple(record for record in self.variants if record.matches(context, at_ns))
        return tuple(standing[-1:] or self.standard[:1]), variants

    def records(self) -> Iterator[PriceRecord]:
        """Every record of the bundled data, standard ones first."""
        yield from self.standard
        yield from self.variants
