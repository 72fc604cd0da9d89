"""The dialects as data: which spans are calls, who is paid, what an instrumentation means.

Promises: only names, patterns and facts, each traceable to a captured or documented span. Never
code. Where a fact is read stands in ``dialect_fields``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Operations that repeat the usage of the calls below them, or that bill nothing themselves.
AGGREGATES: Final = (
    "agent_step",
    "chain",
    "count_tokens",
    "create_agent",
    "execute_event_loop_cycle",
    "execute_hook",
    "execute_task",
    "execute_tool",
    "fetch_response",
    "framework",
    "invoke_agent",
    "invoke_workflow",
    "orchestrate_tools",
    "plan",
    "retrieval",
    "unknown",
)

# Attributes that say what kind of span this is -> the values (a pattern) that are model calls. A
# span whose kind is another one repeats the usage of the calls below it.
KINDS: Final[Mapping[str, str]] = {
    "ai.operationId": r"\.do(Generate|Stream|Embed)$",
    "langfuse.observation.type": "^(generation|embedding)$",
    "langsmith.span.kind": "^llm$",
    "mlflow.spanType": '^"?(CHAT_MODEL|LLM|EMBEDDING)"?$',
    "openinference.span.kind": "^(LLM|EMBEDDING|RERANKER)$",
    "traceloop.span.kind": "^$",
}

# Calls of the provider that cost nothing and may name no operation, by the end of the span's name.
FREE: Final = ("count_tokens",)

# Names of a payer in the wild to the value that gen_ai.provider.name has for it. "" stands for a
# framework that pays nobody: the model's name tells.
PROVIDERS: Final[Mapping[str, str]] = {
    "autogen": "",
    "aws": "aws.bedrock",
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gcp.vertex.agent": "",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "langchain": "",
    "langgraph": "",
    "microsoft.agent_framework": "",
    "spring_ai": "",
    "strands-agents": "",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
# "openai.chat", "anthropic.messages": the API behind the payer's name.
API_OF_PROVIDER: Final = r"^(openai|anthropic|azure-openai)\..*$"
# Model ids that only Bedrock has: "us.anthropic.claude-...", "amazon.nova-...".
BEDROCK_MODEL: Final = (
    r"^((us|us-gov|eu|apac|jp|au|ca|sa|global)\.)?"
    r"(ai21|amazon|anthropic|cohere|deepseek|meta|mistral|qwen|stability)\.[a-z0-9-]+"
)


@dataclass(frozen=True)
class Scope:
    """What an instrumentation is known to mean by its numbers."""

    input_includes_cache: bool = True
    output_includes_reasoning: bool = True
    loses_cache: bool = False
    provider: str = ""  # where the scope knows better than the provider attribute


_OTEL: Final = "opentelemetry.instrumentation"
SCOPES: Final[Mapping[str, Scope]] = {
    "agent_framework": Scope(),
    # Vercel's AI SDK; its version 5 reports Anthropic's input without the cache.
    "ai": Scope(),
    # The Anthropic SDK's own spans; they have the split of cache writes by time to live.
    "com.anthropic.sdk.python": Scope(),
    "com.anthropic.sdk.python.bedrock": Scope(provider="aws.bedrock"),
    "gcp.vertex.agent": Scope(),
    "gemini-cli": Scope(output_includes_reasoning=False, loses_cache=True),
    "langfuse-sdk": Scope(),
    "langsmith": Scope(),
    "litellm": Scope(),
    "logfire.anthropic": Scope(),
    "logfire.openai": Scope(),
    "mlflow.tracing.provider": Scope(),
    "openinference.instrumentation.anthropic": Scope(),
    "openinference.instrumentation.bedrock": Scope(provider="aws.bedrock"),
    "openinference.instrumentation.google_genai": Scope(),
    "openinference.instrumentation.langchain": Scope(),
    "openinference.instrumentation.openai": Scope(),
    "openinference.instrumentation.openai_agents": Scope(),
    "openlit.instrumentation.anthropic": Scope(input_includes_cache=False),
    "openlit.instrumentation.bedrock": Scope(input_includes_cache=False, provider="aws.bedrock"),
    "openlit.instrumentation.google_ai_studio": Scope(output_includes_reasoning=False),
    "openlit.instrumentation.openai": Scope(),
    f"{_OTEL}.anthropic": Scope(),
    f"{_OTEL}.bedrock": Scope(input_includes_cache=False, provider="aws.bedrock"),
    # Converse reports what Bedrock reports: input without cache reads and writes.
    f"{_OTEL}.botocore.bedrock-runtime": Scope(input_includes_cache=False),
    f"{_OTEL}.genai.anthropic": Scope(),
    f"{_OTEL}.genai.openai": Scope(),
    f"{_OTEL}.google_genai": Scope(),
    f"{_OTEL}.google_generativeai": Scope(output_includes_reasoning=False),
    f"{_OTEL}.langchain": Scope(),
    f"{_OTEL}.openai.v1": Scope(),
    f"{_OTEL}.openai_agents": Scope(),
    f"{_OTEL}.openai_v2": Scope(loses_cache=True),
    f"{_OTEL}.vertexai": Scope(output_includes_reasoning=False, loses_cache=True),
    "opentelemetry.util.genai.handler": Scope(loses_cache=True),
    "pydantic-ai": Scope(),
    "semantic_kernel.utils.telemetry.model_diagnostics.decorators": Scope(loses_cache=True),
    "strands.telemetry.tracer": Scope(),
}
