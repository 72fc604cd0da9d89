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
        self._named: dict[tuple[str, str], OwnModel] = {}
        self._named_last: dict[tuple[str, str], OwnModel] = {}
        self._named_by_pattern: list[tuple[str, str, OwnModel]] = []
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
        # A fallback must not take a name away from the bundled model that it means.
        named = self._named_last if listing.record.layer == FALLBACK else self._named
        for model in listing.models:
            own = OwnModel(provider, model, listing.base)
            if model.endswith("*"):
                self._patterns.append((provider, model, listing.record))
                self._named_by_pattern.append((provider, model, own))
            else:
                self._exact.setdefault((provider, model), []).append(listing.record)
                named.setdefault((provider, model), own)
        for name in listing.names:
            own = OwnModel(provider, listing.models[0], listing.base)
            if name.endswith("*"):
                self._named_by_pattern.append((provider, name, own))
            else:
                named.setdefault((provider, name), own)

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
        """The model that a file calls by exactly one of these names."""
        found = (self._named.get((provider, name)) for name in spellings)
        return next((own for own in found if own is not None), None)

    def named_last(self, provider: str, spellings: Sequence[str]) -> OwnModel | None:
        """A model that nothing else knows: a pattern of a file, then a fallback's name."""
        for payer, pattern, own in self._named_by_pattern:
            if payer == provider and any(_matches(pattern, name) for name in spellings):
                return own
        found = (self._named_last.get((provider, name)) for name in spellings)
        return next((own for own in found if own is not None), None)

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
        own = [*self._named.values(), *self._named_last.values()]
        own += [each for _, _, each in self._named_by_pattern]
        yield from dict.fromkeys(own)

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
