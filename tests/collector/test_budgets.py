from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given, strategies as st

from spanledger.collector.budgets import BudgetStatus, period_start, spend_windows, statuses
from spanledger.config import Budget

# A Thursday.
NOW = datetime(2026, 10, 15, 13, 45, 6, 789, tzinfo=UTC)
PERIODS = ("day", "week", "month")
# Bounds of hypothesis have no zone; the zones are drawn apart.
FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2020, 2100))
instants = st.datetimes(FIRST, LAST, timezones=st.timezones())


@pytest.mark.parametrize(
    ("period", "start"),
    [
        ("day", datetime(2026, 10, 15, tzinfo=UTC)),
        ("week", datetime(2026, 10, 12, tzinfo=UTC)),
        ("month", datetime(2026, 10, 1, tzinfo=UTC)),
    ],
)
def test_a_period_begins_at_midnight_utc(
    period: Literal["day", "week", "month"], start: datetime
) -> None:
    assert period_start(period, NOW) == start
    assert period_start(period, start) == start
    assert period_start(period, start - timedelta(microseconds=1)) < start


def test_a_week_reaches_across_the_turn_of_the_year() -> None:
    assert period_start("week", datetime(2027, 1, 2, tzinfo=UTC)) == datetime(
        2026, 12, 28, tzinfo=UTC
    )


def test_the_zone_of_the_clock_does_not_move_a_period() -> None:
    # 01:00 on the first of November there is still October in UTC.
    there = datetime(2026, 11, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    assert period_start("month", there) == datetime(2026, 10, 1, tzinfo=UTC)


@given(instants, st.sampled_from(PERIODS))
def test_a_period_contains_its_instant_and_begins_once(
    now: datetime, period: Literal["day", "week", "month"]
) -> None:
    start = period_start(period, now)
    assert start <= now
    assert now - start < timedelta(days={"day": 1, "week": 7, "month": 31}[period])
    assert period_start(period, start) == start
    assert start.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        period_start("day", datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test


def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(ValueError, match="'year'"):
        period_start("year", NOW)  # type: ignore[arg-type]


def test_spend_windows_are_today_this_month_and_the_last_24_hours() -> None:
    assert spend_windows(NOW) == {
        "today": datetime(2026, 10, 15, tzinfo=UTC),
        "month": datetime(2026, 10, 1, tzinfo=UTC),
        "last_24h": NOW - timedelta(hours=24),
    }


def test_each_budget_is_compared_with_what_its_own_calls_cost_in_its_own_period() -> None:
    asked: list[tuple[Mapping[str, str], datetime]] = []

    def spent(where: Mapping[str, str], start: datetime) -> Decimal:
        asked.append((where, start))
        return Decimal("37.5")

    acme = Budget(name="acme", filter={"customer": "acme"}, period="month", limit_usd=Decimal(50))
    everything = Budget(name="all", period="day", limit_usd=Decimal(30), alert_at=Decimal("0.5"))
    assert statuses([acme, everything], NOW, spent) == [
        BudgetStatus(
            "acme", "month", Decimal(50), Decimal("37.5"), Decimal("0.75"), Decimal("0.8")
        ),
        BudgetStatus("all", "day", Decimal(30), Decimal("37.5"), Decimal("1.25"), Decimal("0.5")),
    ]
    assert asked == [
        ({"customer": "acme"}, datetime(2026, 10, 1, tzinfo=UTC)),
        ({}, datetime(2026, 10, 15, tzinfo=UTC)),
    ]


money = st.decimals(Decimal("1e-18"), Decimal(10) ** 12, places=18)


@given(money, money)
def test_a_ratio_of_one_means_that_the_limit_is_reached(limit: Decimal, spent: Decimal) -> None:
    budget = Budget(name="b", period="day", limit_usd=limit)
    (status,) = statuses([budget], NOW, lambda _where, _start: spent)
    assert (status.used_ratio >= 1) == (spent >= limit)
