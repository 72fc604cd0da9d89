"""Periods: when a rule holds, and that it changes nowhere but at its edges."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from spanledger.ledger.catalog.periods import (
    HOLIDAY,
    NS_PER_DAY,
    NS_PER_WEEK,
    Period,
    instant_ns,
    zone,
)
from spanledger.ledger.limits import START_TIME_NS_MAX, START_TIME_NS_MIN

_MOMENTS = st.integers(0, 24 * 60 - 1).map(lambda minute: minute * 60 * 10**9)
_INSTANTS = st.integers(START_TIME_NS_MIN, START_TIME_NS_MAX - 1)
_ZONES = ["UTC", "+08:00", "-03:30", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
_NEAR = instant_ns(datetime(2026, 1, 1, tzinfo=UTC))
_PERIODS = st.builds(
    Period,
    from_ns=st.none() | _INSTANTS,
    until_ns=st.none() | _INSTANTS,
    hours=st.lists(st.tuples(_MOMENTS, _MOMENTS), max_size=2).map(tuple),
    days=st.frozensets(st.integers(0, HOLIDAY), max_size=4),
    holidays=st.frozensets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=3),
    time_zone=st.sampled_from(_ZONES),
)


@settings(max_examples=300, deadline=None)
@given(
    period=_PERIODS,
    at_ns=_INSTANTS | st.integers(_NEAR, _NEAR + 366 * NS_PER_DAY),
    later=st.integers(0, 3 * 3_600 * 10**9),
)
def test_between_its_edges_a_period_holds_throughout_or_not_at_all(
    period: Period, at_ns: int, later: int
) -> None:
    # The engine asks once for all calls between two edges.
    dates, marks = (sorted(edges) for edges in period.edges())

    def place(moment: int) -> tuple[int, int, int]:
        mark = bisect_right(marks, moment % NS_PER_WEEK)
        # After the last mark and before the first, the week goes on into the next.
        return bisect_right(dates, moment), mark % max(len(marks), 1), 0

    if place(at_ns) == place(at_ns + later):
        assert period.holds(at_ns) == period.holds(at_ns + later)


def test_a_window_over_midnight_belongs_to_the_day_it_is() -> None:
    night = Period(hours=((22 * 3_600 * 10**9, 6 * 3_600 * 10**9),), days=frozenset({4}))
    friday = datetime(2026, 11, 20, tzinfo=UTC)
    held = [
        night.holds(instant_ns(friday + timedelta(hours=hour))) for hour in (-1, 0, 5, 6, 22, 25)
    ]
    assert held == [False, True, True, False, True, False]


def test_a_zone_that_is_none_is_said_so() -> None:
    for name in ("Mars/Olympus", "+8", "../../etc/passwd", "a" * 5_000):
        with pytest.raises(ValueError, match="no time zone"):
            zone(name)
