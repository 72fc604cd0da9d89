"""Calls to entries: every call priced to the last digit, with the lines that prove it.

Promises: a pure function of the calls and the book, the same for any batch and order; each line is
quantity * rate / per, rounded once, half even, to 18 places, and the cost is the sum of its lines;
what cannot be priced has no cost and a reason, never 0; what the usage leaves open has bounds.
Never a float on the way of money, never a Python loop over calls.

How: calls are grouped by the *shape* of their rate card (the units it rates). Within a shape, each
unit is one multiplication of two columns, in 128-bit integers of 10**-18 USD (attousd). Within the
bounds of ``limits`` a product stays below 2**121 and cannot wrap, as Polars' and ClickHouse's
decimals would do in silence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.ledger.catalog import NS_PER_DAY, Model, PriceBook, Rate, RateCard, Unit
from spanledger.ledger.limits import CALL_COST_USD_MAX, MONEY_DIGITS, MONEY_SCALE, QUANTITY_MAX
from spanledger.ledger.schema import ENTRIES, LINES, MONEY, TIME, USAGE_COLUMNS

Array = np.ndarray[Any, Any]

UNPRICED_REASONS: Final = (
    "usage_invalid",
    "no_usage",
    "unknown_provider",
    "unknown_model",
    "no_rate_for_unit",
)
_OPEN: Final = -1  # no reason yet why a call could not be priced
_INVALID, _NO_USAGE, _, _, _NO_RATE = range(len(UNPRICED_REASONS))
_IDENTITY: Final = ("provider", "request_model", "response_model", "service_tier")


def price(calls: pl.DataFrame, book: PriceBook, *, known_at_ns: int) -> pl.DataFrame:
    """Price a ``CALLS`` frame; returns an ``ENTRIES`` frame in the same order.

    Args:
        calls: what ``dialects.normalise`` gave.
        book: the prices.
        known_at_ns: when this installation records the charges, ns since the epoch.
    """
    if calls.is_empty():
        return pl.DataFrame(schema=ENTRIES)
    usage = _Usage(calls, book)
    models, cards = _cards(calls, book, usage)
    rated = [_rate(units, rows, usage) for units, rows in _by_shape(cards)]
    cost, low, high = _money_columns(rated, usage)
    computed = {
        "kind": _constant("charge", pl.String, calls.height),
        "run": _constant("", pl.String, calls.height),
        "leg": _constant(0, pl.UInt8, calls.height),
        "reason": _constant("", pl.String, calls.height),
        "model": pl.Series(models, dtype=pl.String),
        "calls": _constant(1, pl.Int8, calls.height),
        "cost_usd": cost,
        "cost_low_usd": low,
        "cost_high_usd": high,
        "list_cost_usd": cost,
        "cost_class": _classes(calls, usage, is_bounded=(low != high).to_numpy()),
        "unpriced_reason": _REASONS[usage.reason.astype(np.int64) + 1],
        "lines": _lines(rated, usage),
        "price_book": _constant(book.version, pl.String, calls.height),
        "known_at": _constant(known_at_ns, pl.Int64, calls.height).cast(TIME),
    }
    # Built column by column: an expression engine costs a lone call milliseconds.
    return pl.DataFrame(
        {name: computed[name] if name in computed else calls.get_column(name) for name in ENTRIES}
    )


class _Usage:
    """The counts of a frame as arrays, and for each call what is known against pricing it."""

    def __init__(self, calls: pl.DataFrame, book: PriceBook) -> None:
        self.dimensions = {unit.usage_key: unit.dimensions for unit in book.units}
        self.of = {name: calls.get_column(name).to_numpy() for name in USAGE_COLUMNS}
        self.start_ns = calls.get_column("start_time").cast(pl.Int64).to_numpy()
        self.cache_unknown = calls.get_column("cache_unknown").to_numpy()
        self.assumed = (calls.get_column("convention") == "assumed").to_numpy()
        self.is_free = np.zeros(calls.height, bool)
        missing = calls.get_column("usage_missing").to_numpy()
        # Errors carry no usage and cost nothing (a retry of theirs is a call of its own).
        self.is_failure = missing & (calls.get_column("status") == "error").to_numpy()
        too_large = np.zeros(calls.height, bool)
        for quantity in self.of.values():
            too_large |= (quantity > QUANTITY_MAX) | (quantity < 0)
        # Units without a column have no rates here yet.
        unrated = (calls.get_column("usage").list.len() > 0).to_numpy()
        self.reason = np.full(calls.height, _OPEN, np.int8)
        self.reason[unrated] = _NO_RATE
        self.reason[missing & ~self.is_failure] = _NO_USAGE
        self.reason[calls.get_column("usage_invalid").to_numpy() | too_large] = _INVALID

    def is_open(self, rows: Array) -> Array:
        return np.asarray((self.reason[rows] == _OPEN) & ~self.is_failure[rows])


@dataclass(frozen=True)
class _Carded:
    """Some calls and the rate card they share."""

    card: RateCard
    rows: Array


def _cards(calls: pl.DataFrame, book: PriceBook, usage: _Usage) -> tuple[list[str], list[_Carded]]:
    """The model of every call, and the calls to rate by card.

    Loops over distinct names and price periods, which the book remembers.
    """
    groups = (
        calls.select(_IDENTITY)
        .with_row_index("row")
        .group_by(_IDENTITY, maintain_order=True)
        .agg("row")
    )
    rows_of_groups = np.split(
        groups.get_column("row").explode().to_numpy().astype(np.int64),
        np.cumsum(groups.get_column("row").list.len().to_numpy())[:-1].astype(np.int64),
    )
    names = np.empty(calls.height, object)
    cards: list[_Carded] = []
    for (provider, request_model, response_model, tier), rows in zip(
        groups.select(_IDENTITY).iter_rows(), rows_of_groups, strict=True
    ):
        model = book.resolve(provider, request_model, response_model)
        if isinstance(model, str):
            names[rows] = response_model or request_model
            closed = rows[usage.is_open(rows)]
            usage.reason[closed] = UNPRICED_REASONS.index(model)
            continue
        names[rows] = model.id
        open_rows = rows[usage.is_open(rows)]
        periods = _periods(model, usage.start_ns[open_rows])
        for period in np.unique(periods):
            of_period = open_rows[periods == period]
            card = book.card(model, tier, int(usage.start_ns[of_period[0]]))
            cards.append(_Carded(card, of_period))
    return names.tolist(), cards


def _periods(model: Model, start_ns: Array) -> Array:
    """``Model.period`` for a whole column."""
    within_day = np.searchsorted(np.array(model.times_ns), start_ns % NS_PER_DAY, side="right")
    dates = np.searchsorted(np.array(model.dates_ns), start_ns, side="right")
    return dates * (len(model.times_ns) + 1) + within_day


def _by_shape(cards: Sequence[_Carded]) -> Iterator[tuple[tuple[Unit, ...], list[_Carded]]]:
    shapes: dict[tuple[Unit, ...], list[_Carded]] = {}
    for carded in cards:
        shapes.setdefault(carded.card.units, []).append(carded)
    yield from shapes.items()


@dataclass(frozen=True)
class _Quantities:
    """All calls of one shape: how much of each rated unit, and at which rate."""

    rows: Array  # places of the calls in the frame
    rate_row: Array  # for each call, which of the rates below is its own
    leaves: Mapping[Unit, Array]
    of_unit: Mapping[Unit, Sequence[Rate]]

    def rates(self, usage_key: str) -> Sequence[Rate]:
        """The rates of a unit; empty where it has none."""
        matching = (rates for unit, rates in self.of_unit.items() if unit.usage_key == usage_key)
        return next(matching, ())

    def change(self, usage_key: str, other: str, counts: Array) -> pl.Series:
        """What costs change by, in attousd, if so many of one unit are of the other."""
        there = _amounts(counts, self.rates(other), self.rate_row)
        return there - _amounts(counts, self.rates(usage_key), self.rate_row)


@dataclass(frozen=True)
class _Rated:
    """The money of one shape, attousd in Int128."""

    quantities: _Quantities
    amounts: Mapping[Unit, pl.Series]
    cost: pl.Series
    low: pl.Series
    high: pl.Series


def _rate(units: tuple[Unit, ...], carded: Sequence[_Carded], usage: _Usage) -> _Rated:
    rows, rate_row, tiers = _rate_rows(carded, usage.of["input_tokens"])
    of_unit = {unit: [tier[index] for tier in tiers] for index, unit in enumerate(units)}
    item = _Quantities(rows, rate_row, _leaves(units, rows, usage), of_unit)
    free = np.array([bool(tier) and not any(rate.usd for rate in tier) for tier in tiers])
    usage.is_free[rows] = free[rate_row]
    amounts = {unit: _amounts(item.leaves[unit], of_unit[unit], rate_row) for unit in units}
    cost = pl.zeros(len(rows), dtype=pl.Int128, eager=True)
    for amount in amounts.values():
        cost = cost + amount
    too_dear = (cost > _int128(CALL_COST_USD_MAX * 10**MONEY_SCALE)).to_numpy()
    usage.reason[rows[too_dear]] = _INVALID
    return _Rated(item, amounts, cost, *_bounds(item, cost, usage))


def _rate_rows(
    carded: Sequence[_Carded], input_tokens: Array
) -> tuple[Array, Array, list[tuple[Rate, ...]]]:
    """All rows, each one's index into the tiers of all cards, and those tiers."""
    tiers: list[tuple[Rate, ...]] = []
    indices = []
    for item in carded:
        # A boundary itself still belongs to the tier below it (Google, OpenAI, Anthropic).
        level = np.searchsorted(np.array(item.card.tier_starts), input_tokens[item.rows])
        indices.append(len(tiers) + level)
        tiers.extend(item.card.tiers)
    return np.concatenate([item.rows for item in carded]), np.concatenate(indices), tiers


def _leaves(units: tuple[Unit, ...], rows: Array, usage: _Usage) -> dict[Unit, Array]:
    """For each rated unit what its more specific rated units did not take.

    Notes against a call when nothing rates what it used, or when its parts exceed the whole.
    """
    leaves: dict[Unit, Array] = {}
    for unit in units:  # the most specific come first
        if unit.usage_key == "requests":
            leaves[unit] = np.ones(len(rows), np.int64)
            continue
        taken = [leaves[part] for part in leaves if part.dimensions > unit.dimensions]
        whole = usage.of.get(unit.usage_key)
        leaf = (np.zeros(len(rows), np.int64) if whole is None else whole[rows]) - sum(taken)
        usage.reason[rows[leaf < 0]] = _INVALID
        leaves[unit] = np.maximum(leaf, 0)
    for name in USAGE_COLUMNS:
        if not any(unit.dimensions <= usage.dimensions[name] for unit in units):
            unrated = rows[usage.of[name][rows] > 0]
            usage.reason[unrated[usage.reason[unrated] == _OPEN]] = _NO_RATE
    return leaves


def _amounts(quantity: Array, rates: Sequence[Rate], rate_row: Array) -> pl.Series:
    """Multiply, in attousd, each product rounded half even."""
    fractions = [rate.attousd for rate in rates]
    count = pl.Series(quantity).cast(pl.Int128)
    whole = count * _gathered(
        [ratio.numerator // ratio.denominator for ratio in fractions], rate_row
    )
    if all(ratio.denominator == 1 for ratio in fractions):
        return whole
    # A rate for 3,600 seconds has no end as a decimal. The whole part is exact as it is; the
    # rest is less than the denominator, so its product cannot overflow either.
    denominator = _gathered([ratio.denominator for ratio in fractions], rate_row)
    product = count * _gathered(
        [ratio.numerator % ratio.denominator for ratio in fractions], rate_row
    )
    quotient = product // denominator
    twice_rest = (product - quotient * denominator) * _int128(2)
    total = whole + quotient
    is_odd = (total - total // _int128(2) * _int128(2)) == _int128(1)
    up = (twice_rest > denominator) | ((twice_rest == denominator) & is_odd)
    return total + up.cast(pl.Int128)


def _gathered(values: Sequence[int], indices: Array) -> pl.Series:
    return pl.Series(values, dtype=pl.Int128)[indices]


def _int128(value: int) -> pl.Series:
    return pl.Series([value], dtype=pl.Int128)


def _bounds(item: _Quantities, cost: pl.Series, usage: _Usage) -> tuple[pl.Series, pl.Series]:
    """The lowest and the highest cost that the reported usage allows."""
    low = high = cost
    rows, nothing = item.rows, _int128(0)
    reads, writes = usage.of["cache_read_tokens"][rows], usage.of["cache_write_tokens"][rows]
    if item.rates("cache_write_tokens") and item.rates("cache_write_1h_tokens"):
        # Without the split by time to live the default one (5 minutes) is the figure.
        split = usage.of["cache_write_5m_tokens"][rows] + usage.of["cache_write_1h_tokens"][rows]
        unsplit = np.where(split == 0, writes, 0)
        if unsplit.any():
            change = item.change("cache_write_tokens", "cache_write_1h_tokens", unsplit)
            low = low + change.zip_with(change < nothing, nothing)
            high = high + change.zip_with(change > nothing, nothing)
    unknown = usage.cache_unknown[rows]
    if unknown.any() and item.rates("input_tokens") and item.rates("cache_read_tokens"):
        hidden = np.where(unknown, usage.of["input_tokens"][rows], 0)
        change = item.change("input_tokens", "cache_read_tokens", hidden)
        low = low + change.zip_with(change < nothing, nothing)
    more = np.where(usage.assumed[rows], reads + writes, 0)
    if more.any() and item.rates("input_tokens"):
        # Had the input been meant without the cached tokens, it would be larger by them.
        high = high + _amounts(more, item.rates("input_tokens"), item.rate_row)
    return low, high


def _money_columns(
    rated: Sequence[_Rated], usage: _Usage
) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The cost and its bounds for every call; null where unpriced, 0 for a failure."""
    rows = np.concatenate([np.empty(0, np.int64), *(item.quantities.rows for item in rated)])
    place = np.full(len(usage.reason), len(rows))  # a failure costs nothing
    place[rows] = np.arange(len(rows))
    place[usage.reason != _OPEN] = len(rows) + 1
    ends = [_int128(0), pl.Series([None], dtype=pl.Int128)]

    def column(parts: Iterable[pl.Series]) -> pl.Series:
        return _money(pl.concat([*parts, *ends])[place])

    return (
        column(item.cost for item in rated),
        column(item.low for item in rated),
        column(item.high for item in rated),
    )


def _money(attousd: pl.Series) -> pl.Series:
    """Int128 of 10**-18 USD as the same number in Decimal(38, 18)."""
    whole = attousd.cast(pl.Decimal(MONEY_DIGITS, 0)).to_arrow()
    scaled = pa.Array.from_buffers(
        pa.decimal128(MONEY_DIGITS, MONEY_SCALE), len(whole), whole.buffers(), offset=whole.offset
    )
    return pl.Series(scaled, dtype=MONEY)


def _lines(rated: Sequence[_Rated], usage: _Usage) -> pl.Series:
    """The lines of every call, the most specific unit first; units that were not used have none."""
    rates: list[Rate] = []
    parts: list[tuple[Array, Array, Array, pl.Series]] = []
    for item in rated:
        rows, rate_row = item.quantities.rows, item.quantities.rate_row
        is_open = usage.is_open(rows)
        for unit, quantity in item.quantities.leaves.items():
            used = is_open & (quantity > 0)
            place = len(rates) + rate_row[used]
            parts.append(
                (rows[used], place, quantity[used], item.amounts[unit][np.flatnonzero(used)])
            )
            rates.extend(item.quantities.of_unit[unit])
    height = len(usage.reason)
    if not rates:
        return pl.Series([[]] * height, dtype=LINES)
    rows, places, quantities = (
        np.concatenate(arrays) for arrays in list(zip(*parts, strict=True))[:3]
    )
    order = np.argsort(rows, kind="stable")
    book = pl.DataFrame(
        {
            "unit": [rate.unit.usage_key for rate in rates],
            "rate_usd": pl.Series([rate.usd for rate in rates], dtype=MONEY),
            "per": [rate.unit.per for rate in rates],
            "price_id": [rate.price_id for rate in rates],
        }
    )
    lines = book[places[order]].select(
        "unit",
        pl.Series("quantity", quantities[order]).cast(MONEY),
        "rate_usd",
        "per",
        _money(pl.concat([part[3] for part in parts])[order]).alias("amount_usd"),
        "price_id",
    )
    structs = lines.to_struct("lines").to_arrow(compat_level=pl.CompatLevel.oldest())
    offsets = np.searchsorted(rows[order], np.arange(height + 1))
    return pl.Series("lines", pa.LargeListArray.from_arrays(offsets, structs), dtype=LINES)


_REASONS: Final = pl.Series(["", *UNPRICED_REASONS])
_CLASSES: Final = pl.Series(["exact", "free", "bounded", "estimated", "unpriced"])


def _classes(calls: pl.DataFrame, usage: _Usage, is_bounded: Array) -> pl.Series:
    index = np.where(usage.is_free, 1, 0)
    index[np.equal(is_bounded, True)] = 2  # a null bound is an unpriced call, decided below
    index[calls.get_column("usage_estimated").to_numpy()] = 3
    index[usage.reason != _OPEN] = 4
    return _CLASSES[index]


def _constant(value: Any, dtype: type[pl.DataType], height: int) -> pl.Series:
    return pl.Series([value], dtype=dtype).new_from_index(0, height)
