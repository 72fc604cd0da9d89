"""What an estimate answers: money with everything that explains it, in words and as data.

Promises: words show every digit; ``to_dict`` keeps its shape and writes decimals as text; what has
no price says why and never shows an amount. Never prints a name from outside as it came: control
characters could command a terminal.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from spanledger.ledger.estimate.charge import EstimateLine

FORMAT: Final = "spanledger-estimate/1"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RATE_DECIMALS_MIN: Final = 2
_AMOUNT_DECIMALS_MIN: Final = 6

# Plurals in "s" or "ches": a single one loses its ending.
_UNIT_WORDS: Final = {
    "cache_read_tokens": "cached input tokens",
    "cache_write_tokens": "cache-write tokens",
    "cache_write_5m_tokens": "5-minute cache-write tokens",
    "cache_write_30m_tokens": "30-minute cache-write tokens",
    "cache_write_1h_tokens": "1-hour cache-write tokens",
    "cache_write_12h_tokens": "12-hour cache-write tokens",
    "cache_audio_read_tokens": "cached audio tokens",
    "cache_image_read_tokens": "cached image tokens",
    "cache_video_read_tokens": "cached video tokens",
    "input_audio_seconds": "seconds of input audio",
    "output_audio_seconds": "seconds of output audio",
    "audio_seconds": "seconds of audio",
    "input_characters": "characters",
    "input_document_pages": "pages",
    "input_annotated_document_pages": "annotated pages",
    "input_text_messages": "text messages",
    "output_reasoning_tokens": "reasoning tokens",
    "output_citation_tokens": "citation tokens",
}
_PER_WORDS: Final = {1: "", 1_000: "/1K", 10**6: "/1M", 10**9: "/1B"}
_PER_SECONDS_WORDS: Final = {1: "/second", 60: "/minute", 3_600: "/hour"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one call would cost, and why. Money is USD; None where there is no price."""

    cost_usd: Decimal | None
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    list_cost_usd: Decimal | None
    cost_class: str  # exact | bounded | estimated | free | unpriced
    unpriced_reason: str  # "" unless unpriced
    lines: tuple[EstimateLine, ...]
    model: str  # the book's id; the asked name, cut, where it is unknown
    provider: str  # who is paid, the book's id; likewise
    service_tier: str
    region: str
    at_ns: int
    price_book: str  # version of the book
    notes: tuple[str, ...]  # what was assumed, or why there is no price

    @property
    def at(self) -> datetime:
        """The instant whose prices these are, UTC."""
        return _EPOCH + timedelta(microseconds=self.at_ns // 1_000)

    @property
    def words(self) -> tuple[str, ...]:
        """One line a charge: ``1,500 input tokens × $2.50/1M = $0.003750``."""
        return tuple(
            f"{quantity_words(line, self.lines)} × {rate_words(line)} = {usd(line.amount_usd)}"
            for line in self.lines
        )

    @property
    def total_words(self) -> str:
        """The total, its bounds and its class: ``total $0.023750 (exact)``."""
        if self.cost_usd is None:
            return f"unpriced ({self.unpriced_reason.replace('_', ' ')})"
        low, high = self.cost_low_usd, self.cost_high_usd
        between = "" if low == high else f", between {usd(low)} and {usd(high)}"
        listed = self.list_cost_usd
        instead = "" if listed == self.cost_usd else f", list price {usd(listed)}"
        return f"total {usd(self.cost_usd)}{between}{instead} ({self.cost_class})"

    def __str__(self) -> str:
        """The whole breakdown: a line a charge, the total, and what was assumed."""
        return "\n".join((*self.words, self.total_words, *(f"note: {each}" for each in self.notes)))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it: keys in a fixed order, decimals as text."""
        return {
            "format": FORMAT,
            "currency": "USD",
            "model": self.model,
            "provider": self.provider,
            "service_tier": self.service_tier,
            "region": self.region,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "cost_usd": _text(self.cost_usd),
            "cost_low_usd": _text(self.cost_low_usd),
            "cost_high_usd": _text(self.cost_high_usd),
            "list_cost_usd": _text(self.list_cost_usd),
            "cost_class": self.cost_class,
            "unpriced_reason": self.unpriced_reason,
            "lines": [
                {
                    "unit": line.unit,
                    "quantity": _text(line.quantity),
                    "rate_usd": _text(line.rate_usd),
                    "per": line.per,
                    "amount_usd": _text(line.amount_usd),
                    "price_id": line.price_id,
                    "words": words,
                }
                for line, words in zip(self.lines, self.words, strict=True)
            ],
            "notes": list(self.notes),
            "price_book": self.price_book,
        }


def usd(amount: Decimal | None, decimals_min: int = _AMOUNT_DECIMALS_MIN) -> str:
    """Dollars with all their digits, and at least so many decimals."""
    if amount is None:
        return "-"
    whole, _, decimals = f"{amount:,f}".partition(".")
    return f"${whole}.{decimals.rstrip('0').ljust(decimals_min, '0')}"


def rate_words(line: EstimateLine) -> str:
    """``$2.50/1M``, ``$0.36/hour``."""
    words = _PER_SECONDS_WORDS if line.unit.endswith("_seconds") else _PER_WORDS
    return usd(line.rate_usd, _RATE_DECIMALS_MIN) + words.get(line.per, f"/{line.per:,}")


def quantity_words(line: EstimateLine, among: tuple[EstimateLine, ...] = ()) -> str:
    """``1,500 input tokens``; a rest beside its parts (``among``) is called so."""
    name = unit_words(line.unit)
    if line.quantity == 1:
        head, of, tail = name.partition(" of ")
        name = head.removesuffix("es" if head.endswith("ches") else "s") + of + tail
    return f"{figure(line.quantity)} {_rest(line, among)}{name}"


def unit_words(unit: str) -> str:
    """A unit as a person calls it."""
    return _UNIT_WORDS.get(unit, unit.replace("_", " "))


def figure(quantity: Decimal) -> str:
    """A quantity with all its digits."""
    text = f"{quantity:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rest(line: EstimateLine, among: tuple[EstimateLine, ...]) -> str:
    direction = line.unit.removesuffix("_tokens")
    if direction not in {"input", "output"}:
        return ""
    prefixes = ("cache_", "input_") if direction == "input" else ("output_",)
    parts = [
        each.unit
        for each in among
        if each.unit != line.unit
        and each.unit.startswith(prefixes)
        and each.unit.endswith("_tokens")
    ]
    if not parts:
        return ""
    return "uncached " if all(part.startswith("cache_") for part in parts) else "other "


def _text(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
