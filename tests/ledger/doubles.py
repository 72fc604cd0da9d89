"""Captures in which calls were observed more than once, and how many calls they really are."""

from collections.abc import Mapping
from functools import cache

import polars as pl
from captures import spans_of
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.ledger import dialects
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.pricing import price

BOOK = PriceBook.bundled()
KNOWN_AT_NS = 1_795_000_000_000_000_000
KEYS = dialects.attribute_keys()

# Capture -> calls that the provider answered (or refused); observations are more.
TRUE_CALLS: Mapping[str, int] = {
    "openinference-anthropic": 7,  # nested in the SDK's own spans, one in a trace of its own
    "openllmetry-anthropic": 7,  # every pair in two traces
    "openinference-openai-agents-plus-openai": 4,  # half of them without an id
    "openllmetry-langchain-both": 7,
    "logfire-sdk-clients": 20,  # streams in traces of their own, without an id
    "langfuse-sdk": 7,  # one instrumentation, nested in itself
    "pydantic-ai-v2": 7,
    # Agents over clients, which are told by the operation.
    "agent-framework": 4,
    "strands-agents-experimental": 3,
    "vercel-ai-sdk-v6": 9,
}
_MINUTE_NS = 60 * 10**9


@cache
def charges_of(capture: str) -> pl.DataFrame:
    """The observations of a capture, priced."""
    frames = []
    for message in requests_of(capture):
        batch = decode([Body(message.SerializeToString())], KEYS, spans_max=100)
        frames.append(dialects.normalise(batch.spans, "t").calls)
    return price(pl.concat(frames), BOOK, known_at_ns=KNOWN_AT_NS)


def requests_of(capture: str) -> list[ExportTraceServiceRequest]:
    """The spans of a capture, each case of it in a minute of its own.

    Captures were taken one by one against a provider that counts its ids from 1.
    """
    minutes: dict[str, int] = {}
    hour_ns = list(TRUE_CALLS).index(capture) * 60 * _MINUTE_NS
    requests = []
    for captured in spans_of(capture):
        later_ns = (
            minutes.setdefault(captured.case or captured.name, len(minutes)) * _MINUTE_NS + hour_ns
        )
        assert isinstance(captured.message, ExportTraceServiceRequest)
        for resource_spans in captured.message.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    span.start_time_unix_nano += later_ns
                    span.end_time_unix_nano += later_ns
        requests.append(captured.message)
    return requests
