"""Budgets: when a period began, and how much of a limit is spent.

Promises: pure functions of their arguments; periods begin at 00:00 UTC, a week on Monday; money
and ratios are Decimal. Never reads the clock or the ledger: both are handed in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Context, Decimal
from typing import Final, Literal

from spanledger.config import Budget

Period = Literal["day", "week", "month"]
Spent = Callable[[Mapping[str, str], datetime], Decimal]

# Rounded down, so that a ratio of 1 always means that the limit is reached.
_RATIO: Final = Context(prec=28, rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget and what was spent of it in the period under way."""

    name: str
    period: str  # "day" | "week" | "month"
    limit_usd: Decimal
    spent_usd: Decimal
    used_ratio: Decimal
    alert_ratio: Decimal  # the share of the limit at which the alert begins


def period_start(period: Period, now: datetime) -> datetime:
    """Say when the period that ``now`` is in began, in UTC.

    Raises:
        ValueError: ``now`` has no zone, or the period is none of ours.
    """
    midnight = _utc(now).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return midnight
        case "week":
            return midnight - timedelta(days=midnight.weekday())
        case "month":
            return midnight.replace(day=1)
    raise ValueError(f"a budget's period is {period!r}: make it day, week or month")


def spend_windows(now: datetime) -> Mapping[str, datetime]:
    """Name the windows of ``genai_spend_usd`` and say when each began."""
    return {
        "today": period_start("day", now),
        "month": period_start("month", now),
        "last_24h": _utc(now) - timedelta(hours=24),
    }


def statuses(budgets: Sequence[Budget], now: datetime, spent: Spent) -> list[BudgetStatus]:
    """Compare each budget with the ledger.

    Args:
        budgets: as configured.
        now: with a zone.
        spent: what the calls cost that pass a filter and started at or after an instant.
    """
    return [
        _status(
            budget, spent(dict[str, str](budget.filter.items()), period_start(budget.period, now))
        )
        for budget in budgets
    ]


def _status(budget: Budget, spent_usd: Decimal) -> BudgetStatus:
    return BudgetStatus(
        name=budget.name,
        period=budget.period,
        limit_usd=budget.limit_usd,
        spent_usd=spent_usd,
        used_ratio=_RATIO.divide(spent_usd, budget.limit_usd),
        alert_ratio=budget.alert_at,
    )


def _utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"a budget needs a time with a zone, got {now}: add +00:00")
    return now.astimezone(UTC)
