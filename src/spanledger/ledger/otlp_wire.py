"""OTLP bytes to nested Arrow arrays, for protobuf and for JSON.

Promises: traces and logs, in both encodings, come out in one nested shape (``resource`` and
``scopes``, each with ``scope`` and ``items``), the fields of an item named as in OTLP; ids as
bytes, what the sender left out as null. Fails as a whole with ``Malformed`` and
a reason of fixed words. Never builds a Python object per span, never recurses on input, never
quotes the input in an error (it may hold a prompt).

The protobuf descriptor is a *trimmed* copy of OTLP: only the fields that are read, and everything
below an ``AnyValue`` as well as every string declared ``bytes``. On the wire a nested message and a
string are length-delimited bytes alike, so this reads the same requests, but a nesting bomb is one
opaque value and one string that is no UTF-8 does not reject its whole request. It is declared in
proto2 syntax because that keeps "absent" apart from 0.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

import polars as pl
import ptars
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass


class Signal(Enum):
    """What a request carries; the value is the noun for its items."""

    TRACES = "spans"
    LOGS = "log records"

    @property
    def message(self) -> str:
        """The name of its request message in OTLP."""
        return "ExportTraceServiceRequest" if self is Signal.TRACES else "ExportLogsServiceRequest"


_Field = descriptor_pb2.FieldDescriptorProto
_BYTES, _BOOL, _INT32 = _Field.TYPE_BYTES, _Field.TYPE_BOOL, _Field.TYPE_INT32
_INT64, _FIXED64, _DOUBLE = _Field.TYPE_INT64, _Field.TYPE_FIXED64, _Field.TYPE_DOUBLE

# message -> {field: (number, type)}; a name in place of a type is a nested message, a name in a
# list a repeated one. Numbers: opentelemetry-proto, trace.proto, logs.proto, common.proto,
# resource.proto. The names that differ between the signals alone are made one.
_MESSAGES: Final[dict[str, dict[str, tuple[int, int | str | list[str]]]]] = {
    "AnyValue": {
        "string_value": (1, _BYTES),
        "bool_value": (2, _BOOL),
        "int_value": (3, _INT64),
        "double_value": (4, _DOUBLE),
        "array_value": (5, _BYTES),
    },
    "ArrayValue": {"values": (1, ["AnyValue"])},
    "KeyValue": {"key": (1, _BYTES), "value": (2, "AnyValue")},
    "Resource": {"attributes": (1, ["KeyValue"])},
    "InstrumentationScope": {"name": (1, _BYTES), "version": (2, _BYTES)},
    "Status": {"code": (3, _INT32)},
    "Span": {
        "trace_id": (1, _BYTES),
        "span_id": (2, _BYTES),
        "parent_span_id": (4, _BYTES),
        "name": (5, _BYTES),
        "start_time_unix_nano": (7, _FIXED64),
        "end_time_unix_nano": (8, _FIXED64),
        "attributes": (9, ["KeyValue"]),
        "status": (15, "Status"),
    },
    "ScopeSpans": {"scope": (1, "InstrumentationScope"), "items": (2, ["Span"])},
    "ResourceSpans": {"resource": (1, "Resource"), "scopes": (2, ["ScopeSpans"])},
    "ExportTraceServiceRequest": {"resources": (1, ["ResourceSpans"])},
    # Of a body only a plain text, to be compared with the names of known events.
    "Body": {"string_value": (1, _BYTES)},
    "LogRecord": {
        "time_unix_nano": (1, _FIXED64),
        "body": (5, "Body"),
        "attributes": (6, ["KeyValue"]),
        "trace_id": (9, _BYTES),
        "span_id": (10, _BYTES),
        "observed_time_unix_nano": (11, _FIXED64),
        "event_name": (12, _BYTES),
    },
    "ScopeLogs": {"scope": (1, "InstrumentationScope"), "items": (2, ["LogRecord"])},
    "ResourceLogs": {"resource": (1, "Resource"), "scopes": (2, ["ScopeLogs"])},
    "ExportLogsServiceRequest": {"resources": (1, ["ResourceLogs"])},
}
_PACKAGE: Final = "spanledger.otlp"


class Malformed(Exception):  # noqa: N818 - reads as what it is: raise Malformed
    """The bytes are no OTLP request; the message says why, in fixed words."""


class _Decoder:
    """Decodes one kind of message to Arrow."""

    def __init__(self, to_arrow: Any, message: type[Message]) -> None:
        self._to_arrow = to_arrow
        self._message = message

    def from_list(self, encoded: list[bytes]) -> pa.RecordBatch:
        self._check(encoded)
        return self._to_arrow.list_to_record_batch(encoded)

    def from_array(self, encoded: pa.Array) -> pa.RecordBatch:
        suspects = encoded.filter(pc.match_substring(encoded, _NEAR_2_TO_64))
        self._check(suspects.to_pylist())
        return self._to_arrow.array_to_record_batch(encoded)

    def _check(self, encoded: Sequence[bytes]) -> None:
        """Have protobuf's own parser look where ptars may panic.

        A caught panic harms nobody, but it has written to the log before it can be caught: whoever
        may send a span could fill the disk with it.
        """
        for data in encoded:
            if _NEAR_2_TO_64 in data:
                self._message.FromString(data)


# In the middle of each number near 2**64, which as a length makes ptars panic. In honest requests
# it is of a negative number, or of an id.
_NEAR_2_TO_64: Final = b"\xff" * 5


def _decoders(*messages: str) -> list[_Decoder]:
    file = descriptor_pb2.FileDescriptorProto(
        name="spanledger/otlp.proto", package=_PACKAGE, syntax="proto2"
    )
    for message_name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            target = kind[0] if isinstance(kind, list) else kind
            nested = isinstance(target, str)
            declared.field.add(
                name=name,
                number=number,
                label=_Field.LABEL_REPEATED if isinstance(kind, list) else _Field.LABEL_OPTIONAL,
                type=_Field.TYPE_MESSAGE if nested else target,
                type_name=f".{_PACKAGE}.{target}" if nested else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    handlers = ptars.HandlerPool([pool.FindFileByName(file.name)])
    found = [pool.FindMessageTypeByName(f"{_PACKAGE}.{message}") for message in messages]
    return [_Decoder(handlers.get_for_message(one), GetMessageClass(one)) for one in found]


*_REQUESTS, _ARRAY = _decoders(*(signal.message for signal in Signal), "ArrayValue")
_REQUEST_OF: Final = dict(zip(Signal, _REQUESTS, strict=True))


def from_protobuf(bodies: Sequence[bytes], signal: Signal) -> pa.Array:
    """Decode requests into an array with one list of resources a request.

    Raises:
        Malformed: at least one body is no such message; ptars does not say which.
    """
    try:
        return _REQUEST_OF[signal].from_list(list(bodies)).column(0)
    except BaseException as error:  # noqa: BLE001 - a panic has no class to name
        _reraise_unless_malformed(error)
        raise Malformed(f"the body is no protobuf {signal.message}") from None


def _reraise_unless_malformed(error: BaseException) -> None:
    """Let through what is no fault of the input.

    A length near 2**64 makes ptars panic. That is no ``Exception``, so eleven bytes would end the
    thread that decodes, and its class can be had from no module.
    """
    expected = isinstance(error, ValueError | DecodeError)
    if not expected and type(error).__name__ != "PanicException":
        raise error


def array_text(encoded: pa.Array) -> pa.Array:
    """Render ``ArrayValue`` messages as JSON arrays of their strings; null stays null.

    What cannot be decoded becomes null: it is one attribute, not a request.
    """
    try:
        lists = _ARRAY.from_array(encoded.fill_null(b"").cast(pa.binary())).column(0)
    except BaseException as error:  # noqa: BLE001 - a panic has no class to name
        _reraise_unless_malformed(error)
        return pa.nulls(len(encoded), pa.binary())
    strings = pc.struct_field(lists.flatten(), "string_value")
    return pc.if_else(encoded.is_valid(), _json_array(lists, strings), None)


def _json_array(lists: pa.Array, strings: pa.Array) -> pa.Array:
    escaped = strings.fill_null(b"").cast(pa.binary())
    # One after the other: a regular expression for both takes six times as long.
    for special in ("\\", '"'):
        escaped = pc.replace_substring(escaped, pattern=special, replacement=f"\\{special}")
    lengths = pc.list_value_length(lists).fill_null(0)
    joined = pc.binary_join(_listed(lengths, escaped), b'","')
    rendered = pc.binary_join_element_wise(b'["', joined, b'"]', b"")
    return pc.if_else(pc.equal(lengths, 0), b"[]", rendered)


def _listed(lengths: pa.Array, items: pa.Array) -> pa.ListArray:
    ends = pc.cumulative_sum(lengths.cast(pa.int64()))
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends])
    return pa.ListArray.from_arrays(offsets.cast(pa.int32()), items)


# OTLP/JSON: lowerCamelCase, ids in hex, 64-bit integers as strings or numbers. Every leaf is read
# as text, because Polars then takes a number, a string or a boolean alike; the casts come after.
_J_ANY: Final = pl.Struct(
    {
        "stringValue": pl.String,
        "boolValue": pl.String,
        "intValue": pl.String,
        "doubleValue": pl.String,
        "arrayValue": pl.Struct({"values": pl.List(pl.Struct({"stringValue": pl.String}))}),
    }
)
_J_ATTRIBUTES: Final = pl.List(pl.Struct({"key": pl.String, "value": _J_ANY}))
_J_SPANS: Final = pl.List(
    pl.Struct(
        {
            "traceId": pl.String,
            "spanId": pl.String,
            "parentSpanId": pl.String,
            "name": pl.String,
            "startTimeUnixNano": pl.String,
            "endTimeUnixNano": pl.String,
            "attributes": _J_ATTRIBUTES,
            "status": pl.Struct({"code": pl.String}),
        }
    )
)
_J_LOGS: Final = pl.List(
    pl.Struct(
        {
            "timeUnixNano": pl.String,
            "observedTimeUnixNano": pl.String,
            "body": pl.Struct({"stringValue": pl.String}),
            "attributes": _J_ATTRIBUTES,
            "traceId": pl.String,
            "spanId": pl.String,
            "eventName": pl.String,
        }
    )
)
_J_SCOPE: Final = pl.Struct({"name": pl.String, "version": pl.String})
_J_RESOURCE: Final = pl.Struct({"attributes": _J_ATTRIBUTES})
_J_RESOURCE_SPANS: Final = pl.Struct(
    {
        "resource": _J_RESOURCE,
        "scopeSpans": pl.List(pl.Struct({"scope": _J_SCOPE, "spans": _J_SPANS})),
    }
)
_J_RESOURCE_LOGS: Final = pl.Struct(
    {
        "resource": _J_RESOURCE,
        "scopeLogs": pl.List(pl.Struct({"scope": _J_SCOPE, "logRecords": _J_LOGS})),
    }
)
_J_REQUEST: Final = {
    Signal.TRACES: pl.Struct({"resourceSpans": pl.List(_J_RESOURCE_SPANS)}),
    Signal.LOGS: pl.Struct({"resourceLogs": pl.List(_J_RESOURCE_LOGS)}),
}


def from_json(body: bytes, signal: Signal) -> pa.Array:
    """Decode one JSON request into the shape that ``from_protobuf`` gives.

    Raises:
        Malformed: the body is no UTF-8, no JSON object, nested too deeply, or not shaped as OTLP.
    """
    try:
        request = pl.Series("request", [body.decode()]).str.json_decode(_J_REQUEST[signal])
    except (UnicodeDecodeError, pl.exceptions.PolarsError):
        raise Malformed(f"the body is no JSON {signal.message}") from None
    if len(request) != 1 or request.null_count():
        raise Malformed("the body is no JSON object")
    resources = request.struct.unnest().to_series(0)
    return _mapped(resources.to_arrow(compat_level=pl.CompatLevel.oldest()), _json_resources)


def _mapped(lists: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.ListArray:
    return _listed(pc.list_value_length(lists).fill_null(0), convert(lists.flatten()))


def _struct(**columns: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def _json_resources(items: pa.Array) -> pa.StructArray:
    attributes = pc.struct_field(items, ["resource", "attributes"])
    return _struct(
        resource=_struct(attributes=_mapped(attributes, _json_attributes)),
        scopes=_mapped(pc.struct_field(items, [1]), _json_scopes),
    )


def _json_scopes(scopes: pa.Array) -> pa.StructArray:
    scope = _struct(name=_text(scopes, "scope", "name"), version=_text(scopes, "scope", "version"))
    is_logs = scopes.type.get_field_index("logRecords") >= 0
    items = _mapped(pc.struct_field(scopes, [1]), _json_logs if is_logs else _json_spans)
    return _struct(scope=scope, items=items)


def _json_logs(items: pa.Array) -> pa.StructArray:
    return _struct(
        time_unix_nano=_number(items, pl.UInt64, "timeUnixNano"),
        observed_time_unix_nano=_number(items, pl.UInt64, "observedTimeUnixNano"),
        body=_struct(string_value=_text(items, "body", "stringValue")),
        attributes=_mapped(pc.struct_field(items, "attributes"), _json_attributes),
        trace_id=_hex(items, "traceId"),
        span_id=_hex(items, "spanId"),
        event_name=_text(items, "eventName"),
    )


def _json_spans(items: pa.Array) -> pa.StructArray:
    return _struct(
        trace_id=_hex(items, "traceId"),
        span_id=_hex(items, "spanId"),
        parent_span_id=_hex(items, "parentSpanId"),
        name=_text(items, "name"),
        start_time_unix_nano=_number(items, pl.UInt64, "startTimeUnixNano"),
        end_time_unix_nano=_number(items, pl.UInt64, "endTimeUnixNano"),
        attributes=_mapped(pc.struct_field(items, "attributes"), _json_attributes),
        # Names are no valid JSON encoding of the enum, yet some senders write them.
        status=_struct(
            code=pc.coalesce(
                _number(items, pl.Int32, "status", "code"),
                pc.if_else(
                    pc.equal(pc.struct_field(items, ["status", "code"]), "STATUS_CODE_ERROR"),
                    pa.scalar(2, pa.int32()),
                    None,
                ),
            )
        ),
    )


def _json_attributes(items: pa.Array) -> pa.StructArray:
    lists = pc.struct_field(items, ["value", "arrayValue", "values"])
    boolean = pc.struct_field(items, ["value", "boolValue"])
    array = _json_array(lists, pc.struct_field(lists.flatten(), "stringValue"))
    return _struct(
        key=_text(items, "key"),
        value=_struct(
            string_value=_text(items, "value", "stringValue"),
            bool_value=pc.equal(boolean, "true"),
            int_value=_number(items, pl.Int64, "value", "intValue"),
            double_value=_number(items, pl.Float64, "value", "doubleValue"),
            array_text=pc.if_else(lists.is_valid(), array, None),
        ),
    )


def _text(items: pa.Array, *path: str) -> pa.Array:
    return pc.struct_field(items, list(path)).cast(pa.binary())


def _hex(items: pa.Array, *path: str) -> pa.Array:
    # Wrong digits or an odd length become null here, and a rejected span later.
    text = pl.Series(pc.struct_field(items, list(path)))
    return text.str.decode("hex", strict=False).to_arrow().cast(pa.binary())


def _number(items: pa.Array, dtype: type[pl.DataType], *path: str) -> pa.Array:
    return pl.Series(pc.struct_field(items, list(path))).cast(dtype, strict=False).to_arrow()
