"""The estimate of a single call, for apps and tools: what will it cost, and why.

Promises: needs the light package only, and equals the ledger's own charge to the last digit.
Never imports Polars, PyArrow or NumPy; prices load at the first estimate, not at import.

``quantities`` checks what was said, ``guesses`` makes tokens of text and minutes, ``charge`` does
the arithmetic, ``answer`` puts it into words, ``api`` is the one call that does all of it.
"""

from spanledger.ledger.estimate.answer import Estimate
from spanledger.ledger.estimate.api import bundled, estimate, estimate_text
from spanledger.ledger.estimate.charge import EstimateLine
from spanledger.ledger.estimate.guesses import (
    measured,
    tokens_of_characters,
    tokens_of_text,
    tokens_of_words,
)
from spanledger.ledger.estimate.nearest import nearest_models
from spanledger.ledger.estimate.quantities import Quantity, shown

__all__ = [
    "Estimate",
    "EstimateLine",
    "Quantity",
    "bundled",
    "estimate",
    "estimate_text",
    "measured",
    "nearest_models",
    "shown",
    "tokens_of_characters",
    "tokens_of_text",
    "tokens_of_words",
]
