"""Spans and log records captured from real SDKs against a provider whose true usage is known."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import Record, Span, logs, request

from spanledger.ledger.dialects import attribute_keys, normalise
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.otlp_wire import Signal

FOLDER = Path(__file__).parents[1] / "golden" / "spans"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
START_NS = 1_790_000_000_000_000_000

_KEYS = attribute_keys()
_FLAGS = ("usage_missing", "usage_estimated", "cache_unknown", "cache_write_unknown")

Usage = tuple[int, int, int, int]  # uncached input, cache read, cache write, output

# What the provider reported for every call, by what the call's model and span name contain; the
# first that fits. Gemini's tool-use prompt of 11 is outside its prompt: who adds it reports 245.
TRUTH: Mapping[str, tuple[Usage, ...]] = {
    r"embed": ((17, 0, 0, 0),),
    r"titan|llama": ((111, 0, 0, 321),),  # models of Bedrock that know no cache
    r"claude|nova": ((111, 1_000, 222, 321),),
    r"gemini": ((234, 1_000, 0, 321), (245, 1_000, 0, 321)),
    r"transcribe": ((14, 0, 0, 5),),
    r"image": ((30, 0, 0, 1_000),),
    r"tts": (),
    r"-turbo-instruct": ((10, 0, 0, 5),),  # OpenAI's oldest API
    r"": ((212, 1_000, 22, 321),),
}
USAGE_FIELDS = ("uncached", "cache_read", "cache_write", "output")


@dataclass(frozen=True)
class Captured:
    """One span or log record of a capture, ready to be sent."""

    case: str
    name: str
    scope: str
    message: ExportTraceServiceRequest | ExportLogsServiceRequest

    @property
    def body(self) -> Body:
        is_log = isinstance(self.message, ExportLogsServiceRequest)
        signal = Signal.LOGS if is_log else Signal.TRACES
        return Body(self.message.SerializeToString(), signal=signal)


def spans_of(capture: str) -> list[Captured]:
    rows = json.loads((FOLDER / f"{capture}.json").read_text())
    read = _captured_log if capture.endswith(".logs") else _captured
    return [read(row, index) for index, row in enumerate(rows)]


def observed(capture: str) -> dict[str, list[Any]]:
    """What the core makes of a capture, in the form of the golden file, without reasons."""
    spans, losses = [], []
    for span in spans_of(capture):
        result = normalise(decode([span.body], _KEYS, spans_max=1).spans, "acme")
        assert result.rejects.height == 0
        row = next(iter(result.calls.to_dicts()), None)
        fate = _fate(row, span.name) if row else next(iter(result.not_calls))
        spans.append([span.case, span.name, fate])
        if row and fate == "loss":
            flags = [flag for flag in _FLAGS if row[flag]]
            losses.append([span.case, span.name, _lost(row, span.name), flags])
    return {"spans": spans, "losses": losses}


def _fate(row: Mapping[str, Any], span_name: str) -> str:
    if usage_of(row) in truth_of(row, span_name):
        return "exact"
    return "failed" if row["status"] == "error" and row["usage_missing"] else "loss"


def _lost(row: Mapping[str, Any], span_name: str) -> dict[str, list[int | None]]:
    """Field -> what comes out and what is true; null where the provider itself counts none."""
    truth = next(iter(truth_of(row, span_name)), (None,) * len(USAGE_FIELDS))
    fields = zip(USAGE_FIELDS, usage_of(row), truth, strict=True)
    return {field: [found, true] for field, found, true in fields if found != true}


def truth_of(row: Mapping[str, Any], span_name: str) -> tuple[Usage, ...]:
    """The usages that are right for a call."""
    model = row["response_model"] or row["request_model"]
    said = f"{row['operation']} {span_name} {model}".lower()
    return next(truth for pattern, truth in TRUTH.items() if re.search(pattern, said))


def usage_of(row: Mapping[str, Any]) -> Usage:
    cached = row["cache_read_tokens"], row["cache_write_tokens"]
    return (row["input_tokens"] - sum(cached), *cached, row["output_tokens"])


def _captured(row: Mapping[str, Any], index: int) -> Captured:
    span = Span(
        attributes={key: value for key, value in row["attributes"].items() if value is not None},
        name=row["name"],
        trace_id=_id(row.get("trace_id", ""), 16),
        span_id=_id(row.get("span_id") or str(index), 8),
        parent_span_id=_id(row["parent"], 8) if row.get("parent") else b"",
        start_ns=START_NS,
        failed=row.get("status") in ("ERROR", 2),
    )
    scope = (row["scope"]["name"] or "", row["scope"].get("version") or "")
    message = request([span], row.get("resource") or {"service.name": "captured"}, scope)
    return Captured(row.get("case") or "", row["name"], scope[0], message)


def _captured_log(row: Mapping[str, Any], index: int) -> Captured:
    attributes = {key: value for key, value in row["attributes"].items() if value is not None}
    record = Record(
        attributes,
        body=row["body"],
        event_name=row["event_name"] or "",
        trace_id=bytes.fromhex(row["traceId"] or ""),
        span_id=bytes.fromhex(row["spanId"] or ""),
        time_ns=START_NS + index,
    )
    scope = (row["scope"]["name"], row["scope"].get("version") or "")
    name = attributes.get("event.name", row["body"])
    return Captured("", name, scope[0], logs([record], row["resource"], scope))


def _id(text: str, width: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    # MLflow, for one, has ids of its own.
    return raw if len(raw) == width else hashlib.sha256(text.encode()).digest()[:width]
