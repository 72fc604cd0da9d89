"""The price of one call in plain Python: the rules of ``pricing``, for a single row.

Promises: lines, total, bounds and reasons are those of ``pricing.price`` for the same call, to the
last digit; a property test holds the two against each other over the whole price book.
Never: Polars, NumPy, a float, the caller's decimal context.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from spanledger.ledger.catalog import Rate, RateCard, Units
from spanledger.ledger.estimate.quantities import WIDE, Counts
from spanledger.ledger.limits import CALL_COST_USD_MAX, MONEY_SCALE
from spanledger.ledger.usage_rules import OVERLAPS, TOTALS, TTLS

_ATTO: Final = Decimal(1).scaleb(-MONEY_SCALE)
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class EstimateLine:
    """One charge of a call: ``amount_usd`` = ``quantity`` * ``rate_usd`` / ``per``."""

    unit: str
    quantity: Decimal
    rate_usd: Decimal
    per: int
    amount_usd: Decimal
    price_id: str


# A rate, how many steps of usage it takes, and what they cost.
_Charged = tuple[Rate, int, Decimal]
# Another way to read the same usage: what makes it possible, and the counts that are other.
_Reading = tuple[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is not known about the usage."""

    convention_assumed: bool = False  # input may or may not include the cached tokens
    cache_unknown: bool = False  # which part of the input was cached is not reported
    writes_unknown: bool = False  # how much of the input was written to a cache is not


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call comes to: lines and bounds, or a reason and words why there are none."""

    lines: tuple[EstimateLine, ...] = ()
    cost_usd: Decimal | None = None
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None
    list_usd: Decimal | None = None  # before the contract
    reason: str = ""
    notes: tuple[str, ...] = ()


def charge(card: RateCard, counts: Counts, units: Units, doubts: Doubts) -> Charge:
    """Price usage that ``complete`` has filled in and ``contradiction`` found nothing in."""
    charged = _charged(card, counts)
    total = _total(charged)
    list_total = _total(_listed(card, counts, charged)) if card.has_contract else total
    if charged is None or total is None or list_total is None:
        return Charge(reason="usage_invalid", notes=(_refusal(card, counts, units),))
    if card.account_state:
        return Charge(reason="account_state", notes=(card.account_state,))
    unrated = _unrated(card, counts)
    if unrated:
        note = f"{card.model.model} has no price for {', '.join(sorted(unrated))}"
        return Charge(reason="no_rate_for_unit", notes=(note,))
    low = high = total
    notes: list[str] = []
    for note, changed in _with_allowances(card, counts, _readings(counts, doubts)):
        other = Counts({**counts.of, **changed}, counts.scale)
        amount = _total(_charged(card, other))
        if amount is not None and not low <= amount <= high:
            notes.append(note)
            low, high = min(low, amount), max(high, amount)
    lines = tuple([_line(each, counts.scale) for each in charged])
    return Charge(lines, total, low, high, list_total, notes=tuple(dict.fromkeys(notes)))


# --- usage ----------------------------------------------------------------------------------------


def complete(counts: Counts, units: Units) -> None:
    """Fill in what follows from the rest; what was reported stays as it is."""
    of = counts.of
    for whole, parts in units.sums.items():
        if whole not in of and (total := sum(map(counts.get, parts))):
            of[whole] = total
    if "input_tokens" not in of:
        return
    for cached, modality, both in OVERLAPS:
        if cached in of and modality in of and both not in of:
            # Together more than the input: at least the surplus was counted in both.
            least = of[cached] + of[modality] - of["input_tokens"]
            if least > 0:
                of[both] = least


def contradiction(counts: Counts, units: Units) -> str:
    """Name the part that is larger than the whole it belongs to, if there is one."""
    if counts.over:
        return f"{counts.over} is beyond what one call can use"
    totals = _totals(units)
    for unit, count in counts.of.items():
        for whole in totals[unit]:
            if count > counts.get(whole):
                parts, all_of_it = (_plain(counts, each) for each in (unit, whole))
                return (
                    f"{unit} ({parts}) is more than {whole} ({all_of_it}), which includes it: "
                    f"{whole} is the sum of all its parts"
                )
    return ""


@lru_cache(maxsize=8)  # a process has one book, a test a few
def _totals(units: Units) -> Mapping[str, tuple[str, ...]]:
    """Of each unit the totals that it is a part of."""
    return {
        unit.usage_key: tuple(whole for whole in TOTALS if whole in units.wholes(unit.usage_key))
        for unit in units
    }


def _plain(counts: Counts, unit: str) -> str:
    return f"{counts.get(unit) / counts.scale:,.0f}"


# --- lines ----------------------------------------------------------------------------------------


def _charged(card: RateCard, counts: Counts) -> list[_Charged] | None:
    """What each rate of the card takes; None where the counts contradict the card."""
    billed = _billed(card, counts)
    leaves = {unit: _sum(terms, billed) for unit, terms in card.shape.leaves.items()}
    if min(leaves.values(), default=0) < 0:
        return None
    return [
        _charge_of(rate, leaf, counts.scale)
        for rate in _band(card, counts, card.bands)
        if (leaf := leaves[rate.usage_key])
    ]


def _listed(
    card: RateCard, counts: Counts, charged: list[_Charged] | None
) -> list[_Charged] | None:
    """The same at list prices; what only the contract has a rate for stays as it is."""
    rates = {rate.usage_key: rate for rate in _band(card, counts, card.list_bands)}
    return charged and [
        _charge_of(rates.get(rate.usage_key, rate), leaf, counts.scale) for rate, leaf, _ in charged
    ]


def _charge_of(rate: Rate, leaf: int, scale: int) -> _Charged:
    product = WIDE.multiply(leaf, rate.usd)
    return rate, leaf, WIDE.quantize(WIDE.divide(product, rate.per * scale), _ATTO)


def _sum(terms: Iterable[tuple[str, int]], billed: Mapping[str, int]) -> int:
    total = 0
    for unit, factor in terms:
        if unit in billed:
            total += billed[unit] * factor
    return total


def _unrated(card: RateCard, counts: Counts) -> list[str]:
    """The units that were used and that nothing on the card pays for."""
    shape = card.shape
    unrated = [
        unit
        for unit in counts.of
        if unit not in shape.covered
        and _sum(shape.remainders.get(unit, ((unit, 1),)), counts.of) > 0
    ]
    # A band beyond all ranges that the price file gives.
    lacking = shape.units - {rate.usage_key for rate in _band(card, counts, card.bands)}
    if lacking:
        billed = _billed(card, counts)
        unrated += [unit for unit in lacking if _sum(shape.leaves[unit], billed) > 0]
    return unrated


def _billed(card: RateCard, counts: Counts) -> Mapping[str, int]:
    """What is charged for: the usage, one request a call, and at least the minimum."""
    billed = {**counts.of, "requests": counts.scale}
    whole, part = counts.get("audio_seconds"), counts.get("input_audio_seconds")
    if card.audio_seconds_min and (whole or part):
        # Transcription has no other audio than its input; that is how its record is named.
        seconds = max(whole or part, card.audio_seconds_min * counts.scale)
        billed["audio_seconds"] = billed["input_audio_seconds"] = seconds
    for unit, least in card.minimums.items():
        if counts.get(unit):
            billed[unit] = max(counts.get(unit), least * counts.scale)
    return billed


def _band(card: RateCard, counts: Counts, bands: Sequence[Sequence[Rate]]) -> Sequence[Rate]:
    tokens = counts.get("input_tokens") // counts.scale  # exact: tokens have no fractions
    return bands[bisect_left(card.boundaries, tokens)]


def _total(charged: list[_Charged] | None) -> Decimal | None:
    """What a call comes to; None where it comes to nothing that can be true."""
    if charged is None:
        return None
    total = _NOTHING
    for _, _, amount in charged:
        total = WIDE.add(total, amount)
    return total if total <= CALL_COST_USD_MAX else None


def _line(charged: _Charged, scale: int) -> EstimateLine:
    rate, leaf, amount = charged
    quantity = Decimal(leaf) if scale == 1 else WIDE.divide(leaf, scale)
    return EstimateLine(rate.usage_key, quantity, rate.usd, rate.per, amount, rate.price_id)


def _refusal(card: RateCard, counts: Counts, units: Units) -> str:
    """Say which counts cannot be true together, or that no call costs this much."""
    for whole, terms in card.shape.leaves.items():
        if _sum(terms, counts.of) < 0:
            parts = [unit for unit in counts.of if whole in units.wholes(unit)]
            return f"{' and '.join(parts)} together are more than {whole}"
    return f"no single call costs more than ${CALL_COST_USD_MAX:,}"


# --- bounds ---------------------------------------------------------------------------------------


def _readings(counts: Counts, doubts: Doubts) -> Iterator[_Reading]:
    """The extremes between which the true usage lies, each with what makes it possible."""
    total, read = counts.get("input_tokens"), counts.get("cache_read_tokens")
    written, hour = counts.get("cache_write_tokens"), counts.get("cache_write_1h_tokens")
    if written or read or doubts.cache_unknown or doubts.writes_unknown:
        unsplit = written - sum(map(counts.get, TTLS))
        # The default lifetime is the figure; the longer one costs more where it has its own rate.
        all_hour = {"cache_write_1h_tokens": hour + unsplit}
        lifetime = "the lifetime of cache writes is not given: the default one, up to 1 hour"
        if unsplit > 0:
            yield lifetime, all_hour
        # Read as exclusive, the input is larger by what was cached.
        exclusive = {"input_tokens": total + read + written}
        if doubts.convention_assumed and read + written > 0:
            convention = "input_tokens may be without the cached tokens"
            yield convention, exclusive
            if unsplit > 0:
                yield convention, {**exclusive, **all_hour}
        # Nothing of the cache is known: all of the rest was read from it, or written to it.
        rest = total - read - written
        unknown = "how much of the input was cached is not known"
        if doubts.cache_unknown and rest > 0:
            yield unknown, {"cache_read_tokens": read + rest}
        if doubts.writes_unknown and rest > 0:
            yield (
                unknown,
                {
                    "cache_write_tokens": written + rest,
                    "cache_write_1h_tokens": hour + unsplit + rest,
                },
            )
    for cached, modality, both in OVERLAPS:
        most = min(counts.get(cached), counts.get(modality))
        if most > counts.get(both):
            yield f"how many of {modality} were cached is not given", {both: most}


def _with_allowances(
    card: RateCard, counts: Counts, readings: Iterable[_Reading]
) -> Iterable[_Reading]:
    """What the account may use for nothing may be used up, or not yet."""
    every = list(readings)
    for unit, allowance in card.allowances.items():
        if counts.get(unit):
            note = f"{unit} may be free: {allowance}"
            every += [(note, {**changed, unit: 0}) for _, changed in [("", {}), *every]]
    return every
