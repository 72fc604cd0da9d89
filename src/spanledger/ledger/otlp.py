"""OTLP requests to a span batch: one row per span or log record, one column per known attribute.

Promises: requests in the order given, items in the order sent; an item that breaks a rule is in the
batch with its reason in ``reject``, never silently missing. Never copies an attribute that was not
asked for, nor the body of a log record: prompts, completions and tool arguments end here, and the
ten-thousandth junk attribute costs a hash look-up, not a column. Never loops over items in Python.

``decode`` is given several requests at once because a group commit is (protobuf bodies of one
signal share one pass); a malformed one is refused alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.ledger import otlp_wire
from spanledger.ledger.limits import (
    SPAN_ID_BYTES,
    START_TIME_NS_MAX,
    START_TIME_NS_MIN,
    TRACE_ID_BYTES,
)
from spanledger.ledger.otlp_values import ATTRIBUTE, RESOURCE, AttributeKeys, attributes, flat, text
from spanledger.ledger.otlp_wire import Malformed, Signal
from spanledger.ledger.schema import TEXT_MAP, TIME, PolarsType

# The columns of every span batch. Beside them: ``attr.<key>`` and ``resource.<key>`` for the known
# keys that occur, in the dtype of their kind.
_SPANS: Final[dict[str, PolarsType]] = {
    "request": pl.UInt32,
    "trace_id": pl.Binary,  # null in a log record outside of a trace
    "span_id": pl.Binary,  # null in a log record: it is no span
    "parent_span_id": pl.Binary,  # of a log record, the span in which it was written
    "name": pl.String,  # of a log record, its event
    "start_time": TIME,  # of a log record, when it was written
    "duration_ns": pl.Int64,
    "failed": pl.Boolean,  # status code ERROR
    "is_log": pl.Boolean,
    "scope_name": pl.String,
    "scope_version": pl.String,
    "attributes": TEXT_MAP,  # the keys asked for as Kind.KEEP
    "reject": pl.String,  # null, or one of REJECTS
}
SPANS: Final = pl.Schema(_SPANS)
REJECTS: Final = ("invalid_trace_id", "invalid_span_id", "start_time_out_of_range")


@dataclass(frozen=True)
class Body:
    """One request as it came from the wire, decompressed."""

    data: bytes
    is_json: bool = False
    signal: Signal = Signal.TRACES


@dataclass(frozen=True)
class Decoded:
    """A span batch (``SPANS`` and attribute columns) and the requests that were refused whole."""

    spans: pl.DataFrame
    malformed: Mapping[int, str]  # index of the request -> reason


def decode(bodies: Sequence[Body], keys: AttributeKeys, *, spans_max: int) -> Decoded:
    """Decode requests into one span batch with the attributes named by ``keys``.

    A request of more than ``spans_max`` items is refused. Never raises for what a sender wrote: a
    refused request is in ``Decoded.malformed``.
    """
    malformed: dict[int, str] = {}
    frames = []
    for signal in Signal:
        indices = [index for index, body in enumerate(bodies) if body.signal is signal]
        frames += [
            _span_batch(*_within(spans_max, part, malformed, signal), keys, signal)
            for part in _decoded(bodies, indices, malformed, signal)
        ]
    if len(frames) == 1:
        return Decoded(frames[0], malformed)
    empty = pl.DataFrame(schema=SPANS)
    spans = pl.concat([empty, *frames], how="diagonal").sort("request", maintain_order=True)
    return Decoded(spans, malformed)


# Requests that were decoded in one pass: their indices in the group, and what they hold.
_Part = tuple[list[int], pa.Array]


def _decoded(
    bodies: Sequence[Body], indices: list[int], malformed: dict[int, str], signal: Signal
) -> list[_Part]:
    protobuf = [index for index in indices if not bodies[index].is_json]
    parts = _decode_protobuf(bodies, protobuf, malformed, signal)
    for index in indices:
        if bodies[index].is_json:
            try:
                parts.append(([index], otlp_wire.from_json(bodies[index].data, signal)))
            except Malformed as error:
                malformed[index] = str(error)
    return parts


def _decode_protobuf(
    bodies: Sequence[Body], indices: list[int], malformed: dict[int, str], signal: Signal
) -> list[_Part]:
    if not indices:
        return []
    try:
        return [(indices, otlp_wire.from_protobuf([bodies[i].data for i in indices], signal))]
    except Malformed as error:
        if len(indices) == 1:
            malformed[indices[0]] = str(error)
            return []
    # The decoder names no culprit: the group goes one by one, and only the bad one is refused.
    return [
        part for index in indices for part in _decode_protobuf(bodies, [index], malformed, signal)
    ]


def _within(spans_max: int, part: _Part, malformed: dict[int, str], signal: Signal) -> _Part:
    """Leave out the requests with too many items: a byte or two make one, but it costs 100."""
    indices, requests = part
    resources, resource_request = flat(requests)
    scopes, scope_resource = flat(pc.struct_field(resources, "scopes"))
    per_scope = pc.list_value_length(pc.struct_field(scopes, "items")).fill_null(0)
    items = np.bincount(
        resource_request[scope_resource],
        weights=per_scope.to_numpy(zero_copy_only=False),
        minlength=len(indices),
    )
    if items.max(initial=0) <= spans_max:
        return part
    for position in np.flatnonzero(items > spans_max):
        malformed[indices[position]] = (
            f"{int(items[position])} {signal.value} in one request are more than {spans_max}"
        )
    kept = np.flatnonzero(items <= spans_max)
    return [indices[position] for position in kept], requests.take(pa.array(kept))


def _span_batch(
    indices: list[int], requests: pa.Array, known: AttributeKeys, signal: Signal
) -> pl.DataFrame:
    resources, resource_request = flat(requests)
    scopes, scope_resource = flat(pc.struct_field(resources, "scopes"))
    items, item_scope = flat(pc.struct_field(scopes, "items"))
    item_resource = scope_resource[item_scope]
    own = _of_spans(items) if signal is Signal.TRACES else _of_logs(items, known)
    columns = {
        "request": pl.Series(np.asarray(indices, np.uint32)[resource_request[item_resource]]),
        **own,
        **{
            f"scope_{part}": text(
                pc.struct_field(scopes, ["scope", part]).take(pa.array(item_scope))
            )
            for part in ("name", "version")
        },
    }
    of_items = attributes(pc.struct_field(items, "attributes"), known, ATTRIBUTE)
    of_resources = attributes(
        pc.struct_field(resources, ["resource", "attributes"]), known, RESOURCE, item_resource
    )
    columns["attributes"] = of_items.pop("attributes")
    of_resources.pop("attributes")
    ordered = {name: columns[name] for name in SPANS}
    return pl.DataFrame({**ordered, **of_resources, **of_items})


def _of_spans(spans: pa.Array) -> dict[str, pl.Series]:
    start, in_range = _time(_numbers(spans, "start_time_unix_nano"))
    # A clock that stepped back between start and end makes no negative duration.
    end = np.minimum(_numbers(spans, "end_time_unix_nano"), START_TIME_NS_MAX).astype(np.int64)
    trace_id = _id(spans, "trace_id", TRACE_ID_BYTES)
    span_id = _id(spans, "span_id", SPAN_ID_BYTES)
    breaks = pc.make_struct(trace_id.is_null(), span_id.is_null(), pa.array(~in_range))
    return {
        "trace_id": pl.Series(trace_id),
        "span_id": pl.Series(span_id),
        "parent_span_id": _parent(spans, "parent_span_id"),
        "name": text(pc.struct_field(spans, "name")),
        "start_time": pl.Series(start).cast(TIME),
        "duration_ns": pl.Series(np.maximum(end - start, 0)),
        "failed": pl.Series(
            pc.equal(pc.struct_field(spans, ["status", "code"]), 2).fill_null(False)
        ),
        "is_log": pl.repeat(value=False, n=len(spans), eager=True),
        "reject": pl.Series(pc.case_when(breaks, *REJECTS)).cast(pl.String),
    }


def _of_logs(records: pa.Array, known: AttributeKeys) -> dict[str, pl.Series]:
    written = _numbers(records, "time_unix_nano")
    time, in_range = _time(
        np.where(written == 0, _numbers(records, "observed_time_unix_nano"), written)
    )
    body = pc.struct_field(records, ["body", "string_value"])
    event = pc.if_else(
        pc.is_in(body, value_set=known.bodies), body, pc.struct_field(records, "event_name")
    )
    never = pl.repeat(value=False, n=len(records), eager=True)
    return {
        "trace_id": pl.Series(_id(records, "trace_id", TRACE_ID_BYTES)),
        "span_id": pl.repeat(None, len(records), dtype=pl.Binary, eager=True),
        "parent_span_id": _parent(records, "span_id"),
        "name": text(event),
        "start_time": pl.Series(time).cast(TIME),
        "duration_ns": pl.repeat(0, len(records), dtype=pl.Int64, eager=True),
        "failed": never,
        "is_log": ~never,
        "reject": pl.Series(pc.if_else(pa.array(in_range), None, "start_time_out_of_range")).cast(
            pl.String
        ),
    }


def _time(sent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times as they are kept, 0 where out of range, and which are within."""
    in_range = (sent >= START_TIME_NS_MIN) & (sent <= START_TIME_NS_MAX)
    return np.where(in_range, sent, 0).astype(np.int64), in_range


def _numbers(items: pa.Array, name: str) -> np.ndarray:
    return np.asarray(pc.struct_field(items, name).fill_null(0))


def _id(items: pa.Array, name: str, width: int) -> pa.Array:
    """The id where it has its width and is not all zero, else null."""
    values = pc.struct_field(items, name)
    valid = pc.and_(pc.equal(pc.binary_length(values), width), pc.not_equal(values, bytes(width)))
    return pc.if_else(valid, values, None)


def _parent(items: pa.Array, name: str) -> pl.Series:
    return pl.Series(_id(items, name, SPAN_ID_BYTES).fill_null(bytes(SPAN_ID_BYTES)))
