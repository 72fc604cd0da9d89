"""Prometheus metrics: counters that are fed as items move, gauges that are read from the ledger.

Promises: a counter never falls; money is added up as Decimal and turned into the nearest double
only when it is scraped; sums over all labels are exact, also where names are too many and are
booked as "other". A scrape sees all counters at one instant. Never counts an item that did not
move, never keeps more series than ``series_max`` of the four families that names from spans label.

The counters hold what this process stored since it began: charges as first booked, and apart from
them what corrections added and took away; charged plus up minus down is how the ledger moved. The
gauges of spend and budgets say what the ledger says.
"""

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Context, Decimal, Inexact
from typing import Final

import polars as pl
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from spanledger import __version__
from spanledger.collector.budgets import BudgetStatus
from spanledger.collector.exposition import ACK_BOUNDS_S, ack_histogram, read_from_ledger
from spanledger.ledger.restatement import BOOKING

COST: Final = "genai_cost_usd_total"
TOKENS: Final = "genai_tokens_total"
CALLS: Final = "genai_calls_total"
UNPRICED: Final = "genai_unpriced_calls_total"
RESTATED: Final = "genai_cost_restated_usd_total"
SETTLED: Final = "spanledger_settled_calls_total"
RECEIVED: Final = "spanledger_items_received_total"
STORED: Final = "spanledger_items_stored_total"
DUPLICATE: Final = "spanledger_items_duplicate_total"
NOT_A_CALL: Final = "spanledger_items_not_a_call_total"
REJECTED: Final = "spanledger_items_rejected_total"
DEAD: Final = "spanledger_items_dead_total"
# What can become of a span that was received; until then it is pending.
_FATES: Final = (STORED, DUPLICATE, NOT_A_CALL, REJECTED, DEAD)
PENDING: Final = "spanledger_items_pending"
REQUESTS: Final = "spanledger_requests_total"
OVERFLOW: Final = "spanledger_metric_series_overflow_total"
REPAIRS: Final = "spanledger_store_repairs_total"
RESTORED: Final = "spanledger_store_restored_rows_total"

_WHO: Final = ("tenant", "service", "environment", "provider", "model")
_COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    COST: ("Cost of stored calls in US dollars.", (*_WHO, "cost_class")),
    TOKENS: ("Tokens of stored calls; the types are disjoint.", (*_WHO, "token_type")),
    CALLS: ("Stored model calls.", (*_WHO, "operation", "status")),
    UNPRICED: ("Stored model calls whose cost is not known.", (*_WHO, "reason")),
    RESTATED: ("What corrections changed the cost by, in US dollars.", ("direction", "reason")),
    SETTLED: ("Calls booked once that were observed several times.", ()),
    RECEIVED: ("Spans and log records received in readable requests.", ("transport",)),
    STORED: ("Spans that became a row of the ledger.", ()),
    DUPLICATE: ("Spans that were in the ledger already.", ()),
    NOT_A_CALL: ("Spans and log records that are no billable model call.", ("reason",)),
    REJECTED: ("Spans and log records that were refused.", ("reason",)),
    DEAD: ("Spans that the store would not take; they are in dead.jsonl.", ("reason",)),
    REQUESTS: ("Export requests by how they were answered.", ("transport", "outcome")),
    OVERFLOW: ("Calls booked as 'other' because metrics.series_max was reached.", ()),
    REPAIRS: ("Repairs of a ledger whose files were damaged, or may have been.", ()),
    RESTORED: ("Rows of the ledger that a replay of the journal brought back.", ()),
}
# The families that names from spans label, which share one bound.
_BY_NAME: Final = (COST, TOKENS, CALLS, UNPRICED)
_TRANSPORTS: Final = ("grpc", "http")
# Entries that this process found in its journal at start, acknowledged by the one before it.
JOURNAL: Final = "journal"
_OUTCOMES: Final = ("accepted", "partial", "refused", "unauthenticated", "busy")

OTHER: Final = "other"
_FREE_LABELS: Final = frozenset({"service", "environment", "provider", "model", "operation"})
# Kept free for "other": its cost classes, token types, statuses and reasons are about 20 series.
_OTHER_SERIES_MAX: Final = 24

LABEL_CHARS_MAX: Final = 128
# A usual series takes 150 to 200 bytes. 2,000 series of names as long as a label may be would make
# a page of 5 MB; with this mean, the page of the default bound stays under 1 MiB.
_SERIES_BYTES_MEAN_MAX: Final = 384
# Reasons of dead letters are the engine's words; more kinds of trouble than these are one kind.
_DEAD_REASONS_MAX: Final = 32
# Also what Python's splitlines takes for the end of a line, as the OpenMetrics parser does.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# 38 digits a row and room for 1e20 rows; the default of 28 digits would round a sum in silence.
_EXACT: Final = Context(prec=58, traps=[Inexact])

_GROUP: Final = (*_WHO, "operation", "status", "cost_class", "unpriced_reason")
_TOKEN_TYPES: Final = ("input", "cache_read", "cache_write", "output", "reasoning")

# Asked at each scrape: under which name `watch` has it, and what it is.
_WATCHED: Final = (
    ("journal_bytes", "spanledger_journal_bytes", "Size of the journal on disk."),
    ("lag_seconds", "spanledger_writer_lag_seconds", "How long the ledger is behind the journal."),
    (
        "upkeep_owner",
        "spanledger_upkeep_owner",
        "Whether this collector settles, sums up and prunes the ledger.",
    ),
)

Series = tuple[str, tuple[str, ...]]  # name of the family, label values
Amount = int | Decimal


class Meters:
    """Everything the collector counts, and the registry that exposes it."""

    def __init__(self, series_max: int) -> None:
        """``series_max``: label sets of the cost, token, call and unpriced families together."""
        self._by_name_max = series_max - min(_OTHER_SERIES_MAX, series_max // 4)
        self._by_name_bytes_max = series_max * _SERIES_BYTES_MEAN_MAX
        self._by_name_count = self._by_name_bytes = 0
        self._lock = threading.Lock()
        self._values: dict[Series, Amount] = {
            (RECEIVED, (source,)): 0 for source in (*_TRANSPORTS, JOURNAL)
        }
        # Born at 0, so that Prometheus sees the first increase.
        self._values |= {
            (REQUESTS, (transport, outcome)): 0
            for transport in _TRANSPORTS
            for outcome in _OUTCOMES
        }
        self._values |= {(name, ()): 0 for name in (STORED, DUPLICATE, OVERFLOW, SETTLED)}
        self._values |= {(name, ()): 0 for name in (REPAIRS, RESTORED)}
        self._ack_counts = [0] * (len(ACK_BOUNDS_S) + 1)
        self._ack_sum_s = 0.0
        self._store_up: dict[str, bool] = {}
        self._watched: dict[str, Callable[[], float]] = {}
        self._spend: Mapping[str, Decimal] = {}
        self._budgets: Sequence[BudgetStatus] = ()
        self._refreshed_at: float | None = None
        self._config_loaded: tuple[bool, float] = (True, time.time())
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def received(self, transport: str, items: int) -> None:
        """Count spans of readable requests."""
        self._add({(RECEIVED, (transport,)): items})

    def not_a_call(self, counts: Mapping[str, int]) -> None:
        """Count spans that are no billable call, by reason."""
        self._add({(NOT_A_CALL, (reason,)): items for reason, items in counts.items()})

    def rejected(self, counts: Mapping[str, int]) -> None:
        """Count spans that were refused, by reason."""
        self._add({(REJECTED, (reason,)): items for reason, items in counts.items()})

    def duplicate(self, items: int) -> None:
        """Count spans that the ledger had already."""
        self._add({(DUPLICATE, ()): items})

    def dead(self, reason: str, items: int) -> None:
        """Count spans that were put aside."""
        with self._lock:
            series: Series = (DEAD, (label(reason),))
            known = sum(name == DEAD for name, _ in self._values)
            if series not in self._values and known >= _DEAD_REASONS_MAX:
                series = (DEAD, (OTHER,))
            self._values[series] = self._values.get(series, 0) + items

    def repaired(self, rows: int) -> None:
        """Count a replay of the journal into the ledger, and the rows it brought back."""
        self._add({(REPAIRS, ()): 1, (RESTORED, ()): rows})

    def request(self, transport: str, outcome: str) -> None:
        """Count one answered request."""
        self._add({(REQUESTS, (transport, outcome)): 1})

    def acknowledged(self, seconds: float) -> None:
        """Note how long a sender waited for its answer."""
        with self._lock:
            self._ack_counts[bisect_left(ACK_BOUNDS_S, seconds)] += 1
            self._ack_sum_s += seconds

    def store_up(self, *, up: bool, to: str = "writer") -> None:
        """Note whether the store answers somebody; it is up when it answers all who asked."""
        self._store_up[to] = up

    @property
    def store_is_up(self) -> bool:
        """Whether the store answers; not until somebody says so."""
        answers = list(self._store_up.values())
        return bool(answers) and all(answers)

    def config_loaded(self, *, successful: bool) -> None:
        """Note the result of the last attempt to read the configuration anew."""
        at = time.time() if successful else self._config_loaded[1]
        self._config_loaded = successful, at

    def stored(self, entries: pl.DataFrame) -> None:
        """Count what the store committed: an ENTRIES frame, of which charges count.

        Only the writer's thread calls this, so series are chosen outside of the lock, and a frame
        of 100,000 names keeps nobody waiting: what is left inside is bounded by ``series_max``.
        """
        charges = entries.filter(pl.col("kind") == "charge")
        added: dict[Series, Amount] = {(STORED, ()): charges.height}
        for row in _totals(charges).iter_rows(named=True):
            self._book(_Group(row), added)
        with self._lock:
            for series, amount in added.items():
                self._values[series] = _sum(self._values.get(series, 0), amount)

    def restated(self, legs: pl.DataFrame) -> None:
        """Count what a correction changed, by its reason; each correction is up or down as one."""
        changes = legs.group_by("run", "reason").agg(
            pl.col("cost_usd").sum(),
            bookings=((pl.col("leg") == BOOKING) & pl.col("reason").str.contains("settled")).sum(),
        )
        with self._lock:
            for reason, cost_usd, booked in changes.select(
                "reason", "cost_usd", "bookings"
            ).iter_rows():
                series = (RESTATED, ("up" if cost_usd > 0 else "down", label(reason)))
                self._values[series] = _EXACT.add(self._values.get(series, 0), abs(cost_usd))
                self._values[SETTLED, ()] += booked

    def watch(self, **asked: Callable[[], float]) -> None:
        """Set what is asked at each scrape, of ``_WATCHED``; it must neither block nor raise."""
        if unknown := asked.keys() - {name for name, *_ in _WATCHED}:
            raise TypeError(f"nothing shows {sorted(unknown)}")
        self._watched = {**self._watched, **asked}

    def refresh(
        self, spend: Mapping[str, Decimal], budgets: Sequence[BudgetStatus], at: float
    ) -> None:
        """Replace the gauges that are read from the ledger.

        Args:
            spend: US dollars by window.
            budgets: the state of every budget.
            at: when the ledger was read, in seconds since 1970.
        """
        with self._lock:
            self._spend, self._budgets, self._refreshed_at = dict(spend), tuple(budgets), at

    def describe(self) -> Iterator[Metric]:
        """Tell the registry every name, also of what has no value yet."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Give every family with its present values; called at each scrape."""
        with self._lock:
            values = dict(self._values)
            ack_counts, ack_sum_s = list(self._ack_counts), self._ack_sum_s
            spend, budgets, refreshed_at = self._spend, self._budgets, self._refreshed_at
        counters = {
            name: CounterMetricFamily(name, about, labels=labels)
            for name, (about, labels) in _COUNTERS.items()
        }
        for (name, labels), value in values.items():
            counters[name].add_metric(labels, float(value))
        yield from counters.values()
        yield ack_histogram(ack_counts, ack_sum_s)
        yield GaugeMetricFamily(
            PENDING, "Spans received whose fate is not decided yet.", value=float(_pending(values))
        )
        yield from self._state()
        yield from read_from_ledger(spend, budgets, refreshed_at)

    def _add(self, amounts: Mapping[Series, int]) -> None:
        with self._lock:
            for series, amount in amounts.items():
                self._values[series] = self._values.get(series, 0) + amount

    def _book(self, group: "_Group", added: dict[Series, Amount]) -> None:
        """Add a group to its series; the new ones only if there is room for all of them."""
        amounts = group.amounts
        new = [series for series in amounts if series not in self._values and series not in added]
        count = self._by_name_count + len(new)
        size = self._by_name_bytes + sum(map(_exposed_bytes, new))
        if count > self._by_name_max or size > self._by_name_bytes_max:
            amounts = {
                _other(series) if series in new else series: amount
                for series, amount in amounts.items()
            }
            added[OVERFLOW, ()] = _sum(added.get((OVERFLOW, ()), 0), group.calls)
        else:
            self._by_name_count, self._by_name_bytes = count, size
        for series, amount in amounts.items():
            added[series] = _sum(added.get(series, 0), amount)

    def _state(self) -> Iterator[Metric]:
        for asked, name, about in _WATCHED:
            family = GaugeMetricFamily(name, about)
            if asked in self._watched:
                family.add_metric((), float(self._watched[asked]()))
            yield family
        yield GaugeMetricFamily(
            "spanledger_store_up", "Whether the store answers.", value=float(self.store_is_up)
        )
        successful, loaded_at = self._config_loaded
        yield GaugeMetricFamily(
            "spanledger_config_last_reload_successful",
            "Whether the configuration in use is the one last asked for.",
            value=float(successful),
        )
        yield GaugeMetricFamily(
            "spanledger_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was read, in seconds since 1970.",
            value=loaded_at,
        )
        yield InfoMetricFamily(
            "spanledger_build", "Version of the collector.", {"version": __version__}
        )


class _Group:
    """What calls of one kind add to each series."""

    def __init__(self, row: Mapping[str, object]) -> None:
        named = {name: label(str(row[name])) for name in _GROUP}
        who = tuple(named[name] for name in _WHO)
        self.calls = int(str(row["calls"]))
        self.amounts: dict[Series, Amount] = {}
        if self.calls:
            self.amounts[CALLS, (*who, named["operation"], named["status"])] = self.calls
        if isinstance(row["cost_usd"], Decimal):
            self.amounts[COST, (*who, named["cost_class"])] = row["cost_usd"]
        if row["unpriced"]:
            self.amounts[UNPRICED, (*who, named["unpriced_reason"])] = int(str(row["unpriced"]))
        for token_type in _TOKEN_TYPES:
            if tokens := int(str(row[token_type])):
                self.amounts[TOKENS, (*who, token_type)] = tokens


def _sum(known: Amount, more: Amount) -> Amount:
    both = isinstance(known, int) and isinstance(more, int)
    return known + more if both else _EXACT.add(known, more)


def _exposed_bytes(series: Series) -> int:
    """How long a series' line is at most: quotes and backslashes are escaped, a value is short."""
    family, values = series
    escaped = sum(len(value.encode()) + value.count('"') + value.count("\\") for value in values)
    names = sum(len(name) + len('="",') for name in _COUNTERS[family][1])
    return len(family) + names + escaped + len("{} 12345678901234567890\n")


def _pending(values: Mapping[Series, Amount]) -> int:
    """What was received and is not yet stored, known, no call, rejected or dead.

    Derived from one copy of the counters, so the conservation law holds in every single scrape.
    """
    totals = dict.fromkeys((RECEIVED, *_FATES), 0)
    for (name, _), amount in values.items():
        if name in totals:
            totals[name] += int(amount)
    return totals[RECEIVED] - sum(totals[name] for name in _FATES)


def label(text: str) -> str:
    """Make a text fit for a label: bounded, and no control characters."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[:LABEL_CHARS_MAX])


def _other(series: Series) -> Series:
    family, values = series
    names = _COUNTERS[family][1]
    return family, tuple(
        OTHER if name in _FREE_LABELS else value for name, value in zip(names, values, strict=True)
    )


def _totals(charges: pl.DataFrame) -> pl.DataFrame:
    """Sum calls, money and disjoint kinds of tokens over everything that is a label."""

    def tokens(name: str) -> pl.Expr:
        return pl.col(name).fill_null(0)

    def sum_above_zero(amount: pl.Expr) -> pl.Expr:
        return amount.clip(lower_bound=0).sum()

    calls = pl.col("calls").cast(pl.Int64).fill_null(0)
    cost = pl.col("cost_usd")
    read, write = tokens("cache_read_tokens"), tokens("cache_write_tokens")
    reasoning = tokens("output_reasoning_tokens")
    return charges.group_by(pl.col(_GROUP).fill_null("")).agg(
        sum_above_zero(calls).alias("calls"),
        sum_above_zero(calls.filter(cost.is_null())).alias("unpriced"),
        # An all-null sum would be 0, and a cost of 0 is not what an unknown cost is.
        pl.when(cost.count() > 0).then(cost.filter(cost >= 0).sum()).alias("cost_usd"),
        sum_above_zero(tokens("input_tokens") - read - write).alias("input"),
        sum_above_zero(read).alias("cache_read"),
        sum_above_zero(write).alias("cache_write"),
        sum_above_zero(tokens("output_tokens") - reasoning).alias("output"),
        sum_above_zero(reasoning).alias("reasoning"),
    )
