"""Families of /metrics that are made at once from figures, without a state of their own.

Promises: the same figures give the same families. Never counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from spanledger.collector.budgets import BudgetStatus

# From a lone request on a fast disk to the deadline of an exporter.
ACK_BOUNDS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


def ack_histogram(counts: Sequence[int], sum_s: float) -> Metric:
    """The histogram of answers: how many by each bound, the last of them without one."""
    bounds = [*(str(bound) for bound in ACK_BOUNDS_S), "+Inf"]
    cumulative = [sum(counts[: index + 1]) for index in range(len(counts))]
    return HistogramMetricFamily(
        "spanledger_ack_duration_seconds",
        "Time from a request's arrival to its answer.",
        buckets=list(zip(bounds, cumulative, strict=True)),
        sum_value=sum_s,
    )


def read_from_ledger(
    spend: Mapping[str, Decimal], budgets: Sequence[BudgetStatus], refreshed_at: float | None
) -> Iterator[Metric]:
    """The gauges of spend and budgets, as the ledger said when it was last read."""
    window = GaugeMetricFamily(
        "genai_spend_usd", "Spend in the ledger by window, in US dollars.", labels=["window"]
    )
    for name, amount in spend.items():
        window.add_metric([name], float(amount))
    yield window
    for name, about, field in (
        ("genai_budget_limit_usd", "What may be spent in one period.", "limit_usd"),
        ("genai_budget_spent_usd", "What was spent in the period under way.", "spent_usd"),
        ("genai_budget_used_ratio", "Spent as a share of the limit.", "used_ratio"),
        ("genai_budget_alert_ratio", "Share at which the alert begins.", "alert_ratio"),
    ):
        family = GaugeMetricFamily(name, about, labels=["budget", "period"])
        for budget in budgets:
            family.add_metric([budget.name, budget.period], float(getattr(budget, field)))
        yield family
    refreshed = GaugeMetricFamily(
        "spanledger_ledger_refresh_timestamp_seconds",
        "When spend and budgets were last read from the ledger, in seconds since 1970.",
    )
    if refreshed_at is not None:
        refreshed.add_metric((), refreshed_at)
    yield refreshed
