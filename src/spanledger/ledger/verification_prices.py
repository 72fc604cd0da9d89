"""The prices that entries say they used, held against the prices that the ledger has known.

Promises: a line's price is known only at a rate that some recorded state of it had, also where
factors and contracts were laid over it; what is not known is a fault only of a book that was
recorded, and counted apart of any other: a ledger may be older than its prices. The list cost is
derived from the same prices. Never asks what a price is today.

A line says its price with every factor on it, "openai/gpt-4o#input_mtok *0.9 contract/acme": the
price, the factor, and the record or contract that gave it. A price may stand for another unit than
its own (what a model has no rate for is paid as the whole that it is a part of), so it is looked up
by its id alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import cached_property
from typing import Final

import polars as pl

from spanledger.ledger.limits import MONEY_SCALE
from spanledger.ledger.schema import MONEY
from spanledger.ledger.verification import FINDINGS, amounts, findings, text

PRICES: Final = "prices"
# States of prices, of all times.
KNOWN: Final = pl.Schema(
    {
        "price_id": pl.String(),
        "layer": pl.String(),
        "usd": MONEY,
        "per": pl.Int64(),
        "factor": MONEY,
    }
)

_CONTRACT: Final = "contract"
_RECORDED, _OTHER_RATE, _NEVER = "recorded", "other_rate", "never"
_USED: Final = ("price_id", "rate_usd", "per")
_JUDGED: Final = pl.Schema(
    {
        "price_id": pl.String(),
        "rate_usd": MONEY,
        "per": pl.Int64(),
        "state": pl.String(),
        "recorded": pl.String(),  # the rates it was recorded at
        "list_usd": MONEY,  # before a contract; null where that cannot be told
        "list_per": pl.Int64(),
    }
)

_PLACE: Final = Decimal(1).scaleb(-MONEY_SCALE)
_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_SHOWN_MAX: Final = 3
# A book lays one factor of each context and a contract over a price: far fewer.
_FACTORS_MAX: Final = 16

_Rate = tuple[Decimal, int]  # USD, for so many


@dataclass(frozen=True)
class _Laid:
    """A price id taken apart: what the last factor was laid over, and whose factor it is."""

    under: str
    factor: Decimal
    why: str


class KnownPrices:
    """What a ledger knows of prices; remembers the verdict on each that it was asked for."""

    def __init__(self, states: pl.DataFrame, books: frozenset[str]) -> None:
        """``states``: a ``KNOWN`` frame; ``books``: those with which any state was recorded."""
        self._states = states
        self._books = books
        self._verdicts: dict[tuple[str, Decimal, int], tuple[object, ...]] = {}

    @cached_property
    def _rates(self) -> dict[str, set[_Rate]]:
        rates: dict[str, set[_Rate]] = {}
        priced = self._states.drop_nulls("usd").select("price_id", "usd", "per").unique()
        for price_id, usd, per in priced.iter_rows():
            rates.setdefault(price_id, set()).add((usd, per))
        return rates

    @cached_property
    def _factors(self) -> dict[str, set[Decimal]]:
        factors: dict[str, set[Decimal]] = {}
        for name, factor in (
            self._states.drop_nulls("factor").select("price_id", "factor").unique().iter_rows()
        ):
            factors.setdefault(name, set()).add(factor)
        return factors

    @cached_property
    def _contracts(self) -> frozenset[str]:
        agreed = self._states.filter(pl.col("layer") == _CONTRACT)
        return frozenset(agreed.get_column("price_id"))

    def has_book(self, book: pl.Expr) -> pl.Expr:
        """Were the prices of a book recorded? One that said nothing new is not told by name."""
        return book.is_in(sorted(self._books))

    def judged(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Lines with what the ledger knows of their prices; there are few different ones."""
        used = lines.select(_USED).unique().rows()
        for price in used:
            if price not in self._verdicts:
                self._verdicts[price] = self._verdict(*price)
        rows = [(*price, *self._verdicts[price]) for price in used]
        verdicts = pl.DataFrame(rows, schema=_JUDGED, orient="row")
        return lines.join(verdicts, on=_USED, how="left", maintain_order="left")

    def _verdict(self, price_id: str, rate_usd: Decimal, per: int) -> tuple[object, ...]:
        rates = self._rates_of(price_id)
        shown = " or ".join(
            f"{usd.normalize():f} for {units}" for usd, units in sorted(rates)[:_SHOWN_MAX]
        )
        if (rate_usd, per) not in rates:
            return (_OTHER_RATE if rates else _NEVER, shown, None, None)
        return (_RECORDED, shown, *self._listed(price_id, rate_usd, per))

    def _rates_of(self, price_id: str, depth: int = _FACTORS_MAX) -> frozenset[_Rate]:
        """Every rate that a price id ever stood for, with the factors that its name tells."""
        if price_id in self._rates:
            return frozenset(self._rates[price_id])
        laid = next(self._taken_apart(price_id), None)
        if laid is None or depth == 0:
            return frozenset()
        under = self._rates_of(laid.under, depth - 1)
        return frozenset((_times(usd, laid.factor), per) for usd, per in under)

    def _taken_apart(self, price_id: str) -> Iterator[_Laid]:
        """The last factor first; a name may itself hold what looks like one."""
        at = price_id.rfind(" *")
        while at > 0:
            factor_text, _, why = price_id[at + 2 :].partition(" ")
            try:
                factor = Decimal(factor_text)
            except InvalidOperation:
                factor = Decimal("NaN")
            if factor.is_finite() and _rounded(factor) in self._factors.get(why, ()):
                yield _Laid(price_id[:at], factor, why)
            at = price_id.rfind(" *", 0, at)

    def _listed(
        self, price_id: str, rate_usd: Decimal, per: int
    ) -> tuple[Decimal | None, int | None]:
        """The rate before a contract. One that is a contract's own has none to be told."""
        laid = next(self._taken_apart(price_id), None)
        if laid is None or laid.why not in self._contracts:
            return (None, None) if price_id in self._contracts else (rate_usd, per)
        if laid.under in self._contracts:
            return None, None
        before = [
            (usd, units)
            for usd, units in self._rates_of(laid.under)
            if (_times(usd, laid.factor), units) == (rate_usd, per)
        ]
        return before[0] if len(before) == 1 else (None, None)


def _times(usd: Decimal, factor: Decimal) -> Decimal:
    return _rounded(_WIDE.multiply(usd, factor))


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_PLACE, context=_WIDE)


def check_prices(
    booked: pl.DataFrame, lines: pl.DataFrame, known: KnownPrices
) -> tuple[pl.DataFrame, int]:
    """Was each line's price known to the ledger at that rate, and is the list cost theirs?

    Args:
        booked: entries.
        lines: theirs, of ``verification.lines_of``.
        known: what the ledger knows of prices.

    Returns the findings, and how many lines cannot be judged: the ledger has not their price at
    that rate, but it did not record their book either.
    """
    if not lines.height:
        return FINDINGS.to_frame(), 0
    judged = known.judged(lines)
    never = pl.col("state") == _NEVER
    is_unknown = pl.col("state") != _RECORDED
    # A book of before the ledger kept prices may have had any rate under the same id.
    is_fault = is_unknown & known.has_book(pl.col("price_book"))
    before = judged.filter(is_unknown & ~is_fault).height
    wrong = judged.filter(is_fault).unique("row", keep="first", maintain_order=True)
    used = wrong.select(
        "row",
        booked=pl.format("{} for {}", text(pl.col("rate_usd")), "per"),
        comes_out=pl.when(never).then(pl.lit("no such price")).otherwise("recorded"),
        why=pl.when(never)
        .then(pl.format("the price {} is not in the book that was recorded", "price_id"))
        .otherwise(pl.format("the price {} was never recorded at this rate", "price_id")),
    )
    told = pl.concat([used, _list_costs(booked, judged)]).unique(
        "row", keep="first", maintain_order=True
    )
    rows = booked.with_row_index("row").join(told, on="row", maintain_order="left")
    return findings(rows, PRICES), before


def _list_costs(booked: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Entries whose list cost is not that of their lines before contracts."""
    told = judged.filter(pl.col("list_usd").is_not_null().all().over("row"))
    made = amounts(*(told.get_column(name) for name in ("quantity", "list_usd", "list_per")))
    sums = (
        told.with_columns(listed=made)
        .group_by("row")
        .agg(listed=pl.when(pl.col("listed").is_not_null().all()).then(pl.col("listed").sum()))
        .drop_nulls()
    )
    costs = booked.with_row_index("row").select("row", "list_cost_usd")
    wrong = sums.join(costs, on="row").filter(pl.col("listed").ne_missing(pl.col("list_cost_usd")))
    return wrong.select(
        "row",
        booked=text(pl.col("list_cost_usd")),
        comes_out=text(pl.col("listed")),
        why=pl.lit("its list cost is not that of its lines before contracts"),
    )
