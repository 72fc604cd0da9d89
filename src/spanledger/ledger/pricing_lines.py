"""The arithmetic: usage times rates, line by line, exact.

Promises: each line is quantity * rate / per, rounded once, half even, to 18 places; a total is the
sum of its lines; nothing wraps. A call whose counts contradict its card, or that would cost more
than ``CALL_COST_USD_MAX``, is marked invalid and gets no lines.

Why Polars' decimals may be used: measured on 2.1, a product or quotient of Decimal(38, 18) is
computed with 256 bits and rounded half even. A product of a whole quantity and a rate needs no
rounding, so the division by ``per`` is the only one. Overflow raises; the bounds keep away from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

import numpy as np
import polars as pl

from spanledger.ledger.catalog.units import Shape
from spanledger.ledger.limits import CALL_COST_USD_MAX, MONEY_SCALE
from spanledger.ledger.pricing_rates import NO_RATE, Deck
from spanledger.ledger.pricing_usage import Counts, Flags, Rows, Usage
from spanledger.ledger.schema import MONEY

# A double is this exact or better; what is nearer to the bound is decided on the decimals.
_ROUGH: Final = 1 + 1e-9
_CENT: Final = Decimal(1).scaleb(-MONEY_SCALE)
_WIDE: Final = Context(prec=100, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Charge:
    """Lines of all calls, in order of calls and units, and what each call comes to."""

    call: Rows  # of each line
    rate: Rows  # row of the deck's columns
    quantity: pl.Series
    amount: pl.Series
    total: pl.Series  # of each call
    list_total: pl.Series  # before contracts; ``total`` where there are none
    invalid: Flags
    unrated: Flags  # used something that its card has no price for, not even that of a whole


def charge(deck: Deck, cards: Rows, usage: Usage) -> Charge:
    """Charge calls by their cards; ``cards`` has the card of each call of ``usage``."""
    shapes = list(dict.fromkeys(card.shape for card in deck.cards))
    shape = np.array([shapes.index(card.shape) for card in deck.cards], np.int64)[cards]
    billed = _billed(deck, cards, usage)
    leaves = np.zeros((usage.rows, len(deck.units)), np.int64)
    for column, unit in enumerate(deck.units):
        terms = [each.leaves.get(unit, ()) for each in shapes]
        _add_terms(leaves[:, column], billed, terms, shape)
    invalid = (leaves < 0).any(axis=1)
    unrated = _uncovered(usage, shapes, shape)
    call, place = np.nonzero(leaves > 0)
    bands = deck.bands(cards, usage.get("input_tokens"), usage.scale)
    rate = deck.rate_of[bands[call], place]
    counts = leaves[call, place]
    lacking = rate == NO_RATE  # a band beyond all ranges that the price file gives
    unrated[call[lacking]] = True
    rough = np.bincount(call, counts * deck.rough_usd[rate] * ~lacking, usage.rows) / usage.scale
    invalid |= rough > CALL_COST_USD_MAX * _ROUGH
    if invalid.any() or lacking.any():
        kept = ~(invalid[call] | lacking)
        call, rate, counts = call[kept], rate[kept], counts[kept]
    quantity = _quantity(counts, usage.scale)
    is_short = usage.scale == 1 or bool(deck.is_short[rate].all())
    amount = _amounts(quantity, deck.usd[rate], deck.per[rate], is_short=is_short)
    total = list_total = _sums(amount, call, usage.rows)
    if deck.list_usd is not None:
        listed = _amounts(quantity, deck.list_usd[rate], deck.list_per[rate], is_short=is_short)
        list_total = _sums(listed, call, usage.rows)
        invalid |= (list_total > CALL_COST_USD_MAX).to_numpy()
    invalid |= (total > CALL_COST_USD_MAX).to_numpy()
    return Charge(call, rate, quantity, amount, total, list_total, invalid, unrated)


def _add_terms(
    target: Counts, usage: Usage, terms: Sequence[Sequence[tuple[str, int]]], shape: Rows
) -> None:
    """Add to ``target`` what the terms of each call's shape come to."""
    factors: dict[str, list[int]] = {}
    for at, each in enumerate(terms):
        for reported, factor in each:
            factors.setdefault(reported, [0] * len(terms))[at] = factor
    for reported, by_shape in factors.items():
        if reported in usage.of:
            target += usage.of[reported] * np.array(by_shape, np.int64)[shape]


def _uncovered(usage: Usage, shapes: Sequence[Shape], shape: Rows) -> Flags:
    """Which calls used something that nothing on their card pays for."""
    unrated = usage.unknown.copy()
    for unit, counts in usage.of.items():
        covered = np.array([unit in each.covered for each in shapes], np.bool_)
        if covered.all():
            continue
        rest = counts
        if any(unit in each.remainders for each in shapes):
            rest = np.zeros(usage.rows, np.int64)
            _add_terms(
                rest, usage, [each.remainders.get(unit, ((unit, 1),)) for each in shapes], shape
            )
        unrated |= (rest > 0) & ~covered[shape]
    return unrated


def _billed(deck: Deck, cards: Rows, usage: Usage) -> Usage:
    """What is charged for: the usage, one request a call, and at least the minimum."""
    billed = {}
    if "requests" in deck.units:
        billed["requests"] = np.full(usage.rows, usage.scale, np.int64)
    if deck.audio_seconds_min.any():
        whole, part = usage.get("audio_seconds"), usage.get("input_audio_seconds")
        reported = np.where(whole > 0, whole, part)
        minimum = deck.audio_seconds_min[cards] * usage.scale
        # Transcription has no other audio than its input; that is how its record is named.
        applies = (minimum > 0) & (reported > 0)
        seconds = np.maximum(reported, minimum)
        billed["audio_seconds"] = np.where(applies, seconds, whole)
        billed["input_audio_seconds"] = np.where(applies, seconds, part)
    for unit, least in deck.minimums.items():
        counts = usage.get(unit)
        minimum = least[cards] * usage.scale
        billed[unit] = np.where(counts > 0, np.maximum(counts, minimum), counts)
    return usage.with_counts(billed)


def _quantity(counts: Counts, scale: int) -> pl.Series:
    quantity = pl.Series(counts).cast(MONEY)
    if scale != 1:
        quantity = quantity / pl.Series([scale]).cast(MONEY)  # exact: scale is a power of ten
    return quantity


def _amounts(quantity: pl.Series, usd: pl.Series, per: pl.Series, *, is_short: bool) -> pl.Series:
    """The amount of each line; ``is_short``: no product of it is rounded."""
    if is_short:
        return (quantity * usd) / per.cast(MONEY)
    # A fraction times a rate of many digits: the product would be rounded before the division.
    return wide_amounts(quantity.to_list(), usd.to_list(), per.to_list())


def wide_amounts(
    quantity: Sequence[Decimal], usd: Sequence[Decimal], per: Sequence[int]
) -> pl.Series:
    """The same with Python's decimals; no price of today needs it beside a fraction."""
    exact = (
        _WIDE.divide(_WIDE.multiply(count, rate), Decimal(units)).quantize(_CENT, context=_WIDE)
        for count, rate, units in zip(quantity, usd, per, strict=True)
    )
    return pl.Series(list(exact), dtype=MONEY)


def _sums(amount: pl.Series, call: Rows, calls: int) -> pl.Series:
    """The sum of each call's amounts; lines are in order of calls."""
    ends = np.cumsum(np.bincount(call, minlength=calls))
    running = pl.concat([pl.Series([0], dtype=pl.Int64).cast(MONEY), amount.cum_sum()])
    starts = np.concatenate([[0], ends[:-1]]) if calls else ends
    return running[ends] - running[starts]
