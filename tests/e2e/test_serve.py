"""The collector as its users meet it: a process, four ports, a directory."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from collector import Collector, conserved
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otlp_requests import Span, as_json, chat, request
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from typer.testing import CliRunner

from spanledger.cli.app import app

pytestmark = pytest.mark.slow


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    started: list[Collector] = []

    def start(*options: str, data: str = "data", **listeners: Any) -> Collector:
        started.append(Collector(tmp_path / data, *options, **listeners))
        return started[-1]

    yield start
    for collector in started:
        collector.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One for tests that do not mind what else it was sent."""
    collector = Collector(tmp_path_factory.mktemp("shared") / "data").wait_ready()
    yield collector
    collector.stop()


def stored(collector: Collector) -> int:
    return int(collector.rows("SELECT count() FROM calls")[0][0])


def test_a_span_becomes_a_row_a_metric_and_a_sum(serve: Callable[..., Collector]) -> None:
    collector = serve().wait_ready()
    spans = [chat(), chat("gpt-5-mini", user__id="ada"), chat("acme-llm"), Span({"db.system": "x"})]
    assert collector.post(request(spans).SerializeToString()) == (200, b"")
    assert collector.post(as_json(request([chat()])), "application/json") == (200, b"{}")
    collector.wait_calls(4)
    sql = "SELECT model, sum(cost_usd), count() FROM calls GROUP BY model ORDER BY model"
    assert collector.rows(sql) == [
        ("acme-llm", None, 1),
        ("gpt-4o", Decimal("0.0475"), 2),
        ("gpt-5-mini", Decimal("0.004375"), 1),
    ]
    assert collector.metric("genai_cost_usd_total") == pytest.approx(0.051875)
    assert collector.metric("genai_calls_total", model="gpt-4o") == 2
    assert collector.metric("genai_tokens_total", token_type="input") == 4 * 1_500
    assert collector.metric("genai_unpriced_calls_total", reason="unknown_model") == 1
    assert collector.metric("spanledger_items_not_a_call_total") == 1
    assert conserved(collector)
    rates = """
        SELECT uniqExactIf(p.price_id, p.in_force), uniqExact(line.price_id)
        FROM (SELECT arrayJoin(lines) AS line, price_book FROM calls) AS charged
        LEFT JOIN prices AS p ON p.price_id = line.price_id AND p.book = charged.price_book
            AND p.unit = line.unit AND p.usd = line.rate_usd AND p.per = line.per
    """
    collector.wait(lambda: collector.rows(rates) == [(4, 4)])
    asked = ("--from", "2020-01-01", "--to-model", "gpt-5-nano", "--format", "json")
    answer = CliRunner().invoke(app, ["what-if", "--url", collector.url("SQL"), *asked])
    total = json.loads(answer.stdout)["total"]
    assert (total["calls"], total["compared"]) == (4, 3)
    assert Decimal(total["today_usd"]) == Decimal("0.051875")
    assert Decimal(total["switched_usd"]) == 3 * Decimal("0.000875")


def test_a_redelivered_span_is_counted_once_also_after_a_restart(
    serve: Callable[..., Collector],
) -> None:
    body = request([chat()]).SerializeToString()
    collector = serve().wait_ready()
    for _ in range(3):
        collector.post(body)
    collector.wait_calls(1)
    assert collector.stop() == 0
    collector = serve().wait_ready()
    collector.post(body)
    collector.wait(lambda: collector.metric("spanledger_items_duplicate_total") == 1)
    assert collector.rows("SELECT count(), sum(cost_usd) FROM calls") == [(1, Decimal("0.02375"))]
    assert collector.metric("genai_cost_usd_total") == 0
    assert conserved(collector)


def test_bad_input_is_told_and_harms_nobody_else(serve: Callable[..., Collector]) -> None:
    collector = serve().wait_ready()
    assert collector.post(b"\xff\xff")[0] == 400
    assert collector.post(b"{nope", "application/json")[0] == 400
    mixed = request([chat(), Span(span_id=bytes(8))]).SerializeToString()
    status, body = collector.post(mixed)
    partial = ExportTraceServiceResponse.FromString(body).partial_success
    assert (status, partial.rejected_spans) == (200, 1)
    assert "invalid_span_id" in partial.error_message
    collector.wait_calls(1)
    assert collector.metric("spanledger_items_rejected_total", reason="invalid_span_id") == 1
    assert conserved(collector)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_standard_exporters_deliver(shared: Collector, protocol: str) -> None:
    calls = stored(shared)
    received = shared.metric("spanledger_items_received_total", transport=protocol)
    exporter = (
        GrpcExporter(f"http://{shared.addresses['OTLP/gRPC']}", insecure=True)
        if protocol == "grpc"
        else HttpExporter(f"http://{shared.addresses['OTLP/HTTP']}/v1/traces")
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("app").start_as_current_span("chat gpt-4o") as span:
        span.set_attributes(dict(chat().attributes))
    provider.shutdown()
    shared.wait_calls(calls + 1)
    assert stored(shared) == calls + 1
    items = shared.metric("spanledger_items_received_total", transport=protocol)
    assert items == received + 1


def test_metrics_satisfy_promtool_and_parse_as_openmetrics(shared: Collector) -> None:
    calls = stored(shared)
    shared.post(request([chat(), chat('odd "name"\n{}')]).SerializeToString())
    shared.wait_calls(calls + 2)
    text = shared.get("web", "/metrics")[1]
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    exposed = shared.get("web", "/metrics", accept)[1]
    families = list(text_string_to_metric_families(exposed))  # type: ignore[no-untyped-call]
    assert {"genai_cost_usd", "genai_tokens", "genai_calls"} <= {family.name for family in families}


def test_sql_is_answered_to_curl_and_to_clickhouse_connect(
    serve: Callable[..., Collector],
) -> None:
    collector = serve().wait_ready()
    collector.post(request([chat()]).SerializeToString())
    collector.wait_calls(1)
    base = f"http://{collector.addresses['SQL']}/"
    query = "?query=SELECT+model,sum(cost_usd)+FROM+calls+GROUP+BY+model+FORMAT+JSON"
    answer = subprocess.run(
        ["curl", "-s", base + query], capture_output=True, text=True, timeout=60
    )
    assert '"model": "gpt-4o"' in answer.stdout
    with urllib.request.urlopen(base, b"SELECT count() FROM calls", timeout=60) as posted:
        assert posted.read() == b"1\n"
    host, port = collector.addresses["SQL"].split(":")
    client = clickhouse_connect.get_client(host=host, port=int(port))
    assert client.query_df("SELECT model, cost_usd FROM calls").shape == (1, 2)
    client.close()


def test_budgets_and_spend_are_read_from_the_ledger(
    serve: Callable[..., Collector], tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "metrics: {refresh_seconds: 1}\nbudgets:\n"
        "  - {name: acme, filter: {customer: acme}, period: day, limit_usd: 0.1}\n"
    )
    collector = serve("--config", str(file)).wait_ready()
    spans = [chat(spanledger__customer="acme"), chat(spanledger__customer="other")]
    collector.post(request(spans).SerializeToString())
    # Of one refresh, windows are read first: budgets are as new as these, or newer.
    collector.wait(lambda: collector.metric("genai_spend_usd", window="last_24h") > 0)
    assert collector.metric("genai_budget_spent_usd", budget="acme") == 0.02375
    assert collector.metric("genai_budget_used_ratio", budget="acme") == 0.2375
    assert collector.metric("genai_spend_usd", window="last_24h") == 0.0475


def test_columns_are_read_from_an_installations_own_names(serve: Callable[..., Collector]) -> None:
    option = "attributes.columns={customer: [app.tenant]}"
    collector = serve("--set", option).wait_ready()
    collector.post(request([chat(app__tenant="acme")]).SerializeToString())
    collector.wait_calls(1)
    assert collector.rows("SELECT customer FROM calls") == [("acme",)]


def test_content_cannot_be_asked_for(serve: Callable[..., Collector]) -> None:
    text = refusal(serve("--set", "attributes.allow=[gen_ai.input.messages]"))
    assert "content is never kept" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_success(
    serve: Callable[..., Collector], number: int
) -> None:
    collector = serve().wait_ready()
    collector.post(request([chat() for _ in range(500)]).SerializeToString())
    assert collector.stop(number) == 0
    collector = serve().wait_ready()
    collector.wait_calls(500)  # on a busy machine some of them come from the journal only now
    assert collector.rows("SELECT count() FROM calls") == [(500,)]
    collector.wait(lambda: collector.metric("spanledger_items_pending") == 0)


def refusal(collector: Collector) -> str:
    assert collector.process.wait(60) == 2
    text = collector.log.read_text()
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    return text


def test_a_taken_port_is_one_clear_sentence(
    serve: Callable[..., Collector], shared: Collector
) -> None:
    for key, name in (("otlp_grpc", "OTLP/gRPC"), ("web", "web")):
        second = serve(data=f"other-{key}", **{key: shared.addresses[name]})
        text = refusal(second)
        assert shared.addresses[name] in text
        assert f"{key.replace('_', '.')}.listen" in text


def test_a_directory_with_an_owner_is_one_clear_sentence(
    serve: Callable[..., Collector], shared: Collector
) -> None:
    second = serve(data=str(shared.log.with_suffix("")))
    assert second.process.wait(60) == 2
    assert str(shared.process.pid) in second.log.read_text()
    assert "Traceback" not in second.log.read_text()


def test_no_content_reaches_disk_logs_or_metrics(
    serve: Callable[..., Collector], tmp_path: Path
) -> None:
    canary = "canary-7f3a"
    content = {
        "gen_ai.input.messages": canary,
        "gen_ai.output.messages": canary,
        "gen_ai.prompt.0.content": canary,
        "gen_ai.tool.call.arguments": canary,
        "input.value": canary,
        "http.request.header.authorization": canary,
    }
    collector = serve().wait_ready()
    span = chat()
    collector.post(request([Span({**span.attributes, **content}, name="chat")]).SerializeToString())
    collector.wait_calls(1)
    assert canary not in collector.get("web", "/metrics")[1]
    assert collector.stop() == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if canary.encode() in path.read_bytes()] == []
