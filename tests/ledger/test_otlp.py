"""bytes -> span batch, compared with the official protobuf decoder."""

import math
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import Span, as_json, request
from wire import field

from spanledger.ledger.limits import (
    QUANTITY_MAX,
    RAW_USAGE_BYTES_MAX,
    START_TIME_NS_MAX,
    START_TIME_NS_MIN,
    TEXT_BYTES_MAX,
)
from spanledger.ledger.otlp import SPANS, Body, Decoded, decode
from spanledger.ledger.otlp_values import AttributeKeys, Kind

KEYS = AttributeKeys(
    {
        "text": Kind.TEXT,
        "other": Kind.TEXT,
        "raw": Kind.RAW,
        "count": Kind.COUNT,
        "number": Kind.NUMBER,
        "kept": Kind.KEEP,
    }
)


def decoded(*bodies: bytes, is_json: bool = False, spans_max: int = 10_000) -> Decoded:
    return decode([Body(body, is_json) for body in bodies], KEYS, spans_max=spans_max)


def one(attributes: dict[str, Any], **span: Any) -> dict[str, Any]:
    body = request([Span(attributes, **span)]).SerializeToString()
    return decoded(body).spans.row(0, named=True)


# --- the official decoder as oracle -------------------------------------------------------------

_TEXT = st.text(max_size=20)
_WHOLE = st.integers(-(2**63), 2**63 - 1)
_DOUBLE = st.floats(allow_nan=False, width=64)
# How a double is written out as text, and which texts are numbers, is checked example by example.
_AS_TEXT = st.one_of(_TEXT, _WHOLE, st.booleans())
_ANYTHING = st.one_of(_AS_TEXT, _DOUBLE)
_SPANS = st.builds(
    Span,
    attributes=st.fixed_dictionaries(
        {},
        optional={
            "text": _AS_TEXT,
            "kept": _AS_TEXT,
            "count": st.one_of(_WHOLE, st.integers(0, 10**6), _DOUBLE, st.booleans()),
            "number": _ANYTHING,
            "junk": _ANYTHING,
            "junk.2": _ANYTHING,
        },
    ),
    name=st.text(max_size=30),
    trace_id=st.binary(min_size=16, max_size=16).filter(any),
    span_id=st.binary(min_size=8, max_size=8).filter(any),
    parent_span_id=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    start_ns=st.integers(START_TIME_NS_MIN, START_TIME_NS_MAX),
    duration_ns=st.integers(0, 10**12),
    failed=st.booleans(),
)


def _official(bodies: list[bytes]) -> list[dict[str, Any]]:
    """What the message classes of opentelemetry-proto say, one dictionary a span."""
    rows = []
    for index, body in enumerate(bodies):
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    attributes = {item.key: item.value for item in span.attributes}
                    end = min(span.end_time_unix_nano, START_TIME_NS_MAX)
                    rows.append(
                        {
                            "request": index,
                            "trace_id": span.trace_id,
                            "span_id": span.span_id,
                            "parent_span_id": span.parent_span_id or bytes(8),
                            "name": span.name,
                            "start_ns": span.start_time_unix_nano,
                            "duration_ns": max(end - span.start_time_unix_nano, 0),
                            "failed": span.status.code == 2,
                            "text": _official_text(attributes.get("text")),
                            "count": _official_count(attributes.get("count")),
                            "kept": _official_text(attributes.get("kept")),
                        }
                    )
    return rows


def _official_text(value: Any) -> str | None:
    kind = value.WhichOneof("value") if value is not None else None
    if kind is None:
        return None
    plain = getattr(value, kind)
    return str(plain).lower() if kind == "bool_value" else str(plain)


def _official_count(value: Any) -> int | None:
    kind = value.WhichOneof("value") if value is not None else None
    if kind is None:
        return None
    number = Decimal(-1 if kind == "bool_value" else getattr(value, kind))
    whole = number.is_finite() and 0 <= number <= QUANTITY_MAX and number == number.to_integral()
    return int(number) if whole else -1


def _ours(spans: pl.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in spans.with_columns(start_ns=pl.col("start_time").dt.epoch("ns")).to_dicts():
        kept = {pair["key"]: pair["value"] for pair in row["attributes"]}
        rows.append(
            {name: row[name] for name in ("request", "trace_id", "span_id", "parent_span_id")}
            | {name: row[name] for name in ("name", "start_ns", "duration_ns", "failed")}
            | {"text": row.get("attr.text"), "count": row.get("attr.count")}
            | {"kept": kept.get("kept")}
        )
    return rows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(_SPANS, max_size=4), min_size=1, max_size=4))
def test_a_group_of_requests_decodes_as_the_official_decoder_says(groups: list[list[Span]]) -> None:
    bodies = [request(spans).SerializeToString() for spans in groups]
    ours = decoded(*bodies)
    assert not ours.malformed
    assert _ours(ours.spans) == _official(bodies)


@settings(max_examples=100, deadline=None)
@given(st.lists(_SPANS, max_size=5))
def test_json_and_protobuf_of_one_request_give_the_same_batch(spans: list[Span]) -> None:
    message = request(spans)
    from_json = decoded(as_json(message), is_json=True).spans
    from_protobuf = decoded(message.SerializeToString()).spans
    columns = sorted(from_protobuf.columns)
    assert from_json.select(sorted(from_json.columns)).equals(from_protobuf.select(columns))


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "count"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (QUANTITY_MAX, QUANTITY_MAX),
        (QUANTITY_MAX + 1, -1),
        (-1, -1),
        (1.5, -1),
        (math.nan, -1),
        (math.inf, -1),
        (True, -1),
        ("seven", -1),
        ("", -1),
        (2**63 - 1, -1),
        ([1], -1),
    ],
)
def test_a_count_is_a_whole_number_within_bounds_or_marked_invalid(sent: Any, count: int) -> None:
    assert one({"count": sent})["attr.count"] == count


def test_an_absent_attribute_makes_no_column_and_no_zero() -> None:
    body = request([Span({"count": 0}), Span({"text": "x"})]).SerializeToString()
    spans = decoded(body).spans
    assert spans["attr.count"].to_list() == [0, None]
    assert "attr.other" not in spans.columns


def test_unknown_attributes_never_reach_the_batch() -> None:
    row = one({"gen_ai.input.messages": "the secret prompt", "text": "x"})
    assert "the secret prompt" not in str(row)


def test_ten_thousand_junk_attributes_add_no_column() -> None:
    row = one({f"junk.{number}": "x" for number in range(10_000)})
    assert set(row) == set(SPANS)


def test_text_is_cut_at_its_bound_without_half_characters() -> None:
    text = one({"text": "é" * TEXT_BYTES_MAX})["attr.text"]
    assert text.rstrip("�") == "é" * (TEXT_BYTES_MAX // 2)


def test_raw_usage_may_be_long_and_beyond_its_bound_is_dropped_whole() -> None:
    usage = "{" + " " * (TEXT_BYTES_MAX * 2) + "}"
    assert one({"raw": usage})["attr.raw"] == usage
    assert one({"raw": "x" * (RAW_USAGE_BYTES_MAX + 1)})["attr.raw"] is None


def test_string_arrays_are_written_as_json() -> None:
    assert one({"kept": ["stop", 'say "hi"', "a\\b"]})["attributes"] == [
        {"key": "kept", "value": '["stop","say \\"hi\\"","a\\\\b"]'}
    ]


def test_custom_attributes_are_kept_under_the_rest_of_their_name() -> None:
    row = one({"spanledger.attribute.ticket": "T-7", "spanledger.attribute.": "x"})
    assert row["attributes"] == [{"key": "ticket", "value": "T-7"}]


def test_invalid_utf8_in_one_value_costs_that_value_only() -> None:
    body = request([Span({"text": "good"}), Span({"text": "BAAD"})]).SerializeToString()
    spans = decoded(body.replace(b"BAAD", b"\xff\xfeAD")).spans
    assert spans["attr.text"].to_list() == ["good", "��AD"]


def test_of_a_repeated_key_the_last_value_wins() -> None:
    message = request([Span({"text": "first"})])
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="text").value.string_value = "last"
    assert decoded(message.SerializeToString()).spans["attr.text"].to_list() == ["last"]


def test_resource_attributes_reach_every_span_of_their_resource() -> None:
    first = request([Span(), Span()], {"text": "a"})
    second = request([Span()], {"text": "b"})
    first.MergeFrom(second)
    spans = decoded(first.SerializeToString()).spans
    assert spans["resource.text"].to_list() == ["a", "a", "b"]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ({"trace_id": b""}, "invalid_trace_id"),
        ({"trace_id": bytes(16)}, "invalid_trace_id"),
        ({"trace_id": b"x" * 15}, "invalid_trace_id"),
        ({"span_id": bytes(8)}, "invalid_span_id"),
        ({"start_ns": 0}, "start_time_out_of_range"),
        ({"start_ns": START_TIME_NS_MIN - 1}, "start_time_out_of_range"),
        ({"start_ns": START_TIME_NS_MAX + 1}, "start_time_out_of_range"),
    ],
)
def test_a_span_that_cannot_be_kept_says_why(span: dict[str, Any], reason: str) -> None:
    assert one({}, **span)["reject"] == reason


def test_a_good_span_has_no_reject() -> None:
    assert one({})["reject"] is None


def test_an_end_before_the_start_is_no_negative_duration() -> None:
    assert one({}, duration_ns=-5)["duration_ns"] == 0


def test_a_malformed_request_is_refused_alone() -> None:
    good = request([Span({"text": "x"})]).SerializeToString()
    result = decoded(good, b"\xff\xff", good)
    assert set(result.malformed) == {1}
    assert result.spans["request"].to_list() == [0, 2]


def test_a_group_of_only_malformed_requests_is_an_empty_batch() -> None:
    result = decoded(b"\xff")
    assert (result.spans.height, set(result.malformed)) == (0, {0})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nope",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"resourceSpans": "x"}',
        b'{"resourceSpans": [] } trailing',
        b'{"resourceSpans": NaN}',
        b'{"a": 1e999}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_json_that_is_no_request_is_refused(body: bytes) -> None:
    assert set(decoded(body, is_json=True).malformed) == {0}


def test_no_error_quotes_what_was_sent() -> None:
    body = b'{"resourceSpans": [{"scopeSpans": "the secret prompt"}]}'
    assert "secret" not in decoded(body, is_json=True).malformed[0]


def test_every_prefix_of_a_request_decodes_or_is_refused() -> None:
    body = request([Span({"text": "x", "count": 5, "kept": ["a"]})]).SerializeToString()
    for length in range(len(body)):
        result = decoded(body[:length])
        assert result.spans.height in {0, 1}
        assert set(result.malformed) <= {0}


def test_deep_nesting_is_one_opaque_value() -> None:
    value: Any = "deep"
    for _ in range(90):  # what the official encoder still writes
        value = [value]
    assert one({"text": value})["reject"] is None


def test_a_request_with_too_many_spans_is_refused_and_its_neighbours_are_not() -> None:
    many = request([Span() for _ in range(4)]).SerializeToString()
    few = request([Span() for _ in range(3)]).SerializeToString()
    result = decoded(few, many, few, spans_max=3)
    assert list(result.malformed.values()) == ["4 spans in one request are more than 3"]
    assert result.spans["request"].to_list() == [0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize("last", [b"\x01", b"\x7f", b"\xff\x01"])
def test_a_length_that_makes_the_decoder_panic_is_one_malformed_request(
    last: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    good = request([Span({"n": -1})]).SerializeToString()
    result = decoded(good, b"\x0a" + b"\xff" * 9 + last, good)
    assert list(result.malformed) == [1]
    assert result.spans["request"].to_list() == [0, 2]
    assert capfd.readouterr() == ("", "")  # a panic, though caught, has written to the log


def test_such_a_length_in_an_array_costs_the_arrays_and_no_request(
    capfd: pytest.CaptureFixture[str],
) -> None:
    array = field(5, b"\x0a" + b"\xff" * 9 + b"\x01")
    attribute = field(1, KEYS.names[0].encode()) + field(2, array)
    result = decoded(field(1, field(2, field(2, field(9, attribute)))))
    assert not result.malformed
    assert result.spans.height == 1
    assert capfd.readouterr() == ("", "")
