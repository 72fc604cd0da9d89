"""OTLP requests to a span batch: one row per span, one column per attribute that is known.

Promises: requests in the order given, spans in the order sent; a span that breaks a rule is in the
batch with its reason in ``reject``, never silently missing. Never copies an attribute that was not
asked for: prompts, completions and tool arguments end here, and the ten-thousandth junk attribute
costs a hash look-up, not a column. Never loops over spans in Python.

``decode`` is given several requests at once because a group commit is (protobuf bodies share one
pass); a malformed one is refused alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.ledger import otlp_wire
from spanledger.ledger.limits import (
    CUSTOM_KEY_BYTES_MAX,
    QUANTITY_MAX,
    RAW_USAGE_BYTES_MAX,
    SPAN_ID_BYTES,
    START_TIME_NS_MAX,
    START_TIME_NS_MIN,
    TEXT_BYTES_MAX,
    TRACE_ID_BYTES,
)
from spanledger.ledger.otlp_wire import Malformed
from spanledger.ledger.schema import TEXT_MAP, TIME, PolarsType

ATTRIBUTE: Final = "attr."
RESOURCE: Final = "resource."
# What an app attaches under this prefix is kept under the rest of its name.
CUSTOM: Final = b"spanledger.attribute."

# The columns of every span batch. Beside them: ``attr.<key>`` and ``resource.<key>`` for the known
# keys that occur, in the dtype of their kind.
_SPANS: Final[dict[str, PolarsType]] = {
    "request": pl.UInt32,
    "trace_id": pl.Binary,
    "span_id": pl.Binary,
    "parent_span_id": pl.Binary,
    "name": pl.String,
    "start_time": TIME,
    "duration_ns": pl.Int64,
    "failed": pl.Boolean,  # status code ERROR
    "scope_name": pl.String,
    "scope_version": pl.String,
    "attributes": TEXT_MAP,  # the keys asked for as Kind.KEEP
    "reject": pl.String,  # null, or one of REJECTS
}
SPANS: Final = pl.Schema(_SPANS)
REJECTS: Final = ("invalid_trace_id", "invalid_span_id", "start_time_out_of_range")


class Kind(Enum):
    """How the value of a known attribute is read."""

    TEXT = "text"  # String: numbers and booleans are written out, string arrays as JSON
    RAW = "raw"  # String up to 64 KiB: usage JSON, to be read for numbers and dropped
    COUNT = "count"  # Int64 in 0..1e12, -1 where the value is no such number
    NUMBER = "number"  # Float64: times and reported costs; null where it is none
    KEEP = "keep"  # goes into the ``attributes`` map as text


class AttributeKeys:
    """The attribute keys to read and how, in the form that a hash look-up takes. Made once.

    ``kept``: keys of any kind that go into the ``attributes`` map as well.
    """

    def __init__(self, kinds: Mapping[str, Kind], kept: Iterable[str] = ()) -> None:
        also = frozenset(kept)
        self.names = list(kinds)
        self.kinds = list(kinds.values())
        self.encoded = pa.array([name.encode() for name in self.names], pa.binary())
        # One more place than names: the keys that begin with CUSTOM share the last.
        self.is_raw = np.array([kind is Kind.RAW for kind in self.kinds] + [False])
        self.is_kept = np.array(
            [kind is Kind.KEEP or name in also for name, kind in kinds.items()] + [True]
        )


@dataclass(frozen=True)
class Body:
    """One request as it came from the wire, decompressed."""

    data: bytes
    is_json: bool = False


@dataclass(frozen=True)
class Decoded:
    """A span batch (``SPANS`` and attribute columns) and the requests that were refused whole."""

    spans: pl.DataFrame
    malformed: Mapping[int, str]  # index of the request -> reason


def decode(bodies: Sequence[Body], keys: AttributeKeys, *, spans_max: int) -> Decoded:
    """Decode requests into one span batch with the attributes named by ``keys``.

    A request of more than ``spans_max`` spans is refused. Never raises for what a sender wrote: a
    refused request is in ``Decoded.malformed``.
    """
    malformed: dict[int, str] = {}
    protobuf = [index for index, body in enumerate(bodies) if not body.is_json]
    parts = _decode_protobuf(bodies, protobuf, malformed)
    for index, body in enumerate(bodies):
        if body.is_json:
            try:
                parts.append(([index], otlp_wire.traces_from_json(body.data)))
            except Malformed as error:
                malformed[index] = str(error)
    frames = [
        _span_batch(*_within(spans_max, indices, requests, malformed), keys)
        for indices, requests in parts
    ]
    if len(frames) == 1:
        return Decoded(frames[0], malformed)
    empty = pl.DataFrame(schema=SPANS)
    spans = pl.concat([empty, *frames], how="diagonal").sort("request", maintain_order=True)
    return Decoded(spans, malformed)


def _decode_protobuf(
    bodies: Sequence[Body], indices: list[int], malformed: dict[int, str]
) -> list[tuple[list[int], pa.Array]]:
    if not indices:
        return []
    try:
        return [(indices, otlp_wire.traces_from_protobuf([bodies[i].data for i in indices]))]
    except Malformed as error:
        if len(indices) == 1:
            malformed[indices[0]] = str(error)
            return []
    # The decoder names no culprit: the group goes one by one, and only the bad one is refused.
    return [part for index in indices for part in _decode_protobuf(bodies, [index], malformed)]


def _within(
    spans_max: int, indices: list[int], requests: pa.Array, malformed: dict[int, str]
) -> tuple[list[int], pa.Array]:
    """Leave out the requests with too many spans: a byte or two make a span, but it costs 100."""
    resources, resource_request = _flat(requests)
    scopes, scope_resource = _flat(pc.struct_field(resources, "scope_spans"))
    per_scope = pc.list_value_length(pc.struct_field(scopes, "spans")).fill_null(0)
    spans = np.bincount(
        resource_request[scope_resource],
        weights=per_scope.to_numpy(zero_copy_only=False),
        minlength=len(indices),
    )
    if spans.max(initial=0) <= spans_max:
        return indices, requests
    for position in np.flatnonzero(spans > spans_max):
        malformed[indices[position]] = (
            f"{int(spans[position])} spans in one request are more than {spans_max}"
        )
    kept = np.flatnonzero(spans <= spans_max)
    return [indices[position] for position in kept], requests.take(pa.array(kept))


def _span_batch(indices: list[int], requests: pa.Array, known: AttributeKeys) -> pl.DataFrame:
    resources, resource_request = _flat(requests)
    scopes, scope_resource = _flat(pc.struct_field(resources, "scope_spans"))
    spans, span_scope = _flat(pc.struct_field(scopes, "spans"))
    span_resource = scope_resource[span_scope]

    start = _numbers(spans, "start_time_unix_nano")
    end = _numbers(spans, "end_time_unix_nano")
    in_range = (start >= START_TIME_NS_MIN) & (start <= START_TIME_NS_MAX)
    start = np.where(in_range, start, 0).astype(np.int64)
    # A clock that stepped back between start and end makes no negative duration.
    end = np.minimum(end, START_TIME_NS_MAX).astype(np.int64)
    ids = {
        "trace_id": _id(spans, "trace_id", TRACE_ID_BYTES),
        "span_id": _id(spans, "span_id", SPAN_ID_BYTES),
    }
    parent = _id(spans, "parent_span_id", SPAN_ID_BYTES).fill_null(bytes(SPAN_ID_BYTES))
    columns = {
        "request": pl.Series(np.asarray(indices, np.uint32)[resource_request[span_resource]]),
        **{name: pl.Series(values) for name, values in ids.items()},
        "parent_span_id": pl.Series(parent),
        "name": _frame_text(pc.struct_field(spans, "name")),
        "start_time": pl.Series(start).cast(TIME),
        "duration_ns": pl.Series(np.maximum(end - start, 0)),
        "failed": pl.Series(
            pc.equal(pc.struct_field(spans, ["status", "code"]), 2).fill_null(False)
        ),
        **{
            f"scope_{part}": _frame_text(
                pc.struct_field(scopes, ["scope", part]).take(pa.array(span_scope))
            )
            for part in ("name", "version")
        },
        "attributes": pl.Series([], dtype=TEXT_MAP),
        "reject": pl.Series(
            pc.case_when(
                pc.make_struct(
                    ids["trace_id"].is_null(), ids["span_id"].is_null(), pa.array(~in_range)
                ),
                *REJECTS,
            )
        ).cast(pl.String),
    }
    of_spans = _attributes(pc.struct_field(spans, "attributes"), known, ATTRIBUTE)
    of_resources = _attributes(
        pc.struct_field(resources, ["resource", "attributes"]), known, RESOURCE, span_resource
    )
    columns["attributes"] = of_spans.pop("attributes")
    of_resources.pop("attributes")
    return pl.DataFrame({**columns, **of_resources, **of_spans})


def _flat(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The items of all lists in one array, and for each item the index of its list."""
    return lists.flatten(), pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)


def _numbers(items: pa.Array, name: str) -> np.ndarray:
    return np.asarray(pc.struct_field(items, name).fill_null(0))


def _id(spans: pa.Array, name: str, width: int) -> pa.Array:
    """The id where it has its width and is not all zero, else null."""
    values = pc.struct_field(spans, name)
    valid = pc.and_(pc.equal(pc.binary_length(values), width), pc.not_equal(values, bytes(width)))
    return pc.if_else(valid, values, None)


def _frame_text(values: pa.Array) -> pl.Series:
    return pl.Series(_utf8(_cut(values, TEXT_BYTES_MAX))).fill_null("")


def _cut(values: pa.Array, bytes_max: int) -> pa.Array:
    longest = pc.max(pc.binary_length(values)).as_py() or 0
    return pc.binary_slice(values, 0, bytes_max) if longest > bytes_max else values


def _utf8(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:
        # Bytes that are no UTF-8, or a character that was cut in half: only these rows are
        # decoded one by one, with the replacement character, because the cast names no culprit.
        unchecked = pa.Array.from_buffers(
            pa.string(), len(values), values.buffers(), offset=values.offset
        )
        ascii_only = pc.string_is_ascii(unchecked).fill_null(True).to_numpy(zero_copy_only=False)
        fixed = [
            values[int(row)].as_py().decode(errors="replace") for row in np.flatnonzero(~ascii_only)
        ]
        plain = pc.if_else(pa.array(ascii_only), values, None).cast(pa.large_string())
        return pc.replace_with_mask(
            plain, pa.array(~ascii_only), pa.array(fixed, pa.large_string())
        )


def _attributes(
    lists: pa.Array, known: AttributeKeys, prefix: str, take: np.ndarray | None = None
) -> dict[str, pl.Series]:
    """A column for each known key that occurs, and the ``attributes`` map of the kept ones.

    ``take`` spreads the rows (one per resource) to their spans. Of a repeated key the last wins,
    as in a dictionary.
    """
    items, owners = _flat(lists)
    names = pc.struct_field(items, "key")
    key = pc.coalesce(
        pc.index_in(names, value_set=known.encoded),
        pc.if_else(_is_custom(names), pa.scalar(len(known.names), pa.int32()), None),
    )
    chosen = key.is_valid()
    key_of = key.filter(chosen).to_numpy(zero_copy_only=False)
    owner_of = owners[chosen.to_numpy(zero_copy_only=False)]
    values = _Values(pc.struct_field(items.filter(chosen), "value"), known.is_raw[key_of])

    columns: dict[str, pl.Series] = {}
    by_key = np.argsort(key_of, kind="stable")
    starts = np.searchsorted(key_of[by_key], np.arange(len(known.names) + 1))
    for index in np.flatnonzero(np.diff(starts)):
        if known.kinds[index] is not Kind.KEEP:
            positions = by_key[starts[index] : starts[index + 1]]
            row = np.full(len(lists), -1, np.int64)
            row[owner_of[positions]] = positions
            row = row if take is None else row[take]
            columns[prefix + known.names[index]] = values.column(known.kinds[index], row)
    kept = np.flatnonzero(known.is_kept[key_of])
    offsets = np.searchsorted(owner_of[kept], np.arange(len(lists) + 1))
    kept_names = _utf8(names.filter(chosen).take(pa.array(kept)))
    pairs = pa.StructArray.from_arrays(
        [
            pc.replace_substring_regex(kept_names, pattern=_CUSTOM_PATTERN, replacement=""),
            values.text.take(pa.array(kept)).fill_null(""),
        ],
        ["key", "value"],
    )
    columns["attributes"] = pl.Series(pa.LargeListArray.from_arrays(offsets, pairs), dtype=TEXT_MAP)
    return columns


_CUSTOM_PATTERN: Final = "^" + re.escape(CUSTOM.decode())


def _is_custom(names: pa.Array) -> pa.Array:
    lengths = pc.binary_length(names)
    return pc.and_(
        pc.starts_with(names, pattern=CUSTOM),
        pc.and_(pc.greater(lengths, len(CUSTOM)), pc.less_equal(lengths, CUSTOM_KEY_BYTES_MAX)),
    )


class _Values:
    """The values of the chosen attributes, each read as every kind, once for all columns."""

    def __init__(self, values: pa.Array, is_raw: np.ndarray) -> None:
        booleans = pc.struct_field(values, "bool_value")
        strings = pc.coalesce(pc.struct_field(values, "string_value"), _arrays(values))
        self.text = pc.coalesce(
            _utf8(_bounded(strings, is_raw)),
            pc.struct_field(values, "int_value").cast(pa.large_string()),
            pc.struct_field(values, "double_value").cast(pa.large_string()),
            booleans.cast(pa.large_string()),
        )
        numbers = pl.Series(self.text).cast(pl.Float64, strict=False).to_arrow()
        self._of_kind = {
            Kind.TEXT: self.text,
            Kind.RAW: self.text,
            Kind.NUMBER: numbers,
            Kind.COUNT: _counts(numbers, self.text.is_null(), booleans.is_valid()),
        }

    def column(self, kind: Kind, row: np.ndarray) -> pl.Series:
        """The values at the positions ``row`` (-1: absent) read as ``kind``."""
        return pl.Series(self._of_kind[kind].take(pa.array(row, mask=row < 0)))


def _arrays(values: pa.Array) -> pa.Array:
    if values.type.get_field_index("array_text") >= 0:
        return pc.struct_field(values, "array_text")
    encoded = pc.struct_field(values, "array_value")
    return encoded if encoded.null_count == len(encoded) else otlp_wire.array_text(encoded)


def _bounded(strings: pa.Array, is_raw: np.ndarray) -> pa.Array:
    """Text cut at its bound; raw usage beyond its own is dropped, since half of it is no JSON."""
    lengths = pc.binary_length(strings).fill_null(0).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) <= TEXT_BYTES_MAX:
        return strings
    cut = pc.if_else(pa.array(is_raw), strings, pc.binary_slice(strings, 0, TEXT_BYTES_MAX))
    return pc.if_else(pa.array(is_raw & (lengths > RAW_USAGE_BYTES_MAX)), None, cut)


def _counts(numbers: pa.Array, absent: pa.Array, is_boolean: pa.Array) -> pa.Array:
    """Whole numbers in 0..QUANTITY_MAX, -1 for anything else that was sent, null for nothing.

    A number sent as a string counts (some emitters write them so), and so does 7.0; 1.5, NaN, a
    boolean and 2**70 do not. Within the bound a double holds every whole number exactly.
    """
    value = numbers.fill_null(-1.0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        valid = (value >= 0) & (value <= QUANTITY_MAX) & (value == np.floor(value))
    valid &= ~is_boolean.to_numpy(zero_copy_only=False)
    count = np.where(valid, value, -1).astype(np.int64)
    return pa.array(count, mask=absent.to_numpy(zero_copy_only=False))
