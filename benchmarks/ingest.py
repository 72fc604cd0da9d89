"""Sustained ingest of a real collector: durable, priced and queryable, the sender beside it.

    python benchmarks/ingest.py [--seconds 10] [--spans-per-request 512,1] [--content-bytes 0]

Starts `spanledger serve` on a fresh directory, sends OTLP/gRPC with several requests in flight for
a bounded time, waits until every acknowledged span can be queried, and prints spans a second, CPU
time a span (all threads of the collector, from /proc), acknowledgement times, resident memory and
journal bytes a row. Loopback only; ends by itself.
"""

import argparse
import asyncio
import os
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clickhouse_connect
import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console
from rich.table import Table

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-5-mini", "gpt-4.1", "o3")
DRAIN_SECONDS_MAX = 120
# In flight: many small requests make a group, few large ones keep the pipe full.
IN_FLIGHT = {1: 64, 64: 32, 512: 16}


@dataclass
class Result:
    spans_per_request: int
    content_bytes: int
    sent: int = 0
    seconds: float = 0.0
    drained_seconds: float = 0.0
    cpu_us_per_span: float = 0.0
    resident_mb: float = 0.0
    journal_bytes_per_row: float = 0.0
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


async def load(address: str, result: Result, seconds: float) -> None:
    """Send for ``seconds`` with a constant number of requests in flight."""
    deadline = time.monotonic() + seconds

    async with grpc.aio.insecure_channel(address) as channel:
        export: Any = channel.unary_unary(EXPORT)

        async def sender() -> None:
            message = template(result.spans_per_request, result.content_bytes)
            while time.monotonic() < deadline:
                body = fresh(message)
                started = time.perf_counter()
                try:
                    await export(body, timeout=30)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.2)
                    continue
                result.acks_ms.append((time.perf_counter() - started) * 1_000)
                result.sent += result.spans_per_request

        started = time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(IN_FLIGHT[result.spans_per_request])))
        result.seconds = time.perf_counter() - started


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1_024 if match else 0.0


class Collector:
    """`spanledger serve` on free ports and a fresh directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        listeners = ("otlp.grpc", "otlp.http", "web", "sql")
        command = [sys.executable, "-m", "spanledger", "serve", "--data-dir", directory]
        for name in listeners:
            command += ["--set", f"{name}.listen=127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.addresses: dict[str, str] = {}
        for line in self.process.stdout or ():
            if match := re.match(r"\s*(OTLP/gRPC|OTLP/HTTP|web|SQL)\s.*?([\d.]+:\d+)", line):
                self.addresses[match[1]] = match[2]
            if len(self.addresses) == len(listeners):
                break

    def wait_ready(self) -> None:
        url = f"http://{self.addresses['web']}/readyz"
        for _ in range(300):
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the collector did not become ready")

    def calls(self) -> int:
        host, port = self.addresses["SQL"].split(":")
        client = clickhouse_connect.get_client(host=host, port=int(port))
        try:
            return int(str(client.command("SELECT count() FROM calls")))
        finally:
            client.close()

    def journal_bytes(self) -> int:
        return sum(file.stat().st_size for file in Path(self._directory, "journal").iterdir())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()


def measure(spans_per_request: int, content_bytes: int, seconds: float) -> Result:
    result = Result(spans_per_request, content_bytes)
    with tempfile.TemporaryDirectory(prefix="spanledger-bench-") as directory:
        collector = Collector(directory)
        try:
            collector.wait_ready()
            cpu = cpu_seconds(collector.process.pid)
            asyncio.run(load(collector.addresses["OTLP/gRPC"], result, seconds))
            started = time.perf_counter()
            while collector.calls() < result.sent:
                if time.perf_counter() - started > DRAIN_SECONDS_MAX:
                    raise SystemExit(f"only {collector.calls()} of {result.sent} can be queried")
                time.sleep(0.2)
            result.drained_seconds = time.perf_counter() - started
            cpu = cpu_seconds(collector.process.pid) - cpu
            result.cpu_us_per_span = cpu / max(result.sent, 1) * 1e6
            result.resident_mb = resident_mb(collector.process.pid)
            result.journal_bytes_per_row = collector.journal_bytes() / max(result.sent, 1)
        finally:
            collector.stop()
    return result


def table(results: list[Result]) -> Table:
    shown = Table(title="spanledger ingest, embedded store, sender on the same machine")
    for heading in (
        "spans/request", "content", "in flight", "acknowledged/s", "queryable/s", "requests/s",
        "CPU µs/span", "ack p50 ms", "ack p99 ms", "drain s", "peak MB", "journal B/row",
    ):  # fmt: skip
        shown.add_column(heading, justify="right")
    for result in results:
        cuts = statistics.quantiles(result.acks_ms, n=100)
        cells: list[Any] = [
            result.spans_per_request,
            f"{result.content_bytes} B",
            IN_FLIGHT[result.spans_per_request],
            f"{result.sent / result.seconds:,.0f}",
            f"{result.sent / (result.seconds + result.drained_seconds):,.0f}",
            f"{len(result.acks_ms) / result.seconds:,.0f}",
            f"{result.cpu_us_per_span:.1f}",
            f"{cuts[49]:.1f}",
            f"{cuts[98]:.1f}",
            f"{result.drained_seconds:.1f}",
            f"{result.resident_mb:.0f}",
            f"{result.journal_bytes_per_row:.0f}",
        ]
        shown.add_row(*map(str, cells))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--spans-per-request", default="512,64,1")
    parser.add_argument("--content-bytes", type=int, default=0)
    options = parser.parse_args()
    console = Console(width=150)
    results = []
    for size in map(int, options.spans_per_request.split(",")):
        with console.status(f"{size} spans a request, {options.seconds:.0f} s"):
            results.append(measure(size, options.content_bytes, options.seconds))
    console.print(table(results))


if __name__ == "__main__":
    main()
