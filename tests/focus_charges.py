"""Entries of every kind, as the question for FOCUS finds them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
from pricing_calls import BOOK, NOON, book_with, call, priced

from spanledger.ledger.schema import ENTRIES, LINES, QUANTITY_MAP

# Two contracts: one with rates of its own, one with a discount on everything.
AGREED: Final = book_with(
    {
        "contracts": [
            {
                "name": "rates",
                "provider": "openai",
                "model": "gpt-4o",
                "rates": {"input_mtok": "1.5", "cache_read_mtok": "0.5"},
            },
            {"name": "gift", "model": "gpt-4o-mini", "discount_percent": "100"},
            {"name": "discount", "model": "*", "discount_percent": "22"},
        ],
        "prices": [
            {"provider": "acme", "model": "painter", "rates": {"images_4k": "0.04"}},
            {"provider": "acme", "model": "own", "rates": {"gpu_seconds": "0.0004"}},
            {"provider": "acme", "model": "free", "rates": {"input_mtok": "0"}},
        ],
    }
)
_TOKENS: Final = {"input_tokens": 1_003, "cache_read_tokens": 101, "output_tokens": 57}
_SAID: Final = {"user_id": 'Ada "L"\n', "customer": "acme", "feature": "søk", "service": "chat"}


def charges(at: datetime = NOON) -> pl.DataFrame:
    """Charges of every class, with and without contracts, in many units."""
    listed = priced(
        *_identified(
            call("openai", "gpt-4o", at, **_TOKENS, **_SAID, region="eu"),
            call("anthropic", "claude-sonnet-4-5", at, **_TOKENS, cache_write_tokens=11),
            call("openai", "gpt-5", at, **_TOKENS, service_tier="flex"),
            call("openai", "gpt-4o", at, **_TOKENS, usage_estimated=True),
            call("openai", "gpt-4o", at, **_TOKENS, cache_unknown=True),
            call("openai", "whisper-1", at, audio_seconds="12.7"),
            call("openai", "gpt-4o", at, status="error", usage_missing=True),
            call("openai", "no-such-model", at, **_TOKENS),
        ),
        book=BOOK,
    )
    agreed = priced(
        *_identified(
            call("openai", "gpt-4o", at, **_TOKENS),
            call("openai", "gpt-4o-mini", at, **_TOKENS),
            call("openai", "gpt-5", at, **_TOKENS),
            call("anthropic", "claude-sonnet-4-5", at, **_TOKENS),
            call("openai", "whisper-1", at, audio_seconds="12.7"),
            call("acme", "painter", at, images_4k="3"),
            call("acme", "own", at, gpu_seconds="7.25"),
            call("acme", "free", at, input_tokens=99),
            first=100,
        ),
        book=AGREED,
    )
    return pl.concat([listed, agreed])


def reversals(booked: pl.DataFrame, known_at: datetime) -> pl.DataFrame:
    """What takes entries back: the exact negative of each, recorded later."""
    element = pl.element().struct
    line = pl.struct(
        element.field("unit"),
        -element.field("quantity"),
        element.field("rate_usd"),
        element.field("per"),
        -element.field("amount_usd"),
        element.field("price_id"),
    )
    usage = pl.struct(element.field("key"), -element.field("value"))
    return booked.with_columns(
        pl.lit("restatement").alias("kind"),
        pl.lit("s1-run").alias("run"),
        pl.lit(1, pl.UInt8).alias("leg"),
        pl.lit("settled").alias("reason"),
        pl.lit(known_at).cast(ENTRIES["known_at"]).alias("known_at"),
        -pl.col("cost_usd", "list_cost_usd", "calls"),
        pl.col("lines").list.eval(line).cast(LINES),
        pl.col("usage").list.eval(usage).cast(QUANTITY_MAP),
    )


def difference(booked: pl.DataFrame, usd: Decimal) -> pl.DataFrame:
    """A correction that only has money: no line says what it is for."""
    money = pl.lit(usd).cast(ENTRIES["cost_usd"])
    return booked.with_columns(
        pl.lit("restatement").alias("kind"),
        pl.lit("imported").alias("run"),
        pl.lit("imported").alias("reason"),
        pl.lit([]).cast(LINES).alias("lines"),
        money.alias("cost_usd"),
        money.alias("list_cost_usd"),
    )


def everything() -> pl.DataFrame:
    """Charges of two months; some taken back at once, some in the next month; a difference."""
    booked = pl.concat([charges(), charges(NOON - timedelta(days=30))])
    later = NOON + timedelta(days=20)
    return asked(
        pl.concat(
            [
                booked,
                reversals(booked[::3], NOON),
                reversals(booked[1::3], later),
                difference(booked[:1], Decimal("-0.000000000000000001")),
            ]
        )
    )


def asked(entries: pl.DataFrame) -> pl.DataFrame:
    """Entries as ``sql/export/focus.sql`` shows them."""
    return entries.filter(pl.col("cost_usd").is_not_null()).with_columns(
        pl.col("trace_id", "span_id").bin.encode("hex")
    )


def _identified(*calls: dict[str, Any], first: int = 0) -> Sequence[dict[str, Any]]:
    ids = {"tenant": "default", "parent_span_id": bytes(8)}
    return [
        each | ids | {"trace_id": number.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
        for number, each in enumerate(calls, first + 1)
    ]
