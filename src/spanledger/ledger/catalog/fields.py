"""The values of a price file: text, dates, numbers and rates, each checked on its own.

Promises: whatever is wrong becomes a ``Fault`` with its place, the value, what is wrong and what
to write instead; reading goes on, so that all is told at once. Never raises for what a file says.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from spanledger.ledger.catalog.periods import (
    NS_PER_DAY,
    NS_PER_SECOND,
    Hours,
    day_number,
    instant_ns,
    zone,
)
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX, MONEY_SCALE, RATE_USD_MAX

Path = tuple[str | int, ...]

_SHOWN_CHARS_MAX: Final = 60
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})")
_TEXT_CHARS_MAX: Final = 1_024
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a price file, or a warning about what is most likely not meant."""

    path: Path
    value: str
    wrong: str  # begins with a verb
    hint: str
    is_warning: bool = False


@dataclass
class Fields:
    """One mapping of a price file, read key by key; ``faults`` is shared by the whole file."""

    path: Path
    values: Mapping[str, Any]
    faults: list[Fault]
    seen: set[str] = field(default_factory=set)

    def fault(self, key: str, wrong: str, hint: str, *, is_warning: bool = False) -> None:
        """Note what is wrong with a key."""
        path = (*self.path, *((key,) if key else ()))
        value = self.values.get(key, "") if key else ""
        self.faults.append(Fault(path, shown(value), wrong, hint, is_warning))

    def take(self, key: str) -> Any:
        """The raw value; None where it is absent or empty."""
        self.seen.add(key)
        return self.values.get(key)

    def text(self, key: str) -> str:
        """A text; "" where absent."""
        value = self.take(key)
        if value is None:
            return ""
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            value = str(value)  # a model may well be called 4
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            self.fault(key, "is not a text", "Write one line of text")
            return ""
        if len(value) > _TEXT_CHARS_MAX:
            self.fault(key, f"is longer than {_TEXT_CHARS_MAX} characters", "Shorten it")
            return ""
        return value.strip()

    def names(self, key: str) -> tuple[str, ...]:
        """One name or a list of them, in lower case."""
        value = self.take(key)
        if value is None:
            return ()
        listed = value if isinstance(value, (list, tuple)) else [value]
        names = []
        for number, item in enumerate(listed):
            name = str(item).strip().lower() if isinstance(item, (str, int, Decimal)) else ""
            if not name or len(name.encode(errors="replace")) > MODEL_NAME_BYTES_MAX:
                wrong = f"has no name of 1 to {MODEL_NAME_BYTES_MAX} bytes at place {number + 1}"
                self.fault(key, wrong, "Write a name, or a list of names")
            elif "*" in name[:-1]:
                self.fault(key, "has a * that is not its last character", "Write gpt-4o*")
            else:
                names.append(name)
        return tuple(names)

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """One of a few words; "" where absent."""
        text = self.text(key).lower()
        if text and text not in allowed:
            self.fault(key, f"is none of {', '.join(allowed)}", did_you_mean(text, allowed))
            return ""
        return text

    def instant(self, key: str, time_zone: str) -> int | None:
        """A date (midnight in the record's time zone) or a time with its zone, in ns."""
        value = self.take(key)
        if value is None:
            return None
        hint = "Write a date such as 2026-08-17, or a time such as 2026-08-17T16:00:00Z"
        try:
            at = _moment(value, time_zone)
        except (ValueError, TypeError):
            self.fault(key, "is no date and no time with a zone", hint)
            return None
        return instant_ns(at)

    def time_zone(self) -> str:
        """An existing time zone; UTC where absent or wrong."""
        name = self.text("time_zone") or "UTC"
        try:
            zone(name)
        except ValueError:
            hint = "Write UTC, an offset such as +08:00, or a name such as Europe/Berlin"
            self.fault("time_zone", "is no time zone known here", hint)
            return "UTC"
        return name

    def hours(self) -> tuple[Hours, ...]:
        """Spans of the day, such as ``"01:00-04:00"``, one or a list of them."""
        value = self.take("hours")
        spans = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        found = []
        for span in spans:
            start, _, end = str(span).partition("-")
            edges = (_clock_ns(start), _clock_ns(end))
            if edges[0] is None or edges[1] is None or edges[0] == edges[1]:
                self.fault("hours", f"has {shown(span)!r}, which is no span", "Write 01:00-04:00")
            else:
                found.append((edges[0], edges[1]))
        return tuple(found)

    def days(self) -> frozenset[int]:
        """Days of the week and ``holiday``; ranges such as ``mon-fri`` are understood."""
        value = self.take("days")
        words = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        found: set[int] = set()
        for word in words:
            ends = [day_number(part.strip()) for part in str(word).split("-")]
            if len(ends) > 2 or None in ends:
                hint = "Write days such as [sat, sun, holiday] or mon-fri"
                self.fault("days", f"has {shown(word)!r}, which is no day", hint)
                continue
            first, last = ends[0] or 0, ends[-1] or 0
            found.update(range(first, last + 1))
            if last < first:
                found.update(day % 7 for day in range(first, last + 8))
        return frozenset(found)

    def dates(self, key: str) -> frozenset[date]:
        """Calendar dates."""
        value = self.take(key)
        found = set()
        for item in value if isinstance(value, (list, tuple)) else [] if value is None else [value]:
            try:
                found.add(date.fromisoformat(str(item)))
            except ValueError:
                self.fault(key, f"has {shown(item)!r}, which is no date", "Write 2026-10-01")
        return frozenset(found)

    def number(self, key: str, low: Decimal, high: Decimal) -> Decimal | None:
        """A number within bounds, exactly as written."""
        value = self.take(key)
        if value is None:
            return None
        number = decimal(value)
        if number is None or not low <= number <= high:
            self.fault(key, f"is no number between {low} and {high}", "Write it as 22 or 22.5")
            return None
        return number

    def unknown_keys(self, known: Iterable[str]) -> None:
        """Note every key that means nothing here."""
        keys = sorted(known)
        for key in self.values:
            if key not in keys:
                self.faults.append(
                    Fault((*self.path, key), "", "is no key here", did_you_mean(str(key), keys))
                )


def decimal(value: Any) -> Decimal | None:
    """A finite number as it was written; None for anything else, a float among it."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def usd(value: Any) -> Decimal | None:
    """An amount that a rate can be."""
    number = decimal(value)
    if number is None or not 0 <= number <= RATE_USD_MAX:
        return None
    exponent = number.as_tuple().exponent
    fine = isinstance(exponent, int) and -exponent <= MONEY_SCALE
    return number if fine else None


def shown(value: object) -> str:
    """A value fit for one line of a terminal; a whole mapping or list is not shown."""
    if isinstance(value, (Mapping, list, tuple)):
        return ""
    text = str(value)
    short = text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in short)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The nearest of what is known, else all of it."""
    close = get_close_matches(word[:_SHOWN_CHARS_MAX], known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are {', '.join(known)}"


def _moment(value: object, time_zone: str) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone(time_zone))
    text = value.isoformat() if isinstance(value, date) else str(value)
    if len(text) == len("2026-08-17"):
        return datetime.combine(date.fromisoformat(text), time(), zone(time_zone)).astimezone(UTC)
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=zone(time_zone))).astimezone(UTC)


def _clock_ns(text: str) -> int | None:
    """Ns since midnight; 24:00 is the midnight that ends the day."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None or int(match[1]) > 24 or int(match[2]) > 59:
        return None
    moment = (int(match[1]) * 60 + int(match[2])) * 60 * NS_PER_SECOND
    return moment % NS_PER_DAY if moment <= NS_PER_DAY else None
