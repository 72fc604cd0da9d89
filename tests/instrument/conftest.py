"""What the tests of the app side share: the demo's provider, and a process of their own."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def provider_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running stand-in provider."""
    spec = importlib.util.spec_from_file_location("demo_provider", ROOT / "demo" / "provider.py")
    assert spec
    assert spec.loader
    provider = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(provider)
    server = provider.serve(tmp_path_factory.mktemp("provider") / "record.jsonl")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh process: instrumentation is a fact about a process."""

    def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "ANTHROPIC_"))
        }
        kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | environment
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            env=kept,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def spans_of(
    run_python: Callable[..., subprocess.CompletedProcess[str]], provider_url: str
) -> Callable[..., list[dict[str, Any]]]:
    """Run app code under ``instrument()`` and return its finished spans, in order.

    The app has a tracer provider of its own, which keeps the spans in memory; nobody listens at
    the collector's address.
    """
    before = f"""
import asyncio, json, threading
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("app")
url = "{provider_url}"
messages = [dict(role="user", content="a secret question")]

import spanledger
handle = spanledger.instrument(endpoint="http://127.0.0.1:9")
"""
    after = """
handle.shutdown(timeout_s=0)
print(json.dumps([
    dict(
        name=span.name,
        scope=span.instrumentation_scope.name,
        status=span.status.status_code.name,
        attributes=dict(span.attributes),
    )
    for span in memory.get_finished_spans()
]))
"""

    def run(script: str, **environment: str) -> list[dict[str, Any]]:
        done = run_python(before + script + after, **environment)
        assert done.returncode == 0, done.stderr
        spans: list[dict[str, Any]] = json.loads(done.stdout)
        return spans

    return run
