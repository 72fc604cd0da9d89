"""Corrections of a record that is not the one in force any more.

Of two records of one span the earlier one counts. It may come to the ledger after the later one was
corrected, where two collectors write to it; their prices may differ for a moment. What took the
later record back then took back what was never booked.

Promises: functions of the entries; what is corrected anew is taken back leg by leg and corrected as
it was said last, so that the sum of all entries is the cost that was said last. Changes no entry.
"""

from typing import Final

import polars as pl

from spanledger.ledger.repricing import REPRICED
from spanledger.ledger.restatement import (
    BOOKING,
    BOOKING_UNDONE,
    LEGS,
    REVERSAL,
    REVERSAL_UNDONE,
    bookings,
    reversals,
    undone,
)
from spanledger.ledger.schema import PRICED
from spanledger.ledger.settlement import KEY

TAKING_BACK: Final = (BOOKING_UNDONE, REVERSAL_UNDONE)
MAKING: Final = (REVERSAL, BOOKING)

# What one collector may have recorded otherwise than another: the money and what they were told to
# make of a span.
_RECORDED: Final = (
    *("service", "environment", "user_id", "customer", "team", "project", "feature"),
    *("agent", "workflow", "api_key_alias", "model", "cost_class", "unpriced_reason", "price_book"),
)
_AMOUNTS: Final = ("input_tokens", "output_tokens", "cost_usd", "cost_low_usd", "cost_high_usd")


def in_force(legs: pl.DataFrame) -> pl.DataFrame:
    """The reversals and bookings that were not taken back."""
    takes_back = pl.when(pl.col("leg") == BOOKING_UNDONE).then(BOOKING).otherwise(REVERSAL)
    gone = legs.filter(pl.col("leg").is_in(TAKING_BACK)).select(
        *KEY, "run", leg=takes_back.cast(pl.UInt8)
    )
    made = legs.filter(pl.col("leg").is_in(MAKING))
    return made.join(gone, on=[*KEY, "run", "leg"], how="anti")


def of_others(taken_back: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """The reversals (of charges) that took back another record than the charge in force."""
    made = taken_back.join(charges, on=KEY, suffix="_now")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in _RECORDED]
    differs += [(-pl.col(name)).ne_missing(pl.col(f"{name}_now")) for name in _AMOUNTS]
    return made.filter(pl.any_horizontal(differs)).select(taken_back.columns)


def corrected_anew(charges: pl.DataFrame, prices: pl.DataFrame, now_ns: int) -> pl.DataFrame:
    """Correct the prices of charges anew whose correction was one of another record.

    Args:
        charges: in force, of spans that were not settled.
        prices: all legs by which their prices were corrected.
        now_ns: when this is decided: later than any of them.

    Returns:
        ``LEGS``, those of a span side by side: they are to be inserted together.
    """
    standing = in_force(prices).sort("known_at", "run")
    first = standing.filter(pl.col("leg") == REVERSAL).unique(KEY, keep="first")
    wrong = of_others(first, charges).select(KEY)
    if not wrong.height:
        return LEGS.to_frame()
    standing = standing.join(wrong, on=KEY, how="semi")
    said = standing.filter(pl.col("leg") == BOOKING).unique(KEY, keep="last", maintain_order=True)
    # A name that no leg of the span has yet, and the same for whoever looks at the same legs.
    runs = prices.group_by(KEY).agg(times=pl.col("run").n_unique())
    base = pl.col("run").str.split(".").list.first()
    said = said.join(runs, on=KEY).with_columns(run=pl.concat_str(base, pl.lit("."), "times"))
    charged = charges.drop("run").join(said.select(*KEY, "run"), on=KEY)
    costs = said.select(*KEY, *PRICED)
    priced = charged.drop(PRICED).join(costs, on=KEY)
    decided_ns = pl.lit(now_ns + 1)
    made = [
        undone(standing, REPRICED, pl.lit(now_ns)),
        reversals(charged, pl.col("run"), REPRICED, decided_ns),
        bookings(priced, pl.col("run"), REPRICED, decided_ns),
    ]
    return pl.concat([part.select(LEGS.names()) for part in made]).sort(*KEY, "known_at", "leg")
