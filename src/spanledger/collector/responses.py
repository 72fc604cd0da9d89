"""What a sender is told: one table from an outcome to gRPC and HTTP.

Promises: overload and trouble of ours are always retryable (UNAVAILABLE / 503) and carry a hint
in both encodings; a request that can never succeed is INVALID_ARGUMENT / 400; a partly bad one is
accepted and says how many items were refused and why. Never RESOURCE_EXHAUSTED: without RetryInfo
the OpenTelemetry Collector drops on it. Never a word of what was sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from spanledger.collector.commit import Accepted, Busy, Outcome, Refused
from spanledger.ledger.otlp_wire import Signal

# The Python SDK gives up after about 9 s and takes a longer hint for a reason to drop at once;
# 1.8 s covers the longest outage within its six attempts (measured).
RETRY_AFTER_S: Final = 1.8

_BUSY: Final[Mapping[str, str]] = {
    "inflight_bytes": "too many bytes in flight",
    "journal_full": "the collector's disk is nearly full",
    "journal_broken": "the collector's disk failed",
    "store_behind": "too much waits for the collector's store",
    "memory": "the collector has no memory for this now; smaller batches need less",
    "shutting_down": "the collector is shutting down",
}


KINDS: Final = ("accepted", "partial", "refused", "unauthenticated", "busy")


@dataclass(frozen=True)
class Answer:
    """An outcome in the words of both protocols."""

    message: Message  # the response of the signal where accepted, else google.rpc.Status
    grpc_code: grpc.StatusCode
    http_status: int
    kind: str  # the label of the request counter, one of KINDS

    @property
    def text(self) -> str:
        return self.message.message if isinstance(self.message, Status) else ""

    def encoded(self, *, as_json: bool) -> bytes:
        if as_json:
            return MessageToJson(self.message, indent=None).encode()
        return self.message.SerializeToString()


def answer(outcome: Outcome, signal: Signal) -> Answer:
    match outcome:
        case Accepted(rejected):
            kind = "partial" if rejected else "accepted"
            return Answer(_accepted(rejected, signal), grpc.StatusCode.OK, 200, kind)
        case Refused(reason):
            return refusal(reason, 400)
        case Busy(reason):
            status = Status(
                code=grpc.StatusCode.UNAVAILABLE.value[0], message=f"{_BUSY[reason]}; retry shortly"
            )
            status.details.add().Pack(_RETRY)
            return Answer(status, grpc.StatusCode.UNAVAILABLE, 503, "busy")


def _accepted(rejected: Mapping[str, int], signal: Signal) -> Message:
    if not rejected:
        return ExportTraceServiceResponse()  # without a field, the message is empty for any signal
    count = sum(rejected.values())
    reasons = ", ".join(f"{reason}: {items}" for reason, items in sorted(rejected.items()))
    text = f"{signal.value} refused: {reasons}"
    if signal is Signal.LOGS:
        logs = ExportLogsPartialSuccess(rejected_log_records=count, error_message=text)
        return ExportLogsServiceResponse(partial_success=logs)
    traces = ExportTracePartialSuccess(rejected_spans=count, error_message=text)
    return ExportTraceServiceResponse(partial_success=traces)


def refusal(reason: str, http_status: int) -> Answer:
    """A request that was not even submitted: too large, of an unknown encoding, no protobuf."""
    code = grpc.StatusCode.INVALID_ARGUMENT
    return Answer(Status(code=code.value[0], message=reason), code, http_status, "refused")


def stranger() -> Answer:
    """A sender without a token that we know."""
    reason = "no valid token: send the header 'Authorization: Bearer TOKEN', see auth.tokens"
    code = grpc.StatusCode.UNAUTHENTICATED
    return Answer(Status(code=code.value[0], message=reason), code, 401, "unauthenticated")


def too_large(body_bytes_max: int) -> Answer:
    """A body over its bound."""
    return refusal(
        f"the body is larger than {body_bytes_max} bytes; send smaller batches "
        "or raise otlp.body_bytes_max",
        413,
    )


_RETRY: Final = RetryInfo(
    retry_delay=Duration(seconds=int(RETRY_AFTER_S), nanos=round(RETRY_AFTER_S % 1 * 1_000_000_000))
)

# Go, Java and the OpenTelemetry Collector read the status details; the Python SDK reads only the
# trailer of the bare message.
RETRY_INFO_TRAILER: Final = ("google.rpc.retryinfo-bin", _RETRY.SerializeToString())
STATUS_TRAILER: Final = "grpc-status-details-bin"
