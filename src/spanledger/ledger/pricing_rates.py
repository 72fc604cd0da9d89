"""The rate cards that the calls of a frame need, as arrays to be indexed by call.

Promises: the book is asked once for each distinct (names, tier, price period) of a frame, however
many calls it has; which card a call gets depends on that call alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.ledger.catalog import PriceBook, Rate, RateCard, ResolvedModel, Units
from spanledger.ledger.catalog.periods import NS_PER_WEEK
from spanledger.ledger.pricing_usage import Counts, Flags, Rows
from spanledger.ledger.schema import MONEY

_NAMES: Final = ("provider", "request_model", "response_model", "service_tier", "region")
_NO_BOUNDARY: Final = np.iinfo(np.int64).max
# Digits behind the point up to which a rate times billionths is exact in Decimal(38, 18).
_SHORT_RATE_DIGITS: Final = 9

NO_CARD: Final = -1
NO_RATE: Final = -1
UNRESOLVED: Final = ("", "unknown_provider", "unknown_model")


@dataclass(frozen=True)
class Deck:
    """All cards of a frame side by side: first those of one card, band by band, then the next."""

    cards: Sequence[RateCard]
    units: Sequence[str]  # priced by any card, in the order of lines
    boundaries: Sequence[Counts]  # for each card its first boundary, its second, ...
    first_band: Counts  # of each card
    # [band, unit] -> row of the columns below; NO_RATE where the band does not price the unit
    rate_of: np.ndarray[Any, np.dtype[np.int64]]
    unit: pl.Series
    usd: pl.Series
    per: pl.Series
    list_usd: pl.Series | None  # before contracts; None where no card has one
    list_per: pl.Series
    price_id: pl.Series
    rough_usd: np.ndarray[Any, np.dtype[np.float64]]  # for one unit, to see what is out of bounds
    is_short: Flags
    is_free: Flags  # of each card
    is_standin: Flags
    audio_seconds_min: Counts
    minimums: Mapping[str, Counts]  # unit -> of each card
    allowances: Mapping[str, Flags]  # unit -> is some of it free to the account, for each card
    of_account: Flags  # the price depends on the state of the account

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
    codes = _codes(calls)
    _, first, kind = np.unique(codes, return_index=True, return_inverse=True)
    found = [
        book.resolve(*(name or "" for name in names))
        for names in calls.select(_NAMES[:3])[first].iter_rows()
    ]
    periods = _periods(starts_ns, found, kind, book)
    if periods.any():
        _, first, kind_of_kind = np.unique(
            kind * (periods.max() + 1) + periods, return_index=True, return_inverse=True
        )
        found = [found[at] for at in kind[first]]
        kind = kind_of_kind
    return _with_cards(calls, book, found, first, kind)


def _with_cards(
    calls: pl.DataFrame,
    book: PriceBook,
    found: Sequence[ResolvedModel | str],
    first: Rows,
    kind: Rows,
) -> Identified:
    """The cards of all kinds of calls; ``first`` has a call of each kind, ``kind`` that of each."""
    cards: dict[RateCard, int] = {}
    index, models, reasons = [], [], []
    said = calls.select(
        "response_model", "request_model", "service_tier", "region", pl.col("start_time").cast(int)
    )[first]
    for model, (response, request, tier, region, at_ns) in zip(
        found, said.iter_rows(), strict=True
    ):
        if isinstance(model, str):
            index.append(NO_CARD)
            models.append(response or request)
            reasons.append(UNRESOLVED.index(model))
        else:
            card = book.card(model, tier or "", at_ns, region or "")
            index.append(cards.setdefault(card, len(cards)))
            models.append(model.model)
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


def _periods(
    starts_ns: Counts, found: Sequence[ResolvedModel | str], kind: Rows, book: PriceBook
) -> Rows:
    """A number that is the same for calls of a model between which its price does not change.

    Most models never change theirs: a frame of a year of their calls is still one kind.
    """
    changes = np.array([0 if isinstance(each, str) else each.changes for each in found])[kind]
    periods = np.zeros(len(starts_ns), np.int64)
    if not changes.any():
        return periods
    date = np.searchsorted(np.array(book.dates_ns, np.int64), starts_ns, "right") + 1
    marks = np.array(book.week_marks_ns, np.int64)
    mark = np.searchsorted(marks, starts_ns % NS_PER_WEEK, "right")
    return np.where(changes == 0, 0, date * (len(marks) + 1) + np.where(changes == 2, mark, 0))


# Small frames are many and ask for the same few cards again and again; large ones are few.
@lru_cache(maxsize=32)
def _deck(cards: tuple[RateCard, ...], known: Units) -> Deck:
    priced = {unit for card in cards for unit in card.shape.units}
    units = [unit.usage_key for unit in known if unit.usage_key in priced]
    place = {unit: index for index, unit in enumerate(units)}
    rates: list[Rate] = []
    listed: list[Rate] = []
    rate_of: list[list[int]] = []
    first_band = []
    for card in cards:
        first_band.append(len(rate_of))
        for band, list_band in zip(card.bands, card.list_bands, strict=True):
            row = [NO_RATE] * len(units)
            list_rates = {rate.usage_key: rate for rate in list_band}
            for rate in band:
                row[place[rate.usage_key]] = len(rates)
                rates.append(rate)
                listed.append(list_rates.get(rate.usage_key, rate))
            rate_of.append(row)
    return Deck(
        cards=cards,
        units=units,
        boundaries=_boundaries(cards),
        first_band=np.array(first_band, np.int64),
        rate_of=np.array(rate_of, np.int64).reshape(len(rate_of), len(units)),
        unit=pl.Series([rate.usage_key for rate in rates], dtype=pl.String),
        usd=pl.Series([rate.usd for rate in rates], dtype=MONEY),
        per=pl.Series([rate.per for rate in rates], dtype=pl.Int64),
        list_usd=_list_usd(cards, listed),
        list_per=pl.Series([rate.per for rate in listed], dtype=pl.Int64),
        price_id=pl.Series([rate.price_id for rate in rates], dtype=pl.String),
        rough_usd=np.array(
            [
                float(max(rate.usd / rate.per, other.usd / other.per))
                for rate, other in zip(rates, listed, strict=True)
            ],
            np.float64,
        ),
        is_short=np.array(
            [
                max(_digits(rate), _digits(other)) <= _SHORT_RATE_DIGITS
                for rate, other in zip(rates, listed, strict=True)
            ],
            np.bool_,
        ),
        is_free=np.array([card.is_free for card in cards], np.bool_),
        is_standin=np.array([card.is_standin for card in cards], np.bool_),
        audio_seconds_min=np.array([card.audio_seconds_min for card in cards], np.int64),
        minimums={
            unit: np.array([card.minimums.get(unit, 0) for card in cards], np.int64)
            for unit in dict.fromkeys(unit for card in cards for unit in card.minimums)
        },
        allowances={
            unit: np.array([unit in card.allowances for card in cards], np.bool_)
            for unit in dict.fromkeys(unit for card in cards for unit in card.allowances)
        },
        of_account=np.array([bool(card.account_state) for card in cards], np.bool_),
    )


def _boundaries(cards: Sequence[RateCard]) -> Sequence[Counts]:
    most = max((len(card.boundaries) for card in cards), default=0)
    return [
        np.array(
            [card.boundaries[at] if at < len(card.boundaries) else _NO_BOUNDARY for card in cards],
            np.int64,
        )
        for at in range(most)
    ]


def _list_usd(cards: Sequence[RateCard], listed: Sequence[Rate]) -> pl.Series | None:
    if not any(card.has_contract for card in cards):
        return None
    return pl.Series([rate.usd for rate in listed], dtype=MONEY)


def _digits(rate: Rate) -> int:
    exponent = rate.usd.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
