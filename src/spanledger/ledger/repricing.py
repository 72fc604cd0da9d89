"""Calls priced anew: which of them cost something else than what is booked, and what follows.

Promises: a function of the calls, the prices and a moment; a correction is a whole reversal of what
is booked and a whole booking of the new cost, so the sum of its legs is exactly new minus old. What
the prices say no differently is left alone: calls are corrected whose cost, bounds, list price,
class or model changed, not those where only the name of the price book did.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from spanledger.ledger.restatement import LEGS, bookings, reversals
from spanledger.ledger.schema import CALLS, ENTRIES, PRICED
from spanledger.ledger.settlement_merge import Price

REPRICED: Final = "repriced"

_COMPARED: Final = tuple(name for name in PRICED if name not in {"lines", "price_book"})
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

    booked: pl.DataFrame  # LEGS
    priced: pl.DataFrame  # LEGS, the same calls in the same order
    changed: pl.Series  # which of them cost something else

    def legs(self, run: str, begun_ns: int) -> pl.DataFrame:
        """Correct what changed: a ``LEGS`` frame, the two legs of a call side by side.

        They are to be inserted together: what is inserted as one block is there as a whole or not
        at all, so a call is never taken back without being booked again.

        Args:
            run: the id of this correction.
            begun_ns: when it was decided; later for a call that was booked after that, or its
                legs would be older than what they correct.
        """
        decided_ns = pl.max_horizontal(pl.lit(begun_ns), pl.col("booked_ns") + 1)
        booked_ns = self.booked.get_column("known_at").cast(pl.Int64).alias("booked_ns")
        parts = [
            made(rows.filter(self.changed), pl.lit(run), REPRICED, decided_ns)
            .select(LEGS.names())
            .with_row_index("place")
            for made, rows in (
                (reversals, self.booked.with_columns(booked_ns)),
                (bookings, self.priced.with_columns(booked_ns)),
            )
        ]
        return pl.concat(parts).sort("place", "leg").drop("place")

    def delta(self) -> pl.DataFrame:
        """Sum up what changed by day (UTC), provider and model: a ``DELTA`` frame."""
        rows = self.priced.select(
            "provider",
            "model",
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
        present: calls as they are booked now, the columns of ``LEGS``.
        price: what they cost now.
    """
    calls = present.with_columns(request=pl.lit(0, pl.UInt32)).select(CALLS.names())
    costs = price(calls).select(PRICED)
    priced = present.with_columns(costs.get_columns())
    differs = pl.any_horizontal(
        costs.get_column(name).ne_missing(present.get_column(name)) for name in _COMPARED
    )
    changed = pl.select(differs).to_series() if present.height else pl.Series([], dtype=pl.Boolean)
    return Repriced(present, priced, changed.alias("changed"))


def added(*deltas: pl.DataFrame, columns: pl.Schema = DELTA) -> pl.DataFrame:
    """Add such frames up, in the order of days and models."""
    by = ["day", "provider", "model"]
    sums = [name for name in columns.names() if name not in by]
    together = pl.concat([delta.select(columns.names()).cast(columns) for delta in deltas])
    return together.group_by(by).agg(pl.col(sums).sum()).sort(by).select(columns.names())
