"""The book as rows: what a ledger keeps so that any past cost can be explained.

Promises: one row for each rate, factor and contract of every layer, with the conditions it holds
under; price id, provider, model and unit make a row's key (a rule may be about several models); the
rows of two books of one version are the same rows in the same order.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from spanledger.ledger.catalog.cards import ResolvedModel
from spanledger.ledger.catalog.layers import Layers
from spanledger.ledger.catalog.periods import Period
from spanledger.ledger.catalog.records import ANY_INPUT, BUNDLED, Contract, PriceRecord, Rate


class PriceRow(NamedTuple):
    """One price of the book. ``model`` may be a pattern that ends in ``*``."""

    price_id: str
    layer: str  # user | spanledger | genai-prices | fallback | contract
    provider: str
    model: str
    unit: str  # a usage key, or "tokens" for a factor on all of them
    usd: Decimal | None  # for `per` units; None for a factor
    per: int
    factor: Decimal | None  # on the rate that other records give
    context: str  # "service_tier=flex+region=us", "" for the standard price
    input_above: int  # for calls of more input tokens than this; -1 for any
    input_up_to: int | None  # and at most this many
    when: str  # hours and days, "" for always
    valid_from_ns: int | None
    valid_until_ns: int | None
    known_at_ns: int  # when this installation learned it; 0: came with it
    reason: str
    source: str


def rows(models: Iterable[ResolvedModel], layers: Layers) -> Iterator[PriceRow]:
    """All rows, the bundled prices first."""
    for model in models:
        if not model.id:  # the bundled prices of a price file's model are those of its base
            for record in model.entry.records():
                yield from _of_record(model.provider, model.model, record)
    for provider, name, record in layers.all_records():
        yield from _of_record(provider, name, record)
    for contract in layers.contracts:
        yield from _of_contract(contract)


def _of_record(provider: str, model: str, record: PriceRecord) -> Iterator[PriceRow]:
    def row(price_id: str, unit: str, rate: Rate | None, factor: Decimal | None) -> PriceRow:
        return PriceRow(
            price_id=price_id,
            layer=record.layer,
            provider=provider,
            model=model,
            unit=unit,
            usd=rate.usd if rate else None,
            per=rate.per if rate else 1,
            factor=factor,
            context=_context(record.context, any_tier=record.any_tier),
            input_above=rate.above if rate else record.above,
            input_up_to=record.up_to,
            when=_when(record.period),
            valid_from_ns=record.period.from_ns,
            valid_until_ns=record.period.until_ns,
            known_at_ns=record.known_at_ns,
            reason=record.reason,
            source=record.source or (BUNDLED if record.layer == BUNDLED else ""),
        )

    for steps in record.rates.values():
        yield from (row(rate.price_id, rate.usage_key, rate, None) for rate in steps)
    for unit, factor in record.multiply.items():
        yield row(record.name, unit, None, factor)


def _of_contract(contract: Contract) -> Iterator[PriceRow]:
    for model in dict.fromkeys(contract.models):
        rates: list[tuple[str, Rate | None]] = [
            (unit, steps[0]) for unit, steps in contract.rates.items()
        ]
        for unit, rate in [*rates, ("", None)]:
            if rate is None and contract.factor == 1:
                continue
            yield PriceRow(
                price_id=rate.price_id if rate else contract.name,
                layer="contract",
                provider=contract.provider,
                model=model,
                unit=unit,
                usd=rate.usd if rate else None,
                per=rate.per if rate else 1,
                factor=None if rate else contract.factor,
                context=_context(contract.context, any_tier=False),
                input_above=ANY_INPUT,
                input_up_to=None,
                when=_when(contract.period),
                valid_from_ns=contract.period.from_ns,
                valid_until_ns=contract.period.until_ns,
                known_at_ns=contract.known_at_ns,
                reason="",
                source="",
            )


def _context(context: Mapping[str, str], *, any_tier: bool) -> str:
    said = [f"{key}={value}" for key, value in sorted(context.items())]
    return "+".join([*(["service_tier=any"] if any_tier else []), *said])


def _when(period: Period) -> str:
    clock = Period(hours=period.hours, days=period.days, time_zone=period.time_zone)
    return str(clock).lstrip("@")
