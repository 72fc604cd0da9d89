"""Calls as they would have cost elsewhere: on another model, provider, service tier or region.

Promises: a function of the calls, the prices and the switch; both sides are priced by the same
prices at the moment of each call, so a difference is the switch's and no change of price since. A
sum has only calls that have a price on both sides, and every call is in it or left out with a
reason. To where the calls are already, the difference is exactly 0. Never corrects anything, never
changes a count: what another tokenizer or cache would make of a call is not known here.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from spanledger.ledger.repricing import added
from spanledger.ledger.schema import MONEY, as_calls
from spanledger.ledger.settlement_merge import Price

# All counts and money but `calls` and those of calls left out are of calls that can be compared.
BY_DAY: Final = pl.Schema(
    {
        "day": pl.Date(),
        "provider": pl.String(),  # whom and what the calls are of now
        "model": pl.String(),
        "calls": pl.Int64(),
        "compared": pl.Int64(),
        "booked_unpriced": pl.Int64(),  # add nothing to booked_usd, but have a price by now
        "usage_estimated": pl.Int64(),
        "bounded": pl.Int64(),  # the cost of either side lies between bounds
        "unmoved": pl.Int64(),  # the very same prices hold for them: the switch changes nothing
        "standins": pl.Int64(),  # no price for the tier asked for: the standard one stands in
        "booked_usd": MONEY,
        "today_usd": MONEY,  # where they are now, at the prices of today's book
        "switched_usd": MONEY,
        "difference_usd": MONEY,  # switched minus today
        "left_out_usd": MONEY,  # today's cost of calls that have no price after the switch
    }
)
# Why calls are left out: those without a price today, and of the others those without one after.
LEFT_OUT: Final = pl.Schema({"side": pl.String(), "reason": pl.String(), "calls": pl.Int64()})
TODAY: Final = "today"
SWITCHED: Final = "switched"


@dataclass(frozen=True)
class Switch:
    """What is another; None stays as it was."""

    model: str | None = None
    provider: str | None = None
    service_tier: str | None = None
    region: str | None = None

    def of(self, calls: pl.DataFrame) -> pl.DataFrame:
        """Make the same calls as they would have been."""
        named = {
            "provider": self.provider,
            "request_model": self.model,
            "response_model": self.model,
            "service_tier": self.service_tier,
            "region": self.region,
        }
        return calls.with_columns(
            pl.lit(name).alias(column) for column, name in named.items() if name is not None
        )


@dataclass(frozen=True)
class Compared:
    """What was found; two of them are added to one."""

    by_day: pl.DataFrame  # BY_DAY
    left_out: pl.DataFrame  # LEFT_OUT

    @classmethod
    def nothing(cls) -> "Compared":
        """Of no calls."""
        return cls(BY_DAY.to_frame(), LEFT_OUT.to_frame())

    def __add__(self, other: "Compared") -> "Compared":
        """Of all calls of both, which have none in common."""
        reasons = pl.concat([self.left_out, other.left_out]).group_by("side", "reason")
        return Compared(
            added(self.by_day, other.by_day, columns=BY_DAY),
            reasons.agg(pl.col("calls").sum()).sort("side", "reason").cast(LEFT_OUT),
        )


def what_if(facts: pl.DataFrame, switch: Switch, price: Price) -> Compared:
    """Compare calls with the same calls elsewhere.

    Args:
        facts: columns of ``CALLS`` that a price may depend on, and ``booked_usd``; what is not
            there counts as not reported.
        switch: where to.
        price: what calls cost by today's book.
    """
    if facts.is_empty():
        return Compared.nothing()
    calls = as_calls(facts)
    now, then = price(calls), price(switch.of(calls))
    rows = pl.DataFrame(
        {
            "day": calls.get_column("start_time").dt.date(),
            "provider": now.get_column("provider"),
            "model": now.get_column("model"),
            "booked": facts.get_column("booked_usd"),
            "usage_estimated": calls.get_column("usage_estimated"),
            "today": now.get_column("cost_usd"),
            "today_class": now.get_column("cost_class"),
            "today_reason": now.get_column("unpriced_reason"),
            "switched": then.get_column("cost_usd"),
            "switched_class": then.get_column("cost_class"),
            "switched_reason": then.get_column("unpriced_reason"),
            "is_unmoved": _prices(now) == _prices(then),
        }
    )
    return Compared(_by_day(rows), _left_out(rows))


def _prices(entries: pl.DataFrame) -> pl.Series:
    """Which prices were applied to each call, as one text: lists have no quick comparison."""
    ids = pl.element().struct.field("price_id")
    return entries.select(pl.col("lines").list.eval(ids).list.join(" ")).to_series()


def _by_day(rows: pl.DataFrame) -> pl.DataFrame:
    both = pl.col("today").is_not_null() & pl.col("switched").is_not_null()
    estimated = pl.col("usage_estimated")
    bounded = (pl.col("today_class") == "bounded") | (pl.col("switched_class") == "bounded")
    # An estimated cost has an estimated usage, or a price that is none of its own.
    standin = (pl.col("switched_class") == "estimated") & ~estimated
    by_day = rows.group_by("day", "provider", "model").agg(
        calls=pl.len(),
        compared=both.sum(),
        booked_unpriced=(both & pl.col("booked").is_null()).sum(),
        usage_estimated=(both & estimated).sum(),
        bounded=(both & bounded).sum(),
        unmoved=(both & pl.col("is_unmoved")).sum(),
        standins=(both & standin).sum(),
        booked_usd=pl.col("booked").filter(both).sum(),
        today_usd=pl.col("today").filter(both).sum(),
        switched_usd=pl.col("switched").filter(both).sum(),
        left_out_usd=pl.col("today").filter(~both).sum(),
    )
    difference = (pl.col("switched_usd") - pl.col("today_usd")).alias("difference_usd")
    return added(by_day.with_columns(difference), columns=BY_DAY)


def _left_out(rows: pl.DataFrame) -> pl.DataFrame:
    is_today = pl.col("today").is_null()
    left = rows.filter(is_today | pl.col("switched").is_null()).select(
        side=pl.when(is_today).then(pl.lit(TODAY)).otherwise(pl.lit(SWITCHED)),
        reason=pl.when(is_today).then("today_reason").otherwise("switched_reason"),
    )
    counted = left.group_by("side", "reason").agg(calls=pl.len()).sort("side", "reason")
    return counted.cast(LEFT_OUT)
