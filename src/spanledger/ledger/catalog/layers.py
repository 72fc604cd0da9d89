"""What price files lay over the bundled prices, found by model.

Promises: for one model the records of all files, strongest first; names that a file gives to a
model, exact ones before patterns. Made once, immutable; look-ups of exact names are hash look-ups,
so that a file of thousands of models costs a call nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spanledger.ledger.catalog.document import Document, Listing
from spanledger.ledger.catalog.records import (
    BUNDLED,
    CORRECTIONS,
    FALLBACK,
    USER,
    Contract,
    PriceRecord,
)

_ORDER: Final = {USER: 0, CORRECTIONS: 1, BUNDLED: 2, FALLBACK: 3}


@dataclass(frozen=True)
class OwnModel:
    """A model that a price file names."""

    provider: str
    id: str
    base: str  # the model whose prices hold where the file has none; "" for the one of this name


class _Names:
    """Names that price files give to models: whole ones, then patterns in order."""

    def __init__(self) -> None:
        self._whole: dict[tuple[str, str], OwnModel] = {}
        self._patterns: list[tuple[str, str, OwnModel]] = []

    def add(self, name: str, own: OwnModel) -> None:
        if name.endswith("*"):
            self._patterns.append((own.provider, name, own))
            return
        known = self._whole.setdefault((own.provider, name), own)
        if own.base and not known.base:  # any of a model's entries may say it
            self._whole[own.provider, name] = own

    def find(self, provider: str, spellings: Sequence[str]) -> OwnModel | None:
        for name in spellings:
            own = self._whole.get((provider, name))
            if own is not None:
                return own
        for payer, pattern, own in self._patterns:
            if payer == provider and any(_matches(pattern, name) for name in spellings):
                return own
        return None

    def models(self) -> Iterator[OwnModel]:
        yield from self._whole.values()
        yield from (own for _, _, own in self._patterns)


class Layers:
    """All price files of a book."""

    def __init__(self, documents: Sequence[Document], known_at_ns: int | None = None) -> None:
        """``known_at_ns``: leave out what was learned later; None for nothing."""
        self.contracts: tuple[Contract, ...] = tuple(
            contract
            for document in documents
            for contract in document.contracts
            if _is_known(contract, known_at_ns)
        )
        self._aliases: dict[tuple[str, str], str] = {}
        self._exact: dict[tuple[str, str], list[PriceRecord]] = {}
        self._patterns: list[tuple[str, str, PriceRecord]] = []
        self._names = _Names()  # these come before the bundled models
        self._last_names = _Names()  # and these after them
        ordered = sorted(documents, key=lambda document: _ORDER[document.layer])
        for document in ordered:
            for alias, model in (document.aliases or {}).items():
                self._aliases.setdefault(alias, model)
            for listing in document.listings:
                if _is_known(listing.record, known_at_ns):
                    self._add(listing)
        self._sellers = {own.provider for own in self.models()}

    def _add(self, listing: Listing) -> None:
        provider = listing.provider
        # Neither a fallback nor a pattern of models takes a name away from the bundled model that
        # it means; other names that a file lists for a model do.
        last = self._last_names
        names = last if listing.record.layer == FALLBACK else self._names
        for model in listing.models:
            own = OwnModel(provider, model, listing.base)
            if model.endswith("*"):
                self._patterns.append((provider, model, listing.record))
                last.add(model, own)
            else:
                self._exact.setdefault((provider, model), []).append(listing.record)
                names.add(model, own)
        for name in listing.names:
            names.add(name, OwnModel(provider, listing.models[0], listing.base))

    def alias(self, provider: str, spellings: Iterable[str]) -> str | None:
        """The model that a deployment, an inference profile or another name stands for."""
        if not self._aliases:
            return None
        for name in spellings:
            for payer in (provider, "*"):
                model = self._aliases.get((payer, name))
                if model is not None:
                    return model
                for (owner, pattern), stands_for in self._aliases.items():
                    if owner == payer and _matches(pattern, name):
                        return stands_for
        return None

    def named(self, provider: str, spellings: Sequence[str]) -> OwnModel | None:
        """The model that a file calls by one of these names."""
        return self._names.find(provider, spellings)

    def named_last(self, provider: str, spellings: Sequence[str]) -> OwnModel | None:
        """A model that nothing else knows: of a file's pattern, or of a fallback."""
        return self._last_names.find(provider, spellings)

    def sells(self, provider: str) -> bool:
        """Does any file price something of this provider?"""
        return provider in self._sellers

    def records(self, provider: str, model: str) -> tuple[PriceRecord, ...]:
        """The records about a model: by layer, then the narrower and the later ones first."""
        found = list(self._exact.get((provider, model.lower()), ()))
        found += [
            record
            for payer, pattern, record in self._patterns
            if payer == provider and _matches(pattern, model.lower())
        ]
        found.sort(key=lambda record: (_ORDER[record.layer], *(-part for part in record.rank())))
        return tuple(found)

    def contracts_for(self, provider: str, model: str) -> tuple[Contract, ...]:
        """The contracts about a model, in the order of the files."""
        return tuple(
            contract
            for contract in self.contracts
            if contract.provider in {"", provider}
            and any(_matches(pattern, model.lower()) for pattern in contract.models)
        )

    def models(self) -> Iterator[OwnModel]:
        """Every model that a file names, once."""
        own = {(each.provider, each.id): each for each in self._last_names.models()}
        own |= {(each.provider, each.id): each for each in self._names.models()}
        yield from own.values()

    def all_records(self) -> Iterator[tuple[str, str, PriceRecord]]:
        """(provider, model or pattern, record) of everything, strongest layer first."""
        for (provider, model), records in self._exact.items():
            yield from ((provider, model, record) for record in records)
        yield from self._patterns

    def tiers(self) -> Mapping[str, Mapping[str, str]]:
        """Service tiers that only price files know, as the context that calls of them have."""
        records: list[PriceRecord | Contract] = [record for _, _, record in self.all_records()]
        records += self.contracts
        named = {record.context.get("service_tier", "") for record in records} - {""}
        return {tier: {"service_tier": tier} for tier in named}


def _is_known(record: PriceRecord | Contract, known_at_ns: int | None) -> bool:
    return known_at_ns is None or record.known_at_ns <= known_at_ns


def _matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
