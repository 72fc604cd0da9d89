"""Records in force to one rate card: the strongest rate of each unit, in each band of input.

Promises: for every unit the first record wins that has a rate for it, records of the call's own
service tier before those of any; a unit that a band leaves out takes the rate of its whole in that
band, never one of another band; list price and contracted price are both kept.
Pure: everything it looks at is an argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final, TypeVar

from spanledger.ledger.catalog.document import TOKENS
from spanledger.ledger.catalog.records import (
    ANY_INPUT,
    BUNDLED,
    CORRECTIONS,
    FALLBACK,
    TIER_KEYS,
    USER,
    BookModel,
    Contract,
    PriceRecord,
    Rate,
)
from spanledger.ledger.catalog.units import Shape, Units

_ONE: Final = Decimal(1)
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class ResolvedModel:
    """What a call's names stand for: who is paid, and the model whose prices apply."""

    provider: str  # the payer's id in the book
    entry: BookModel
    own: tuple[PriceRecord, ...] = ()  # records of price files, strongest first
    contracts: tuple[Contract, ...] = ()
    id: str = ""  # where a price file gave it another than its base has

    @property
    def model(self) -> str:
        """The book's id of the model."""
        return self.id or self.entry.id

    @property
    def is_lent(self) -> bool:
        """Are these the prices of another seller (Azure's of OpenAI's models)?"""
        return self.provider != self.entry.provider

    @cached_property
    def changes(self) -> int:
        """Does its price change: 0 never, 1 at dates, 2 with the hour or the day as well."""
        periods = [record.period for record in (*self.entry.records(), *self.own)]
        periods += [contract.period for contract in self.contracts]
        if any(period.has_clock for period in periods):
            return 2
        return int(any(period.is_dated for period in periods))


@dataclass(frozen=True, eq=False)
class RateCard:
    """What one model costs in one period, service tier and region.

    A call is rated as a whole by one of ``bands``: the first where its input tokens do not exceed
    ``boundaries[0]``, and so on. ``shape`` has the units of all bands; a band may lack some.
    """

    model: ResolvedModel
    boundaries: tuple[int, ...]
    bands: tuple[tuple[Rate, ...], ...]
    shape: Shape
    is_free: bool
    is_standin: bool  # a special tier was given, but only the standard price is known
    audio_seconds_min: int
    list_bands: tuple[tuple[Rate, ...], ...]  # before the contract; ``bands`` where there is none
    minimums: Mapping[str, int]  # unit -> billed at least, if it was used at all
    allowances: Mapping[str, str]  # unit -> what the account may use of it for nothing
    account_state: str  # why a call's price cannot be told from the call; "" where it can
    is_corrected: bool  # does a correction of ours have a say in it?

    @property
    def has_contract(self) -> bool:
        """Do list price and contracted price differ?"""
        return self.list_bands is not self.bands


@dataclass(frozen=True)
class InForce:
    """The records of a model that hold for a context at an instant; hashable by identity."""

    standard: tuple[PriceRecord, ...]  # of the bundled data
    variants: tuple[PriceRecord, ...]
    own: tuple[PriceRecord, ...]
    contract: Contract | None

    def stack(self) -> list[PriceRecord]:
        """Those with rates, strongest first: what speaks of the tier, then what does not."""

        def own(layer: str, *, of_tier: bool) -> list[PriceRecord]:
            return [
                record
                for record in self.own
                if record.layer == layer and record.is_of_tier == of_tier
            ]

        of_tier = own(USER, of_tier=True) + own(CORRECTIONS, of_tier=True) + [*self.variants]
        of_any = own(USER, of_tier=False) + own(CORRECTIONS, of_tier=False) + [*self.standard]
        last = own(FALLBACK, of_tier=True)
        # Where only a fallback knows the tier, it is nearer than anybody's standard price.
        first = [*of_tier, *of_any, *last] if of_tier else [*last, *of_any]
        return first + own(FALLBACK, of_tier=False)


def in_force(model: ResolvedModel, context: Mapping[str, str], at_ns: int) -> InForce:
    """What holds for calls of a model in a context."""
    # Variants are the seller's own offer, not the lender's (rule of genai-prices).
    standard, variants = model.entry.in_force({} if model.is_lent else context, at_ns)
    own = tuple(record for record in model.own if record.matches(context, at_ns))
    agreed = (each for each in model.contracts if each.matches(context, at_ns))
    return InForce(standard, variants, own, next(agreed, None))


def compile_card(
    model: ResolvedModel, force: InForce, units: Units, *, is_special: bool
) -> RateCard:
    """Make the card; ``is_special``: the call's service tier is not the standard one."""
    stack = force.stack()
    steps = {step.above for record in stack for each in record.rates.values() for step in each}
    edges = {edge for record in stack for edge in (record.above, record.up_to)}
    boundaries = sorted({edge for edge in steps | edges if edge is not None} - {ANY_INPUT})
    priced = {unit for record in stack for unit in record.rates}
    multipliers = [record for record in force.own if record.multiply]
    listed = tuple(
        _band(stack, multipliers, floor, priced, units) for floor in (ANY_INPUT, *boundaries)
    )
    bands = listed if force.contract is None else _agreed(listed, force.contract, units)
    keys = {rate.usage_key for band in bands for rate in band}
    account_state = next((each.account_state for each in force.own if each.account_state), "")
    of_tier = [record for record in (*force.variants, *force.own) if _speaks_of_tier(record)]
    return RateCard(
        model=model,
        boundaries=tuple(boundaries),
        bands=bands,
        shape=units.shape(keys),
        is_free=bool(keys) and not any(rate.usd for band in bands for rate in band),
        is_standin=is_special and not of_tier,
        audio_seconds_min=0 if model.is_lent else model.entry.audio_seconds_min,
        list_bands=listed,
        minimums=_merged([record.minimums for record in stack]),
        allowances=_merged([record.allowances for record in force.own]),
        account_state=account_state,
        is_corrected=any(record.layer == CORRECTIONS for record in force.own),
    )


def _speaks_of_tier(record: PriceRecord) -> bool:
    return record.layer == BUNDLED or record.is_of_tier


def _merged(mappings: Sequence[Mapping[str, _Value]]) -> Mapping[str, _Value]:
    merged: dict[str, _Value] = {}
    for mapping in reversed(mappings):  # the strongest goes last
        merged.update(mapping)
    return merged


def _band(
    stack: Sequence[PriceRecord],
    multipliers: Sequence[PriceRecord],
    floor: int,
    priced: set[str],
    units: Units,
) -> tuple[Rate, ...]:
    """The rates of calls whose input tokens exceed ``floor`` and no higher boundary."""
    chosen: dict[str, tuple[Rate, PriceRecord]] = {}
    for record in stack:
        if record.covers(floor):
            for unit, steps in record.rates.items():
                if unit not in chosen:
                    chosen[unit] = (_reached(steps, floor), record)
    for unit in priced - chosen.keys():
        wholes = [whole for whole in units.wholes(unit) if whole in chosen]
        if wholes:
            nearest = max(wholes, key=lambda key: len(units.by_usage_key[key].dimensions))
            rate, record = chosen[nearest]
            chosen[unit] = (Rate(unit, rate.per, rate.usd, rate.price_id, rate.above), record)
    made = (
        _multiplied(*chosen[unit.usage_key], multipliers, is_token=unit.is_token)
        for unit in units
        if unit.usage_key in chosen
    )
    return tuple(rate for rate in made if rate is not None)


def _reached(steps: Sequence[Rate], floor: int) -> Rate:
    """The last of rising steps that calls above ``floor`` exceed."""
    reached = [step for step in steps if step.above <= floor]
    return reached[-1] if reached else steps[0]


def _multiplied(
    rate: Rate, record: PriceRecord, multipliers: Sequence[PriceRecord], *, is_token: bool
) -> Rate | None:
    """Apply the strongest factor of each context, save those that the rate is already of."""
    done: set[frozenset[tuple[str, str]]] = set()
    for each in multipliers:
        factor = each.multiply.get(rate.usage_key, each.multiply.get(TOKENS) if is_token else None)
        context = frozenset(each.context.items())
        if factor is None or context in done:
            continue
        done.add(context)
        foreign = {pair for pair in context if not (record.any_tier and pair[0] in TIER_KEYS)}
        if factor != _ONE and not (context and foreign <= record.context.items()):
            product = rate.times(factor, each.name)
            if product is None:
                return None
            rate = product
    return rate


def _agreed(
    listed: Sequence[tuple[Rate, ...]], contract: Contract, units: Units
) -> tuple[tuple[Rate, ...], ...]:
    """The bands as the contract has them: its own rates, its factor on all of them."""
    bands = []
    for band in listed:
        rates = {rate.usage_key: rate for rate in band}
        rates |= {unit: steps[0] for unit, steps in contract.rates.items()}
        ordered = [rates[unit.usage_key] for unit in units if unit.usage_key in rates]
        if contract.factor != _ONE:
            made = [rate.times(contract.factor, contract.name) for rate in ordered]
            ordered = [rate for rate in made if rate is not None]
        bands.append(tuple(ordered))
    return tuple(bands)
