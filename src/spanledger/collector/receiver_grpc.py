"""OTLP/gRPC: raw bytes in, an outcome out.

Promises: the request's bytes reach the committer unparsed; the answer is sent only when its
outcome is known. gRPC itself bounds the message after decompression,
at a little more than what is taken, so that the answer about it is ours. Metrics are taken and
ignored, so that an exporter which sends every signal never fails. Never blocks the event loop.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import grpc
from grpc import aio

from spanledger.collector import responses
from spanledger.collector.auth import HEADER
from spanledger.collector.commit import Outcome, Request
from spanledger.collector.connections import CONNECTIONS_MAX
from spanledger.ledger.otlp import Body
from spanledger.ledger.otlp_wire import Signal

_SERVICE: Final = "/opentelemetry.proto.collector"
_SIGNALS: Final = {
    f"{_SERVICE}.trace.v1.TraceService/Export": Signal.TRACES,
    f"{_SERVICE}.logs.v1.LogsService/Export": Signal.LOGS,
}
_IGNORED: Final = f"{_SERVICE}.metrics.v1.MetricsService/Export"
# Streams a connection may have open at once; beyond it a client waits on its own side.
_STREAMS_MAX: Final = 1_024

# Silent connections: one without a request for ten minutes is closed in good order (an SDK opens
# the next by itself), one whose other end is gone after 80 s, one that never shakes hands after 10.
_CONNECTION: Final = {
    "grpc.max_connection_idle_ms": 600_000,
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.server_handshake_timeout_ms": 10_000,
    # Clients may ask as well; without this, one that does so twice a minute is sent away.
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
}
# gRPC answers a message over its own limit with RESOURCE_EXHAUSTED, which SDKs retry in vain and
# nobody counts. Up to this many times body_bytes_max the answer is ours, and says what to do.
_TRANSPORT_BYTES_FACTOR: Final = 2

Submit = Callable[[Request], None]
# The tenant of a sender by the header Authorization; None for a stranger.
Who = Callable[[str | None], str | None]


class Meters(Protocol):
    """What a receiver tells the metrics."""

    def request(self, transport: str, outcome: str) -> None: ...
    def acknowledged(self, seconds: float) -> None: ...


async def outcome_of(submit: Submit, body: Body, transport: str, tenant: str) -> Outcome:
    """Submit a body and wait for what the commit thread makes of it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome] = loop.create_future()

    def settle(outcome: Outcome) -> None:
        if not future.done():  # the sender may have gone meanwhile
            future.set_result(outcome)

    def answer(outcome: Outcome) -> None:
        loop.call_soon_threadsafe(settle, outcome)

    submit(Request(body, transport, tenant, answer))
    return await future


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, submit: Submit, meters: Meters, who: Who, body_bytes_max: int) -> None:
        self._submit = submit
        self._meters = meters
        self._who = who
        self._body_bytes_max = body_bytes_max

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if signal := _SIGNALS.get(details.method):
            return grpc.unary_unary_rpc_method_handler(partial(self._export, signal))
        if details.method == _IGNORED:
            return grpc.unary_unary_rpc_method_handler(_ignore)
        return None

    async def _export(
        self, signal: Signal, data: bytes, context: aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        started = time.perf_counter()
        shown = dict(context.invocation_metadata() or ()).get(HEADER)
        tenant = self._who(shown if isinstance(shown, str) else None)
        if tenant is None:
            answer = responses.stranger()
        elif len(data) > self._body_bytes_max:
            answer = responses.too_large(self._body_bytes_max)
        else:
            body = Body(data, signal=signal)
            answer = responses.answer(await outcome_of(self._submit, body, "grpc", tenant), signal)
        self._meters.request("grpc", answer.kind)
        self._meters.acknowledged(time.perf_counter() - started)
        if answer.grpc_code is grpc.StatusCode.OK:
            return answer.encoded(as_json=False)
        trailers = [(responses.STATUS_TRAILER, answer.encoded(as_json=False))]
        if answer.grpc_code is grpc.StatusCode.UNAVAILABLE:
            trailers.append(responses.RETRY_INFO_TRAILER)
        await context.abort(answer.grpc_code, answer.text, tuple(trailers))
        return b""


async def _ignore(_body: bytes, _context: aio.ServicerContext[bytes, bytes]) -> bytes:
    return b""


def create_server(
    submit: Submit,
    meters: Meters,
    who: Who,
    *,
    body_bytes_max: int,
    connections_max: int = CONNECTIONS_MAX,
) -> aio.Server:
    """A server without a port; the caller binds and starts it."""
    return aio.server(
        handlers=[_Handler(submit, meters, who, body_bytes_max)],
        options=[
            ("grpc.max_receive_message_length", _TRANSPORT_BYTES_FACTOR * body_bytes_max),
            *_CONNECTION.items(),
            ("grpc.max_concurrent_streams", _STREAMS_MAX),
            ("grpc.max_allowed_incoming_connections", connections_max),
            # Without this a second collector shares the port in silence and takes half the spans.
            ("grpc.so_reuseport", 0),
        ],
    )
