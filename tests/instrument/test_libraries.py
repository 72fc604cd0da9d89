"""With the real SDKs against the demo's provider: what arrives on the spans."""

from collections.abc import Callable
from typing import Any

import pytest

Spans = Callable[..., list[dict[str, Any]]]

ANTHROPIC_SDK = "com.anthropic.sdk.python"
OFFICIAL_ANTHROPIC = "opentelemetry.instrumentation.genai.anthropic"

ASK_CLAUDE = """
import anthropic
claude = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
claude.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=messages)
"""


def counts(span: dict[str, Any]) -> dict[str, int]:
    prefix = "gen_ai.usage."
    return {
        name.removeprefix(prefix): value
        for name, value in span["attributes"].items()
        if name.startswith(prefix)
    }


@pytest.fixture(scope="module")
def openai_spans(spans_of: Spans) -> dict[str, dict[str, Any]]:
    spans = spans_of("""
import openai
client = openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0)

def stream():
    list(client.chat.completions.create(
        model="gpt-5-mini", messages=messages, stream=True, stream_options={"include_usage": True}
    ))

def fail():
    try:
        client.chat.completions.create(
            model="gpt-4o", messages=messages, extra_headers={"x-demo-fail": "429"}
        )
    except openai.RateLimitError:
        pass

async def in_asyncio():
    await openai.AsyncOpenAI(
        base_url=url + "/v1", api_key="k", max_retries=0
    ).chat.completions.create(model="gpt-4o", messages=messages)

def in_thread():
    thread = threading.Thread(
        target=client.chat.completions.create, kwargs=dict(model="gpt-4o", messages=messages)
    )
    thread.start()
    thread.join()

for feature, call in {
    "chat": lambda: client.chat.completions.create(model="gpt-4o", messages=messages),
    "stream": stream,
    "responses": lambda: client.responses.create(model="gpt-5-mini", input="secret"),
    "responses stream": lambda: list(
        client.responses.create(model="gpt-5-mini", input="secret", stream=True)
    ),
    "embeddings": lambda: client.embeddings.create(model="text-embedding-3-small", input="secret"),
    "unknown": lambda: client.chat.completions.create(model="acme-llm-1", messages=messages),
    "fail": fail,
    "asyncio": lambda: asyncio.run(in_asyncio()),
    "thread": in_thread,
}.items():
    with spanledger.attribute(user="ada", feature=feature):
        call()
""")
    return {span["attributes"]["spanledger.feature"]: span for span in spans}


def test_every_way_to_call_openai_is_one_span_with_its_attributes(
    openai_spans: dict[str, dict[str, Any]],
) -> None:
    assert len(openai_spans) == 9
    for span in openai_spans.values():
        assert span["scope"] == "opentelemetry.instrumentation.genai.openai"
        assert span["attributes"]["user.id"] == "ada"


@pytest.mark.parametrize("feature", ["stream", "responses", "responses stream"])
def test_streamed_or_not_a_reasoning_model_reports_every_count(
    openai_spans: dict[str, dict[str, Any]], feature: str
) -> None:
    found = counts(openai_spans[feature])
    assert found["reasoning.output_tokens"] < found["output_tokens"]
    assert found.get("cache_read.input_tokens", 0) < found["input_tokens"]


def test_an_embedding_reports_its_input(openai_spans: dict[str, dict[str, Any]]) -> None:
    assert list(counts(openai_spans["embeddings"])) == ["input_tokens"]


def test_a_refused_call_is_a_span_with_an_error_and_no_usage(
    openai_spans: dict[str, dict[str, Any]],
) -> None:
    span = openai_spans["fail"]
    assert (span["status"], counts(span)) == ("ERROR", {})


def test_no_span_holds_what_was_said(openai_spans: dict[str, dict[str, Any]]) -> None:
    assert "secret" not in str(openai_spans)
    assert "answer" not in str(openai_spans)


def test_a_claude_call_is_observed_once_by_the_observer_that_knows_the_cache_lifetimes(
    spans_of: Spans,
) -> None:
    (span,) = spans_of(ASK_CLAUDE)
    assert span["scope"] == ANTHROPIC_SDK
    attributes = span["attributes"]
    written = attributes["gen_ai.usage.cache_write.input_tokens"]
    lifetimes = [
        attributes[f"anthropic.usage.cache_creation.ephemeral_{lifetime}_input_tokens"]
        for lifetime in ("5m", "1h")
    ]
    assert sum(lifetimes) == written
    assert "secret" not in str(span)


def test_where_the_sdk_is_told_to_make_no_spans_the_official_instrumentation_does(
    spans_of: Spans,
) -> None:
    (span,) = spans_of(ASK_CLAUDE, ANTHROPIC_OPEN_TELEMETRY="false")
    assert span["scope"] == OFFICIAL_ANTHROPIC


def test_an_app_that_instrumented_anthropic_itself_keeps_that_and_still_has_one_span(
    run_python: Callable[..., Any], provider_url: str
) -> None:
    done = run_python(f"""
from opentelemetry import trace
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
AnthropicInstrumentor().instrument()
import spanledger
spanledger.instrument(endpoint="http://127.0.0.1:9")
url, messages = "{provider_url}", [dict(role="user", content="hello")]
{ASK_CLAUDE}
print([span.instrumentation_scope.name for span in memory.get_finished_spans()])
""")
    assert done.stdout == f"['{OFFICIAL_ANTHROPIC}']\n", done.stderr


def test_an_instrumentation_that_is_switched_off_stays_off(spans_of: Spans) -> None:
    script = """
import openai
openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0).embeddings.create(
    model="text-embedding-3-small", input="hello"
)
"""
    assert spans_of(script, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="flask, openai") == []
