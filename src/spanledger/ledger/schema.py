"""The frames that pass between modules: their columns, dtypes and units.

Promises: a frame that leaves ``dialects.calls`` has exactly ``CALLS``, one that leaves
``pricing.price`` has exactly ``ENTRIES``, and the journal and the store hold ``ENTRIES_ARROW``.
Never changes a value: ``entries_to_arrow`` only casts representations.

Times are UTC nanoseconds, durations nanoseconds, money USD as Decimal(38, 18). Text columns hold
``""`` where nothing was reported, so that SQL never meets a NULL dimension; money is NULL where it
is not known, never 0. Token columns are 0 where nothing was reported; the flags tell why.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from spanledger.ledger.limits import MONEY_DIGITS, MONEY_SCALE, SPAN_ID_BYTES, TRACE_ID_BYTES

PolarsType = pl.DataType | type[pl.DataType]

MONEY: Final = pl.Decimal(MONEY_DIGITS, MONEY_SCALE)
TIME: Final = pl.Datetime("ns", "UTC")
TEXT_MAP: Final = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
QUANTITY_MAP: Final = pl.List(pl.Struct({"key": pl.String, "value": MONEY}))

# One line of a charge: amount_usd = quantity * rate_usd / per, rounded once, half even, to 18
# places.
LINES: Final = pl.List(
    pl.Struct(
        {
            "unit": pl.String,  # usage key of genai-prices, e.g. "cache_read_tokens"
            "quantity": MONEY,  # the leaf: what more specific lines did not take
            "rate_usd": MONEY,  # USD for `per` units
            "per": pl.Int64,
            "amount_usd": MONEY,
            "price_id": pl.String,  # the price record that was applied
        }
    )
)

# Usage keys of genai-prices that have a column of their own; every other key lives in `usage`.
# input_tokens includes cache reads and writes, output_tokens includes reasoning.
USAGE_COLUMNS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "cache_audio_read_tokens",
    "input_image_tokens",
    "output_image_tokens",
)

# One row per observed model call: the facts, without money.
_CALLS: Final[dict[str, PolarsType]] = {
    "request": pl.UInt32,  # which request of the group it came in; not stored
    "tenant": pl.String,  # from the credential, never from the span
    "trace_id": pl.Binary,  # 16 bytes
    "span_id": pl.Binary,  # 8 bytes
    "parent_span_id": pl.Binary,  # 8 bytes, all zero for a root
    "start_time": TIME,
    "duration_ns": pl.Int64,
    "service": pl.String,
    "environment": pl.String,
    "scope_name": pl.String,  # instrumentation scope
    "scope_version": pl.String,
    "provider": pl.String,  # who is paid: a gen_ai.provider.name value
    "request_model": pl.String,
    "response_model": pl.String,
    "operation": pl.String,  # gen_ai.operation.name
    "user_id": pl.String,
    "customer": pl.String,
    "team": pl.String,
    "project": pl.String,
    "feature": pl.String,
    "conversation_id": pl.String,
    "agent": pl.String,
    "workflow": pl.String,
    "api_key_alias": pl.String,
    "service_tier": pl.String,  # of the response, never of the request
    "region": pl.String,  # where inference ran, as the response says: "us", "eu", "global"
    "response_id": pl.String,
    "status": pl.String,  # "ok" | "error"
    "error_type": pl.String,
    "time_to_first_token_ms": pl.Float64,  # NULL where not reported
    **dict.fromkeys(USAGE_COLUMNS, pl.Int64),
    "usage": QUANTITY_MAP,  # usage keys without a column of their own
    "convention": pl.String,  # "declared" | "proven" | "assumed": is input inclusive?
    "usage_missing": pl.Boolean,  # a model call that reported no usage
    "usage_estimated": pl.Boolean,  # counts that the emitter guessed
    "usage_invalid": pl.Boolean,  # a count was negative, fractional, too large or no number
    "cache_unknown": pl.Boolean,  # the emitter is known to lose the cache split
    "cache_write_unknown": pl.Boolean,  # it is known to lose cache writes, and reported none
    "cost_reported_usd": MONEY,  # the emitter's own figure, kept beside ours; NULL if none
    "attributes": TEXT_MAP,  # the allow-listed rest
}
CALLS: Final = pl.Schema(_CALLS)

# A call with money: what the journal and the store keep.
_ENTRIES: Final[dict[str, PolarsType]] = {
    "kind": pl.String,  # "charge" | "restatement"
    "run": pl.String,  # "" for a charge; the restatement's run id
    "leg": pl.UInt8,  # 0 for a charge; number of the leg within a restatement
    "reason": pl.String,  # "" for a charge; why it was restated
    **{name: dtype for name, dtype in _CALLS.items() if name != "request"},
    "model": pl.String,  # the book's id of the model; the reported name where unknown
    "calls": pl.Int8,  # signed number of calls: 1 for a charge
    "cost_usd": MONEY,  # NULL where unpriced
    "cost_low_usd": MONEY,
    "cost_high_usd": MONEY,
    "list_cost_usd": MONEY,  # before contracts and discounts
    "cost_class": pl.String,  # exact | bounded | estimated | reported | free | unpriced
    "unpriced_reason": pl.String,  # "" unless unpriced
    "lines": LINES,
    "price_book": pl.String,  # version of the book that priced it
    "known_at": TIME,  # when this installation recorded it
}
ENTRIES: Final = pl.Schema(_ENTRIES)

# What a price follows from, beside when a call started; a test holds that nothing else does.
PRICE_FACTS: Final = (
    *("provider", "request_model", "response_model", "service_tier", "region", "status"),
    *USAGE_COLUMNS,
    *("usage", "convention", "usage_missing", "usage_estimated", "usage_invalid"),
    *("cache_unknown", "cache_write_unknown"),
)
# What pricing says of a call; all else of an entry is fact or book-keeping.
PRICED: Final = (
    *("model", "cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd"),
    *("cost_class", "unpriced_reason", "lines", "price_book"),
)

# What journal and store hold: fixed-width ids and real maps instead of Polars' stand-ins.
_FIXED: Final = {
    "trace_id": TRACE_ID_BYTES,
    "span_id": SPAN_ID_BYTES,
    "parent_span_id": SPAN_ID_BYTES,
}
_MONEY_ARROW: Final = pa.decimal128(MONEY_DIGITS, MONEY_SCALE)


_TEXT_PAIRS: Final = pa.map_(pa.string(), pa.string())
_QUANTITY_PAIRS: Final = pa.map_(pa.string(), _MONEY_ARROW)
_LINE: Final = pa.struct(
    [
        ("unit", pa.string()),
        ("quantity", _MONEY_ARROW),
        ("rate_usd", _MONEY_ARROW),
        ("per", pa.int64()),
        ("amount_usd", _MONEY_ARROW),
        ("price_id", pa.string()),
    ]
)
_ARROW: Final[list[tuple[PolarsType, pa.DataType]]] = [
    (pl.String, pa.string()),
    (MONEY, _MONEY_ARROW),
    (TIME, pa.timestamp("ns", "UTC")),
    (TEXT_MAP, _TEXT_PAIRS),
    (QUANTITY_MAP, _QUANTITY_PAIRS),
    (LINES, pa.list_(_LINE)),
    (pl.Boolean, pa.bool_()),
    (pl.Float64, pa.float64()),
    (pl.Int64, pa.int64()),
    (pl.Int8, pa.int8()),
    (pl.UInt8, pa.uint8()),
]


def _arrow_type(name: str, dtype: pl.DataType) -> pa.DataType:
    if name in _FIXED:
        return pa.binary(_FIXED[name])
    return next(arrow for polars, arrow in _ARROW if dtype == polars)


ENTRIES_ARROW: Final = pa.schema(
    [(name, _arrow_type(name, dtype)) for name, dtype in ENTRIES.items()]
)


def completed(batch: pa.RecordBatch) -> pa.Table:
    """Entries as an older version wrote them, with the columns that were added since.

    What was not recorded then is what an emitter did not report: empty text, 0, false, null money.
    """
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in names else _unsaid(field, batch.num_rows)
        for field in ENTRIES_ARROW
    ]
    return pa.Table.from_arrays(columns, schema=ENTRIES_ARROW)


def _unsaid(field: pa.Field, rows: int) -> pa.Array:
    dtype = field.type
    if pa.types.is_string(dtype):
        return pa.repeat(pa.scalar("", dtype), rows)
    if pa.types.is_integer(dtype) or pa.types.is_boolean(dtype):
        return pa.repeat(pa.scalar(0, pa.int8()).cast(dtype), rows)
    if pa.types.is_map(dtype) or pa.types.is_list(dtype):
        return pa.array([[]] * rows, dtype)
    return pa.nulls(rows, dtype)


def entries_to_arrow(entries: pl.DataFrame) -> pa.RecordBatch:
    """Cast an ``ENTRIES`` frame to the one record batch that journal and store take.

    Raises:
        pyarrow.ArrowInvalid: an id is not as wide as its column (a defect upstream).
    """
    return columns_to_arrow(entries, ENTRIES_ARROW)


def as_calls(facts: pl.DataFrame) -> pl.DataFrame:
    """Give facts the other columns of ``CALLS``: text is empty there, all else null."""
    missing = (
        pl.lit("" if dtype == pl.String else None, dtype).alias(name)
        for name, dtype in CALLS.items()
        if name not in facts.columns
    )
    return facts.with_columns(missing).select(CALLS.names()).cast(CALLS)


def columns_to_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.RecordBatch:
    """Cast some columns of ``ENTRIES``; ``schema`` has fields of ``ENTRIES_ARROW``.

    Raises:
        pyarrow.ArrowInvalid: as ``entries_to_arrow``.
    """
    table = frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [
        _as_map(column, field.type) if pa.types.is_map(field.type) else column.cast(field.type)
        for field in schema
        for column in (table.column(field.name).combine_chunks(),)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _as_map(pairs: pa.Array, target: pa.MapType) -> pa.MapArray:
    # Arrow has no cast from list<struct<key, value>> to map, though the layouts are the same.
    plain = pairs.cast(pa.list_(pa.struct([("key", target.key_type), ("value", target.item_type)])))
    entries = plain.values
    return pa.MapArray.from_arrays(
        plain.offsets, entries.field("key"), entries.field("value"), type=target
    )
