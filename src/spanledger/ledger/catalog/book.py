"""The book itself: names to models, models to rate cards.

Promises: immutable, safe to use from several threads, one answer for one question for as long as
it lives. What it remembers is bounded: by ``_REMEMBERED_MAX`` for names, by the data for cards.
Never hands a name from outside to genai-prices' own look-ups, which keep every name for ever and
take 1.7 s for one of 5 MB; it applies their matching rules directly, to names of bounded length.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version as installed_version
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from spanledger.ledger.catalog import identity
from spanledger.ledger.catalog.bundled import compile_model, read_providers
from spanledger.ledger.catalog.cards import RateCard, ResolvedModel, compile_card, in_force
from spanledger.ledger.catalog.document import Document, read_document
from spanledger.ledger.catalog.layers import Layers, OwnModel
from spanledger.ledger.catalog.records import CORRECTIONS, BookModel
from spanledger.ledger.catalog.snapshot import PriceRow, rows
from spanledger.ledger.catalog.units import Units
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

Unresolved = Literal["unknown_model", "unknown_provider"]

# Triples of names: more than an installation uses, few enough (3 x 256 bytes each) to stay small
# while somebody sends a million different ones.
_REMEMBERED_MAX: Final = 8_192

# Changes when the rules of this package change what a call costs, as the data's own hash does.
_RULES: Final = b"2"

# Service tier of a response -> the request context that selects variants. Anything else, "auto"
# among it, is the standard price: a tier that was asked for is no tier that was given.
_CONTEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "batch": {"processing": "batch"},
    "default": {"service_tier": "default"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "ultrafast": {"service_tier": "ultrafast"},
}
_STANDARD_TIERS: Final = frozenset({"", "default"})


class PriceBook:
    """Prices with their rules, resolved and compiled on demand."""

    def __init__(
        self,
        providers: Sequence["Provider"],
        unit_data: Mapping[str, Any],
        version: str,
        documents: Sequence[Document] = (),
        *,
        known_at_ns: int | None = None,
    ) -> None:
        """Take the data of genai-prices (``data.providers``, ``data_units.unit_data``).

        Args:
            providers: who sells what, with the bundled prices.
            unit_data: the units they are in.
            version: what every entry priced by this book says of it.
            documents: price files laid over the bundled prices, the user's and our corrections.
            known_at_ns: what was learned later is left out; None for nothing.
        """
        self.version = version
        added = [unit for document in documents for unit in document.new_units]
        self.units = Units.from_data(unit_data, added)
        self._layers = Layers(documents, known_at_ns)
        self._contexts = {**self._layers.tiers(), **_CONTEXTS}
        self._providers = list(providers)
        self._by_id = {provider.id: provider for provider in providers}
        self._owners = {
            id(model): provider for provider in self._providers for model in provider.models
        }
        self._ids = {
            (provider.id, model.id.lower()): model
            for provider in self._providers
            for model in provider.models
        }
        self._models: dict[tuple[str, int, str], ResolvedModel] = {}
        self._remembered = lru_cache(_REMEMBERED_MAX)(self._resolve)
        self._cards: dict[tuple[object, ...], RateCard] = {}
        self.dates_ns, self.week_marks_ns = self._instants()

    @classmethod
    def bundled(
        cls,
        documents: Sequence[Document] = (),
        *,
        corrected: bool = True,
        data: bytes | None = None,
        known_at_ns: int | None = None,
    ) -> "PriceBook":
        """The installed genai-prices under our corrections under the user's price files.

        Loading it takes about half a second.

        Args:
            documents: the user's price files, the strongest first.
            corrected: with our corrections.
            data: a newer data file of genai-prices (``data.json``) instead of the installed one.
            known_at_ns: leave out what price files learned later; None for nothing.

        Raises:
            ValueError: ``data`` is no such file.
        """
        from genai_prices.data_units import unit_data  # noqa: PLC0415 - 0.4 s an app need not pay

        digest = sha256(_RULES)
        digest.update(files("genai_prices").joinpath("data_units.py").read_bytes())
        if data is None:
            from genai_prices.data import providers  # noqa: PLC0415 - as above

            digest.update(files("genai_prices").joinpath("data.py").read_bytes())
        else:
            providers = read_providers(data)
            digest.update(data)
        layers = list(documents)
        if corrected:
            layers.append(corrections(Units.from_data(unit_data)))
        for document in layers:
            digest.update(repr(sorted(_said(document))).encode())
        release = installed_version("genai-prices")
        version = f"genai-prices-{release}+{digest.hexdigest()[:8]}"
        return cls(providers, unit_data, version, layers, known_at_ns=known_at_ns)

    def resolve(
        self, provider: str, request_model: str, response_model: str
    ) -> ResolvedModel | Unresolved:
        """The model that was billed, or the reason why it is not known.

        The response is asked before the request. A provider with prices is asked alone: another
        seller's price for the same name would be a guess.
        """
        return self._remembered(
            _bounded(provider), _bounded(request_model), _bounded(response_model)
        )

    def card(
        self, model: ResolvedModel, service_tier: str, at_ns: int, region: str = ""
    ) -> RateCard:
        """The rates of a model in the service tier and region of the response, at an instant.

        ``at_ns``: the start of the call, ns since the epoch, UTC.
        """
        tier = service_tier.strip().lower()
        context = self._contexts.get(tier, {})
        is_special = bool(context) and tier not in _STANDARD_TIERS
        if region:
            context = {**context, "region": region.strip().lower()}
        force = in_force(model, context, at_ns)
        key = (model, force, is_special)
        card = self._cards.get(key)
        if card is None:
            card = compile_card(model, force, self.units, is_special=is_special)
            self._cards[key] = card
        return card

    def knows_tier(self, service_tier: str) -> bool:
        """Does a service tier mean anything here? What does not is charged as the standard one."""
        tier = service_tier.strip().lower()
        return tier in self._contexts or tier in _STANDARD_TIERS

    def models(self) -> Iterator[ResolvedModel]:
        """Every model of the book, as its own seller sells it."""
        for provider in self._providers:
            for info in provider.models:
                yield self._resolved(provider, info)
        for own in self._layers.models():
            if (own.provider, own.id) not in self._ids:
                yield self._own(own)

    def snapshot(self) -> Iterator[PriceRow]:
        """Every rate of the book with its layer, conditions and knowledge time, one row each."""
        return rows(self.models(), self._layers)

    # --- names ------------------------------------------------------------------------------

    def _resolve(
        self, provider: str, request_model: str, response_model: str
    ) -> ResolvedModel | Unresolved:
        folded = identity.fold(provider)
        payer = self._payer(provider, folded)
        payer_id = payer.id if payer else identity.canonical(provider)
        somebody_sells = payer is not None or self._layers.sells(payer_id)
        for reported in (response_model, request_model):
            name = reported.strip().lower()
            if not name:
                continue
            if identity.is_bedrock_model(name) and payer_id in {"", "anthropic"}:
                payer_id = "aws"
            name = self._layers.alias(payer_id, identity.spellings(payer_id, name)) or name
            spelled = tuple(identity.spellings(payer_id, name))
            own = self._layers.named(payer_id, spelled)
            if own is not None:
                return self._own(own)
            if payer is not None or not identity.has_no_prices(folded):
                for seller, spelling in self._sellers(payer, name):
                    somebody_sells = True
                    info = seller.find_model(spelling, all_providers=self._providers)
                    if info is None:
                        continue
                    resolved = self._resolved(seller, info)
                    if not (resolved.entry.is_free and "vertex" in folded):
                        return resolved
                    # Free on the Gemini API; Vertex bills the machine an open model runs on.
            own = self._layers.named_last(payer_id, spelled)
            if own is not None:
                return self._own(own)
        return "unknown_model" if somebody_sells else "unknown_provider"

    def _payer(self, provider: str, folded: str) -> "Provider | None":
        exact = self._by_id.get(provider.strip().lower())
        if exact is not None or identity.has_no_prices(folded):
            return exact
        known = identity.provider_id(folded)
        if known is not None:
            return self._by_id.get(known)
        wanted = provider.strip().lower()
        matching = (
            candidate
            for candidate in self._providers
            if wanted and candidate.provider_match and candidate.provider_match.is_match(wanted)
        )
        return next(matching, None)

    def _sellers(self, payer: "Provider | None", name: str) -> Iterator[tuple["Provider", str]]:
        """Who might sell a model of this name, and how they spell it; best guess first."""
        bedrock = self._by_id.get("aws")
        if bedrock and identity.is_bedrock_model(name) and (not payer or payer.id == "anthropic"):
            # Anthropic's client for Bedrock reports "anthropic"; the id knows who is paid.
            yield from ((bedrock, spelling) for spelling in identity.spellings("aws", name))
        if payer is not None:
            yield from ((payer, spelling) for spelling in identity.spellings(payer.id, name))
            return
        routed = identity.route(name)
        seller = self._by_id.get(routed[0]) if routed else None
        if routed and seller:
            yield from ((seller, spelling) for spelling in identity.spellings(seller.id, routed[1]))
        claimed = name.removeprefix("ft:")
        for candidate in self._providers:
            if candidate.model_match is not None and candidate.model_match.is_match(claimed):
                yield from (
                    (candidate, spelling) for spelling in identity.spellings(candidate.id, name)
                )
                return

    def _resolved(self, seller: "Provider", info: "ModelInfo") -> ResolvedModel:
        """One object for one model, however often it is asked for: cards are kept by it."""
        key = (seller.id, id(info), "")
        resolved = self._models.get(key)
        if resolved is None:
            entry = compile_model(self._owners[id(info)], info, self.units)
            made = ResolvedModel(
                seller.id,
                entry,
                self._layers.records(seller.id, info.id),
                self._layers.contracts_for(seller.id, info.id),
            )
            resolved = self._models.setdefault(key, made)
        return resolved

    def _own(self, own: OwnModel) -> ResolvedModel:
        """A model of a price file: its records over those of its base, if it has any."""
        seller = self._by_id.get(own.provider)
        known = self._ids.get((own.provider, own.id))
        if seller and known:
            return self._resolved(seller, known)
        key = (own.provider, 0, own.id)
        resolved = self._models.get(key)
        if resolved is None:
            base = self._base(own, seller)
            made = ResolvedModel(
                own.provider,
                base.entry if base else BookModel(own.provider, own.id, (), ()),
                self._layers.records(own.provider, own.id),
                self._layers.contracts_for(own.provider, own.id),
                own.id,
            )
            resolved = self._models.setdefault(key, made)
        return resolved

    def _base(self, own: OwnModel, seller: "Provider | None") -> ResolvedModel | None:
        if own.id.endswith("*") and not own.base:
            return None
        name = own.base or own.id
        routed = identity.route(name) if seller is None else None
        if routed:
            seller, name = self._by_id.get(routed[0]), routed[1]
        found = seller.find_model(name, all_providers=self._providers) if seller else None
        return self._resolved(seller, found) if seller and found else None

    # --- time -------------------------------------------------------------------------------

    def _instants(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """All dates, and all times of the week, at which any price of the book changes.

        Between two neighbours of them no price changes, so one card serves every call there.
        """
        dates: set[int] = set()
        marks: set[int] = set()
        dated = (
            self._resolved(provider, info)
            for provider in self._providers
            for info in provider.models
            if isinstance(info.prices, list) or info.price_variants
        )
        periods = {record.period for model in dated for record in model.entry.records()}
        periods |= {record.period for _, _, record in self._layers.all_records()}
        periods |= {contract.period for contract in self._layers.contracts}
        for period in periods:
            more_dates, more_marks = period.edges()
            dates |= more_dates
            marks |= more_marks
        return tuple(sorted(dates)), tuple(sorted(marks))


def corrections(units: Units) -> Document:
    """Our own corrections of genai-prices, each with its reason and source.

    Raises:
        ValueError: the file that comes with this package is damaged.
    """
    text = files("spanledger.ledger.catalog").joinpath("corrections.json").read_text("utf-8")
    data = json.loads(text, parse_float=Decimal)
    document = read_document(data, CORRECTIONS, units)
    if document.faults:
        raise ValueError(f"corrections.json: {document.faults[0]}")
    return document


def _said(document: Document) -> Iterator[str]:
    """All that a price file says of prices, as text: what the book's version is made of."""
    for listing in document.listings:
        record = listing.record
        rates = [
            (rate.price_id, str(rate.usd), rate.per, record.up_to)
            for steps in record.rates.values()
            for rate in steps
        ]
        more = [sorted(record.multiply.items()), sorted(record.minimums.items())]
        more += [sorted(record.allowances.items()), [record.account_state, str(record.any_tier)]]
        # Its name tells its conditions, all but which days are holidays.
        more += [[record.name], sorted(map(str, record.period.holidays))]
        yield repr((listing.provider, listing.models, listing.names, listing.base, rates, more))
    for contract in document.contracts:
        agreed = [(rate.price_id, str(rate.usd), rate.per) for (rate,) in contract.rates.values()]
        period = [str(contract.period), *sorted(map(str, contract.period.holidays))]
        yield repr((contract.name, contract.provider, contract.models, period, agreed))
        yield repr((contract.name, str(contract.factor), sorted(contract.context.items())))
    yield repr(sorted((document.aliases or {}).items()))


def _bounded(name: str) -> str:
    """A longer name is no model's: it is asked for as if it were empty."""
    # Characters first: to encode 5 MB only to learn that they are too many takes 10 ms.
    is_short = len(name) <= MODEL_NAME_BYTES_MAX
    return name if is_short and len(name.encode(errors="replace")) <= MODEL_NAME_BYTES_MAX else ""
