"""The price book: which model a name means, and what that model costs at an instant.

Promises: the same model and the same rates as genai-prices for everything in its data that no
price file and no listed correction overrides; a name or a rate that is not in the book is unknown
with a reason, never a default. Plain Python: an app may import this without Polars, PyArrow or
NumPy, and pays for the price data at first use only.
Never: a network access, a clock, memory that grows with the names that senders make up.
"""

from spanledger.ledger.catalog.book import PriceBook, Unresolved, corrections
from spanledger.ledger.catalog.cards import RateCard, ResolvedModel
from spanledger.ledger.catalog.document import Document, read_document
from spanledger.ledger.catalog.fields import Fault
from spanledger.ledger.catalog.records import BookModel, PriceRecord, Rate
from spanledger.ledger.catalog.snapshot import PriceRow
from spanledger.ledger.catalog.units import Unit, Units

__all__ = [
    "BookModel",
    "Document",
    "Fault",
    "PriceBook",
    "PriceRecord",
    "PriceRow",
    "Rate",
    "RateCard",
    "ResolvedModel",
    "Unit",
    "Units",
    "Unresolved",
    "corrections",
    "read_document",
]
