"""When a price holds: date range, hours of the day and days of the week, together.

Promises: every condition that is given must be met; ranges are half open; hours, days and holidays
are those of the seller's time zone, daylight saving included. ``edges`` names every instant at
which the answer can change, so that what was found for one instant serves its neighbours.
Never a clock: the instant is an argument.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from spanledger.ledger.limits import START_TIME_NS_MAX, START_TIME_NS_MIN

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_DAY: Final = 86_400 * NS_PER_SECOND
NS_PER_WEEK: Final = 7 * NS_PER_DAY

HOLIDAY: Final = 7  # a day of its own, after Monday (0) to Sunday (6)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})")

Hours = tuple[int, int]  # from and until, ns since midnight; over midnight where from > until


@lru_cache(maxsize=64)  # price files use a few; a file of junk must not fill memory
def zone(name: str) -> tzinfo:
    """A time zone by its IANA name or its fixed offset, such as ``+08:00``.

    Raises:
        ValueError: there is none of this name on this machine.
    """
    if name in {"", "UTC", "Z"}:
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        sign = 1 if offset[1] == "+" else -1
        return timezone(sign * timedelta(hours=int(offset[2]), minutes=int(offset[3])))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone is called {name!r}") from error


@dataclass(frozen=True, slots=True)
class Period:
    """When a rule is in force; without any condition, always."""

    from_ns: int | None = None
    until_ns: int | None = None
    hours: tuple[Hours, ...] = ()  # any of them; none given: all day
    days: frozenset[int] = frozenset()  # none given: every day
    holidays: frozenset[date] = frozenset()  # days that are ``HOLIDAY`` instead of their weekday
    time_zone: str = "UTC"

    @property
    def has_clock(self) -> bool:
        """Does it depend on more than the date range?"""
        return bool(self.hours or self.days)

    @property
    def is_dated(self) -> bool:
        """Does it begin or end?"""
        return self.from_ns is not None or self.until_ns is not None

    def holds(self, at_ns: int) -> bool:
        """Is an instant (ns, UTC) inside?"""
        if self.from_ns is not None and at_ns < self.from_ns:
            return False
        if self.until_ns is not None and at_ns >= self.until_ns:
            return False
        if not self.has_clock:
            return True
        day, moment = self._local(at_ns)
        if self.days and day not in self.days:
            return False
        return not self.hours or any(_inside(moment, *span) for span in self.hours)

    def _local(self, at_ns: int) -> tuple[int, int]:
        """Day of the week and ns since midnight, where the seller is."""
        seconds, rest_ns = divmod(at_ns, NS_PER_SECOND)
        local = datetime.fromtimestamp(seconds, UTC).astimezone(zone(self.time_zone))
        day = HOLIDAY if local.date() in self.holidays else local.weekday()
        moment = (local.hour * 60 + local.minute) * 60 + local.second
        return day, moment * NS_PER_SECOND + rest_ns

    def edges(self) -> tuple[set[int], set[int]]:
        """Instants, and ns since the start of a week (a Thursday, as 1970 began), of a change."""
        dates = {edge for edge in (self.from_ns, self.until_ns) if edge is not None}
        if not self.has_clock:
            return dates, set()
        offsets, changes = _offsets_ns(self.time_zone)
        dates |= changes
        for day in self.holidays:
            dates |= {_midnight_ns(day, self.time_zone), _midnight_ns(day, self.time_zone, 1)}
        moments = {edge for span in self.hours for edge in span} | ({0} if self.days else set())
        marks = {
            (day * NS_PER_DAY + moment - offset) % NS_PER_WEEK
            for day in range(7)
            for moment in moments
            for offset in offsets
        }
        return dates, marks

    def overlaps(self, other: "Period") -> bool:
        """May there be an instant in both? Only told apart by what is easy to tell."""
        begins = max(self.from_ns or 0, other.from_ns or 0)
        ends = min(_end_ns(self.until_ns), _end_ns(other.until_ns))
        if begins >= ends:
            return False
        if self.days and other.days and not self.days & other.days:
            return False
        if not (self.hours and other.hours) or self.time_zone != other.time_zone:
            return True
        return any(
            _inside(one[0], *two) or _inside(two[0], *one)
            for one in self.hours
            for two in other.hours
        )

    def __str__(self) -> str:
        """Short, for price ids and tables: ``@2026-08-17..2026-09-10@01:00-04:00Z``."""
        text = ""
        if self.is_dated:
            text = f"@{_day(self.from_ns)}" + (f"..{_day(self.until_ns)}" if self.until_ns else "")
        if self.days:
            text += "@" + ",".join(_DAYS[day] for day in sorted(self.days))
        if self.hours:
            spans = ",".join(f"{clock(start)}-{clock(end)}" for start, end in self.hours)
            text += f"@{spans}"
        if self.has_clock:
            text += "Z" if self.time_zone == "UTC" else f"[{self.time_zone}]"
        return text


def day_number(name: str) -> int | None:
    """0 for ``mon`` or ``Monday``, 7 for ``holiday``; None for no day."""
    known = (number for number, day in enumerate(_DAYS) if name.lower()[:3] == day[:3])
    return next(known, None)


def clock(moment_ns: int) -> str:
    """A moment of the day as ``01:00``."""
    minutes = moment_ns // NS_PER_SECOND // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def instant_ns(at: datetime) -> int:
    """An aware datetime in ns, exactly."""
    past = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (past.days * 86_400 + past.seconds) * NS_PER_SECOND + past.microseconds * 1_000


def _midnight_ns(day: date, time_zone: str, later: int = 0) -> int:
    local = datetime.combine(day + timedelta(days=later), time(), zone(time_zone))
    return instant_ns(local.astimezone(UTC))


def _inside(moment: int, start: int, end: int) -> bool:
    return start <= moment < end if start <= end else moment >= start or moment < end


def _end_ns(until_ns: int | None) -> int:
    return START_TIME_NS_MAX if until_ns is None else until_ns


def _day(at_ns: int | None) -> str:
    if at_ns is None:
        return ""
    at = datetime.fromtimestamp(at_ns // NS_PER_SECOND, UTC)
    return at.date().isoformat() if at.time() == time() else f"{at:%Y-%m-%dT%H:%M:%S}Z"


@lru_cache(maxsize=64)
def _offsets_ns(time_zone: str) -> tuple[frozenset[int], frozenset[int]]:
    """All offsets of a zone from UTC while calls are accepted, and when they change."""
    where = zone(time_zone)
    start, stop = (edge // NS_PER_SECOND for edge in (START_TIME_NS_MIN, START_TIME_NS_MAX))
    offsets, changes = {_offset_s(where, start)}, set()
    if isinstance(where, ZoneInfo):
        for low, high in _days(start, stop):
            if _offset_s(where, low) != _offset_s(where, high):
                offsets.add(_offset_s(where, high))
                changes.add(_change_s(where, low, high) * NS_PER_SECOND)
    return frozenset(offset * NS_PER_SECOND for offset in offsets), frozenset(changes)


def _days(start: int, stop: int) -> Iterator[tuple[int, int]]:
    return ((at, at + 86_400) for at in range(start, stop, 86_400))


def _offset_s(where: tzinfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, UTC).astimezone(where).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _change_s(where: tzinfo, low: int, high: int) -> int:
    """The first second of the later offset."""
    before = _offset_s(where, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset_s(where, middle) == before else (low, middle)
    return high
