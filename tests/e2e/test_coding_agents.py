"""Coding agents that report in logs: what their records become, over both wires."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from collector import Collector, conserved
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from otlp_requests import Record, as_json, chat, claude_request, logs, request

pytestmark = pytest.mark.slow

CANARY = "canary-7f3a"
SAID: dict[str, Any] = {"prompt": CANARY, "response": CANARY, "gen_ai.input.messages": CANARY}


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    started = Collector(tmp_path / "data").wait_ready()
    yield started
    started.stop()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_standard_log_exporters_deliver(
    collector: Collector, tmp_path: Path, protocol: str
) -> None:
    exporter = (
        GrpcExporter(f"http://{collector.addresses['OTLP/gRPC']}", insecure=True)
        if protocol == "grpc"
        else HttpExporter(f"http://{collector.addresses['OTLP/HTTP']}/v1/logs")
    )
    provider = LoggerProvider(Resource({"service.name": "claude-code"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("com.anthropic.claude_code.events", "2.1.197")
    record = claude_request(**SAID)
    logger.emit(body="claude_code.user_prompt", attributes={"event.name": "user_prompt", **SAID})
    logger.emit(timestamp=record.time_ns, body=record.body, attributes=record.attributes)
    logger.emit(body=CANARY, attributes={"event.name": "assistant_response", **SAID})
    provider.shutdown()
    collector.wait_calls(1)
    sql = "SELECT service, provider, model, user_id, input_tokens, output_tokens, cost_usd"
    # 111 at 3 USD a million, 1,000 read at 0.3, 222 written at 3.75, 321 out at 15.
    cost = Decimal("0.0062805")
    assert collector.rows(sql + " FROM calls") == [
        ("claude-code", "anthropic", "claude-sonnet-4-5", "device-1", 1_333, 321, cost)
    ]
    assert collector.metric("spanledger_items_received_total", transport=protocol) == 3
    assert collector.metric("spanledger_items_not_a_call_total", reason="other_event") == 2
    assert conserved(collector)
    assert collector.stop() == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_a_record_is_one_call_however_often_and_in_which_encoding_it_comes(
    collector: Collector,
) -> None:
    record, span = claude_request(), chat()
    record.trace_id, record.span_id = span.trace_id, span.span_id
    message = logs([record, Record(body="a line")])
    for _ in range(2):
        assert collector.post(message.SerializeToString(), path="/v1/logs") == (200, b"")
        assert collector.post(as_json(message), "application/json", "/v1/logs") == (200, b"{}")
    # The span in which the record was written is a call of its own: it keeps its key.
    collector.post(request([span]).SerializeToString())
    collector.wait_calls(2)
    collector.wait(lambda: collector.metric("spanledger_items_duplicate_total") == 3)
    assert collector.rows("SELECT count(), uniqExact(span_id) FROM calls") == [(2, 2)]
    assert conserved(collector)


def test_bad_logs_are_told_and_harm_nobody_else(collector: Collector) -> None:
    assert collector.post(b"\xff\xff", path="/v1/logs")[0] == 400
    assert collector.post(b"{nope", "application/json", "/v1/logs")[0] == 400
    unknown_time = claude_request()
    unknown_time.time_ns = 0
    body = logs([unknown_time, claude_request()]).SerializeToString()
    status, answer = collector.post(body, path="/v1/logs")
    assert status == 200
    assert b"log records refused: start_time_out_of_range: 1" in answer
    collector.wait_calls(1)
    assert conserved(collector)
