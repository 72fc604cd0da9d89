"""What the caller says was used, checked: names of units, and numbers that can be counts.

Promises: a quantity that passes is a whole number, or a Decimal, within bounds; what is no count
of anything (-1, NaN, True, "many", 2**70) or no unit of the book is refused with a ``ValueError``
that names it and says what to write instead. A message is short, whatever was passed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from difflib import get_close_matches
from itertools import chain
from operator import index
from typing import Final

from spanledger.ledger.catalog import Units
from spanledger.ledger.limits import QUANTITY_MAX
from spanledger.ledger.usage_rules import FRACTION_MAX, NANO

Quantity = int | float | Decimal
Quantities = dict[str, int | Decimal]

# Words that a person would try first -> the book's name of the unit.
ALIASES: Final[Mapping[str, str]] = {
    "characters": "input_characters",
    "pages": "input_document_pages",
    "reasoning_tokens": "output_reasoning_tokens",
    "searches": "web_searches",
    "seconds": "audio_seconds",
}

# Never the caller's own context, which may have 28 digits, or three, and any rounding.
WIDE: Final = Context(
    prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]
)
_SHOWN_CHARS_MAX: Final = 40
_WHOLE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Counts:
    """Usage in whole steps, ``scale`` of them to a unit; ``of`` holds what is above 0 only."""

    of: dict[str, int]
    scale: int
    over: str = ""  # a unit with more than a call with a fraction in it may have

    def get(self, unit: str) -> int:
        """The count of a unit, 0 where none was reported."""
        return self.of.get(unit, 0)


def read(said: Iterable[Mapping[str, Quantity | None]], units: Units) -> Quantities:
    """Check what was said; None is not said. Keys become the book's names of units."""
    known = units.by_usage_key
    quantities: Quantities = {}
    for name, value in chain.from_iterable(each.items() for each in said):
        if value is None:
            continue
        key = name if name in known else ALIASES.get(name, "")
        if key not in known:
            raise ValueError(unknown_unit(name, known))
        if key in quantities:
            raise ValueError(f"{key} is given twice, under two names or in two places")
        quantities[key] = number(name, value)
        if key.endswith("_tokens") and isinstance(quantities[key], Decimal):
            raise ValueError(f"{name} = {shown(value)}: tokens are whole numbers")
    if quantities.get("requests", 1) != 1:
        raise ValueError(
            f"requests = {quantities['requests']}: an estimate is of one call. Multiply its cost"
        )
    return quantities


def number(name: str, value: object) -> int | Decimal:
    """``value`` as a whole number where it is one, else as a Decimal; refuse what is no count."""
    exact: int | Decimal
    if type(value) is int:  # first, because nearly all are; a bool is of another type
        exact = value
    elif isinstance(value, bool):
        raise ValueError(f"{name} = {value}: a count is a number")
    elif isinstance(value, Decimal | float):
        # What a float prints as is what was meant: 3.3, not 3.29999999999999982.
        decimal = Decimal(float.__repr__(value)) if isinstance(value, float) else value
        if not decimal.is_finite():
            raise ValueError(f"{name} = {value}: a count is finite")
        is_whole = decimal.copy_abs() <= QUANTITY_MAX and decimal == decimal.to_integral_value()
        exact = int(decimal) if is_whole else decimal
    else:
        try:
            exact = index(value)  # type: ignore[arg-type]  # NumPy's integers among others
        except TypeError:
            raise ValueError(f"{name} = {shown(value)}: a count is a number") from None
    if not 0 <= exact <= QUANTITY_MAX:
        raise ValueError(f"{name} = {shown(exact)}: a count is between 0 and {QUANTITY_MAX:,}")
    return exact


def scaled(quantities: Quantities) -> Counts:
    """Quantities as integers: in billionths as soon as one of them has a fraction."""
    is_broken = any(isinstance(quantity, Decimal) for quantity in quantities.values())
    scale, most = (NANO, FRACTION_MAX) if is_broken else (1, QUANTITY_MAX)
    over = ""
    of: dict[str, int] = {}
    for key, quantity in quantities.items():
        if quantity > most:
            over = key
        if steps := int(quantity) if scale == 1 else _nanos(quantity):
            of[key] = steps
    return Counts(of, scale, over)


def _nanos(quantity: int | Decimal) -> int:
    if isinstance(quantity, int):
        return quantity * NANO
    return int(WIDE.quantize(WIDE.multiply(quantity, NANO), _WHOLE))


def unknown_unit(name: object, known: Iterable[str]) -> str:
    """What to say of a unit that the book does not have."""
    # Cut first: to look for what resembles a name of 5 MB would take minutes.
    asked = str(name)[:_SHOWN_CHARS_MAX].strip().lower()
    near = get_close_matches(asked, [*known, *ALIASES], n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Units are such as input_tokens"
    return f"{shown(name)} is no unit of the price book. {hint}"


def shown(value: object) -> str:
    """A value for a message: one line, bounded."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"  # Python refuses to print the largest
    text = value[: _SHOWN_CHARS_MAX + 1] if isinstance(value, str) else str(value)
    text = "".join(char if char.isprintable() else "�" for char in text[: _SHOWN_CHARS_MAX + 1])
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"
