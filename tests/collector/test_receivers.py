"""Both wires, with real clients: what is sent arrives, and every outcome is told in its words."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fakes import Meters
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp_requests import as_json, chat, claude_request, logs, request
from starlette.testclient import TestClient

from spanledger.collector import receiver_grpc, receiver_http
from spanledger.collector.commit import Accepted, Busy, Outcome, Refused, Request
from spanledger.ledger.otlp import Body
from spanledger.ledger.otlp_wire import Signal

BODY_BYTES_MAX = 64 * 1024
MESSAGE = request([chat()])
BODY = MESSAGE.SerializeToString()
LOGS = logs([claude_request()])
EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


def who(authorization: str | None) -> str | None:
    """One sender is known; without a header everybody is."""
    return {None: "acme", "Bearer s3cret": "globex"}.get(authorization)


class Taker:
    """Answers every request with one outcome and keeps it."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.requests: list[Request] = []

    def __call__(self, taken: Request) -> None:
        self.requests.append(taken)
        taken.answer(self.outcome)


# --- OTLP/HTTP ------------------------------------------------------------------------------------


def http(outcome: Outcome = Accepted()) -> tuple[TestClient, Taker, Meters]:  # noqa: B008 - frozen
    taker, meters = Taker(outcome), Meters()
    app = receiver_http.create_app(taker, meters, who, body_bytes_max=BODY_BYTES_MAX)
    return TestClient(app), taker, meters


def test_http_takes_protobuf_and_json_plain_and_gzip() -> None:
    client, taker, meters = http()
    for body, headers in ((BODY, PROTOBUF), (as_json(MESSAGE), JSON)):
        assert client.post("/v1/traces", content=body, headers=headers).status_code == 200
        packed = {**headers, "content-encoding": "gzip"}
        answer = client.post("/v1/traces", content=gzip.compress(body), headers=packed)
        assert answer.status_code == 200
    assert [taken.body.is_json for taken in taker.requests] == [False, False, True, True]
    assert [taken.body.data for taken in taker.requests] == [BODY] * 2 + [as_json(MESSAGE)] * 2
    assert meters.counts == {"request http accepted": 4, "acknowledged": 4}


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_http_tells_a_stranger_so_and_takes_nothing(signal: str) -> None:
    client, taker, meters = http()
    for known, status in (("Bearer s3cret", 200), ("Bearer other", 401)):
        headers = {**PROTOBUF, "authorization": known}
        answer = client.post(f"/v1/{signal}", content=b"", headers=headers)
        assert answer.status_code == status
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert [taken.tenant for taken in taker.requests] == ["globex"]
    assert meters.counts["request http unauthenticated"] == 1


def test_http_answers_in_the_encoding_of_the_request() -> None:
    client, _, _ = http(Accepted({"invalid_span_id": 2}))
    answer = client.post("/v1/traces", content=BODY, headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, partial.error_message) == (
        2,
        "spans refused: invalid_span_id: 2",
    )
    answer = client.post("/v1/traces", content=as_json(MESSAGE), headers=JSON)
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"


@pytest.mark.parametrize("reason", ["journal_full", "store_behind", "memory"])
def test_http_tells_a_busy_collector_with_a_time_to_retry(reason: str) -> None:
    client, _, meters = http(Busy(reason))
    answer = client.post("/v1/traces", content=BODY, headers=PROTOBUF)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert meters.counts["request http busy"] == 1


def test_http_without_memory_for_a_body_asks_to_come_again() -> None:
    def submit(_request: Request) -> None:
        raise MemoryError

    meters = Meters()
    app = receiver_http.create_app(submit, meters, who, body_bytes_max=BODY_BYTES_MAX)
    assert TestClient(app).post("/v1/traces", content=BODY, headers=PROTOBUF).status_code == 503
    assert meters.counts["request http busy"] == 1


def test_http_tells_a_refusal_as_a_status_message() -> None:
    client, _, _ = http(Refused("the body is no request"))
    answer = client.post("/v1/traces", content=BODY, headers=PROTOBUF)
    assert answer.status_code == 400
    assert Status.FromString(answer.content).message == "the body is no request"


@pytest.mark.parametrize(
    ("body", "headers", "http_status"),
    [
        (b"x" * (BODY_BYTES_MAX + 1), PROTOBUF, 413),
        (gzip.compress(b"x" * (BODY_BYTES_MAX + 1)), {**PROTOBUF, "content-encoding": "gzip"}, 413),
        (gzip.compress(bytes(10**8)), {**PROTOBUF, "content-encoding": "gzip"}, 413),
        (b"no gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (gzip.compress(BODY)[:-4], {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (zlib.compress(BODY), {**PROTOBUF, "content-encoding": "zstd"}, 415),
        (BODY, {"content-type": "text/plain"}, 415),
        (BODY, {}, 415),
    ],
)
def test_http_refuses_what_it_cannot_read(
    body: bytes, headers: dict[str, str], http_status: int
) -> None:
    client, taker, meters = http()
    assert client.post("/v1/traces", content=body, headers=headers).status_code == http_status
    assert taker.requests == []
    assert meters.counts["request http refused"] == 1


def test_http_takes_logs_as_it_takes_traces() -> None:
    client, taker, meters = http(Accepted({"start_time_out_of_range": 2}))
    body = LOGS.SerializeToString()
    answer = client.post("/v1/logs", content=body, headers=PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_log_records, partial.error_message) == (
        2,
        "log records refused: start_time_out_of_range: 2",
    )
    answer = client.post("/v1/logs", content=as_json(LOGS), headers=JSON)
    assert answer.json()["partialSuccess"]["rejectedLogRecords"] == "2"
    assert [taken.body for taken in taker.requests] == [
        Body(body, signal=Signal.LOGS),
        Body(as_json(LOGS), is_json=True, signal=Signal.LOGS),
    ]
    assert meters.counts == {"request http partial": 2, "acknowledged": 2}


def test_http_takes_and_ignores_metrics() -> None:
    client, taker, _ = http()
    assert client.post("/v1/metrics", content=b"", headers=PROTOBUF).status_code == 200
    assert client.post("/v1/metrics", content=b"{}", headers=JSON).json() == {}
    assert taker.requests == []


# --- OTLP/gRPC ------------------------------------------------------------------------------------


@asynccontextmanager
async def grpc_export(outcome: Outcome) -> AsyncIterator[tuple[Any, Taker, Meters]]:
    taker, meters = Taker(outcome), Meters()
    server = receiver_grpc.create_server(taker, meters, who, body_bytes_max=BODY_BYTES_MAX)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel, taker, meters
    finally:
        await server.stop(None)


def over_grpc(outcome: Outcome, use: Callable[[Any, Taker, Meters], Any]) -> Any:
    async def run() -> Any:
        async with grpc_export(outcome) as (channel, taker, meters):
            return await use(channel, taker, meters)

    return asyncio.run(run())


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_grpc_hands_on_the_bytes_and_answers_with_the_outcome(compression: Any) -> None:
    async def use(channel: Any, taker: Taker, meters: Meters) -> None:
        answer = await channel.unary_unary(EXPORT)(BODY, timeout=60, compression=compression)
        assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()
        assert [taken.body.data for taken in taker.requests] == [BODY]
        assert meters.counts == {"request grpc accepted": 1, "acknowledged": 1}

    over_grpc(Accepted(), use)


def test_grpc_tells_a_stranger_so_and_takes_nothing() -> None:
    async def use(channel: Any, taker: Taker, meters: Meters) -> None:
        export = channel.unary_unary(EXPORT)
        await export(BODY, timeout=60, metadata=(("authorization", "Bearer s3cret"),))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await export(BODY, timeout=60, metadata=(("authorization", "Bearer other"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert [taken.tenant for taken in taker.requests] == ["globex"]
        assert meters.counts["request grpc unauthenticated"] == 1

    over_grpc(Accepted(), use)


def failure(outcome: Outcome, body: bytes = BODY, method: str = EXPORT) -> grpc.aio.AioRpcError:
    async def use(channel: Any, _taker: Taker, _meters: Meters) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(method)(body, timeout=60)
        return caught.value

    return over_grpc(outcome, use)  # type: ignore[no-any-return]


def test_grpc_tells_a_busy_collector_in_both_encodings_of_the_hint() -> None:
    error = failure(Busy("inflight_bytes"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    trailers = dict(error.trailing_metadata())
    bare = RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"])
    packed = RetryInfo()
    Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(packed)
    assert bare == packed
    assert bare.retry_delay.ToMilliseconds() == 1_800


def test_grpc_tells_a_refusal_as_invalid_argument() -> None:
    error = failure(Refused("the body is no request"))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the body is no request",
    )


def test_grpc_refuses_a_large_message_in_words_of_ours() -> None:
    error = failure(Accepted(), b"x" * (BODY_BYTES_MAX + 1))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "raise otlp.body_bytes_max" in str(error.details())


def test_grpc_bounds_what_is_decompressed() -> None:
    async def use(channel: Any, taker: Taker, _meters: Meters) -> None:
        bomb = channel.unary_unary(EXPORT)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bomb(bytes(10**7), timeout=60, compression=grpc.Compression.Gzip)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert taker.requests == []

    over_grpc(Accepted(), use)


def test_grpc_tells_how_many_spans_were_refused() -> None:
    async def use(channel: Any, _taker: Taker, _meters: Meters) -> None:
        answer = await channel.unary_unary(EXPORT)(BODY, timeout=60)
        assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 3

    over_grpc(Accepted({"invalid_span_id": 1, "model_name_too_long": 2}), use)


def test_grpc_takes_logs_as_it_takes_traces() -> None:
    async def use(channel: Any, taker: Taker, meters: Meters) -> None:
        body = LOGS.SerializeToString()
        answer = await channel.unary_unary(EXPORT_LOGS)(body, timeout=60)
        partial = ExportLogsServiceResponse.FromString(answer).partial_success
        assert partial.rejected_log_records == 1
        assert [taken.body for taken in taker.requests] == [Body(body, signal=Signal.LOGS)]
        assert meters.counts == {"request grpc partial": 1, "acknowledged": 1}

    over_grpc(Accepted({"start_time_out_of_range": 1}), use)
    busy = failure(Busy("journal_full"), method=EXPORT_LOGS)
    assert busy.code() is grpc.StatusCode.UNAVAILABLE


def test_grpc_takes_and_ignores_metrics_and_knows_no_others() -> None:
    async def use(channel: Any, taker: Taker, _meters: Meters) -> None:
        method = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
        assert await channel.unary_unary(method)(b"", timeout=60) == b""
        assert taker.requests == []

    over_grpc(Accepted(), use)
    assert failure(Accepted(), method="/x.Y/Z").code() is grpc.StatusCode.UNIMPLEMENTED


def test_no_answer_quotes_what_was_sent() -> None:
    client, _, _ = http(Refused("the body is no JSON object"))
    answer = client.post("/v1/traces", content=json.dumps("secret"), headers=JSON)
    assert "secret" not in answer.text
