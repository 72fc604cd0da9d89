"""Where two sources of prices do not agree.

Promises: every rate of a price file that holds at the instant is compared with what the book
charges without that file, for the same unit, tier, region and range of input tokens; what differs
by more than ``TOLERANCE`` is listed. Decides nothing: a contested price is for a person to look at.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from spanledger.ledger.catalog.book import PriceBook
from spanledger.ledger.catalog.cards import ResolvedModel
from spanledger.ledger.catalog.document import Document
from spanledger.ledger.catalog.records import PriceRecord, Rate

# Half a percent: less is one source's rounding.
TOLERANCE: Final = Decimal("0.005")


class Contested(NamedTuple):
    """One rate on which a price file and the book differ."""

    provider: str
    model: str
    unit: str
    context: str
    per: int  # both amounts are for so many units
    book_usd: Decimal
    file_usd: Decimal
    book_price_id: str
    file_price_id: str

    @property
    def factor(self) -> Decimal | None:
        """The file's price over the book's; None where the book says 0."""
        return self.file_usd / self.book_usd if self.book_usd else None


def contested(book: PriceBook, document: Document, at_ns: int) -> Iterator[Contested]:
    """Compare a price file with a book that does not contain it."""
    for listing in document.listings:
        record = listing.record
        if not record.period.holds(at_ns) or any(name.endswith("*") for name in listing.models):
            continue
        for name in listing.models:
            model = book.resolve(listing.provider, name, "")
            if not isinstance(model, str):
                yield from _of_record(book, model, record, at_ns)


def _of_record(
    book: PriceBook, model: ResolvedModel, record: PriceRecord, at_ns: int
) -> Iterator[Contested]:
    tier = record.context.get("service_tier") or record.context.get("processing", "")
    card = book.card(model, tier, at_ns, record.context.get("region", ""))
    if card.is_standin:
        return  # the book has no price for the tier: nothing to differ from
    band = sum(boundary <= record.above for boundary in card.boundaries)
    ours = {rate.usage_key: rate for rate in card.list_bands[band]}
    for steps in record.rates.values():
        theirs = steps[0]
        rate = ours.get(theirs.usage_key)
        if rate is not None and _differs(rate, theirs):
            yield Contested(
                provider=model.provider,
                model=model.model,
                unit=theirs.usage_key,
                context="+".join(f"{key}={value}" for key, value in sorted(record.context.items())),
                per=rate.per,
                book_usd=rate.usd,
                file_usd=theirs.usd * rate.per / theirs.per,
                book_price_id=rate.price_id,
                file_price_id=theirs.price_id,
            )


def _differs(ours: Rate, theirs: Rate) -> bool:
    one, two = ours.usd * theirs.per, theirs.usd * ours.per
    return abs(one - two) > TOLERANCE * max(one, two)
