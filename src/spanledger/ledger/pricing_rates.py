"""The rate cards that the calls of a frame need, as arrays to be indexed by call.

Promises: the book is asked once for each distinct (names, tier, price period) of a frame, however
many calls it has; which card a call gets depends on that call alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.ledger.catalog import PriceBook, Rate, RateCard, Units
from spanledger.ledger.pricing_usage import Counts, Flags, Rows
from spanledger.ledger.schema import MONEY

_NAMES: Final = ("provider", "request_model", "response_model", "service_tier")
_NS_PER_DAY: Final = 86_400 * 10**9
_NO_BOUNDARY: Final = np.iinfo(np.int64).max
# Digits behind the point up to which a rate times billionths is exact in Decimal(38, 18).
_SHORT_RATE_DIGITS: Final = 9

NO_CARD: Final = -1
UNRESOLVED: Final = ("", "unknown_provider", "unknown_model")


@dataclass(frozen=True)
class Deck:
    """All cards of a frame side by side: first those of one card, band by band, then the next."""

    cards: Sequence[RateCard]
    units: Sequence[str]  # priced by any card, in the order of lines
    boundaries: Sequence[Counts]  # for each card its first boundary, its second, ...
    first_band: Counts  # of each card
    rate_of: np.ndarray[Any, np.dtype[np.int64]]  # [band, unit] -> row of the columns below
    unit: pl.Series
    usd: pl.Series
    per: pl.Series
    price_id: pl.Series
    rough_usd: np.ndarray[Any, np.dtype[np.float64]]  # for one unit, to see what is out of bounds
    is_short: Flags
    is_free: Flags  # of each card
    is_standin: Flags
    audio_seconds_min: Counts

    def bands(self, cards: Rows, input_counts: Counts, scale: int) -> Rows:
        """The band that rates each call: chosen by its whole input, for the whole call."""
        # Whole units are compared: "more than 200,000 tokens" of billionths is the same question.
        tokens = -(-input_counts // scale) if scale != 1 else input_counts
        bands = self.first_band[cards]
        for boundary in self.boundaries:
            bands = bands + (tokens > boundary[cards])
        return bands


@dataclass(frozen=True)
class Identified:
    """Who is paid for what in each call: its card, its model, or why there is none."""

    deck: Deck
    card: Rows  # index into the deck, NO_CARD where the model is unknown
    model: pl.Series
    unresolved: Rows  # index into UNRESOLVED: why there is no card


def identify(calls: pl.DataFrame, book: PriceBook) -> Identified:
    """Find the card of every call."""
    starts_ns = calls.get_column("start_time").cast(pl.Int64).to_numpy()
    _, first, kind = np.unique(
        _codes(calls) * _periods_of_day(book) + _period(starts_ns, book),
        return_index=True,
        return_inverse=True,
    )
    cards: dict[RateCard, int] = {}
    index, models, reasons = [], [], []
    distinct = calls.select(_NAMES)[first].iter_rows()
    for names, at_ns in zip(distinct, starts_ns[first].tolist(), strict=True):
        provider, request_model, response_model, tier = (name or "" for name in names)
        found = book.resolve(provider, request_model, response_model)
        if isinstance(found, str):
            index.append(NO_CARD)
            models.append(response_model or request_model)
            reasons.append(UNRESOLVED.index(found))
        else:
            card = book.card(found, tier, at_ns)
            index.append(cards.setdefault(card, len(cards)))
            models.append(found.model)
            reasons.append(0)
    return Identified(
        _deck(tuple(cards), book.units),
        np.array(index, np.int64)[kind],
        pl.Series(models, dtype=pl.String)[kind],
        np.array(reasons, np.int64)[kind],
    )


def _codes(calls: pl.DataFrame) -> Rows:
    """A number for each distinct combination of names, below the number of calls."""
    codes = np.zeros(calls.height, np.int64)
    if calls.height == 1:
        return codes
    for name in _NAMES:
        column = calls.get_column(name).to_arrow(compat_level=pl.CompatLevel.oldest())
        encoded = column.dictionary_encode("encode")  # a null is a name of its own
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
        # Made small again at each step: the product of four frames' worth of names is too large.
        codes = pa.array(codes).dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _periods_of_day(book: PriceBook) -> int:
    return (len(book.day_starts_ns) + 1) * (len(book.day_marks_ns) + 1)


def _period(starts_ns: Counts, book: PriceBook) -> Rows:
    """A number that is the same for instants between which no price of the book changes."""
    day = np.searchsorted(np.array(book.day_starts_ns, np.int64), starts_ns, "right")
    mark = np.searchsorted(np.array(book.day_marks_ns, np.int64), starts_ns % _NS_PER_DAY, "right")
    return day * (len(book.day_marks_ns) + 1) + mark


# Small frames are many and ask for the same few cards again and again; large ones are few.
@lru_cache(maxsize=32)
def _deck(cards: tuple[RateCard, ...], known: Units) -> Deck:
    priced = {unit for card in cards for unit in card.shape.units}
    units = [unit.usage_key for unit in known if unit.usage_key in priced]
    place = {unit: index for index, unit in enumerate(units)}
    rates: list[Rate] = []
    rate_of: list[list[int]] = []
    first_band = []
    for card in cards:
        first_band.append(len(rate_of))
        for band in card.bands:
            row = [-1] * len(units)
            for rate in band:
                row[place[rate.usage_key]] = len(rates)
                rates.append(rate)
            rate_of.append(row)
    most = max((len(card.boundaries) for card in cards), default=0)
    boundaries = [
        np.array(
            [card.boundaries[at] if at < len(card.boundaries) else _NO_BOUNDARY for card in cards],
            np.int64,
        )
        for at in range(most)
    ]
    return Deck(
        cards=cards,
        units=units,
        boundaries=boundaries,
        first_band=np.array(first_band, np.int64),
        rate_of=np.array(rate_of, np.int64).reshape(len(rate_of), len(units)),
        unit=pl.Series([rate.usage_key for rate in rates], dtype=pl.String),
        usd=pl.Series([rate.usd for rate in rates], dtype=MONEY),
        per=pl.Series([rate.per for rate in rates], dtype=pl.Int64),
        price_id=pl.Series([rate.price_id for rate in rates], dtype=pl.String),
        rough_usd=np.array([float(rate.usd) / rate.per for rate in rates], np.float64),
        is_short=np.array([_digits(rate) <= _SHORT_RATE_DIGITS for rate in rates], np.bool_),
        is_free=np.array([card.is_free for card in cards], np.bool_),
        is_standin=np.array([card.is_standin for card in cards], np.bool_),
        audio_seconds_min=np.array([card.audio_seconds_min for card in cards], np.int64),
    )


def _digits(rate: Rate) -> int:
    exponent = rate.usd.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
