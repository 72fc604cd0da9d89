"""Emitters of which there is no capture, as their source or documentation writes their spans.

Every span here stands for the same known calls as the captures: OpenAI 212 + 1000 + 22 input and
321 output, Anthropic 111 + 1000 + 222 and 321, Gemini 234 + 1000 and 121 + 200 of thoughts.
"""

from decimal import Decimal
from typing import Any

import pytest
from captures import Usage, usage_of
from otlp_requests import Span, request

from spanledger.ledger.dialects import Normalised, attribute_keys, normalise
from spanledger.ledger.otlp import Body, decode

KEYS = attribute_keys()
OPENAI: Usage = (212, 1_000, 22, 321)
ANTHROPIC: Usage = (111, 1_000, 222, 321)
OTEL = "opentelemetry.instrumentation"
OPENINFERENCE = "openinference.instrumentation"


def normalised(scope: str, attributes: dict[str, Any], **span: Any) -> Normalised:
    body = request([Span(attributes, **span)], scope=(scope, "1.0")).SerializeToString()
    return normalise(decode([Body(body)], KEYS, spans_max=1).spans, "acme")


def call(scope: str, attributes: dict[str, Any], **span: Any) -> dict[str, Any]:
    return normalised(scope, attributes, **span).calls.row(0, named=True)


def gen_ai(model: str, **usage: Any) -> dict[str, Any]:
    counts = {f"gen_ai.usage.{key.replace('__', '.')}": value for key, value in usage.items()}
    return {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, **counts}


def token_count(model: str, **counts: int) -> dict[str, Any]:
    """A call in OpenInference's words."""
    usage = {f"llm.token_count.{key.replace('__', '.')}": value for key, value in counts.items()}
    return {"openinference.span.kind": "LLM", "llm.model_name": model, **usage}


LITELLM_ANTHROPIC = (
    "{'completion_tokens': 321, 'prompt_tokens': 1333, 'total_tokens': 1654,"
    " 'completion_tokens_details': None, 'prompt_tokens_details': {'audio_tokens': None,"
    " 'cached_tokens': 1000, 'cache_creation_tokens': 222, 'cache_creation_token_details':"
    " {'ephemeral_5m_input_tokens': 172, 'ephemeral_1h_input_tokens': 50}},"
    " 'server_tool_use': {'web_search_requests': 2}, 'cache_creation_input_tokens': 222,"
    " 'cache_read_input_tokens': 1000}"
)
CACHED = {"cache_read__input_tokens": 1_000, "cache_creation__input_tokens": 22}
CLAUDE = "claude-sonnet-4-5"


@pytest.mark.parametrize(
    ("scope", "attributes", "usage"),
    [
        pytest.param(
            "litellm",
            gen_ai(CLAUDE, input_tokens=1_333, output_tokens=321, total_tokens=1_654)
            | {"metadata.usage_object": LITELLM_ANTHROPIC},
            ANTHROPIC,
            id="LiteLLM, version 1 of its spans",
        ),
        pytest.param(
            "litellm",
            gen_ai("gpt-5-mini", input_tokens=1_234, output_tokens=321, **CACHED)
            | {"gen_ai.provider.name": "openai"},
            OPENAI,
            id="LiteLLM, version 2 of its spans",
        ),
        pytest.param(
            f"{OTEL}.google_generativeai",
            gen_ai(
                "gemini-2.5-pro",
                input_tokens=1_234,
                output_tokens=121,
                total_tokens=1_566,
                cache_read__input_tokens=1_000,
            ),
            # Thoughts and the tool-use prompt of 11 are in the total alone, and together.
            (234, 1_000, 0, 332),
            id="OpenLLMetry of Gemini",
        ),
        pytest.param(
            f"{OPENINFERENCE}.bedrock",
            token_count(
                "us.amazon.nova-lite-v1:0",
                prompt=111,
                completion=321,
                total=1_654,
                prompt_details__cache_read=1_000,
                prompt_details__cache_write=222,
            ),
            ANTHROPIC,
            id="OpenInference of Bedrock, InvokeModel of Nova",
        ),
        pytest.param(
            f"{OPENINFERENCE}.bedrock",
            token_count(
                f"us.anthropic.{CLAUDE}-20250929-v1:0",
                prompt=1_333,
                completion=321,
                total=1_654,
                prompt_details__cache_read=1_000,
                prompt_details__cache_write=222,
            ),
            ANTHROPIC,
            id="OpenInference of Bedrock, Converse",
        ),
        pytest.param(
            "strands.telemetry.tracer",
            gen_ai(
                CLAUDE,
                input_tokens=111,
                prompt_tokens=111,
                output_tokens=321,
                completion_tokens=321,
                total_tokens=1_654,
                cache_read_input_tokens=1_000,
                cache_write_input_tokens=222,
            )
            | {"gen_ai.system": "strands-agents"},
            ANTHROPIC,
            id="Strands 1.0, which passes the provider's numbers on",
        ),
        pytest.param(
            "gcp.vertex.agent",
            {
                "gen_ai.system": "gcp.vertex.agent",
                "gen_ai.request.model": "gemini-2.5-flash",
                "gen_ai.usage.input_tokens": 1_234,
                "gen_ai.usage.output_tokens": 321,
                "gen_ai.usage.cache_read.input_tokens": 1_000,
            },
            (234, 1_000, 0, 321),
            id="ADK 1.14, which names no operation",
        ),
        pytest.param(
            "crewai.telemetry",
            gen_ai(
                "gpt-5-mini", input_tokens=1_234, output_tokens=321, reasoning_tokens=200, **CACHED
            ),
            OPENAI,
            id="CrewAI 1.15",
        ),
        pytest.param(
            "org.springframework.ai",
            gen_ai(
                "gpt-5-mini", input_tokens=1_234, output_tokens=321, total_tokens=1_555, **CACHED
            )
            | {"gen_ai.system": "openai"},
            OPENAI,
            id="Spring AI, the chat model",
        ),
        pytest.param(
            "Experimental.Microsoft.Extensions.AI",
            gen_ai(
                "gpt-5-mini",
                input_tokens=1_234,
                output_tokens=321,
                input_audio_tokens=7,
                input_text_tokens=1_227,
                output_audio_tokens=5,
                **CACHED,
            ),
            OPENAI,
            id="Microsoft.Extensions.AI",
        ),
        pytest.param(
            "github.copilot",
            gen_ai(
                "gpt-5-mini",
                input_tokens=1_234,
                output_tokens=321,
                reasoning__output_tokens=200,
                reasoning_tokens=200,
                **CACHED,
            )
            | {"gen_ai.provider.name": "github"},
            OPENAI,
            id="Copilot",
        ),
        pytest.param(
            "gen_ai",
            gen_ai("gpt-5-mini", input_tokens=1_234, output_tokens=321, **CACHED),
            OPENAI,
            id="Vercel's AI SDK 7",
        ),
        pytest.param(
            "ai",
            {
                "ai.operationId": "ai.streamText.doStream",
                "ai.model.id": CLAUDE,
                "ai.model.provider": "anthropic.messages",
                "ai.usage.promptTokens": 111,
                "ai.usage.completionTokens": 321,
                "ai.usage.cachedInputTokens": 1_000,
                "ai.response.providerMetadata": (
                    '{"anthropic": {"usage": {"input_tokens": 111, "cache_read_input_tokens": 1000,'
                    ' "cache_creation_input_tokens": 222}}}'
                ),
            },
            ANTHROPIC,
            id="Vercel's AI SDK 5 of Anthropic",
        ),
    ],
)
def test_the_usage_is_the_true_one(scope: str, attributes: dict[str, Any], usage: Usage) -> None:
    assert usage_of(call(scope, attributes)) == usage


@pytest.mark.parametrize(
    ("scope", "attributes", "name"),
    [
        ("litellm", gen_ai("gpt-5-mini", input_tokens=9), "raw_gen_ai_request"),
        ("org.springframework.ai", {"gen_ai.operation.name": "framework"}, "spring_ai"),
        (
            "Experimental.Microsoft.Extensions.AI",
            {"gen_ai.operation.name": "orchestrate_tools"},
            "",
        ),
        ("autogen-core", {"gen_ai.operation.name": "invoke_agent"}, "invoke_agent a"),
        (
            "github.copilot",
            gen_ai("gpt-5", input_tokens=9) | {"gen_ai.operation.name": "invoke_agent"},
            "",
        ),
        ("gen_ai", gen_ai("gpt-5", input_tokens=9) | {"gen_ai.operation.name": "invoke_agent"}, ""),
        # The outer span of embedMany: the spans below it have the usage.
        (
            "gen_ai",
            {
                "gen_ai.operation.name": "embeddings",
                "gen_ai.request.model": "text-embedding-3-small",
            },
            "embeddings",
        ),
        ("langsmith", {"langsmith.span.kind": "chain", "gen_ai.system": "langchain"}, "chain"),
        (f"{OPENINFERENCE}.crewai", {"openinference.span.kind": "AGENT"}, "agent"),
        (f"{OTEL}.langchain", {"traceloop.span.kind": "workflow", "gen_ai.system": "x"}, "w"),
    ],
)
def test_what_repeats_other_spans_is_no_call(
    scope: str, attributes: dict[str, Any], name: str
) -> None:
    found = normalised(scope, attributes, name=name)
    assert found.calls.height == 0
    assert sum(found.not_calls.values()) == 1


def test_litellm_tells_the_times_to_live_and_the_searches() -> None:
    attributes = gen_ai(CLAUDE, input_tokens=1_333, output_tokens=321)
    row = call("litellm", attributes | {"metadata.usage_object": LITELLM_ANTHROPIC})
    assert (row["cache_write_5m_tokens"], row["cache_write_1h_tokens"]) == (172, 50)
    assert row["usage"] == [{"key": "web_searches", "value": Decimal(2)}]


@pytest.mark.parametrize(
    "attribute",
    [
        "gen_ai.usage.cost",
        "gen_ai.usage.cost.amount",
        "gen_ai.usage.total_cost",
        "gen_ai.cost.total_cost",
        "litellm.cost.total",
        "operation.cost",
        "llm.cost.total",
    ],
)
def test_a_supplied_cost_is_kept_beside_the_computed_one(attribute: str) -> None:
    row = call("somebody", gen_ai("gpt-5", input_tokens=9) | {attribute: 0.25})
    assert row["cost_reported_usd"] == Decimal("0.25")


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("langfuse.observation.cost_details", '{"input": 0.1, "output": 0.15, "total": 0.25}'),
        ("mlflow.llm.cost", '{"input_cost": 0.1, "output_cost": 0.15, "total_cost": 0.25}'),
    ],
)
def test_a_supplied_cost_may_come_in_json(attribute: str, text: str) -> None:
    row = call("somebody", gen_ai("gpt-5", input_tokens=9) | {attribute: text})
    assert row["cost_reported_usd"] == Decimal("0.25")
