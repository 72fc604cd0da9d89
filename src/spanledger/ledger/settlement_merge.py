"""One call out of several observations of it.

Promises: a function of the set of observations, whatever their order. The call keeps the place of
its outermost observer (span, time), and everything that any observer knows: who, from the outermost
first, because the app knows its users; what was called and what it used, from the observer with
the most detailed usage. Counts are never added: they are several readings of one meter.
The money is the one that was booked first for just these facts, so a change of prices in between
changes nothing, unless the ledger was priced anew: then it is what was said last. What no single
observer could price is priced now, by the book with which the call was first recorded: when that
is done, and how often, changes nothing either.
"""

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from spanledger.ledger.schema import (
    CALLS,
    ENTRIES,
    MONEY,
    PRICED,
    QUANTITY_MAP,
    TEXT_MAP,
    USAGE_COLUMNS,
)

# Prices calls: the frame of ENTRIES for a frame of CALLS, in the same order.
Price = Callable[[pl.DataFrame], pl.DataFrame]
# The prices of a book, by its version (``price_book`` of a charge).
PricesOf = Callable[[str], Price]

_PLACE: Final = ("tenant", "trace_id", "span_id", "parent_span_id", "start_time", "duration_ns")
_WHO: Final = (
    "service",
    "environment",
    "operation",
    "user_id",
    "customer",
    "team",
    "project",
    "feature",
    "conversation_id",
    "agent",
    "workflow",
    "api_key_alias",
)
_WHAT: Final = (
    "provider",
    "request_model",
    "response_model",
    "service_tier",
    "region",
    "response_id",
    "scope_name",
    "scope_version",
)
_TOTALS: Final = ("input_tokens", "output_tokens")
_PARTS: Final = tuple(name for name in USAGE_COLUMNS if name not in _TOTALS)
# What a price follows from, besides the time. The usage map is compared as text.
_FACTS: Final = (
    *("provider", "request_model", "response_model", "service_tier", "region", "status"),
    *USAGE_COLUMNS,
    *("convention", "usage_missing", "usage_estimated", "usage_invalid", "cache_unknown"),
)
_BOOKED_FACTS: Final = ("run", *_FACTS, "usage_text")
# Who sells other vendors' models is who is paid.
_PLATFORM: Final = r"^(aws|azure|gcp\.vertex)"
_KEY: Final = ("start_time", "trace_id", "span_id")


def merge(
    observations: pl.DataFrame, prices_of: PricesOf, repriced: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Make one entry of each call: the columns of ``ENTRIES`` and ``run``, one row a run.

    Args:
        observations: charges, with the ``run`` that tells which are of one call.
        prices_of: price what no observer could price as a whole.
        repriced: bookings of the same calls at other prices, later, with the same columns.
    """
    if not observations.height:
        return ENTRIES.to_frame().with_columns(run=pl.lit("", pl.String))
    rows = _ordered(observations)
    outermost = rows.sort("run", "depth", "start_time", -pl.col("duration_ns"), *_KEY)
    detailed = rows.sort("run", *_DETAIL, "details", "depth", *_KEY, descending=_DETAIL_DESCENDING)
    trusted = rows.sort(
        "run", "vendor", "unknown", *_DETAIL, "details", "depth", *_KEY,
        descending=[False, False, False, *_DETAIL_DESCENDING[1:]],
    )  # fmt: skip
    calls = (
        outermost.group_by("run", maintain_order=True)
        .agg(*(pl.col(name).first() for name in _PLACE), *map(_first_said, _WHO))
        .join(trusted.group_by("run").agg(*map(_first_said, _WHAT), *_OUTCOME), on="run")
        .join(_usage(detailed), on="run")
        .join(_attributes(outermost), on="run")
        .join(_first_book(rows), on="run")
        .with_columns(request=pl.lit(0, pl.UInt32))
        .select(*CALLS.names(), "run", "first_book")
        .cast(CALLS)
    )
    return _with_money(calls, _bookings(rows, repriced), prices_of)


def books(observations: pl.DataFrame) -> pl.DataFrame:
    """The price book of each call's money, that of its first record: ``run``, ``price_book``."""

    def unasked(version: str) -> Price:
        told = [pl.lit(None, ENTRIES[name]).alias(name) for name in PRICED if name != "price_book"]
        return lambda calls: calls.with_columns(*told, price_book=pl.lit(version))

    return merge(observations, unasked).select("run", "price_book")


def _ordered(observations: pl.DataFrame) -> pl.DataFrame:
    spans = observations.select("run", "trace_id", parent_span_id="span_id", is_inner=pl.lit(1))
    details = sum((pl.col(name) != 0).cast(pl.Int64) for name in USAGE_COLUMNS)
    return observations.join(
        spans.unique(["run", "trace_id", "parent_span_id"]),
        on=["run", "trace_id", "parent_span_id"],
        how="left",
    ).with_columns(
        depth=pl.col("is_inner").fill_null(0),
        details=details + pl.col("usage").list.len() + (pl.col("service_tier") != ""),
        unknown=pl.col("unpriced_reason").str.starts_with("unknown_"),
        vendor=~pl.col("provider").str.contains(_PLATFORM),
    )


# The best usage first: it is there, it is numbers, it was counted, it has its parts; then the
# innermost, who is nearest to the provider.
_DETAIL: Final = ("usage_missing", "usage_invalid", "usage_estimated", "cache_unknown")
_DETAIL_DESCENDING: Final = [False, *(False for _ in _DETAIL), True, True, False, False, False]

_OUTCOME: Final = (
    pl.col("status").first(),
    pl.when(pl.col("status").first() == "error")
    .then(pl.col("error_type").filter(pl.col("error_type") != "").first())
    .otherwise(pl.lit(""))
    .fill_null("")
    .alias("error_type"),
    pl.col("time_to_first_token_ms").drop_nulls().first(),
    pl.col("cost_reported_usd").drop_nulls().first(),
)


def _first_said(name: str) -> pl.Expr:
    return pl.col(name).filter(pl.col(name) != "").first().fill_null("")


def _usage(detailed: pl.DataFrame) -> pl.DataFrame:
    """The totals of the best observer, and every part of them that any agreeing one knows."""

    def agree(names: Sequence[str]) -> pl.Expr:
        return pl.all_horizontal(pl.col(name) == pl.col(name).first().over("run") for name in names)

    agreeing = detailed.filter(agree(_TOTALS))
    cached = ("cache_read_tokens", "cache_write_tokens")
    known = pl.col("convention") != "assumed"
    convention = (
        agreeing.filter(agree(cached))
        .group_by("run")
        .agg(
            convention=pl.when(known.any())
            .then(pl.col("convention").filter(known).first())
            .otherwise(pl.col("convention").first())
        )
    )
    usage = (
        agreeing.select("run", "usage")
        .explode("usage")
        .drop_nulls("usage")
        .unnest("usage")
        .group_by("run", "key")
        .agg(pl.col("value").max())
        .sort("run", "key")
        .group_by("run")
        .agg(usage=pl.struct("key", "value"))
        .cast({"usage": QUANTITY_MAP})
    )
    return (
        agreeing.group_by("run", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in _TOTALS),
            *(pl.col(name).max() for name in _PARTS),
            *(pl.col(name).first() for name in ("usage_invalid", "usage_estimated")),
            pl.col("usage_missing").all(),
            pl.col("cache_unknown").all(),
            pl.col("cache_write_unknown").all(),
        )
        .join(convention, on="run")
        .join(usage, on="run", how="left")
        .with_columns(pl.col("usage").fill_null(pl.lit([], QUANTITY_MAP)))
    )


def _attributes(outermost: pl.DataFrame) -> pl.DataFrame:
    pairs = (
        outermost.select("run", "attributes")
        .explode("attributes")
        .drop_nulls("attributes")
        .unnest("attributes")
        .unique(["run", "key"], keep="first", maintain_order=True)
        .sort("run", "key")
        .group_by("run")
        .agg(attributes=pl.struct("key", "value"))
        .cast({"attributes": TEXT_MAP})
    )
    return (
        outermost.select(pl.col("run").unique())
        .join(pairs, on="run", how="left")
        .with_columns(pl.col("attributes").fill_null(pl.lit([], TEXT_MAP)))
    )


def _first_book(rows: pl.DataFrame) -> pl.DataFrame:
    """The price book with which each call was first recorded."""
    recorded = rows.sort("known_at", *_KEY)
    return recorded.group_by("run").agg(first_book=pl.col("price_book").first())


def _bookings(rows: pl.DataFrame, repriced: pl.DataFrame | None) -> pl.DataFrame:
    """What each call costs by its facts: as it was priced anew last, else as booked first."""
    parts = [rows.sort("known_at", *_KEY)]
    if repriced is not None:
        parts.insert(0, repriced.sort("known_at", *_KEY, descending=True))
    columns = ("run", *_FACTS, "usage", *PRICED)
    return (
        pl.concat([part.select(columns) for part in parts])
        .with_columns(usage_text=_as_text("usage"))
        .unique(_BOOKED_FACTS, keep="first", maintain_order=True)
        .select(*_BOOKED_FACTS, *PRICED)
    )


def _with_money(calls: pl.DataFrame, booked: pl.DataFrame, prices_of: PricesOf) -> pl.DataFrame:
    found = calls.with_columns(usage_text=_as_text("usage")).join(
        booked.with_columns(is_booked=True), on=_BOOKED_FACTS, how="left"
    )
    is_new = pl.col("is_booked").is_null()
    kept = found.filter(~is_new)
    new = found.filter(is_new)
    parts = [kept.select(*CALLS.names(), *PRICED, "run")]
    for (book,), rows in new.group_by("first_book"):
        priced = prices_of(str(book))(rows.select(CALLS.names()))
        parts.append(
            pl.concat(
                [rows.select(*CALLS.names(), "run"), priced.select(PRICED)], how="horizontal"
            ).select(parts[0].columns)
        )
    return (
        pl.concat(parts)
        .with_columns(
            kind=pl.lit(""),
            leg=pl.lit(0, pl.UInt8),
            reason=pl.lit(""),
            calls=pl.lit(1, pl.Int8),
            known_at=pl.lit(None, ENTRIES["known_at"]),
        )
        .select(ENTRIES.names())
        .cast(ENTRIES)
        .sort("run")
    )


def _as_text(usage: str) -> pl.Expr:
    element = pl.element().struct
    pair = pl.concat_str(element.field("key"), pl.lit("="), element.field("value").cast(MONEY))
    return pl.col(usage).list.eval(pair.sort()).list.join(",")
