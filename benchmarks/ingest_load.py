"""The load of the ingest benchmark: requests of realistic calls, sent over OTLP to loopback.

Promises: every request is of new spans; a sender stops at its deadline; what a server refuses as
busy is counted and tried again with new spans, anything else ends the benchmark.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-5-mini", "gpt-4.1", "o3")
BUSY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
HTTP_BUSY = {429, 503}
BUSY_SECONDS = 0.2
# A server under load may take long to answer; one that is stuck ends the benchmark.
ANSWER_SECONDS_MAX = 60
# In flight: many small requests make a group, few large ones keep the pipe full.
IN_FLIGHT = {1: 64, 64: 32, 512: 16}

# Takes the body of a request, tells whether it was acknowledged (or else: busy).
Send = Callable[[bytes], Awaitable[bool]]


@dataclass(frozen=True)
class Load:
    """What is sent; ``rate`` 0 is as fast as the server takes it, with requests in flight."""

    spans_per_request: int
    content_bytes: int = 0
    wire: str = "grpc"
    rate: int = 0  # spans a second of one client that sends one request at a time

    @property
    def in_flight(self) -> int:
        """Requests at the same time."""
        return 1 if self.rate else IN_FLIGHT.get(self.spans_per_request, 16)


@dataclass
class Sent:
    """What became of it."""

    spans: int = 0
    busy: int = 0
    seconds: float = 0.0
    acks_ms: list[float] = field(default_factory=list)


def template(spans: int, content_bytes: int) -> ExportTraceServiceRequest:
    """A request of realistic calls: 16 attributes a span, one in four with cached tokens."""
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    for key, value in (("service.name", "shop"), ("deployment.environment.name", "prod")):
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "opentelemetry.instrumentation.genai.openai"
    scope_spans.scope.version = "1.3b0"
    for number in range(spans):
        span = scope_spans.spans.add(name="chat", kind=3)
        model = MODELS[number % len(MODELS)]
        texts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.response.id": f"chatcmpl-{secrets.token_hex(12)}",
            "server.address": "api.openai.com",
            "user.id": f"user-{number % 97}",
            "spanledger.customer": f"customer-{number % 13}",
            "spanledger.feature": f"feature-{number % 7}",
            "gen_ai.conversation.id": f"conversation-{number % 211}",
        }
        if content_bytes:
            texts["gen_ai.input.messages"] = "x" * content_bytes
        for key, text in texts.items():
            span.attributes.add(key=key).value.string_value = text
        counts = {
            "gen_ai.usage.input_tokens": 1_000 + number,
            "gen_ai.usage.output_tokens": 100 + number % 50,
            "gen_ai.usage.cache_read.input_tokens": 512 if number % 4 == 0 else 0,
            "gen_ai.usage.reasoning.output_tokens": 0,
            "gen_ai.request.max_tokens": 4_096,
        }
        for key, count in counts.items():
            span.attributes.add(key=key).value.int_value = count
        span.attributes.add(key="gen_ai.request.temperature").value.double_value = 0.7
    return message


def fresh(message: ExportTraceServiceRequest) -> bytes:
    """The same calls as new spans: new ids, now."""
    spans = message.resource_spans[0].scope_spans[0].spans
    ids = secrets.token_bytes(24 * len(spans))
    now = time.time_ns()
    for index, span in enumerate(spans):
        span.trace_id = ids[24 * index : 24 * index + 16]
        span.span_id = ids[24 * index + 16 : 24 * index + 24]
        span.start_time_unix_nano = now - 1_000_000_000
        span.end_time_unix_nano = now
    return message.SerializeToString()


@asynccontextmanager
async def over_grpc(address: str, _: int) -> AsyncIterator[Send]:
    async with grpc.aio.insecure_channel(address) as channel:
        export: Any = channel.unary_unary(EXPORT)

        async def send(body: bytes) -> bool:
            try:
                await export(body, timeout=ANSWER_SECONDS_MAX)
            except grpc.aio.AioRpcError as error:
                # "Larger than max" has the same code as "busy" and will not pass.
                if error.code() in BUSY and "larger than max" not in (error.details() or ""):
                    return False
                raise SystemExit(f"{address} refused: {error.details()}") from error
            return True

        yield send


@asynccontextmanager
async def over_http(address: str, in_flight: int) -> AsyncIterator[Send]:
    host, port = address.rsplit(":", 1)
    headers = {"Content-Type": "application/x-protobuf"}
    with (
        urllib3.HTTPConnectionPool(host, int(port), maxsize=in_flight) as pool,
        ThreadPoolExecutor(in_flight) as threads,
    ):

        def post(body: bytes) -> bool:
            timeout = float(ANSWER_SECONDS_MAX)
            answer = pool.request(
                "POST", "/v1/traces", body=body, headers=headers, timeout=timeout, retries=False
            )
            if answer.status not in {200, *HTTP_BUSY}:
                raise SystemExit(f"{address} refused: {answer.status} {answer.data[:200]!r}")
            return answer.status == 200

        async def send(body: bytes) -> bool:
            return await asyncio.get_running_loop().run_in_executor(threads, post, body)

        yield send


WIRES = {"grpc": over_grpc, "http": over_http}


async def run(address: str, load: Load, seconds: float) -> Sent:
    """Send for ``seconds``."""
    sent = Sent()
    async with WIRES[load.wire](address, load.in_flight) as send:
        started = time.perf_counter()
        sender = paced if load.rate else as_fast_as_taken
        await asyncio.gather(
            *(sender(send, load, started + seconds, sent) for _ in range(load.in_flight))
        )
        sent.seconds = time.perf_counter() - started
    return sent


async def once(
    send: Send, message: ExportTraceServiceRequest, load: Load, sent: Sent, since: float | None
) -> None:
    """One request; its time counts from ``since``, when it was due, or from now."""
    body = fresh(message)
    since = since or time.perf_counter()
    if not await send(body):
        sent.busy += 1
        await asyncio.sleep(BUSY_SECONDS)
        return
    sent.acks_ms.append((time.perf_counter() - since) * 1_000)
    sent.spans += load.spans_per_request


async def as_fast_as_taken(send: Send, load: Load, until: float, sent: Sent) -> None:
    message = template(load.spans_per_request, load.content_bytes)
    while time.perf_counter() < until:
        await once(send, message, load, sent, None)


async def paced(send: Send, load: Load, until: float, sent: Sent) -> None:
    """A request every so often. One that the last one delays has been waiting since it was due."""
    message = template(load.spans_per_request, load.content_bytes)
    due = time.perf_counter()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await once(send, message, load, sent, max(due, 0.0))
        due += load.spans_per_request / load.rate
