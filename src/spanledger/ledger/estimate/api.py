"""``estimate``: one call, one answer.

Promises: the charge that the ledger would book for a call of the same names, usage, service tier
and instant, to the last digit. A wrong argument is a ``ValueError`` that says what to write; what
the book cannot price is an answer without a cost, with a reason.
Never reads the clock where an instant is given, and never anything else from outside but the
bundled prices, once, where no book is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from time import time_ns
from typing import Final, TypedDict, Unpack, cast

from spanledger.ledger.catalog import PriceBook, RateCard, Units
from spanledger.ledger.estimate.answer import Estimate, unit_words
from spanledger.ledger.estimate.charge import Charge, Doubts, charge, complete, contradiction
from spanledger.ledger.estimate.guesses import Direction, add_audio, measured
from spanledger.ledger.estimate.quantities import (
    Quantities,
    Quantity,
    number,
    read,
    scaled,
    shown,
)
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING_USED: Final = "nothing was used: say how many input_tokens, output_tokens or other units"
_MICROSECOND: Final = timedelta(microseconds=1)


class Used(TypedDict, total=False):
    """The usual units. Any other of the price book may be given likewise, or in ``usage``."""

    input_tokens: Quantity | None  # the whole prompt, with what is cached of it
    output_tokens: Quantity | None  # the whole answer, with its reasoning
    cache_read_tokens: Quantity | None  # the part of the input that is read from a cache
    cache_write_tokens: Quantity | None  # the part that is written to one, for any lifetime
    cache_write_5m_tokens: Quantity | None  # the part of those writes that lives 5 minutes
    cache_write_1h_tokens: Quantity | None  # the part of those writes that lives an hour
    reasoning_tokens: Quantity | None  # the part of the output that is reasoning
    input_audio_tokens: Quantity | None  # the part of the input that is audio
    output_audio_tokens: Quantity | None
    input_image_tokens: Quantity | None
    output_image_tokens: Quantity | None
    audio_seconds: Quantity | None
    characters: Quantity | None  # to be spoken
    images: Quantity | None
    pages: Quantity | None
    searches: Quantity | None  # of the web


def estimate(  # noqa: PLR0913 - what may be known of a call, all by name
    *,
    model: str,
    provider: str = "",
    usage: Mapping[str, Quantity | None] | None = None,
    input_audio_minutes: Quantity | None = None,
    output_audio_minutes: Quantity | None = None,
    service_tier: str = "",
    region: str = "",
    at: datetime | None = None,
    usage_estimated: bool = False,
    cache_unknown: bool = False,
    cache_write_unknown: bool = False,
    convention_assumed: bool = False,
    book: PriceBook | None = None,
    **used: Unpack[Used],
) -> Estimate:
    """Tell what one call costs, with the lines that prove it.

    ``input_tokens`` **includes** cached tokens and ``output_tokens`` **includes** reasoning, as in
    the ledger: ``estimate(model="gpt-4o", input_tokens=10_000, cache_read_tokens=8_000)``.

    Args:
        model: as the API calls it: ``gpt-4o``, ``us.anthropic.claude-...``, ``openrouter/...``.
        provider: who is paid; where it is not given the name of the model decides.
        usage: units of the price book by name, for programs that have a mapping.
        input_audio_minutes: audio that is heard, on top of ``input_tokens``.
        output_audio_minutes: audio that is spoken, on top of ``output_tokens``.
        service_tier: that of the response: batch, flex, priority, fast, ...
        region: where inference runs, as the response says it: ``us``, ``eu``, ``global``.
        at: the instant whose prices apply, UTC unless it says otherwise; now by default.
        usage_estimated: the counts are a guess: the class becomes ``estimated``.
        cache_unknown: some of the input may have been cached: bounds say how far that goes.
        cache_write_unknown: likewise for what was written to a cache alone.
        convention_assumed: ``input_tokens`` may be without the cached tokens: likewise.
        book: prices; those that came with the package by default.
        used: see ``Used``; ``input_tokens=...``, ``output_tokens=...``, ``searches=...``.

    Raises:
        ValueError: a quantity is no count, or a unit is not in the book.
        TypeError: a name is no text, or ``at`` no moment.
    """
    texts = {"model": model, "provider": provider, "service_tier": service_tier, "region": region}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"{name} = {shown(text)}: a name is text")
    prices = bundled() if book is None else book
    said = cast("Mapping[str, Quantity | None]", used)
    call = _Call(
        model=model,
        provider=provider,
        service_tier=service_tier[:MODEL_NAME_BYTES_MAX],
        region=region[:MODEL_NAME_BYTES_MAX],
        at_ns=time_ns() if at is None else _since_epoch_ns(at),
        quantities=read((said, usage or {}), prices.units),
        minutes=_minutes(input_audio_minutes, output_audio_minutes),
        usage_estimated=usage_estimated,
        doubts=Doubts(
            convention_assumed,
            # What is lost besides the input, not in it, has no bounds: such usage is an estimate.
            cache_unknown=cache_unknown and not usage_estimated,
            writes_unknown=(cache_unknown or cache_write_unknown) and not usage_estimated,
        ),
    )
    return _estimate(call, prices)


def estimate_text(
    *,
    model: str,
    prompt: str,
    expected_output_tokens: Quantity,
    provider: str = "",
    service_tier: str = "",
    at: datetime | None = None,
    book: PriceBook | None = None,
) -> Estimate:
    """Tell about what a prompt will cost, before it is sent; the class is ``estimated``.

    The prompt is measured (see ``tokens_of_text``) and forgotten. How long the answer will be
    nobody can know: pass what you expect, or the limit that you set.
    """
    tokens, note = measured(len(prompt))
    answer = estimate(
        model=model,
        provider=provider,
        input_tokens=tokens,
        output_tokens=expected_output_tokens,
        service_tier=service_tier,
        at=at,
        usage_estimated=True,
        book=book,
    )
    return replace(answer, notes=(note, *answer.notes))


@lru_cache(maxsize=1)
def bundled() -> PriceBook:
    """The prices that came with the package; about half a second, the first time."""
    return PriceBook.bundled()


@dataclass(frozen=True, slots=True)
class _Call:
    """What is asked, checked."""

    model: str
    provider: str
    service_tier: str
    region: str
    at_ns: int
    quantities: Quantities
    minutes: Mapping[Direction, int | Decimal]  # of audio
    usage_estimated: bool
    doubts: Doubts


def _minutes(heard: Quantity | None, spoken: Quantity | None) -> Mapping[Direction, int | Decimal]:
    minutes: dict[Direction, int | Decimal] = {}
    if heard is not None:
        minutes["input"] = number("input_audio_minutes", heard)
    if spoken is not None:
        minutes["output"] = number("output_audio_minutes", spoken)
    return minutes


def _estimate(call: _Call, book: PriceBook) -> Estimate:
    found = book.resolve(call.provider, call.model, "")
    card = (
        None
        if isinstance(found, str)
        else book.card(found, call.service_tier, call.at_ns, call.region)
    )
    was_said = bool(call.quantities or call.minutes)
    made, guesses = _charge(call, card, book.units)
    if isinstance(found, str) and made.reason != "usage_invalid":
        made = Charge(reason=found, notes=(_unresolved(call, found),))
    if not was_said:
        made = Charge(reason="no_usage", notes=(_NOTHING_USED,))
    notes = guesses + made.notes
    if card is not None and not made.reason:
        notes += _caveats(call, card, made, book)
    return Estimate(
        cost_usd=made.cost_usd,
        cost_low_usd=made.low_usd,
        cost_high_usd=made.high_usd,
        list_cost_usd=made.list_usd,
        cost_class=_class(made, card, is_guess=call.usage_estimated or bool(guesses)),
        unpriced_reason=made.reason,
        lines=made.lines,
        model=call.model[:MODEL_NAME_BYTES_MAX] if card is None else card.model.model,
        provider=call.provider[:MODEL_NAME_BYTES_MAX] if card is None else card.model.provider,
        service_tier=call.service_tier,
        region=call.region,
        at_ns=call.at_ns,
        price_book=book.version,
        notes=notes,
    )


def _charge(call: _Call, card: RateCard | None, units: Units) -> tuple[Charge, tuple[str, ...]]:
    """The charge, and how what is no count became one."""
    quantities, guesses = call.quantities, []
    for direction, minutes in call.minutes.items():
        if card is None:
            break
        can_be_charged, note = add_audio(card, direction, minutes, quantities)
        if not can_be_charged:
            return Charge(reason="no_rate_for_unit", notes=(note,)), ()
        if note:
            guesses.append(note)
    counts = scaled(quantities)
    complete(counts, units)
    wrong = contradiction(counts, units)
    if wrong:
        return Charge(reason="usage_invalid", notes=(wrong,)), tuple(guesses)
    if card is None:
        return Charge(), ()
    return charge(card, counts, units, call.doubts), tuple(guesses)


def _caveats(call: _Call, card: RateCard, made: Charge, book: PriceBook) -> tuple[str, ...]:
    """What a person would want to know of a charge that nothing is wrong with."""
    caveats = []
    if card.is_standin:
        tier = shown(call.service_tier)
        caveats.append(f"{tier} has no price of its own for this model: the standard rates")
    elif call.service_tier and not book.knows_tier(call.service_tier):
        tier = shown(call.service_tier)
        caveats.append(f"{tier} is no service tier that has a price: the standard rates")
    minimums = {**card.minimums, "input_audio_seconds": card.audio_seconds_min}
    for line in made.lines:
        asked, least = call.quantities.get(line.unit, 0), minimums.get(line.unit, 0)
        if least and line.quantity == least and asked != least:
            caveats.append(f"at least {least:,} {unit_words(line.unit)} are charged for")
    return tuple(caveats)


def _class(made: Charge, card: RateCard | None, *, is_guess: bool) -> str:
    if made.reason or card is None:
        return "unpriced"
    if card.is_free:
        return "free"
    if is_guess or card.is_standin:
        return "estimated"
    return "exact" if made.low_usd == made.high_usd else "bounded"


def _unresolved(call: _Call, reason: str) -> str:
    model, provider = shown(call.model), shown(call.provider)
    if not call.model.strip():
        return "the name of the model is empty"
    if reason == "unknown_model":
        return f"{model} is no model of {provider or 'any seller'} in the price book"
    if provider:
        return f"{provider} has no prices in the price book"
    return f"nobody is known to sell {model}: check the name, or say who is paid (provider)"


def _since_epoch_ns(at: datetime) -> int:
    if not isinstance(at, datetime):
        raise TypeError(f"at = {shown(at)}: an instant is a datetime")
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return (aware - _EPOCH) // _MICROSECOND * 1_000
