"""Calls priced anew: which of them cost something else than what is booked, and what follows.

Promises: a function of the calls and the prices. What the prices say no differently is left alone:
calls are corrected whose cost, bounds, list price, class or model changed, not those where only the
name of the price book did.

Only what prices depend on is looked at, and only new prices come of it: who called, and what else
is known of a call, never leaves the engine, which makes the legs (``restate_prices.sql``). Reading
and writing whole entries here took twice as long (measured).
"""

from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa

from spanledger.ledger.schema import (
    ENTRIES,
    ENTRIES_ARROW,
    PRICE_FACTS,
    PRICED,
    as_calls,
    columns_to_arrow,
)
from spanledger.ledger.settlement import KEY
from spanledger.ledger.settlement_merge import Price

REPRICED: Final = "repriced"

_COMPARED: Final = tuple(name for name in PRICED if name not in {"lines", "price_book"})
# Calls as they are booked now, as far as that matters here.
PRESENT: Final = pl.Schema({name: ENTRIES[name] for name in (*KEY, *PRICE_FACTS, *_COMPARED)})
# What is booked anew, as the store takes it.
PRICES_ARROW: Final = pa.schema([ENTRIES_ARROW.field(name) for name in (*KEY, *PRICED)])

# The columns of a report on what changed; costs of unpriced calls count nothing.
DELTA: Final = pl.Schema(
    {
        "day": pl.Date(),
        "provider": pl.String(),
        "model": pl.String(),
        "calls": pl.Int64(),
        "changed": pl.Int64(),
        "unpriced_before": pl.Int64(),
        "unpriced_after": pl.Int64(),
        "old_usd": ENTRIES["cost_usd"],
        "new_usd": ENTRIES["cost_usd"],
        "change_usd": ENTRIES["cost_usd"],
    }
)


@dataclass(frozen=True)
class Repriced:
    """Calls as they are booked, and the same rows as they are priced now."""

    booked: pl.DataFrame  # PRESENT
    priced: pl.DataFrame  # the columns of PRICES_ARROW, the same calls in the same order
    changed: pl.Series  # which of them cost something else

    def prices(self) -> pa.Table:
        """What is to be booked for the calls that changed (``PRICES_ARROW``)."""
        rows = self.priced.filter(self.changed)
        return pa.Table.from_batches([columns_to_arrow(rows, PRICES_ARROW)])

    def delta(self) -> pl.DataFrame:
        """Sum up what changed by day (UTC), provider and model: a ``DELTA`` frame."""
        rows = self.priced.select(
            "model",
            provider=self.booked["provider"],
            day=pl.col("start_time").dt.date(),
            changed=self.changed,
            old=self.booked["cost_usd"],
            new=pl.col("cost_usd"),
        )
        return added(
            rows.group_by("day", "provider", "model").agg(
                calls=pl.len().cast(pl.Int64),
                changed=pl.col("changed").sum().cast(pl.Int64),
                unpriced_before=pl.col("old").is_null().sum().cast(pl.Int64),
                unpriced_after=pl.col("new").is_null().sum().cast(pl.Int64),
                old_usd=pl.col("old").sum(),
                new_usd=pl.col("new").sum(),
                change_usd=pl.col("new").sum() - pl.col("old").sum(),
            )
        )


def reprice(present: pl.DataFrame, price: Price) -> Repriced:
    """Price calls anew.

    Args:
        present: calls as they are booked now (``PRESENT``).
        price: what they cost now.
    """
    costs = price(as_calls(present)).select(PRICED)
    priced = present.select(KEY).with_columns(costs.get_columns())
    differs = pl.any_horizontal(
        costs.get_column(name).ne_missing(present.get_column(name)) for name in _COMPARED
    )
    changed = pl.select(differs).to_series() if present.height else pl.Series([], dtype=pl.Boolean)
    return Repriced(present, priced, changed.alias("changed"))


def present_from_arrow(table: pa.Table) -> pl.DataFrame:
    """Calls as the store answered them: a ``PRESENT`` frame."""
    return pl.DataFrame(table).select(PRESENT.names()).cast(PRESENT)


def added(*deltas: pl.DataFrame, columns: pl.Schema = DELTA) -> pl.DataFrame:
    """Add such frames up, in the order of days and models."""
    by = ["day", "provider", "model"]
    sums = [name for name in columns.names() if name not in by]
    together = pl.concat([delta.select(columns.names()).cast(columns) for delta in deltas])
    return together.group_by(by).agg(pl.col(sums).sum()).sort(by).select(columns.names())
