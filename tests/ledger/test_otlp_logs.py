"""bytes -> span batch for log records, compared with the official protobuf decoder."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from otlp_requests import Record, Span, as_json, logs, request

from spanledger.ledger.limits import START_TIME_NS_MAX, START_TIME_NS_MIN
from spanledger.ledger.otlp import Body, Decoded, decode
from spanledger.ledger.otlp_values import AttributeKeys, Kind
from spanledger.ledger.otlp_wire import Signal

KNOWN_BODY = "claude_code.api_request"
KEYS = AttributeKeys(
    {"text": Kind.TEXT, "count": Kind.COUNT, "kept": Kind.KEEP}, bodies=[KNOWN_BODY]
)


def decoded(*bodies: bytes, is_json: bool = False, spans_max: int = 10_000) -> Decoded:
    group = [Body(body, is_json, Signal.LOGS) for body in bodies]
    return decode(group, KEYS, spans_max=spans_max)


def one(**record: Any) -> dict[str, Any]:
    return decoded(logs([Record(**record)]).SerializeToString()).spans.row(0, named=True)


_TEXT = st.text(max_size=20)
_RECORDS = st.builds(
    Record,
    attributes=st.fixed_dictionaries(
        {},
        optional={
            "text": st.one_of(_TEXT, st.integers(-(2**63), 2**63 - 1), st.booleans()),
            "count": st.one_of(st.integers(0, 10**6), st.integers(0, 10**6).map(str)),
            "kept": _TEXT,
            "junk": _TEXT,
        },
    ),
    body=st.one_of(st.none(), _TEXT, st.just(KNOWN_BODY), st.integers(0, 9), st.lists(_TEXT)),
    event_name=st.text(max_size=30),
    trace_id=st.one_of(st.just(b""), st.binary(min_size=16, max_size=16).filter(any)),
    span_id=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8).filter(any)),
    time_ns=st.one_of(st.just(0), st.integers(START_TIME_NS_MIN, START_TIME_NS_MAX)),
    observed_ns=st.integers(START_TIME_NS_MIN, START_TIME_NS_MAX),
)


def _official(bodies: list[bytes]) -> list[dict[str, Any]]:
    """What the message classes of opentelemetry-proto say, one dictionary a record."""
    rows = []
    for index, body in enumerate(bodies):
        for resource_logs in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope_logs in resource_logs.scope_logs:
                for record in scope_logs.log_records:
                    attributes = {item.key: item.value for item in record.attributes}
                    is_known = record.body.string_value == KNOWN_BODY
                    rows.append(
                        {
                            "request": index,
                            "trace_id": record.trace_id or None,
                            "parent_span_id": record.span_id or bytes(8),
                            "name": KNOWN_BODY if is_known else record.event_name,
                            "start_ns": record.time_unix_nano or record.observed_time_unix_nano,
                            "scope_name": scope_logs.scope.name,
                            "text": _plain(attributes.get("text")),
                            "count": _plain(attributes.get("count")),
                            "kept": _plain(attributes.get("kept")),
                        }
                    )
    return rows


def _plain(value: Any) -> str | None:
    kind = value.WhichOneof("value") if value is not None else None
    if kind is None:
        return None
    plain = getattr(value, kind)
    return str(plain).lower() if kind == "bool_value" else str(plain)


def _ours(batch: pl.DataFrame) -> list[dict[str, Any]]:
    same = ("request", "trace_id", "parent_span_id", "name", "start_ns", "scope_name")
    rows = []
    for row in batch.with_columns(start_ns=pl.col("start_time").dt.epoch("ns")).to_dicts():
        assert (row["span_id"], row["is_log"], row["failed"]) == (None, True, False)
        assert row["reject"] is None
        count = row.get("attr.count")
        kept = {pair["key"]: pair["value"] for pair in row["attributes"]}
        rows.append(
            {name: row[name] for name in same}
            | {"text": row.get("attr.text"), "kept": kept.get("kept")}
            | {"count": None if count is None else str(count)}
        )
    return rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(_RECORDS, max_size=4), min_size=1, max_size=4))
def test_a_group_of_requests_decodes_as_the_official_decoder_says(
    groups: list[list[Record]],
) -> None:
    bodies = [logs(records).SerializeToString() for records in groups]
    ours = decoded(*bodies)
    assert not ours.malformed
    assert _ours(ours.spans) == _official(bodies)


@settings(max_examples=100, deadline=None)
@given(st.lists(_RECORDS, max_size=5))
def test_json_and_protobuf_of_one_request_give_the_same_batch(records: list[Record]) -> None:
    message = logs(records)
    from_json = decoded(as_json(message), is_json=True).spans
    from_protobuf = decoded(message.SerializeToString()).spans
    columns = sorted(from_protobuf.columns)
    assert from_json.select(sorted(from_json.columns)).equals(from_protobuf.select(columns))


def test_traces_and_logs_of_one_group_share_a_batch_in_the_order_of_the_requests() -> None:
    trace = Body(request([Span()]).SerializeToString())
    log = Body(logs([Record({"text": "x"})]).SerializeToString(), signal=Signal.LOGS)
    as_text = Body(as_json(logs([Record()])), is_json=True, signal=Signal.LOGS)
    batch = decode([log, trace, as_text, trace], KEYS, spans_max=9).spans
    assert batch["request"].to_list() == [0, 1, 2, 3]
    assert batch["is_log"].to_list() == [True, False, True, False]


def test_the_text_of_a_body_is_compared_with_known_events_and_never_copied() -> None:
    canary = "the secret prompt"
    assert one(body=KNOWN_BODY)["name"] == KNOWN_BODY
    assert one(body=KNOWN_BODY + " ", event_name="e")["name"] == "e"
    for body in (canary, [canary], {"text": canary}):
        assert canary not in str(one(body=body))


def test_a_record_without_a_time_is_as_old_as_its_observation() -> None:
    assert one(time_ns=0, observed_ns=START_TIME_NS_MIN)["start_time"].year == 2020
    assert one(time_ns=0)["reject"] == "start_time_out_of_range"
    assert one(time_ns=START_TIME_NS_MAX + 1)["reject"] == "start_time_out_of_range"


@pytest.mark.parametrize("trace_id", [b"", bytes(16), b"short"])
def test_a_record_needs_no_ids(trace_id: bytes) -> None:
    row = one(trace_id=trace_id, span_id=trace_id[:8])
    assert (row["trace_id"], row["parent_span_id"], row["reject"]) == (None, bytes(8), None)


# --- hostile --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", logs([]).SerializeToString()])
def test_an_empty_request_is_an_empty_batch(body: bytes) -> None:
    result = decoded(body)
    assert (result.spans.height, result.malformed) == (0, {})


@pytest.mark.parametrize("body", [b"{}", b'{"resourceLogs": []}', b'{"resourceSpans": [{}]}'])
def test_an_empty_json_request_is_an_empty_batch(body: bytes) -> None:
    result = decoded(body, is_json=True)
    assert (result.spans.height, result.malformed) == (0, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nope",
        b"[]",
        b"\xff\xfe",
        b'{"resourceLogs": "x"}',
        b'{"resourceLogs": [{"scopeLogs": "the secret prompt"}]}',
        b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
)
def test_json_that_is_no_request_is_refused_in_fixed_words(body: bytes) -> None:
    malformed = decoded(body, is_json=True).malformed
    assert malformed[0] in {
        "the body is no JSON ExportLogsServiceRequest",
        "the body is no JSON object",
    }


def test_a_malformed_request_is_refused_alone() -> None:
    good = logs([Record({"text": "x"})]).SerializeToString()
    result = decoded(good, b"\xff\xff", good)
    assert result.malformed == {1: "the body is no protobuf ExportLogsServiceRequest"}
    assert result.spans["request"].to_list() == [0, 2]


def test_invalid_utf8_costs_the_value_it_is_in_only() -> None:
    records = [
        Record({"text": "good"}, body="fine"),
        Record({"text": "BAAD"}, body="BAAD", event_name="BAAD"),
    ]
    body = logs(records).SerializeToString().replace(b"BAAD", b"\xff\xfeAD")
    spans = decoded(body).spans
    assert spans["attr.text"].to_list() == ["good", "\ufffd\ufffdAD"]
    assert spans["name"].to_list() == ["", "\ufffd\ufffdAD"]


def _field(tag: int, data: bytes) -> bytes:
    """One length-delimited field as it is on the wire."""
    length, encoded = len(data), bytearray([tag])
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    return bytes([*encoded, length]) + data


def test_twenty_thousand_arrays_in_a_body_and_in_an_attribute_are_opaque() -> None:
    bomb = _field(0x0A, b"deep")
    for _ in range(20_000):  # deeper than the official encoder writes
        bomb = _field(0x2A, _field(0x0A, bomb))
    record = _field(0x2A, bomb) + _field(0x32, _field(0x0A, b"text") + _field(0x12, bomb))
    result = decoded(_field(0x0A, _field(0x12, _field(0x12, record))))
    assert (result.spans.height, result.malformed) == (1, {})
    assert "deep" not in str(result.spans.to_dicts())


def test_deep_json_in_a_body_costs_nothing_or_its_request() -> None:
    deep = b'{"arrayValue":{"values":[' * 20_000 + b"{}" + b"]}}" * 20_000
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":' + deep + b"}]}]}]}"
    result = decoded(body, is_json=True)
    assert result.spans.height + len(result.malformed) == 1


def test_every_prefix_of_a_request_decodes_or_is_refused() -> None:
    body = logs([Record({"text": "x", "count": 5}, body="b", event_name="e")]).SerializeToString()
    for length in range(len(body)):
        result = decoded(body[:length])
        assert result.spans.height in {0, 1}
        assert set(result.malformed) <= {0}


def test_a_request_with_too_many_records_is_refused_and_its_neighbours_are_not() -> None:
    many = logs([Record() for _ in range(4)]).SerializeToString()
    few = logs([Record() for _ in range(3)]).SerializeToString()
    result = decoded(few, many, few, spans_max=3)
    assert result.malformed == {1: "4 log records in one request are more than 3"}
    assert result.spans["request"].to_list() == [0, 0, 0, 2, 2, 2]
