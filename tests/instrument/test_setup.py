"""``instrument()`` as an app meets it: every test is a process of its own."""

import functools
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.instrument.setup import Handle, _exporter
from spanledger.instrument.target import Target

Run = Callable[..., subprocess.CompletedProcess[str]]

TIMEOUT = "OTEL_EXPORTER_OTLP_TIMEOUT"
MAKE_A_CALL = """
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("chat", attributes={"gen_ai.x": "y"}):
    pass
"""


@pytest.fixture(scope="module")
def run_bare(run_python: Run) -> Run:
    """Run without instrumented libraries, where they are not the point: importing them is slow."""
    return functools.partial(run_python, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*")


class Collector:
    """An OTLP/HTTP endpoint that keeps what it is sent, with the request headers."""

    def __init__(self) -> None:
        received = self.received = []  # type: ignore[var-annotated]

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = ExportTraceServiceRequest.FromString(body)
                received.append((self.path, dict(self.headers), request))
                self.send_response(200)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def names(self) -> list[str]:
        return [
            span.name
            for _, _, request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, str]:
        _, _, request = self.received[0]
        attributes = request.resource_spans[0].resource.attributes
        return {attribute.key: attribute.value.string_value for attribute in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, kept from anybody else."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_one_line_is_enough_and_exit_delivers(run_python: Run, collector: Collector) -> None:
    done = run_python(
        f"import spanledger; spanledger.instrument(){MAKE_A_CALL}",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert collector.names() == ["chat"]
    assert collector.received[0][0] == "/v1/traces"


def test_what_is_given_wins_over_the_environment(run_bare: Run, collector: Collector) -> None:
    done = run_bare(
        f"""
import spanledger
spanledger.instrument(
    endpoint="{collector.url}", service_name="shop", environment="prod",
    headers={{"authorization": "Bearer given"}},
)
{MAKE_A_CALL}""",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer env,x-other=kept",
        OTEL_SERVICE_NAME="other",
        OTEL_RESOURCE_ATTRIBUTES="service.namespace=retail,deployment.environment.name=dev",
    )
    assert (done.returncode, done.stderr) == (0, "")
    headers = collector.received[0][1]
    assert headers["authorization"] == "Bearer given"
    assert headers["x-other"] == "kept"
    resource = collector.resource()
    assert resource["service.name"] == "shop"
    assert resource["deployment.environment.name"] == "prod"
    assert resource["service.namespace"] == "retail"


def test_the_environment_names_the_service_where_the_call_does_not(
    run_bare: Run, collector: Collector
) -> None:
    run_bare(
        f"import spanledger; spanledger.instrument(endpoint='{collector.url}'){MAKE_A_CALL}",
        OTEL_SERVICE_NAME="shop",
    )
    assert collector.resource()["service.name"] == "shop"


def test_a_proxy_is_not_asked_for_an_address_of_this_machine(
    run_bare: Run, collector: Collector
) -> None:
    run_bare(
        f"import spanledger; spanledger.instrument(endpoint='{collector.url}'){MAKE_A_CALL}",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        NO_PROXY="",
        no_proxy="",
    )
    assert collector.names() == ["chat"]


def test_a_second_call_changes_nothing_and_returns_the_same_handle(
    run_bare: Run, collector: Collector
) -> None:
    done = run_bare(f"""
import spanledger
first = spanledger.instrument(endpoint="{collector.url}")
second = spanledger.instrument(endpoint="http://127.0.0.1:9")
print(first is second)
{MAKE_A_CALL}
print(first.flush(10))""")
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")
    assert collector.names() == ["chat"]


def test_after_a_shutdown_it_may_start_anew(run_bare: Run, collector: Collector) -> None:
    done = run_bare(f"""
import spanledger
spanledger.instrument(endpoint="http://127.0.0.1:9").shutdown()
spanledger.instrument(endpoint="{collector.url}")
{MAKE_A_CALL}""")
    assert (done.returncode, done.stderr) == (0, "")
    assert collector.names() == ["chat"]


def test_an_absent_collector_is_one_warning_and_no_more(run_bare: Run, nobody: str) -> None:
    done = run_bare(f"""
import logging
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s")
import spanledger
handle = spanledger.instrument(endpoint="{nobody}")
for _ in range(5_000):{MAKE_A_CALL.replace(chr(10), chr(10) + "    ")}
print(handle.flush(0.1), "the app went on")""")
    assert (done.returncode, done.stdout) == (0, "False the app went on\n")
    assert done.stderr.splitlines() == ["spanledger WARNING"]


def test_even_a_short_script_hears_of_an_absent_collector(run_bare: Run, nobody: str) -> None:
    done = run_bare(f"import spanledger; spanledger.instrument(endpoint='{nobody}'){MAKE_A_CALL}")
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert f"cannot deliver to {nobody}/v1/traces" in warning


def test_an_app_without_llm_calls_never_hears_of_it(run_bare: Run, nobody: str) -> None:
    done = run_bare(f"import spanledger; spanledger.instrument(endpoint='{nobody}')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
        {"OTEL_PYTHON_TRACER_PROVIDER": "no_such_provider"},
    ],
)
def test_a_setting_that_cannot_work_is_a_warning_not_an_exception(
    run_bare: Run, environment: dict[str, str]
) -> None:
    done = run_bare(
        "import spanledger; spanledger.instrument().flush(); print('the app went on')",
        **environment,
    )
    assert (done.returncode, done.stdout) == (0, "the app went on\n")
    assert "spanledger: could not start" in done.stderr


def test_a_provider_of_the_app_is_used_and_what_it_cannot_take_is_said(
    run_bare: Run, collector: Collector
) -> None:
    done = run_bare(f"""
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(resource=Resource.create({{"service.name": "mine"}}))
trace.set_tracer_provider(provider)
import spanledger
spanledger.instrument(endpoint="{collector.url}", service_name="other")
assert trace.get_tracer_provider() is provider
{MAKE_A_CALL}""")
    assert done.returncode == 0
    assert done.stderr.startswith("spanledger: service.name given to instrument() is not used")
    assert collector.resource()["service.name"] == "mine"


def test_an_app_that_already_exports_to_the_collector_does_not_export_twice(
    run_bare: Run, collector: Collector
) -> None:
    done = run_bare(f"""
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter("{collector.url}/v1/traces")))
trace.set_tracer_provider(provider)
import spanledger
spanledger.instrument(endpoint="{collector.url}")
{MAKE_A_CALL}""")
    assert (done.returncode, done.stderr) == (0, "")
    assert collector.names() == ["chat"]


def test_a_tracing_library_that_takes_no_processors_is_left_alone(
    run_python: Run, collector: Collector, provider_url: str
) -> None:
    done = run_python(f"""
from opentelemetry import trace
class Foreign(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()
foreign = Foreign()
trace.set_tracer_provider(foreign)
import spanledger
spanledger.instrument(endpoint="{collector.url}")
assert trace.get_tracer_provider() is foreign
import anthropic, openai
messages = [dict(role="user", content="hello")]
with openai.OpenAI(base_url="{provider_url}/v1", api_key="k") as client:
    client.chat.completions.create(model="gpt-4o", messages=messages)
with anthropic.Anthropic(base_url="{provider_url}", api_key="k") as client:
    client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=messages)""")
    assert (done.returncode, done.stderr) == (0, "")
    assert collector.names() == ["chat gpt-4o", "chat claude-haiku-4-5"]


def test_calls_below_an_unsampled_parent_are_recorded_all_the_same(
    run_bare: Run, collector: Collector
) -> None:
    done = run_bare(f"""
import spanledger
spanledger.instrument(endpoint="{collector.url}")
from opentelemetry import trace
parent = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=True))
with trace.use_span(parent):
    {MAKE_A_CALL.strip().replace(chr(10), chr(10) + "    ")}""")
    assert (done.returncode, done.stderr) == (0, "")
    assert collector.names() == ["chat"]


def test_a_disabled_sdk_disables_it(run_bare: Run) -> None:
    done = run_bare(
        "import spanledger; print(spanledger.instrument().flush())"
        "\nfrom opentelemetry import trace; print(type(trace.get_tracer_provider()).__name__)",
        OTEL_SDK_DISABLED="true",
    )
    assert (done.stdout, done.stderr) == ("True\nProxyTracerProvider\n", "")


def test_spans_go_over_grpc_when_asked_past_any_proxy(run_bare: Run) -> None:
    received = []

    class Handler(grpc.GenericRpcHandler):
        def service(self, _details: grpc.HandlerCallDetails) -> Any:
            def export(request: bytes, context: grpc.ServicerContext) -> bytes:
                metadata = dict(context.invocation_metadata())
                received.append((metadata["authorization"], b"chat" in request))
                return b""

            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    done = run_bare(
        f"""
import spanledger
spanledger.instrument(
    endpoint="http://127.0.0.1:{port}", headers={{"Authorization": "Bearer given"}}
)
{MAKE_A_CALL}""",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        http_proxy="http://127.0.0.1:9",
        no_proxy="",
    )
    server.stop(None).wait()
    assert (done.returncode, done.stderr) == (0, "")
    assert received == [("Bearer given", True)]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize(("environment", "seconds"), [({}, 30), ({TIMEOUT: "7"}, 7)])
def test_the_exporter_tries_as_long_as_a_restart_takes_or_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, protocol: str, environment: dict[str, str], seconds: float
) -> None:
    for name in (TIMEOUT, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    exporter: Any = _exporter(Target(protocol, "http://127.0.0.1:9", None))
    client = exporter if protocol == "grpc" else exporter._client
    assert client._timeout == seconds
    exporter.shutdown()


def test_an_absent_collector_is_one_warning_over_grpc_too(run_bare: Run, nobody: str) -> None:
    done = run_bare(
        f"import spanledger; spanledger.instrument(endpoint='{nobody}'){MAKE_A_CALL}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert f"cannot deliver to {nobody} (" in warning


def test_importing_and_instrumenting_loads_nothing_heavy(run_python: Run) -> None:
    done = run_python("""
import json, sys
import spanledger
imported = list(sys.modules)
spanledger.instrument(endpoint="http://127.0.0.1:9").shutdown(0)
with spanledger.attribute(user="ada"):
    pass
print(json.dumps([imported, list(sys.modules)]))""")
    imported, instrumented = (set(names) for names in json.loads(done.stdout))
    heavy = {"polars", "pyarrow", "pandas", "numpy", "chdb", "fastapi", "typer", "yaml", "grpc"}
    heavy |= {"clickhouse_connect", "prometheus_client", "rich", "uvicorn"}
    assert not heavy & instrumented
    assert not {"opentelemetry.sdk", "opentelemetry.exporter", "requests", "openai"} & imported


def test_a_handle_without_delivery_does_nothing() -> None:
    handle = Handle(None)
    assert handle.flush()
    handle.shutdown()


def test_what_a_newcomer_imports_is_there() -> None:
    import spanledger  # noqa: PLC0415  the subject of the test

    names: dict[str, Any] = {name: getattr(spanledger, name) for name in spanledger.__all__}
    assert callable(names["instrument"])
    assert callable(names["attribute"])
