"""Calls to entries: every call priced to the last digit, with the lines that prove it.

Promises: a function of the calls, the book and ``known_at_ns`` alone, the same for any batch and
order; an entry for every call; what cannot be priced has no cost and a reason, never 0; where the
reported usage leaves the cost open, bounds say how far.
Never: a float on the way of money, a Python loop over calls, a clock, a look at anything outside.

The way: ``pricing_usage`` reads counts, ``pricing_rates`` finds each call's rate card,
``pricing_lines`` multiplies. Here is decided what kind of charge comes of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing_lines import Charge, charge
from spanledger.ledger.pricing_rates import UNRESOLVED, Deck, identify
from spanledger.ledger.pricing_usage import (
    Counts,
    Flags,
    Rows,
    Usage,
    flags_of,
    fractional,
    read_usage,
)
from spanledger.ledger.schema import ENTRIES, LINES, MONEY, TIME
from spanledger.ledger.usage_rules import NANO, OVERLAPS, TTLS

# Codes of why a call has no price. What the call itself lacks comes before what the book lacks:
# the book may learn.
_REASONS: Final = (
    *(*UNRESOLVED, "usage_invalid", "no_usage", "no_rate_for_unit"),
    "account_state",  # a commitment or an allowance: a call alone has no price
)
_PRICED, _, _, _USAGE_INVALID, _NO_USAGE, _NO_RATE, _ACCOUNT = range(len(_REASONS))

_CLASSES: Final = ("exact", "bounded", "estimated", "free", "unpriced")
_CLASS_NAMES, _REASON_NAMES = pl.Series(_CLASSES), pl.Series(_REASONS)
_EXACT, _BOUNDED, _ESTIMATED, _FREE, _UNPRICED = range(len(_CLASSES))


def price(calls: pl.DataFrame, book: PriceBook, *, known_at_ns: int) -> pl.DataFrame:
    """Price a ``CALLS`` frame; the ``ENTRIES`` frame has the same calls in the same order.

    Args:
        calls: what ``dialects`` made of spans.
        book: the prices.
        known_at_ns: when this installation records the charges, ns since the epoch.
    """
    if not calls.height:
        return ENTRIES.to_frame()
    broken = fractional(calls)
    if not broken.any():
        return _price(calls, book, known_at_ns, scale=1)
    # Seconds of audio have fractions, tokens do not: the few are computed in billionths.
    order = np.concatenate([np.flatnonzero(~broken), np.flatnonzero(broken)])
    parts = [
        _price(calls.filter(pl.Series(rows)), book, known_at_ns, scale=scale)
        for rows, scale in ((~broken, 1), (broken, NANO))
        if rows.any()
    ]
    return pl.concat(parts)[np.argsort(order)]


def _price(calls: pl.DataFrame, book: PriceBook, known_at_ns: int, *, scale: int) -> pl.DataFrame:
    usage = read_usage(calls, book.units, scale)
    who = identify(calls, book)
    is_empty = usage.is_empty()
    # An error without usage was not charged for by anybody: a cost of 0 that is known.
    failed = is_empty & (calls.get_column("status") == "error").to_numpy() & ~usage.invalid
    why = who.unresolved
    why[is_empty & flags_of(calls, "usage_missing")] = _NO_USAGE
    why[usage.invalid] = _USAGE_INVALID
    why[failed] = _PRICED
    rows = np.flatnonzero((why == _PRICED) & ~failed)
    cards, used = who.card[rows], usage.take(rows)
    made = charge(who.deck, cards, used)
    why[rows[made.unrated]] = _NO_RATE
    why[rows[who.deck.of_account[cards]]] = _ACCOUNT
    why[rows[made.invalid]] = _USAGE_INVALID
    low, high = _bounds(made, who.deck, cards, used, _doubts(calls, rows))
    kind = np.full(calls.height, _EXACT)
    if low is not high:
        kind[rows[(low != high).to_numpy()]] = _BOUNDED
    guessed = flags_of(calls, "usage_estimated")[rows]
    kind[rows[guessed | who.deck.is_standin[cards]]] = _ESTIMATED
    kind[rows[who.deck.is_free[cards]]] = _FREE
    kind[why != _PRICED] = _UNPRICED
    place = _places(why, failed, rows)
    cost = _spread(made.total, place)
    return _entries(
        calls,
        model=who.model,
        cost_usd=cost,
        cost_low_usd=cost if low is made.total else _spread(low, place),
        cost_high_usd=cost if high is made.total else _spread(high, place),
        list_cost_usd=(cost if made.list_total is made.total else _spread(made.list_total, place)),
        cost_class=_CLASS_NAMES[kind],
        unpriced_reason=_REASON_NAMES[why],
        lines=_lines(made, who.deck, rows, why),
        price_book=_constant(book.version, pl.String, calls.height),
        known_at=_constant(known_at_ns, pl.Int64, calls.height).cast(TIME),
    )


def _places(why: Rows, failed: Flags, rows: Rows) -> Rows:
    """Where ``_spread`` finds the money of each call: its own, else 0, else none."""
    place = np.full(len(why), len(rows) + 1)
    place[failed] = len(rows)
    place[rows] = np.arange(len(rows))
    place[why != _PRICED] = len(rows) + 1
    return place


def _spread(money: pl.Series, place: Rows) -> pl.Series:
    """The money of charged calls in the order of all calls; null where a call has no price."""
    nothing = pl.Series([0, None], dtype=pl.Int64).cast(MONEY)
    return pl.concat([money, nothing])[place]


# --- bounds -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Doubts:
    """What is not known about the usage of the charged calls."""

    assumed: Flags  # input may or may not include the cached tokens
    cache_unknown: Flags  # the emitter loses which part of the input was cached
    writes_unknown: Flags  # it loses how much of the input was written to the cache


def _doubts(calls: pl.DataFrame, rows: Rows) -> _Doubts:
    # What was lost besides the input, not in it, has no bounds: such usage is an estimate.
    inside = ~flags_of(calls, "usage_estimated")[rows]
    cache_unknown = flags_of(calls, "cache_unknown")[rows] & inside
    return _Doubts(
        (calls.get_column("convention") == "assumed").to_numpy()[rows],
        cache_unknown,
        cache_unknown | (flags_of(calls, "cache_write_unknown")[rows] & inside),
    )


# Another way to read the same numbers: which calls can be read so, and as what.
_Reading = tuple[Flags, Mapping[str, Counts]]


def _readings(usage: Usage, doubts: _Doubts) -> list[_Reading]:
    """The extremes between which the true usage of a call lies."""
    total, read = usage.get("input_tokens"), usage.get("cache_read_tokens")
    written, hour = usage.get("cache_write_tokens"), usage.get("cache_write_1h_tokens")
    unsplit = written - sum(usage.get(ttl) for ttl in TTLS)
    readings: list[_Reading] = []

    def add(applies: Flags, reading: Mapping[str, Counts]) -> None:
        if applies.any():
            readings.append((applies, reading))

    # The default lifetime is the figure; the longer one costs more where it has its own rate.
    all_hour = {"cache_write_1h_tokens": hour + unsplit}
    add(unsplit > 0, all_hour)
    # Read as exclusive, the input is larger by what was cached.
    exclusive = {"input_tokens": total + read + written}
    open_input = doubts.assumed & (read + written > 0)
    add(open_input, exclusive)
    add(open_input & (unsplit > 0), {**exclusive, **all_hour})
    # Nothing of the cache is known: all of the rest was read from it, or all was written to it.
    rest = total - read - written
    add(doubts.cache_unknown & (rest > 0), {"cache_read_tokens": read + rest})
    add(
        doubts.writes_unknown & (rest > 0),
        {"cache_write_tokens": written + rest, "cache_write_1h_tokens": hour + unsplit + rest},
    )
    for cached, modality, both in OVERLAPS:
        most = np.minimum(usage.get(cached), usage.get(modality))
        add(most > usage.get(both), {both: most})
    return readings


def _bounds(
    made: Charge, deck: Deck, cards: Rows, usage: Usage, doubts: _Doubts
) -> tuple[pl.Series, pl.Series]:
    """The lowest and the highest cost that the reported usage allows."""
    low = high = made.total
    readings = _readings(usage, doubts)
    for unit, by_card in deck.allowances.items():
        # What the account may use for nothing may be used up, or not yet.
        allowed = by_card[cards] & (usage.get(unit) > 0)
        nothing = {unit: np.zeros(usage.rows, np.int64)}
        readings += [
            (applies & allowed, {**reading, **nothing})
            for applies, reading in [(allowed, {}), *readings]
            if (applies & allowed).any()
        ]
    for applies, reading in readings:
        rows = np.flatnonzero(applies & ~made.invalid)
        changed = {unit: counts[rows] for unit, counts in reading.items()}
        other = charge(deck, cards[rows], usage.take(rows).with_counts(changed))
        # A reading that contradicts the card is no reading.
        low = _replaced(low, rows, other, lambda new, old: new < old)
        high = _replaced(high, rows, other, lambda new, old: new > old)
    return low, high


def _replaced(
    money: pl.Series,
    rows: Rows,
    other: Charge,
    wins: Callable[[pl.Series, pl.Series], pl.Series],
) -> pl.Series:
    better = wins(other.total, money[rows]).to_numpy() & ~other.invalid
    source = np.arange(len(money))
    source[rows[better]] = len(money) + np.flatnonzero(better)
    return pl.concat([money, other.total])[source]


# --- the frame ----------------------------------------------------------------------------------


def _lines(made: Charge, deck: Deck, rows: Rows, why: Rows) -> pl.Series:
    """The lines of every call; none where it has no price."""
    call = rows[made.call]
    kept = np.flatnonzero(why[call] == _PRICED)
    rate = made.rate[kept]
    columns = {
        "unit": deck.unit[rate],
        "quantity": made.quantity[kept],
        "rate_usd": deck.usd[rate],
        "per": deck.per[rate],
        "amount_usd": made.amount[kept],
        "price_id": deck.price_id[rate],
    }
    arrays = [column.to_arrow() for column in columns.values()]
    ends = np.cumsum(np.bincount(call[kept], minlength=len(why)))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int64())
    lists = pa.LargeListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(arrays, list(columns))
    )
    return pl.Series("lines", lists, dtype=LINES)


def _constant(value: object, dtype: type[pl.DataType], height: int) -> pl.Series:
    return pl.Series([value], dtype=dtype).new_from_index(0, height)


def _entries(calls: pl.DataFrame, **made: pl.Series) -> pl.DataFrame:
    """All columns of ``ENTRIES``: those of the calls, those made here, those of every charge."""
    made["kind"] = _constant("charge", pl.String, calls.height)
    made["run"] = made["reason"] = _constant("", pl.String, calls.height)
    made["leg"] = _constant(0, pl.UInt8, calls.height)
    made["calls"] = _constant(1, pl.Int8, calls.height)
    return pl.DataFrame(
        [
            (made[name] if name in made else calls.get_column(name)).rename(name)
            for name in ENTRIES.names()
        ]
    )
