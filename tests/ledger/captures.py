"""Spans captured from real SDKs against a provider whose true usage is known."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import Span, request

FOLDER = Path(__file__).parents[1] / "golden" / "spans"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
START_NS = 1_790_000_000_000_000_000

Usage = tuple[int, int, int, int]  # uncached input, cache read, cache write, output

# What the provider reported for every call; Gemini's tool-use prompt of 11 is outside its prompt,
# so emitters that add it report 245.
TRUTH: Mapping[str, tuple[Usage, ...]] = {
    "anthropic": ((111, 1_000, 222, 321),),
    "gemini": ((234, 1_000, 0, 321), (245, 1_000, 0, 321)),
    "openai": ((212, 1_000, 22, 321),),
    "embedding": ((17, 0, 0, 0),),
}


@dataclass(frozen=True)
class Captured:
    """One span of a capture, ready to be sent."""

    case: str
    name: str
    message: ExportTraceServiceRequest

    @property
    def body(self) -> bytes:
        return self.message.SerializeToString()


def spans_of(capture: str) -> list[Captured]:
    rows = json.loads((FOLDER / f"{capture}.json").read_text())
    return [_captured(row, index) for index, row in enumerate(rows)]


def truth_of(row: Mapping[str, Any], span_name: str) -> tuple[Usage, ...]:
    """The usages that are right for a call."""
    model = (row["response_model"] or row["request_model"]).lower()
    if "embed" in f"{row['operation']} {span_name} {model}".lower():
        return TRUTH["embedding"]
    return TRUTH["anthropic" if "claude" in model else "gemini" if "gemini" in model else "openai"]


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
        failed=row.get("status") == "ERROR",
    )
    scope = (row["scope"]["name"] or "", row["scope"].get("version") or "")
    message = request([span], row.get("resource") or {"service.name": "captured"}, scope)
    return Captured(row.get("case") or "", row["name"], message)


def _id(text: str, width: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    # MLflow, for one, has ids of its own.
    return raw if len(raw) == width else hashlib.sha256(text.encode()).digest()[:width]
