"""Log records to observations that read like spans, for the emitters whose log is authoritative.

Promises: a record of an event in ``EVENTS`` leaves here in the names, units and times of a span;
every other record is counted with a reason. A record's key is a pure function of that record: a
retry in any batch, process or version has the same one, and two records never share one. Never
looks at a body, never keeps a record that is no model call.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.ledger.dialect_events import EVENTS, IDENTITY, REPEATING, Event
from spanledger.ledger.dialect_fields import FIELDS
from spanledger.ledger.limits import (
    CALL_DURATION_NS_MAX,
    SPAN_ID_BYTES,
    START_TIME_NS_MIN,
    TRACE_ID_BYTES,
)
from spanledger.ledger.otlp_values import ATTRIBUTE, RESOURCE, Kind
from spanledger.ledger.schema import TIME

OTHER_EVENT: Final = "other_event"
OTHER_SIGNAL: Final = "other_signal"
NOT_A_CALL: Final = (OTHER_EVENT, OTHER_SIGNAL)

# What a record is compared with where it names its event in its body only.
BODIES: Final = tuple(event.name for event in EVENTS)

_EVENT_NAME: Final = "event.name"
_PAYER: Final = "gen_ai.provider.name"
_TIME_TO_FIRST: Final = "gen_ai.response.time_to_first_chunk"  # in seconds
_Columns = frozenset[str]


def _kinds() -> dict[str, Kind]:
    of_spans = {
        name: field.kind
        for field in FIELDS.values()
        for name in field.names
        if isinstance(name, str)
    }
    found = dict.fromkeys((_EVENT_NAME, *IDENTITY), Kind.TEXT)
    for event in EVENTS:
        found.update(dict.fromkeys((*event.only, *event.payers), Kind.TEXT))
        for key in (event.duration_ms, event.first_chunk_after_ms):
            if key:
                found[key] = Kind.NUMBER
        for target, said in event.facts.items():
            for text in said:
                found.update(dict.fromkeys(text.split(" + "), of_spans[target]))
    return found


# The attributes of log records, and how they are read: as the facts of a span that they stand for.
KINDS: Final = _kinds()
_DTYPES: Final = {Kind.TEXT: pl.String, Kind.COUNT: pl.Int64, Kind.NUMBER: pl.Float64}


def as_spans(batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The spans of a batch and those log records that are calls; the others by reason."""
    is_log = batch.get_column("is_log")
    if not is_log.any():
        return batch, {}
    columns = frozenset(batch.columns)
    said = batch.lazy().filter("is_log").with_columns(_event(columns)).collect(optimizations=_AS_IS)
    others = said.filter(pl.col("name").is_null())
    booked = said.lazy().filter(pl.col("name").is_not_null())
    for step in (_facts(columns), _identity(columns), _TIMES):
        booked = booked.with_columns(step)
    records = _with_keys(booked.collect(optimizations=_AS_IS))
    found = pl.concat([batch.filter(~is_log), records], how="diagonal")
    return found, dict(others.group_by(_REASON).len().iter_rows())


# The steps are in the order in which they are best run; a lone record need not wait for an
# optimiser to find that out.
_AS_IS: Final = pl.QueryOptFlags.none()
_REASON: Final = (
    pl.when(pl.col("said").is_in(REPEATING))
    .then(pl.lit(OTHER_SIGNAL))
    .otherwise(pl.lit(OTHER_EVENT))
)


@lru_cache(maxsize=64)  # an emitter always sends the same few sets of attributes
def _event(columns: _Columns) -> list[pl.Expr]:
    """``name``: the event of ``EVENTS`` that a record is, or null. ``said``: what it says it is."""
    said = pl.coalesce(_column(columns, _EVENT_NAME), "name")
    name = pl.coalesce(
        pl.when(_is(event, said, columns)).then(pl.lit(event.name)) for event in EVENTS
    )
    return [name.alias("name"), said.alias("said")]


def _is(event: Event, said: pl.Expr, columns: _Columns) -> pl.Expr:
    is_it = (pl.col("name") == event.name) | (said == event.name)
    if event.scope:
        is_it |= pl.col("scope_name").str.starts_with(event.scope) & (
            said == event.name.rpartition(".")[2]
        )
    for key, value in event.only.items():
        is_it &= _column(columns, key) == value
    for key in event.needs:
        is_it &= _column(columns, key).is_not_null()
    return is_it


@lru_cache(maxsize=64)
def _facts(columns: _Columns) -> list[pl.Expr]:
    """The attributes of a span that a record has under names of its own, and how long it took."""
    targets = dict.fromkeys(key for event in EVENTS for key in (*event.facts, *event.means))
    facts = [
        pl.coalesce(
            *(_of(event, _fact(event, target, columns)) for event in EVENTS),
            *([pl.col(ATTRIBUTE + target)] if ATTRIBUTE + target in columns else []),
        ).alias(ATTRIBUTE + target)
        for target in targets
    ]
    ended_after_ms = pl.coalesce(
        _of(event, _column(columns, event.duration_ms)) for event in EVENTS if event.duration_ms
    )
    first_after_ms = pl.coalesce(
        _of(event, _column(columns, event.first_chunk_after_ms))
        for event in EVENTS
        if event.first_chunk_after_ms
    )
    duration_ns = (ended_after_ms * 1e6).round()
    sane = duration_ns.is_between(0, CALL_DURATION_NS_MAX).fill_null(value=False)
    return [
        *facts,
        (first_after_ms / 1_000).alias(ATTRIBUTE + _TIME_TO_FIRST),
        pl.when(sane).then(duration_ns).otherwise(0).cast(pl.Int64).alias("duration_ns"),
    ]


def _of(event: Event, value: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("name") == event.name).then(value)


def _fact(event: Event, target: str, columns: _Columns) -> pl.Expr:
    found = [_said(text, columns) for text in event.facts.get(target, ())]
    if target == _PAYER:
        found += [
            _column(columns, key).replace_strict(payers, default=None, return_dtype=pl.String)
            for key, payers in event.payers.items()
        ]
    if target in event.means:
        found.append(pl.lit(event.means[target]))
    return pl.coalesce(found or pl.lit(None))


def _said(text: str, columns: _Columns) -> pl.Expr:
    first, *others = text.split(" + ")
    if not others:
        return _column(columns, first)
    counts = [_column(columns, first), *(_column(columns, key).fill_null(0) for key in others)]
    # One count that is none (-1) spoils the sum.
    return pl.when(pl.min_horizontal(counts) < 0).then(-1).otherwise(sum(counts[1:], counts[0]))


# A record is written when its call has ended. No start lies before what is accepted of a span.
_TIMES: Final = [
    pl.max_horizontal(
        pl.col("start_time").dt.epoch("ns") - pl.col("duration_ns"), START_TIME_NS_MIN
    )
    .cast(TIME)
    .alias("start_time")
]


@lru_cache(maxsize=64)
def _identity(columns: _Columns) -> pl.Expr:
    """All that tells a record from another, each part with its length: no two texts can meet."""
    parts = [
        pl.col("name"),
        pl.col("scope_name"),
        pl.col("start_time").dt.epoch("ns"),
        pl.col("duration_ns"),
        pl.col("trace_id").bin.encode("hex"),
        pl.col("parent_span_id").bin.encode("hex"),
        _column(columns, "service.name", RESOURCE),
        *(_column(columns, key, place) for place in (ATTRIBUTE, RESOURCE) for key in IDENTITY),
    ]
    texts = [part.cast(pl.String) for part in parts]
    return pl.concat_str(
        pl.concat_str(text.str.len_bytes(), pl.lit(":"), text).fill_null("-") for text in texts
    ).alias("identity")


def _with_keys(calls: pl.DataFrame) -> pl.DataFrame:
    """Give each record the ids of a span of its own; the trace stays the one it was written in.

    The span id is always a hash: the span in which a record was written may be sent as well. A
    loop, but over booked records only and at less than 1 us each (measured), a tenth of what
    decoding them takes; no native hash of columns promises the same digest in another version.
    """
    width = TRACE_ID_BYTES + SPAN_ID_BYTES
    digests = b"".join(
        blake2b(text.encode(), digest_size=width, person=b"spanledger.log").digest()
        for text in calls.get_column("identity").to_list()
    )
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), calls.height, [None, pa.py_buffer(digests)]
    ).cast(pa.binary())
    own_trace = pl.Series(pc.binary_slice(fixed, 0, TRACE_ID_BYTES))
    return calls.drop("said", "identity").with_columns(
        pl.coalesce("trace_id", own_trace).alias("trace_id"),
        pl.Series("span_id", pc.binary_slice(fixed, TRACE_ID_BYTES, width)),
    )


def _column(columns: _Columns, key: str, place: str = ATTRIBUTE) -> pl.Expr:
    """An attribute of the record; null where it is absent, or an empty text."""
    kind = KINDS.get(key, Kind.TEXT)
    if place + key not in columns:
        return pl.lit(None, _DTYPES[kind])
    column = pl.col(place + key)
    return pl.when(column != "").then(column) if kind is Kind.TEXT else column
