"""Price files: plain data to records, contracts and aliases, with all that is wrong in it.

Promises: a file without faults becomes records that mean what they say; a file with faults is told
all of them at once, each with its place. The same form serves the user's files and our own
corrections; ``docs/pricing.md`` describes it. Plain data comes in, from YAML or JSON: who reads
files is somebody else. Never takes a float: who reads numbers keeps every digit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from spanledger.ledger.catalog import identity
from spanledger.ledger.catalog.fields import Fault, Fields, Path, did_you_mean, shown
from spanledger.ledger.catalog.periods import Period
from spanledger.ledger.catalog.rates import Priced, read_rates, unit_of
from spanledger.ledger.catalog.records import (
    ANY_INPUT,
    CORRECTIONS,
    FALLBACK,
    Contract,
    PriceRecord,
    Rate,
)
from spanledger.ledger.catalog.units import Units

# A file of every model that is known has some 10,000 records; beyond this it is no price file.
RECORDS_MAX: Final = 50_000

TOKENS: Final = "tokens"  # in ``multiply``: every unit of tokens
_SECTIONS: Final = ("prices", "contracts", "aliases", "fallback")
_CONDITIONS: Final = (
    *("from", "until", "hours", "days", "holidays", "time_zone"),
    *("service_tier", "processing", "region"),
)
_NOTES: Final = ("reason", "source", "known_at")
_PRICE_KEYS: Final = (
    *("provider", "model", "names", "base", "input_tokens", "rates", "multiply"),
    *("free_allowance", "account_state", *_CONDITIONS, *_NOTES),
)
_CONTRACT_KEYS: Final = (
    *("name", "provider", "model", "discount_percent", "margin_percent", "rates"),
    *(*_CONDITIONS, *_NOTES),
)
_RANGE: Final = re.compile(r"(>=?)\s*(\d+)|\((\d+),\s*(\d+)\]")


@dataclass(frozen=True)
class Listing:
    """One entry of ``prices`` and the models it is about."""

    path: Path
    provider: str
    models: tuple[str, ...]  # ids or patterns
    names: tuple[str, ...]  # further names of the model
    base: str  # whose prices hold for what no record prices
    record: PriceRecord


@dataclass(frozen=True)
class Document:
    """What one price file says."""

    layer: str
    listings: tuple[Listing, ...] = ()
    contracts: tuple[Contract, ...] = ()
    aliases: Mapping[tuple[str, str], str] | None = None  # (provider, name) -> name
    new_units: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The faults that forbid to use it."""
        return tuple(fault for fault in self.faults if not fault.is_warning)


def read_document(
    data: Any,
    layer: str,
    units: Units,
    *,
    known_at_ns: int = 0,
    names: dict[str, int] | None = None,
) -> Document:
    """Read plain data of a price file.

    Args:
        data: the file, without comments.
        layer: which it is laid into.
        units: the ones that are known.
        known_at_ns: when this installation learned it.
        names: of records and how many have each, shared by the files of a book so that a price id
            means one price.
    """
    faults: list[Fault] = []
    if not isinstance(data, Mapping):
        hint = "Write prices:, contracts: or aliases: and their entries below"
        return Document(layer, faults=(Fault((), shown(data), "is no price file", hint),))
    top = Fields((), data, faults)
    top.unknown_keys(_SECTIONS)
    if top.take("fallback") is True:
        layer = FALLBACK
    elif data.get("fallback") not in {None, False}:
        top.fault("fallback", "is neither true nor false", "Write fallback: true, or remove it")
    reader = _Reader(layer, units, known_at_ns, {} if names is None else names, faults)
    listings = [one for each in reader.entries(top, "prices") if (one := reader.listing(each))]
    contracts = [reader.contract(each) for each in reader.entries(top, "contracts")]
    faults += _overlaps(listings)
    return Document(
        layer,
        tuple(listings),
        tuple(contracts),
        _aliases(top),
        tuple(dict.fromkeys(reader.new_units)),
        tuple(faults),
    )


class _Reader:
    """Reads the entries of one file."""

    def __init__(
        self,
        layer: str,
        units: Units,
        known_at_ns: int,
        names: dict[str, int],
        faults: list[Fault],
    ) -> None:
        self._layer = layer
        self._units = units
        self._known_at_ns = known_at_ns
        self._faults = faults
        self._names = names
        self.new_units: list[str] = []

    def entries(self, top: Fields, key: str) -> list[Fields]:
        listed = top.take(key)
        if listed is None:
            return []
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            top.fault(key, "is no list", "Begin each entry with a dash")
            return []
        if len(listed) > RECORDS_MAX:
            top.fault(key, f"has more than {RECORDS_MAX} entries", "Split the file, or shorten it")
            return []
        found = []
        for number, entry in enumerate(listed):
            if isinstance(entry, Mapping):
                found.append(Fields((key, number), entry, self._faults))
            else:
                hint = "Write provider:, model: and rates: below one dash"
                self._faults.append(Fault((key, number), shown(entry), "is no entry", hint))
        return found

    def listing(self, entry: Fields) -> Listing | None:
        entry.unknown_keys(_PRICE_KEYS)
        provider, models = _provider(entry), entry.names("model")
        if not models and "model" not in entry.values:
            entry.fault("", "has no model", "Add model: and its name")
        context, any_tier = _context(entry)
        above, up_to = _range(entry)
        period = _period(entry)
        label = "+".join(models[:1]) + (f"+{len(models) - 1}" if len(models) > 1 else "")
        rule = "+".join(f"{key}={value}" for key, value in sorted(context.items())) or "standard"
        ranged = "".join(entry.text("input_tokens").split())
        name = self._name("/".join((self._layer, provider, label, f"{rule}{period}{ranged}")))
        priced = read_rates(entry, "rates", self._units)
        multiply = self._factors(entry)
        account_state = entry.text("account_state")
        allowances = self._allowances(entry)
        if not (priced or multiply or account_state or allowances or "rates" in entry.values):
            entry.fault("", "has no rates", "Add rates: {input_mtok: 2.50}")
        record = PriceRecord(
            name=name,
            layer=self._layer,
            context=context,
            period=period,
            rates=self._rates(name, priced, above),
            multiply=multiply,
            above=above,
            up_to=up_to,
            any_tier=any_tier,
            minimums={each.usage_key: each.minimum for each in priced if each.minimum},
            allowances=allowances,
            account_state=account_state,
            reason=self._note(entry, "reason"),
            source=self._note(entry, "source"),
            known_at_ns=entry.instant("known_at", "UTC") or self._known_at_ns,
        )
        names, base = entry.names("names"), entry.text("base").lower()
        if not provider or not models:
            return None
        return Listing(entry.path, provider, models, names, base, record)

    def contract(self, entry: Fields) -> Contract:
        entry.unknown_keys(_CONTRACT_KEYS)
        name = entry.text("name")
        if not name:
            entry.fault("", "has no name", "Add name:, it is shown in the price ids of the charges")
        off = entry.number("discount_percent", Decimal(0), Decimal(100))
        margin = entry.number("margin_percent", Decimal(0), Decimal(10_000))
        priced = read_rates(entry, "rates", self._units)
        if not {"discount_percent", "margin_percent", "rates"} & entry.values.keys():
            hint = "Add discount_percent:, margin_percent: or rates:"
            entry.fault("", "changes no price", hint)
        full = self._name(f"contract/{name}")
        context, _ = _context(entry)
        return Contract(
            name=full,
            provider=_provider(entry) if entry.values.get("provider") else "",
            models=entry.names("model") or ("*",),
            context=context,
            period=_period(entry),
            rates=self._rates(full, priced, ANY_INPUT),
            factor=(1 - (off or 0) / Decimal(100)) * (1 + (margin or 0) / Decimal(100)),
            known_at_ns=entry.instant("known_at", "UTC") or self._known_at_ns,
        )

    def _rates(
        self, name: str, priced: Sequence[Priced], above: int
    ) -> Mapping[str, tuple[Rate, ...]]:
        self.new_units += [
            each.usage_key for each in priced if each.usage_key not in self._units.by_usage_key
        ]
        return {
            each.usage_key: (
                Rate(each.usage_key, each.per, each.usd, f"{name}#{each.price_key}", above),
            )
            for each in priced
        }

    def _factors(self, entry: Fields) -> Mapping[str, Decimal]:
        raw = entry.take("multiply")
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            entry.fault("multiply", "is no mapping", "Write multiply: {tokens: 1.1}")
            return {}
        inner = Fields((*entry.path, "multiply"), raw, self._faults)
        factors = {}
        for key in map(str, raw):
            factor = inner.number(key, Decimal(0), Decimal(1_000))
            found = unit_of(key, self._units)
            if key != TOKENS and found is None:
                hint = did_you_mean(key, [TOKENS, *self._units.by_usage_key])
                inner.fault(key, "is no unit that is known", hint)
            elif factor is not None:
                factors[TOKENS if found is None else found[0].usage_key] = factor
        return factors

    def _allowances(self, entry: Fields) -> Mapping[str, str]:
        raw = entry.take("free_allowance")
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            hint = "Write free_allowance: {web_searches: 1500 a day}"
            entry.fault("free_allowance", "is no mapping", hint)
            return {}
        inner = Fields((*entry.path, "free_allowance"), raw, self._faults)
        allowances = {}
        for key in map(str, raw):
            found = unit_of(key, self._units)
            if found is None:
                hint = did_you_mean(key, list(self._units.by_usage_key))
                inner.fault(key, "is no unit that is known", hint)
            else:
                allowances[found[0].usage_key] = inner.text(key)
        return allowances

    def _note(self, entry: Fields, key: str) -> str:
        text = entry.text(key)
        if not text and self._layer == CORRECTIONS:
            entry.fault("", f"has no {key}", "A correction says why, and where it is known from")
        return text

    def _name(self, name: str) -> str:
        self._names[name] = self._names.get(name, 0) + 1
        return name if self._names[name] == 1 else f"{name}~{self._names[name]}"


def _provider(entry: Fields) -> str:
    """The provider's id in the book, as calls get it."""
    text = entry.text("provider")
    if not text:
        entry.fault("", "has no provider", "Add provider:, as gen_ai.provider.name says it")
    return identity.canonical(text)


def _context(entry: Fields) -> tuple[Mapping[str, str], bool]:
    """Tier, processing and region; and whether it holds in every tier."""
    tier = entry.text("service_tier").lower()
    processing = entry.choice("processing", ("batch", "standard"))
    region = entry.text("region").lower()
    context = {}
    if tier == "batch":
        processing = "batch"
    elif tier not in {"", "any", "default", "standard", "auto"}:
        context["service_tier"] = tier
    if processing == "batch":
        context["processing"] = processing
    if region:
        context["region"] = region
    return context, tier == "any"


def _period(entry: Fields) -> Period:
    time_zone = entry.time_zone()
    start, end = entry.instant("from", time_zone), entry.instant("until", time_zone)
    if start is not None and end is not None and start >= end:
        entry.fault("until", "is not after from", "until is the first moment that is not included")
    return Period(start, end, entry.hours(), entry.days(), entry.dates("holidays"), time_zone)


def _range(entry: Fields) -> tuple[int, int | None]:
    text = entry.text("input_tokens")
    if not text:
        return ANY_INPUT, None
    match = _RANGE.fullmatch(text)
    if match is None:
        hint = 'Write "> 200000", ">= 200000" or "(32000, 128000]"'
        entry.fault("input_tokens", "is no range of input tokens", hint)
        return ANY_INPUT, None
    if match[1]:
        return int(match[2]) - (match[1] == ">="), None
    # "(0, b]" is from nothing: calls without input tokens are no other class of calls.
    above = int(match[3]) or ANY_INPUT
    if int(match[4]) <= above:
        entry.fault("input_tokens", "is an empty range", "Write the smaller number first")
    return above, int(match[4])


def _aliases(top: Fields) -> Mapping[tuple[str, str], str]:
    raw = top.take("aliases")
    if raw is None:
        return {}
    hint = "Write aliases: {azure: {my-deployment: gpt-4o}}"
    if not isinstance(raw, Mapping):
        top.fault("aliases", "is no mapping of providers", hint)
        return {}
    found: dict[tuple[str, str], str] = {}
    for provider, names in raw.items():
        inner = Fields(("aliases",), raw, top.faults)
        if not isinstance(names, Mapping):
            inner.fault(str(provider), "is no mapping of names to models", hint)
            continue
        said = Fields(("aliases", str(provider)), names, top.faults)
        for name in names:
            model = said.text(str(name)).lower()
            if not model:
                said.fault(str(name), "stands for no model", hint)
            found[identity.canonical(str(provider)), str(name).strip().lower()] = model
    return found


def _overlaps(listings: Sequence[Listing]) -> list[Fault]:
    """Entries of which neither is narrower nor later, so that nobody can say which one holds."""
    faults = []
    by_model: dict[tuple[str, str], list[Listing]] = {}
    for listing in listings:
        for model in listing.models:
            earlier = by_model.setdefault((listing.provider, model), [])
            for other in earlier:
                if _is_ambiguous(listing.record, other.record):
                    wrong = f"prices the same as entry {other.path[1]} at the same time"
                    hint = "Give one of them another from:, or a condition more"
                    faults.append(Fault(listing.path, model, wrong, hint))
                    break
            earlier.append(listing)
    return faults


def _is_ambiguous(one: PriceRecord, two: PriceRecord) -> bool:
    same = (
        one.rank() == two.rank()
        and one.context == two.context
        and one.any_tier == two.any_tier
        and bool(
            (one.rates.keys() & two.rates.keys()) | (one.multiply.keys() & two.multiply.keys())
        )
    )
    apart = (one.up_to is not None and one.up_to <= two.above) or (
        two.up_to is not None and two.up_to <= one.above
    )
    return same and not apart and one.period.overlaps(two.period)
