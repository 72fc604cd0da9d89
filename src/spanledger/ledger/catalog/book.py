"""The book itself: names to models, models to rate cards.

Promises: immutable, safe to use from several threads, one answer for one question for as long as
it lives. What it remembers is bounded: by ``_REMEMBERED_MAX`` for names, by the data for cards.
Never hands a name from outside to genai-prices' own look-ups, which keep every name for ever and
take 1.7 s for one of 5 MB; it applies their matching rules directly, to names of bounded length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version as installed_version
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from spanledger.ledger.catalog import identity
from spanledger.ledger.catalog.records import (
    ANY_INPUT,
    BookModel,
    PriceRecord,
    Rate,
    compile_model,
)
from spanledger.ledger.catalog.units import Shape, Units
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

Unresolved = Literal["unknown_model", "unknown_provider"]

# Triples of names: more than an installation uses, few enough (3 x 256 bytes each) to stay small
# while somebody sends a million different ones.
_REMEMBERED_MAX: Final = 8_192

# Changes when the rules of this package change what a call costs, as the data's own hash does.
_RULES: Final = b"1"

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


@dataclass(frozen=True, eq=False)
class ResolvedModel:
    """What a call's names stand for: who is paid, and the model whose prices apply."""

    provider: str  # the payer's id in the book
    entry: BookModel

    @property
    def model(self) -> str:
        """The book's id of the model."""
        return self.entry.id

    @property
    def is_lent(self) -> bool:
        """Are these the prices of another seller (Azure's of OpenAI's models)?"""
        return self.provider != self.entry.provider


@dataclass(frozen=True, eq=False)
class RateCard:
    """What one model costs in one period and service tier.

    A call is rated as a whole by one of ``bands``: the first where its input tokens do not exceed
    ``boundaries[0]``, and so on. All bands price the units of ``shape``.
    """

    model: ResolvedModel
    boundaries: tuple[int, ...]
    bands: tuple[tuple[Rate, ...], ...]
    shape: Shape
    is_free: bool
    is_standin: bool  # a special tier was given, but only the standard price is known
    audio_seconds_min: int


class PriceBook:
    """Prices with their rules, resolved and compiled on demand."""

    def __init__(
        self, providers: Sequence["Provider"], unit_data: Mapping[str, Any], version: str
    ) -> None:
        """Take the data of genai-prices (``data.providers``, ``data_units.unit_data``)."""
        self.version = version
        self.units = Units.from_data(unit_data)
        self._providers = list(providers)
        self._by_id = {provider.id: provider for provider in providers}
        self._owners = {
            id(model): provider for provider in self._providers for model in provider.models
        }
        self._models: dict[tuple[str, int], ResolvedModel] = {}
        self._remembered = lru_cache(_REMEMBERED_MAX)(self._resolve)
        self._cards: dict[tuple[object, ...], RateCard] = {}
        self.day_starts_ns, self.day_marks_ns = self._instants()

    @classmethod
    def bundled(cls) -> "PriceBook":
        """The book of the installed genai-prices; loading it takes about half a second."""
        from genai_prices.data import providers  # noqa: PLC0415 - 0.4 s an app need not pay
        from genai_prices.data_units import unit_data  # noqa: PLC0415 - as above

        digest = sha256(_RULES)
        for name in ("data.py", "data_units.py"):
            digest.update(files("genai_prices").joinpath(name).read_bytes())
        release = installed_version("genai-prices")
        return cls(providers, unit_data, f"genai-prices-{release}+{digest.hexdigest()[:8]}")

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

    def card(self, model: ResolvedModel, service_tier: str, at_ns: int) -> RateCard:
        """The rates of a model in the service tier of the response, at an instant (ns, UTC)."""
        tier = service_tier.strip().lower()
        context = _CONTEXTS.get(tier, {})
        tier = tier if context else ""
        # Variants are the seller's own offer, not the lender's (rule of genai-prices).
        standard, variants = model.entry.in_force({} if model.is_lent else context, at_ns)
        key = (model, standard, variants, tier)
        card = self._cards.get(key)
        if card is None:
            card = self._cards[key] = self._compile(model, standard, variants, tier)
        return card

    def models(self) -> Iterator[ResolvedModel]:
        """Every model of the book, as its own seller sells it."""
        for provider in self._providers:
            for info in provider.models:
                yield self._resolved(provider, info)

    # --- names ------------------------------------------------------------------------------

    def _resolve(
        self, provider: str, request_model: str, response_model: str
    ) -> ResolvedModel | Unresolved:
        folded = identity.fold(provider)
        payer = self._payer(provider, folded)
        if payer is None and identity.has_no_prices(folded):
            return "unknown_provider"
        somebody_sells = payer is not None
        for reported in (response_model, request_model):
            name = reported.strip().lower()
            if not name:
                continue
            sellers = self._sellers(payer, name)
            for seller, spelling in sellers:
                somebody_sells = True
                info = seller.find_model(spelling, all_providers=self._providers)
                if info is None:
                    continue
                resolved = self._resolved(seller, info)
                if not (resolved.entry.is_free and "vertex" in folded):
                    return resolved
                # Free on the Gemini API; Vertex bills the machine an open model runs on.
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
        key = (seller.id, id(info))
        resolved = self._models.get(key)
        if resolved is None:
            entry = compile_model(self._owners[id(info)], info, self.units)
            resolved = self._models.setdefault(key, ResolvedModel(seller.id, entry))
        return resolved

    # --- rates ------------------------------------------------------------------------------

    def _compile(
        self,
        model: ResolvedModel,
        standard: PriceRecord,
        variants: Sequence[PriceRecord],
        tier: str,
    ) -> RateCard:
        rates = dict(standard.rates)
        for variant in reversed(variants):  # the first variant is the strongest: it goes last
            rates.update(variant.rates)
        boundaries = sorted(
            {step.above for steps in rates.values() for step in steps} - {ANY_INPUT}
        )
        ordered = [rates[unit.usage_key] for unit in self.units if unit.usage_key in rates]
        bands = tuple(
            tuple(_reached(steps, floor) for steps in ordered) for floor in (ANY_INPUT, *boundaries)
        )
        return RateCard(
            model=model,
            boundaries=tuple(boundaries),
            bands=bands,
            shape=self.units.shape(rates),
            is_free=bool(rates) and not any(rate.usd for band in bands for rate in band),
            is_standin=tier not in _STANDARD_TIERS and not variants,
            audio_seconds_min=0 if model.is_lent else model.entry.audio_seconds_min,
        )

    def _instants(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """All dates and all times of day at which any price of the book changes.

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
        for model in dated:
            for record in model.entry.records():
                if record.valid_from_ns is not None:
                    dates.add(record.valid_from_ns)
                marks.update(record.day_window_ns or ())
        return tuple(sorted(dates)), tuple(sorted(marks))


def _bounded(name: str) -> str:
    """A longer name is no model's: it is asked for as if it were empty."""
    # Characters first: to encode 5 MB only to learn that they are too many takes 10 ms.
    is_short = len(name) <= MODEL_NAME_BYTES_MAX
    return name if is_short and len(name.encode(errors="replace")) <= MODEL_NAME_BYTES_MAX else ""


def _reached(steps: Sequence[Rate], floor: int) -> Rate:
    """The rate of a call whose input tokens exceed ``floor`` and no higher boundary."""
    return [step for step in steps if step.above <= floor][-1]
