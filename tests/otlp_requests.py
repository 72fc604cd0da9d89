"""OTLP requests as a test wants them: official protobuf messages from plain dictionaries."""

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

_serial = itertools.count(1)


@dataclass
class Span:
    """A span with the ids and times that a test does not care about filled in."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = "chat gpt-4o"
    trace_id: bytes = field(default_factory=lambda: next(_serial).to_bytes(16, "big"))
    span_id: bytes = field(default_factory=lambda: next(_serial).to_bytes(8, "big"))
    parent_span_id: bytes = b""
    start_ns: int = field(default_factory=time.time_ns)
    duration_ns: int = 1_500_000_000
    failed: bool = False


@dataclass
class Record:
    """A log record; ids and times that a test does not care about are filled in or left out."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    event_name: str = ""
    trace_id: bytes = b""
    span_id: bytes = b""
    time_ns: int = field(default_factory=time.time_ns)
    observed_ns: int = 0


def chat(
    model: str = "gpt-4o", input_tokens: int = 1_500, output_tokens: int = 2_000, **more: Any
) -> Span:
    """A model call as the OpenTelemetry conventions have it; ``more`` has dots as ``__``."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
    }
    return Span({**attributes, **{key.replace("__", "."): value for key, value in more.items()}})


def request(
    spans: Iterable[Span],
    resource: Mapping[str, Any] | None = None,
    scope: tuple[str, str] = ("opentelemetry.instrumentation.genai.openai", "1.3b0"),
) -> ExportTraceServiceRequest:
    """One request with one resource and one scope."""
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    for key, value in (resource or {"service.name": "shop"}).items():
        set_value(resource_spans.resource.attributes.add(key=key).value, value)
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name, scope_spans.scope.version = scope
    for span in spans:
        added = scope_spans.spans.add(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_span_id,
            name=span.name,
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.start_ns + span.duration_ns,
        )
        if span.failed:
            added.status.code = Status.STATUS_CODE_ERROR
        for key, value in span.attributes.items():
            set_value(added.attributes.add(key=key).value, value)
    return message


def logs(
    records: Iterable[Record],
    resource: Mapping[str, Any] | None = None,
    scope: tuple[str, str] = ("com.anthropic.claude_code.events", "2.1.197"),
) -> ExportLogsServiceRequest:
    """One request of log records with one resource and one scope."""
    message = ExportLogsServiceRequest()
    resource_logs = message.resource_logs.add()
    for key, value in (resource or {"service.name": "claude-code"}).items():
        set_value(resource_logs.resource.attributes.add(key=key).value, value)
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name, scope_logs.scope.version = scope
    for record in records:
        added = scope_logs.log_records.add(
            time_unix_nano=record.time_ns,
            observed_time_unix_nano=record.observed_ns,
            trace_id=record.trace_id,
            span_id=record.span_id,
            event_name=record.event_name,
        )
        if record.body is not None:
            set_value(added.body, record.body)
        for key, value in record.attributes.items():
            set_value(added.attributes.add(key=key).value, value)
    return message


def claude_request(*, time_ns: int = 0, **more: Any) -> Record:
    """What Claude Code writes when a request to the model has ended."""
    attributes = {
        "event.name": "api_request",
        "event.sequence": next(_serial),
        "session.id": "s-1",
        "user.id": "device-1",
        "model": "claude-sonnet-4-5",
        "input_tokens": 111,
        "output_tokens": 321,
        "cache_read_tokens": 1_000,
        "cache_creation_tokens": 222,
        "cost_usd": 0.006,
        "duration_ms": 1_500,
    }
    attributes |= {key.replace("__", "."): value for key, value in more.items()}
    return Record(attributes, "claude_code.api_request", time_ns=time_ns or time.time_ns())


def set_value(target: AnyValue, value: Any) -> None:
    """Write a Python value as the AnyValue that an SDK would send."""
    match value:
        case bool():
            target.bool_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case str():
            target.string_value = value
        case list():
            target.array_value.SetInParent()
            for item in value:
                set_value(target.array_value.values.add(), item)
        case dict():
            target.kvlist_value.SetInParent()
            for key, item in value.items():
                set_value(target.kvlist_value.values.add(key=key).value, item)


def as_json(message: ExportTraceServiceRequest | ExportLogsServiceRequest) -> bytes:
    """The OTLP/JSON form: ids in hex, not in base64 as plain protobuf JSON has them."""
    document = MessageToDict(message)
    if isinstance(message, ExportLogsServiceRequest):
        for item, record in zip(_items(document), _records(message), strict=True):
            item["traceId"], item["spanId"] = record.trace_id.hex(), record.span_id.hex()
    else:
        for item, span in zip(_items(document), _spans(message), strict=True):
            item["traceId"], item["spanId"] = span.trace_id.hex(), span.span_id.hex()
            item["parentSpanId"] = span.parent_span_id.hex()
            if span.status.code:
                item["status"]["code"] = span.status.code
    return json.dumps(document).encode()


def _items(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    scopes = [
        scope
        for resource in (*document.get("resourceSpans", ()), *document.get("resourceLogs", ()))
        for scope in (*resource.get("scopeSpans", ()), *resource.get("scopeLogs", ()))
    ]
    return [
        item for scope in scopes for item in (*scope.get("spans", ()), *scope.get("logRecords", ()))
    ]


def _spans(message: ExportTraceServiceRequest) -> list[Any]:
    scopes = (scope for resource in message.resource_spans for scope in resource.scope_spans)
    return [span for scope in scopes for span in scope.spans]


def _records(message: ExportLogsServiceRequest) -> list[Any]:
    scopes = (scope for resource in message.resource_logs for scope in resource.scope_logs)
    return [record for scope in scopes for record in scope.log_records]
