"""The dialects as data: where each instrumentation writes a fact.

Promises: only names, patterns and facts, each traceable to a captured or documented span; adding a
dialect is adding rows here and a golden capture. Never code. Names: OpenTelemetry GenAI semantic
conventions, old and new (gen_ai.system became gen_ai.provider.name in 1.37, prompt_tokens became
input_tokens in 1.28, cache_creation became cache_write in 2026), then OpenInference,
OpenLLMetry, OpenLIT, Vercel AI SDK, LiteLLM, LangSmith, Langfuse, MLflow, logfire, pydantic-ai.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spanledger.ledger.otlp_values import Kind

# One spelling of a fact: an attribute name; "name$.path" for a value inside an attribute's JSON and
# "name~pattern" for one inside a Python dictionary written as text (both are read for numbers
# and ids and then dropped); a tuple for buckets that make the fact together.
Spelling = str | tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """Where a fact is read: spellings in order of trust, on the span, then on the resource."""

    names: tuple[Spelling, ...] = ()
    resource: tuple[str, ...] = ()
    kind: Kind = Kind.TEXT


def _text(*names: str, resource: Sequence[str] = ()) -> Field:
    return Field(names, tuple(resource))


def _count(*names: Spelling) -> Field:
    return Field(names, kind=Kind.COUNT)


_LANGFUSE: Final = "langfuse.observation.usage_details"
_LOGFIRE: Final = "gen_ai.usage.raw"
_MLFLOW: Final = "mlflow.chat.tokenUsage"
_VERCEL: Final = "ai.response.providerMetadata"
_LITELLM: Final = "metadata.usage_object"
_LANGSMITH: Final = "gen_ai.usage.{}_token_details"
_LANGCHAIN: Final = "langsmith.metadata.usage_metadata"
_MLFLOW_OUT: Final = "mlflow.spanOutputs"
_TTL: Final = "input_tokens_details.cache_write_tokens_details"
_SEARCHES: Final = "server_tool_use.web_search_requests"

FIELDS: Final[Mapping[str, Field]] = {
    "service": _text(resource=["service.name"]),
    "environment": _text(resource=["deployment.environment.name", "deployment.environment"]),
    "provider": _text(
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "ai.model.provider",
        "mlflow.llm.provider",
    ),
    "request_model": _text("gen_ai.request.model", "llm.request.model_name", "ai.model.id"),
    "response_model": _text(
        "gen_ai.response.model",
        "llm.response.model_name",
        "llm.model_name",
        "ai.response.model",
        "embedding.model_name",
        "langfuse.observation.model.name",
        "mlflow.llm.model",
    ),
    "operation": _text("gen_ai.operation.name", "llm.request.type"),
    "user_id": _text(
        "user.id",
        "baggage.user.id",
        "enduser.id",
        "gen_ai.request.user",
        "gen_ai.user",
        "llm.user",
        "traceloop.association.properties.user_id",
        "ai.telemetry.metadata.userId",
        "langsmith.metadata.user_id",
        "metadata.user_api_key_user_id",
        "litellm.end_user.id",
    ),
    "customer": _text(
        "spanledger.customer",
        "customer.id",
        "baggage.customer.id",
        "baggage.account.id",
        "traceloop.association.properties.customer",
        "ai.telemetry.metadata.customer",
        "langsmith.metadata.customer",
        resource=["spanledger.customer"],
    ),
    "team": _text(
        "spanledger.team",
        "team.id",
        "litellm.team.alias",
        "litellm.team.id",
        "metadata.user_api_key_team_alias",
        "metadata.user_api_key_team_id",
        resource=["spanledger.team", "team"],
    ),
    "project": _text(
        "spanledger.project",
        "langsmith.trace.session_name",
        "anthropic.workspace.id",
        resource=["spanledger.project", "service.namespace"],
    ),
    "feature": _text(
        "spanledger.feature",
        "ai.telemetry.functionId",
        "traceloop.workflow.name",
        resource=["spanledger.feature"],
    ),
    "conversation_id": _text(
        "gen_ai.conversation.id",
        "session.id",
        "baggage.session.id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.thread_id",
        "ai.telemetry.metadata.sessionId",
        "spring.ai.chat.client.conversation.id",
        "langsmith.metadata.session_id",
    ),
    "agent": _text("gen_ai.agent.name", "agent.name"),
    "workflow": _text("gen_ai.workflow.name", "traceloop.workflow.name"),
    "api_key_alias": _text(
        "spanledger.api_key_alias",
        "metadata.user_api_key_alias",
        resource=["spanledger.api_key_alias"],
    ),
    # The tier of the response, never the requested one: that is what is billed.
    "service_tier": _text(
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "anthropic.response.service_tier",
        "gen_ai.response.service_tier",
        "output.value$.service_tier",
    ),
    # Where inference ran; Anthropic bills 10 % more for the United States alone.
    "region": _text(
        "anthropic.usage.inference_geo",
        "anthropic.response.inference_geo",
        "gen_ai.response.inference_geo",
        "gen_ai.usage.inference_geo",
        f"{_LOGFIRE}$.inference_geo",
        f"{_VERCEL}$.anthropic.usage.inference_geo",
        "output.value$.usage.inference_geo",
    ),
    "response_id": _text(
        "gen_ai.response.id",
        "ai.response.id",
        "output.value$.id",
        "output.value$.response_id",
        f"{_MLFLOW_OUT}$.id",
        "gen_ai.completion$.id",
        "gen_ai.completion$.llm_output.id",
        "aws.request_id",
        "anthropic.request.id",
    ),
    "error_type": _text("error.type"),
    # Where the call went: the payer is known by it before anything else.
    "host": _text("server.address", "gen_ai.openai.api_base", "url.full"),
    "streamed": _text("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming"),
    "time_to_first_token_s": Field(("gen_ai.response.time_to_first_chunk",), kind=Kind.NUMBER),
    "cost_reported": Field(
        (
            "gen_ai.usage.cost.amount",
            "gen_ai.usage.cost",
            "gen_ai.usage.total_cost",
            "gen_ai.cost.total_cost",
            "litellm.cost.total",
            "operation.cost",
            "llm.cost.total",
            "langfuse.observation.cost_details$.total",
            "mlflow.llm.cost$.total_cost",
        ),
        kind=Kind.NUMBER,
    ),
    "input_tokens": _count(
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "ai.usage.tokens",
        f"{_LANGFUSE}$.prompt_tokens",
        f"{_LANGFUSE}$.input_tokens",
        (
            f"{_LANGFUSE}$.input",
            f"{_LANGFUSE}$.input_audio",
            f"{_LANGFUSE}$.input_cache_read",
            f"{_LANGFUSE}$.input_cache_creation",
            f"{_LANGFUSE}$.cache_read_input_tokens",
            f"{_LANGFUSE}$.cache_creation_input_tokens",
        ),
        f"{_MLFLOW}$.input_tokens",
        f"{_MLFLOW_OUT}$.usage.prompt_tokens",
    ),
    "output_tokens": _count(
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        f"{_LANGFUSE}$.completion_tokens",
        f"{_LANGFUSE}$.output_tokens",
        (
            f"{_LANGFUSE}$.output",
            f"{_LANGFUSE}$.output_audio",
            f"{_LANGFUSE}$.output_reasoning",
        ),
        f"{_MLFLOW}$.output_tokens",
    ),
    "cache_read_tokens": _count(
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.cachedInputTokens",
        "gen_ai.usage.details.cache_read_tokens",
        f"{_LOGFIRE}$.prompt_tokens_details.cached_tokens",
        f"{_LOGFIRE}$.input_tokens_details.cached_tokens",
        f"{_LOGFIRE}$.cache_read_input_tokens",
        f"{_LANGFUSE}$.prompt_tokens_details.cached_tokens",
        f"{_LANGFUSE}$.input_tokens_details.cached_tokens",
        f"{_LANGFUSE}$.input_cache_read",
        f"{_LANGFUSE}$.cache_read_input_tokens",
        f"{_MLFLOW}$.cache_read_input_tokens",
        f"{_VERCEL}$.anthropic.usage.cache_read_input_tokens",
        f"{_LITELLM}~'cached_tokens': (\\d+)",
        _LANGSMITH.format("input") + "~'cache_read': (\\d+)",
        f"{_LANGCHAIN}$.input_token_details.cache_read",
    ),
    "cache_write_tokens": _count(
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "gen_ai.usage.details.cache_write_tokens",
        f"{_LOGFIRE}$.prompt_tokens_details.cache_write_tokens",
        f"{_LOGFIRE}$.input_tokens_details.cache_write_tokens",
        f"{_LOGFIRE}$.cache_creation_input_tokens",
        f"{_LANGFUSE}$.prompt_tokens_details.cache_write_tokens",
        f"{_LANGFUSE}$.input_tokens_details.cache_write_tokens",
        f"{_LANGFUSE}$.input_cache_creation",
        f"{_LANGFUSE}$.cache_creation_input_tokens",
        f"{_MLFLOW}$.cache_creation_input_tokens",
        f"{_VERCEL}$.anthropic.usage.cache_creation_input_tokens",
        f"{_VERCEL}$.openai.usage.cacheWriteTokens",
        f"{_LITELLM}~'cache_creation_input_tokens': (\\d+)",
        f"{_LITELLM}~'cache_write_tokens': (\\d+)",
        _LANGSMITH.format("input") + "~'cache_creation': (\\d+)",
        f"{_LANGCHAIN}$.input_token_details.cache_creation",
        "output.value$.usage.prompt_tokens_details.cache_write_tokens",
        "output.value$.usage.input_tokens_details.cache_write_tokens",
        f"{_MLFLOW_OUT}$.usage.prompt_tokens_details.cache_write_tokens",
        f"{_MLFLOW_OUT}$.usage.input_tokens_details.cache_write_tokens",
    ),
    "cache_write_5m_tokens": _count(
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens",
        "gen_ai.usage.details.ephemeral_5m_input_tokens",
        f"{_LOGFIRE}$.cache_creation.ephemeral_5m_input_tokens",
        f"{_VERCEL}$.anthropic.usage.cache_creation.ephemeral_5m_input_tokens",
        f"{_LITELLM}~'ephemeral_5m_input_tokens': (\\d+)",
    ),
    "cache_write_1h_tokens": _count(
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        "gen_ai.usage.details.ephemeral_1h_input_tokens",
        f"{_LOGFIRE}$.cache_creation.ephemeral_1h_input_tokens",
        f"{_VERCEL}$.anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        f"{_LITELLM}~'ephemeral_1h_input_tokens': (\\d+)",
    ),
    "output_reasoning_tokens": _count(
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "ai.usage.reasoningTokens",
        "gen_ai.usage.details.reasoning_tokens",
        "gen_ai.usage.details.thoughts_tokens",
        f"{_LOGFIRE}$.completion_tokens_details.reasoning_tokens",
        f"{_LOGFIRE}$.output_tokens_details.reasoning_tokens",
        f"{_LANGFUSE}$.completion_tokens_details.reasoning_tokens",
        f"{_LANGFUSE}$.output_reasoning",
        _LANGSMITH.format("output") + "~'reasoning': (\\d+)",
        f"{_LANGCHAIN}$.output_token_details.reasoning",
    ),
    "input_audio_tokens": _count(
        "gen_ai.usage.audio.input_tokens",
        "llm.token_count.prompt_details.audio",
        "gen_ai.usage.input_audio_tokens",
        "gen_ai.usage.details.input_audio_tokens",
        f"{_LOGFIRE}$.prompt_tokens_details.audio_tokens",
        f"{_LOGFIRE}$.input_token_details.audio_tokens",
        f"{_LANGFUSE}$.prompt_tokens_details.audio_tokens",
        f"{_LANGFUSE}$.input_audio",
        _LANGSMITH.format("input") + "~'audio': (\\d+)",
        f"{_LANGCHAIN}$.input_token_details.audio",
    ),
    "output_audio_tokens": _count(
        "gen_ai.usage.audio.output_tokens",
        "llm.token_count.completion_details.audio",
        "gen_ai.usage.output_audio_tokens",
        "gen_ai.usage.details.output_audio_tokens",
        f"{_LOGFIRE}$.completion_tokens_details.audio_tokens",
        f"{_LANGFUSE}$.completion_tokens_details.audio_tokens",
        f"{_LANGFUSE}$.output_audio",
        _LANGSMITH.format("output") + "~'audio': (\\d+)",
        f"{_LANGCHAIN}$.output_token_details.audio",
    ),
    "cache_audio_read_tokens": _count("gen_ai.usage.audio.cache_read.input_tokens"),
    "input_image_tokens": _count(
        "gen_ai.usage.image.input_tokens",
        f"{_LOGFIRE}$.input_tokens_details.image_tokens",
    ),
    "output_image_tokens": _count(
        "gen_ai.usage.image.output_tokens",
        f"{_LOGFIRE}$.output_tokens_details.image_tokens",
    ),
    "cache_write_12h_tokens": _count(
        f"{_LOGFIRE}$.{_TTL}.ttl_12h_tokens",
        f"output.value$.usage.{_TTL}.ttl_12h_tokens",
    ),
    "cache_write_30m_tokens": _count(
        f"{_LOGFIRE}$.{_TTL}.ttl_30m_tokens",
        f"output.value$.usage.{_TTL}.ttl_30m_tokens",
    ),
    "web_searches": _count(
        "gen_ai.usage.details.web_search_requests",
        f"{_LOGFIRE}$.{_SEARCHES}",
        f"{_VERCEL}$.anthropic.usage.{_SEARCHES}",
        f"{_LITELLM}~'web_search_requests': (\\d+)",
        f"metadata$.{_SEARCHES}",
        f"output.value$.usage.{_SEARCHES}",
    ),
    # What Anthropic's automatic compaction of a conversation used: beside the usage, not in it.
    "compaction_input_tokens": _count("anthropic.usage.compaction.input_tokens"),
    "compaction_output_tokens": _count("anthropic.usage.compaction.output_tokens"),
    # Not a usage of its own: it decides whether input includes the cached tokens.
    "total_tokens": _count(
        "gen_ai.usage.total_tokens",
        "llm.usage.total_tokens",
        "llm.token_count.total",
        "ai.usage.totalTokens",
    ),
}

# Usage without a column of its own, under its key of genai-prices: it goes into the map `usage`.
EXTRAS: Final = ("cache_write_12h_tokens", "cache_write_30m_tokens", "web_searches")

# Names under which instrumentations put what was said; nobody may ask for these to be kept.
CONTENT: Final = (
    r"(?i)(^|[._])(messages?|prompts?(?!\.(name|version))|completions?|contents?|instructions"
    r"|arguments|authorization|cookie)([._]|$)"
    r"|(^|\.)((in|out)puts?(\.value)?|result|raw)$"
)

# Kept as text beside the columns. Parameters and ids; nothing that holds what was said.
KEPT: Final = (
    "auth_mode",
    "auth_type",
    "aws.bedrock.guardrail.id",
    "effort",
    "gen_ai.output.type",
    "gen_ai.prompt.name",
    "gen_ai.prompt.version",
    "gen_ai.request.choice.count",
    "gen_ai.request.max_tokens",
    "gen_ai.request.reasoning.level",
    "gen_ai.request.seed",
    "gen_ai.request.stream",
    "gen_ai.request.temperature",
    "gen_ai.request.top_k",
    "gen_ai.request.top_p",
    "gen_ai.response.finish_reasons",
    "http.request.resend_count",
    "openai.api.type",
    "openai.request.service_tier",
    "organization.id",
    "query_source",
    "server.address",
    "server.port",
    "speed",
)
