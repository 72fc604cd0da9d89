"""A real collector under the whole catalogue: it answers as told, keeps its figures, and lives."""

import contextlib
import resource
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from catalogue import ALL, PROTOBUF, Case, names, noise, spans
from collector import Collector, conserved
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp_requests import as_json, chat, request

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
GROWTH_BYTES_MAX = 64 * MIB
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
GRPC_CODES = {200: grpc.StatusCode.OK, 400: grpc.StatusCode.INVALID_ARGUMENT}


class Target:
    """The collector under attack, and what good senders are owed."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.channel = grpc.insecure_channel(collector.addresses["OTLP/gRPC"])
        self.export: Any = self.channel.unary_unary(EXPORT)

    def http(self, body: bytes, content_type: str, headers: dict[str, str]) -> tuple[int, bytes]:
        url = f"http://{self.collector.addresses['OTLP/HTTP']}/v1/traces"
        sent = urllib.request.Request(url, body, {"content-type": content_type, **headers})
        try:
            with urllib.request.urlopen(sent, timeout=60) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def grpc(self, body: bytes) -> grpc.StatusCode:
        try:
            self.export(body, timeout=60)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def rows(self) -> int:
        """Calls in the ledger, once nothing is pending."""
        self.collector.wait(lambda: self.collector.metric("spanledger_items_pending") == 0)
        return int(self.collector.rows("SELECT count() FROM calls")[0][0])

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.collector.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, hard), hard))  # the usual one
    # Settling and summing up have a memory of their own, at their own time; not looked at here.
    still = ("--set", "settlement.every_seconds=3600")
    collector = Collector(tmp_path_factory.mktemp("hostile") / "data", *still).wait_ready()
    # Of this process, which holds the other ends.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4_096, hard)), hard))
    made = Target(collector)
    for _ in range(8):  # to the level of a collector at work, on both wires
        made.grpc(spans(*(chat() for _ in range(5_000))))
        made.http(as_json(request([chat() for _ in range(1_000)])), "application/json", {})
        made.rows()
    yield made
    made.channel.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert collector.stop() == 0


@pytest.fixture(scope="module")
def resident_before(target: Target) -> int:
    return target.resident_bytes()


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_hostile_request_is_answered_as_told(
    target: Target, resident_before: int, case: Case
) -> None:
    before = target.rows()
    status, answer = target.http(case.body, case.content_type, case.headers)
    assert status == case.http
    if status == 200 and case.content_type == PROTOBUF:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert partial.rejected_spans == case.rejected
    if case.over_grpc:
        assert target.grpc(case.body) is GRPC_CODES.get(case.http, grpc.StatusCode.INVALID_ARGUMENT)
    assert target.rows() == before + case.rows


def test_noise_is_survived(target: Target, resident_before: int) -> None:
    for body in noise(100, seed=5):
        assert target.grpc(body) in GRPC_CODES.values()
    assert conserved(target.collector)


@pytest.mark.parametrize("listener", ["OTLP/HTTP", "OTLP/gRPC"])
def test_a_thousand_idle_connections_do_no_harm(
    target: Target, resident_before: int, listener: str
) -> None:
    before = target.rows()
    host, port = target.collector.addresses[listener].split(":")
    with contextlib.ExitStack() as held:
        idle = [
            held.enter_context(socket.create_connection((host, int(port)), 60))
            for _ in range(1_000)
        ]
        idle[0].sendall(b"POST /v1/traces HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n")
        idle[1].sendall(b"GET /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n" * 100)
        assert target.http(spans(chat()), PROTOBUF, {})[0] == 200
        assert target.grpc(spans(chat())) is grpc.StatusCode.OK
        assert target.rows() == before + 2


def test_twenty_thousand_names_keep_the_metrics_small_and_exact(
    target: Target, resident_before: int
) -> None:
    before = target.rows()
    for body in names(20_000, 40):
        assert target.grpc(body) is grpc.StatusCode.OK
    assert target.rows() == before + 20_000
    collector = target.collector
    assert len(collector.get("web", "/metrics")[1]) <= MIB
    assert collector.metric("genai_calls_total") == before + 20_000
    assert collector.metric("spanledger_metric_series_overflow_total") > 0


def test_after_all_this_it_is_small_exact_and_serves_good_senders(
    target: Target, resident_before: int
) -> None:
    before = target.collector.rows("SELECT sum(cost_usd) FROM calls")[0][0]
    assert target.grpc(spans(*(chat() for _ in range(100)))) is grpc.StatusCode.OK
    target.rows()
    after = target.collector.rows("SELECT sum(cost_usd) FROM calls")[0][0]
    assert after - before == Decimal("2.375")
    assert conserved(target.collector)
    grown = target.resident_bytes() - resident_before
    assert grown <= GROWTH_BYTES_MAX, f"grown by {grown / MIB:.0f} MiB"
