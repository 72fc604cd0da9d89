"""Entries held against what they should be: their own lines, their facts, their corrections.

Promises: a function of the entries and the prices; every entry that cannot be reproduced to the
last digit is one row of ``FINDINGS``, with what is booked, what comes out and why. Nothing is
rounded, nothing is within a tolerance. Never changes an entry, never loops over rows.

Entries may have been written by anybody, so no figure of theirs is trusted to fit: what is out of
the bounds of exact arithmetic is a finding of its own and is not multiplied.
"""

from typing import Final

import polars as pl

from spanledger.ledger.limits import CALL_COST_USD_MAX, QUANTITY_MAX, RATE_USD_MAX
from spanledger.ledger.pricing_lines import wide_amounts
from spanledger.ledger.restatement import (
    BOOKING,
    BOOKING_UNDONE,
    RESTATEMENT,
    REVERSAL,
    REVERSAL_UNDONE,
)
from spanledger.ledger.schema import (
    CALLS,
    ENTRIES,
    MONEY,
    PRICE_FACTS,
    PRICED,
    USAGE_COLUMNS,
    as_calls,
)
from spanledger.ledger.settlement import KEY
from spanledger.ledger.settlement_merge import Price

# The columns of what cannot be reproduced.
FINDINGS: Final = pl.Schema(
    {
        "check": pl.String(),
        "day": pl.Date(),
        "tenant": pl.String(),
        "trace_id": pl.String(),  # "" where it is about a sum
        "span_id": pl.String(),
        "entry": pl.String(),  # which: "charge", "leg 2 of run ...", an hour and a model
        "booked": pl.String(),
        "comes_out": pl.String(),
        "why": pl.String(),
    }
)

_MONEY: Final = ("cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd")
_SIGNED: Final = ("calls", *USAGE_COLUMNS, *_MONEY, "cost_reported_usd")

_NAMES: Final = ("kind", "run", "leg", "reason", "tenant")
# An entry as it is verified: ids as text, and what stands for its other dimensions in one number.
BOOKED: Final = pl.Schema(
    {
        **{name: ENTRIES[name] for name in _NAMES},
        "trace_id": pl.String(),
        "span_id": pl.String(),
        **{name: CALLS[name] for name in ("start_time", *PRICE_FACTS)},
        **{name: ENTRIES[name] for name in (*PRICED, "calls", "cost_reported_usd", "known_at")},
        "who": pl.UInt64(),
        "stored_at_us": pl.Int64(),
    }
)

LINES: Final = "lines"
RECOMPUTE: Final = "recompute"
LEGS: Final = "legs"

# Digits behind the point of quantity and rate up to which their product is exact in 18.
_SHORT_DIGITS: Final = 9


def findings(rows: pl.DataFrame, check: str) -> pl.DataFrame:
    """Rows with the columns of ``BOOKED`` and ``booked``, ``comes_out``, ``why``, as findings."""
    leg = pl.format("leg {} of run {}", "leg", "run")
    return rows.select(
        check=pl.lit(check),
        day=pl.col("start_time").dt.date(),
        tenant="tenant",
        trace_id="trace_id",
        span_id="span_id",
        entry=pl.when(pl.col("kind") == RESTATEMENT).then(leg).otherwise("kind"),
        booked="booked",
        comes_out="comes_out",
        why="why",
    ).cast(FINDINGS)


def text(money: pl.Expr) -> pl.Expr:
    """Money as the shortest text that is exact; a word where there is none."""
    return money.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".").fill_null("none")


# --- lines --------------------------------------------------------------------------------------


def lines_of(booked: pl.DataFrame) -> pl.DataFrame:
    """Every line of some entries, with ``row``: which of them it belongs to."""
    return (
        booked.with_row_index("row")
        .filter(pl.col("lines").list.len() > 0)
        .select("row", "price_book", "lines")
        .explode("lines")
        .unnest("lines")
    )


def amounts(quantity: pl.Series, usd: pl.Series, per: pl.Series) -> pl.Series:
    """Quantity * usd / per, rounded once, as pricing does; null where a figure is out of bounds."""
    rows = pl.DataFrame({"quantity": quantity, "usd": usd, "per": per})
    count, rate, units = pl.col("quantity"), pl.col("usd"), pl.col("per")
    fits = (
        count.is_between(-QUANTITY_MAX, QUANTITY_MAX)
        & rate.is_between(0, RATE_USD_MAX)
        & (units >= 1)
    )
    # A product of more digits would be rounded before it is divided.
    is_whole = count.round(0) == count
    is_short = (count.round(_SHORT_DIGITS) == count) & (rate.round(_SHORT_DIGITS) == rate)
    plain = pl.when(fits & (is_whole | is_short))
    made = rows.select(
        plain.then(count).otherwise(None)
        * plain.then(rate).otherwise(None)
        / plain.then(units).otherwise(None).cast(MONEY)
    ).to_series()
    wide = rows.select(fits & ~is_whole & ~is_short).to_series().fill_null(value=False)
    if wide.any():
        few = rows.filter(wide)
        exact = wide_amounts(*(few.get_column(name).to_list() for name in rows.columns))
        made = made.scatter(wide.arg_true(), exact)
    return made.rename("amount_usd")


def check_lines(booked: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Do the lines multiply out, add up to the cost, and are the bounds around it?"""
    made = amounts(*(lines.get_column(name) for name in ("quantity", "rate_usd", "per")))
    by_line = lines.with_columns(made=made).with_columns(
        is_wrong=pl.col("made").ne_missing(pl.col("amount_usd")),
        # Beyond this a sum of lines could wrap; such an amount is wrong already.
        fits=pl.col("amount_usd").is_between(-CALL_COST_USD_MAX, CALL_COST_USD_MAX),
    )
    wrong_lines = by_line.filter(pl.col("is_wrong")).unique("row", keep="first")
    sums = by_line.group_by("row").agg(
        total=pl.when(pl.col("fits").all()).then(pl.col("amount_usd").sum())
    )
    rows = (
        booked.with_row_index("row")
        .join(wrong_lines.select("row", "unit", "amount_usd", "made"), on="row", how="left")
        .join(sums.with_columns(has_lines=True), on="row", how="left", maintain_order="left")
        .with_columns(
            total=pl.when("has_lines").then("total").otherwise(pl.lit(0, pl.Int64).cast(MONEY)),
            has_lines=pl.col("has_lines").fill_null(value=False),
        )
    )
    line_why = pl.format("its line {} does not multiply out", "unit")
    bounds = pl.format("{} to {}", text(pl.col("cost_low_usd")), text(pl.col("cost_high_usd")))
    cost, is_unpriced = pl.col("cost_usd"), pl.col("cost_class") == "unpriced"
    priced = pl.all_horizontal(pl.col(_MONEY).is_not_null()) & (pl.col("unpriced_reason") == "")
    blank = pl.all_horizontal(pl.col(_MONEY).is_null()) & ~pl.col("has_lines")
    said = pl.format("{} USD, reason '{}'", text(cost), "unpriced_reason")
    sign = pl.col("calls").sign()
    inside = ((cost - pl.col("cost_low_usd")) * sign >= 0) & (
        (pl.col("cost_high_usd") - cost) * sign >= 0
    )
    is_narrow = (pl.col("cost_class") != "exact") | (
        pl.col("cost_low_usd") == pl.col("cost_high_usd")
    )
    # The first that holds is told; one entry is one finding.
    told = (
        (pl.col("unit").is_not_null(), text(pl.col("amount_usd")), text(pl.col("made")), line_why),
        (
            is_unpriced & ~(blank & (pl.col("unpriced_reason") != "")),
            said,
            pl.lit("no money, no lines, a reason"),
            pl.lit("it is unpriced, and does not look so"),
        ),
        (
            ~is_unpriced & ~priced,
            said,
            pl.lit("a cost, bounds, a list cost, no reason"),
            pl.lit("it is priced, and does not look so"),
        ),
        (
            ~is_unpriced & cost.ne_missing(pl.col("total")),
            text(cost),
            text(pl.col("total")),
            pl.lit("its lines do not add up to its cost"),
        ),
        (
            ~is_unpriced & ~(inside & is_narrow),
            text(cost),
            bounds,
            pl.lit("its cost is not within its bounds"),
        ),
    )
    wrong = rows.with_columns(
        **{
            name: pl.coalesce(pl.when(each[0]).then(each[at]) for each in told)
            for at, name in enumerate(("booked", "comes_out", "why"), 1)
        }
    ).filter(pl.col("why").is_not_null())
    return findings(wrong, LINES)


# --- prices of today ----------------------------------------------------------------------------


def check_recompute(booked: pl.DataFrame, price: Price, book: str) -> tuple[pl.DataFrame, int, int]:
    """Is what this book booked the same when it is priced anew from its facts?

    Returns the findings, how many bookings were priced anew, and how many are of other books.
    """
    bookings = booked.filter(pl.col("leg").is_in([0, BOOKING]))
    ours = bookings.filter(pl.col("price_book") == book)
    other = bookings.height - ours.height
    if not ours.height:
        return FINDINGS.to_frame(), 0, other
    calls = as_calls(ours.select("start_time", *PRICE_FACTS))
    costs = price(calls).select(PRICED)
    both = pl.concat([ours, costs.rename(lambda name: f"new_{name}")], how="horizontal")
    differs = {name: pl.col(name).ne_missing(pl.col(f"new_{name}")) for name in PRICED}
    wrong = both.filter(pl.any_horizontal(differs.values()))
    names = pl.concat_str(
        [pl.when(each).then(pl.lit(name)) for name, each in differs.items()],
        separator=", ",
        ignore_nulls=True,
    )
    first = {
        side: pl.coalesce(
            pl.when(each).then(_shown(f"{prefix}{name}")) for name, each in differs.items()
        )
        for side, prefix in (("booked", ""), ("comes_out", "new_"))
    }
    why = pl.format("priced anew by the same book it has other {}", names)
    return findings(wrong.with_columns(why=why, **first), RECOMPUTE), ours.height, other


def _shown(column: str) -> pl.Expr:
    dtype = ENTRIES[column.removeprefix("new_")]
    if isinstance(dtype, pl.List):
        field = pl.element().struct.field
        money = (text(field(name)) for name in ("quantity", "rate_usd", "amount_usd"))
        line = pl.format("{} × {} = {} of {} by {}", *money, field("unit"), field("price_id"))
        return pl.col(column).list.eval(line).list.join(", ")
    return text(pl.col(column)) if dtype == MONEY else pl.col(column).cast(pl.String)


# --- corrections --------------------------------------------------------------------------------


def check_legs(booked: pl.DataFrame, settled_us: int) -> tuple[pl.DataFrame, int, int]:
    """Do all entries of a corrected span come to what its latest leg says it is now?

    Every column that is summed, under every name it is summed by: a span that is a call comes to
    that call, one that is none to nothing. And what takes back has something to take back.

    Args:
        booked: entries, all of each span.
        settled_us: until when charges that came into the ledger were settled. One that came later
            may stand in the place of the one that was taken back, and is no fault yet.

    Returns the findings, how many corrected spans were looked at, and how many left out for that.
    """
    is_leg = pl.col("kind") == RESTATEMENT
    spans = booked.filter(is_leg).select(KEY).unique()
    if not spans.height:
        return FINDINGS.to_frame(), 0, 0
    entries = booked.join(spans, on=KEY, how="semi", maintain_order="left")
    is_new = ~is_leg & (pl.col("stored_at_us") > settled_us)
    pending = entries.filter(is_new).select(KEY).unique()
    entries = entries.join(pending, on=KEY, how="anti", maintain_order="left")
    found = pl.concat([_unpaired(entries), _unbalanced(entries)])
    once = found.unique(("day", "tenant", "trace_id", "span_id"), keep="first", maintain_order=True)
    return once, spans.height - pending.height, pending.height


def _unbalanced(rows: pl.DataFrame) -> pl.DataFrame:
    latest = (
        rows.filter(pl.col("kind") == RESTATEMENT)
        .sort("known_at", "leg")
        .unique(KEY, keep="last", maintain_order=True)
    )
    now = latest.filter(pl.col("calls") > 0).select(*KEY, "who", pl.col(_SIGNED).fill_null(0))
    sums = rows.group_by(*KEY, "who").agg(pl.col(_SIGNED).fill_null(0).sum())
    both = sums.join(now, on=[*KEY, "who"], how="left", suffix="_now")
    differs = {
        name: pl.col(name).cast(MONEY) != pl.col(f"{name}_now").fill_null(0).cast(MONEY)
        for name in _SIGNED
    }
    first = {
        side: pl.coalesce(
            pl.when(each).then(
                pl.format("{} {}", pl.lit(name), text(pl.col(name + suffix).cast(MONEY)))
            )
            for name, each in differs.items()
        )
        for side, suffix in (("booked", ""), ("comes_out", "_now"))
    }
    wrong = both.filter(pl.any_horizontal(differs.values())).with_columns(**first)
    entry = latest.select(*KEY, "kind", "run", "leg")
    told = wrong.join(entry, on=KEY).with_columns(
        why=pl.lit("the entries of the span do not come to what it is now")
    )
    return findings(told.unique(KEY, keep="first"), LEGS)


def _unpaired(rows: pl.DataFrame) -> pl.DataFrame:
    """Legs that take back nothing, and money taken back for a price and not booked again."""

    def has(leg: int) -> pl.Expr:
        return (pl.col("leg") == leg).any()

    runs = (
        rows.filter(pl.col("kind") == RESTATEMENT)
        .group_by(*KEY, "run")
        .agg(
            pl.col("kind", "leg").first(),
            undoes_nothing=(has(BOOKING_UNDONE) & ~has(BOOKING))
            | (has(REVERSAL_UNDONE) & ~has(REVERSAL)),
            half=(pl.col("reason") == "repriced").any()
            & ((has(REVERSAL) != has(BOOKING)) | (has(BOOKING_UNDONE) != has(REVERSAL_UNDONE))),
        )
    )
    told = runs.filter(pl.col("undoes_nothing") | pl.col("half")).with_columns(
        booked=pl.when("half").then(pl.lit("one leg")).otherwise(pl.lit("a leg that takes back")),
        comes_out=pl.when("half").then(pl.lit("two legs")).otherwise(pl.lit("nothing to take")),
        why=pl.when("half")
        .then(pl.lit("a correction of a price is not both: taken back and booked"))
        .otherwise(pl.lit("takes back a leg that is not there")),
    )
    return findings(told, LEGS)
