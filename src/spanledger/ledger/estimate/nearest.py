"""Models of the book whose names resemble one that it does not have.

Promises: reads the whole book, some milliseconds: for a person who mistyped, not for every call.
"""

from difflib import get_close_matches
from typing import Final

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.catalog.identity import fold, provider_id

# Longer names are compared by their beginning; models have up to 60 characters or so.
_COMPARED_CHARS_MAX: Final = 80


def nearest_models(
    model: str, book: PriceBook, *, provider: str = "", most: int = 3
) -> list[tuple[str, str]]:
    """(provider, model) of the models whose names are most like ``model``, best first.

    Only those of ``provider`` where the book knows it.
    """
    sellers: dict[str, list[str]] = {}
    for each in book.models():
        sellers.setdefault(each.model, []).append(each.provider)
    asked = provider_id(fold(provider)) or provider.strip().lower()
    if any(asked in providers for providers in sellers.values()):
        sellers = {name: [asked] for name, providers in sellers.items() if asked in providers}
    # Fine-tuned models have the name of their base: they would come up beside each of them.
    sellers = {name: who for name, who in sellers.items() if not name.startswith("ft:")}
    wanted = model[:_COMPARED_CHARS_MAX].strip().lower()
    names = get_close_matches(wanted, sellers, n=most, cutoff=0.6)
    return [(_seller(book, name, sellers[name]), name) for name in names]


def _seller(book: PriceBook, model: str, sellers: list[str]) -> str:
    """Whose price the bare name stands for, if it is one of those who sell the model."""
    meant = book.resolve("", model, "")
    if isinstance(meant, str) or meant.provider not in sellers:
        return sellers[0]
    return meant.provider
