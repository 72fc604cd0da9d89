"""Legs: how a booking is corrected without being overwritten.

Promises: a correction is made of signed rows of the ledger. What is taken back is the exact
negative of what was booked (calls, every count, every line and all money), what is booked is a
whole row, so a plain sum over any column is right at every moment. Never changes an entry.

Each correction has a run id, and four kinds of legs by number, in the order in which they take
effect: 1 takes an entry back, 2 books its replacement, 3 takes that replacement back, 4 books the
entry again. The latest leg of a span, by time and then by number, says what the span is now.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from spanledger.ledger.schema import (
    ENTRIES,
    ENTRIES_ARROW,
    LINES,
    QUANTITY_MAP,
    TIME,
    USAGE_COLUMNS,
    entries_to_arrow,
)

RESTATEMENT: Final = "restatement"

# The numbers of the legs.
REVERSAL: Final = 1
BOOKING: Final = 2
BOOKING_UNDONE: Final = 3
REVERSAL_UNDONE: Final = 4
_UNDONE_BY: Final = {BOOKING: BOOKING_UNDONE, REVERSAL: REVERSAL_UNDONE}

# An entry and the call it was settled into, "trace id/span id"; empty where it was not.
LEGS: Final = pl.Schema([*ENTRIES.items(), ("settled_into", pl.String())])
LEGS_ARROW: Final = pa.schema([*ENTRIES_ARROW, ("settled_into", pa.string())])

_SIGNED: Final = (*USAGE_COLUMNS, "calls")
_MONEY: Final = ("cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd", "cost_reported_usd")


def reversals(
    entries: pl.DataFrame, run: pl.Expr, reason: str, known_at_ns: pl.Expr
) -> pl.DataFrame:
    """Take entries back; columns beyond ``ENTRIES`` stay.

    Args:
        entries: what is in force.
        run: the id of the correction that each belongs to.
        reason: why, from a small set; it labels a metric.
        known_at_ns: when this installation decided so, ns since the epoch; one moment for all
            legs of a correction, or their order is lost.
    """
    return _stamped(_negative(entries), run, REVERSAL, reason, known_at_ns)


def bookings(
    entries: pl.DataFrame, run: pl.Expr, reason: str, known_at_ns: pl.Expr
) -> pl.DataFrame:
    """Book rows in the place of what was taken back; see ``reversals``."""
    return _stamped(entries, run, BOOKING, reason, known_at_ns)


def undone(legs: pl.DataFrame, reason: str, known_at_ns: pl.Expr) -> pl.DataFrame:
    """Take reversals and bookings back: the exact negative of each leg, under the same run."""
    number = pl.col("leg").replace_strict(_UNDONE_BY, return_dtype=pl.UInt8)
    settled_into = pl.lit("").alias("settled_into")
    return _stamped(_negative(legs), pl.col("run"), number, reason, known_at_ns).with_columns(
        settled_into
    )


def legs_to_arrow(legs: pl.DataFrame) -> pa.Table:
    """Cast a ``LEGS`` frame to what the store takes."""
    entries = entries_to_arrow(legs.select(ENTRIES.names()))
    settled_into = pa.array(legs.get_column("settled_into").to_list(), pa.string())
    return pa.Table.from_arrays([*entries.columns, settled_into], schema=LEGS_ARROW)


def legs_from_arrow(table: pa.Table) -> pl.DataFrame:
    """Give the columns of ``LEGS`` that the store answered their types; others stay."""
    rows = pl.DataFrame(table)
    return rows.cast({name: LEGS[name] for name in rows.columns if name in LEGS})


def _stamped(
    rows: pl.DataFrame, run: pl.Expr, leg: int | pl.Expr, reason: str, known_at_ns: pl.Expr
) -> pl.DataFrame:
    number = leg if isinstance(leg, pl.Expr) else pl.lit(leg, pl.UInt8)
    return rows.with_columns(
        run.alias("run"),
        number.alias("leg"),
        pl.lit(RESTATEMENT).alias("kind"),
        pl.lit(reason).alias("reason"),
        known_at_ns.cast(pl.Int64).cast(TIME).alias("known_at"),
    )


def _negative(rows: pl.DataFrame) -> pl.DataFrame:
    element = pl.element().struct
    usage = pl.struct(element.field("key"), _minus(element.field("value")))
    line = pl.struct(
        element.field("unit"),
        _minus(element.field("quantity")),
        element.field("rate_usd"),
        element.field("per"),
        _minus(element.field("amount_usd")),
        element.field("price_id"),
    )
    return rows.with_columns(
        *(-pl.col(name) for name in _SIGNED),
        *(_minus(pl.col(name)) for name in _MONEY),
        pl.col("usage").list.eval(usage).cast(QUANTITY_MAP),
        pl.col("lines").list.eval(line).cast(LINES),
    )


def _minus(money: pl.Expr) -> pl.Expr:
    return -money
