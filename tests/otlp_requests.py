"""OTLP requests as a test wants them: official protobuf messages from plain dictionaries."""

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
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


def as_json(message: ExportTraceServiceRequest) -> bytes:
    """The OTLP/JSON form: ids in hex, not in base64 as plain protobuf JSON has them."""
    document = MessageToDict(message)
    for resource_spans, source in zip(
        document["resourceSpans"], message.resource_spans, strict=True
    ):
        for scope_spans, scope_source in zip(
            resource_spans["scopeSpans"], source.scope_spans, strict=True
        ):
            for span, span_source in zip(
                scope_spans.get("spans", []), scope_source.spans, strict=True
            ):
                span["traceId"] = span_source.trace_id.hex()
                span["spanId"] = span_source.span_id.hex()
                span["parentSpanId"] = span_source.parent_span_id.hex()
                if span_source.status.code:
                    span["status"]["code"] = span_source.status.code
    return json.dumps(document).encode()
