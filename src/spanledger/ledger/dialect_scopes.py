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

# Scopes of emitters whose log is the authoritative account of a call (``dialect_events``): what
# their spans report as well, without the cache, the thoughts or the model, is not booked again.
LOGGED: Final = r"^(com\.anthropic\.claude_code\.|codex[_-]|gemini-cli$)"

# Calls of the provider that cost nothing and may name no operation, by the end of the span's name.
FREE: Final = ("count_tokens",)

# Who is paid, by the end of the host's name.
HOSTS: Final[Mapping[str, str]] = {
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.voyageai.com": "voyageai",
    "api.x.ai": "x_ai",
    "aws.amazon.com": "aws.bedrock",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openai.azure.com": "azure.ai.openai",
    "openrouter.ai": "openrouter",
    "services.ai.azure.com": "azure.ai.openai",
}
# Bedrock's hosts have a region in their midst.
BEDROCK_HOST: Final = r"^bedrock[a-z-]*\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$"

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


Loss = tuple[str, str]  # flag of a call, sentence


@dataclass(frozen=True)
class Scope:
    """What an instrumentation is known to mean by its numbers, and what it is known to lose.

    ``loses_cache`` holds for the spans without any count of cached tokens, ``loses_cache_writes``
    for those with reads and no writes. Counts are the emitter's estimate for the models that match
    ``guesses``; with ``guesses_streams`` they may be for streams without cache counts; with
    ``adds_to_streams`` the output of a stream is a few tokens too high.
    ``losses``: what cannot be had from its spans, in words, and the flag of the calls it befalls.
    """

    input_includes_cache: bool = True
    output_includes_reasoning: bool = True
    loses_cache: bool = False
    loses_cache_writes: bool = False
    guesses: str = ""
    guesses_streams: bool = False
    adds_to_streams: bool = False
    provider: str = ""  # where the scope knows better than the provider attribute
    losses: tuple[Loss, ...] = ()


_NO_USAGE: Final = ("usage_missing", "a stream that was not asked for usage reports none")
_NO_WRITES: Final = ("cache_write_unknown", "cache writes are not reported")
_NO_CACHE: Final = ("cache_unknown", "the cache split is not reported")

_OTEL: Final = "opentelemetry.instrumentation"
# By name; "name 0" is what versions 0.x of it meant.
SCOPES: Final[Mapping[str, Scope]] = {
    "agent_framework": Scope(),
    # Vercel's AI SDK; its version 5 reports Anthropic's input without the cache.
    "ai": Scope(
        loses_cache=True,
        losses=(("cache_unknown", "generateText of version 5 does not report cached reads"),),
    ),
    "codex_otel.log_only": Scope(),
    "com.anthropic.claude_code.events": Scope(input_includes_cache=False),
    # The Anthropic SDK's own spans; they have the split of cache writes by time to live.
    "com.anthropic.sdk.python": Scope(),
    "com.anthropic.sdk.python.bedrock": Scope(provider="aws.bedrock"),
    "gcp.vertex.agent": Scope(),
    "gemini-cli": Scope(output_includes_reasoning=False),
    "langfuse-sdk": Scope(),
    "langsmith": Scope(
        loses_cache=True,
        loses_cache_writes=True,
        losses=(_NO_WRITES,),
    ),
    "litellm": Scope(losses=(_NO_USAGE,)),
    "logfire.anthropic": Scope(),
    "logfire.openai": Scope(losses=(_NO_USAGE,)),
    "mlflow.tracing.provider": Scope(loses_cache_writes=True, losses=(_NO_WRITES,)),
    "openinference.instrumentation.anthropic": Scope(),
    "openinference.instrumentation.anthropic 0": Scope(input_includes_cache=False),
    "openinference.instrumentation.bedrock": Scope(
        provider="aws.bedrock", loses_cache=True, losses=(_NO_CACHE,)
    ),
    "openinference.instrumentation.google_genai": Scope(
        losses=(("usage_missing", "embeddings report none"),)
    ),
    "openinference.instrumentation.langchain": Scope(loses_cache_writes=True, losses=(_NO_WRITES,)),
    "openinference.instrumentation.openai": Scope(losses=(_NO_USAGE,)),
    "openinference.instrumentation.openai_agents": Scope(loses_cache=True, losses=(_NO_CACHE,)),
    "openlit.instrumentation.anthropic": Scope(input_includes_cache=False),
    "openlit.instrumentation.bedrock": Scope(
        input_includes_cache=False, guesses_streams=True, provider="aws.bedrock"
    ),
    "openlit.instrumentation.google_ai_studio": Scope(
        output_includes_reasoning=False, guesses_streams=True
    ),
    "openlit.instrumentation.openai": Scope(
        guesses_streams=True,
        losses=(
            ("usage_estimated", "a stream that was not asked for usage has invented tokens"),
            ("usage_missing", "images and speech report none"),
        ),
    ),
    f"{_OTEL}.anthropic": Scope(
        adds_to_streams=True,
        losses=(
            ("usage_estimated", "the output of a stream contains message_start's tokens"),
            ("", "the same, and a stream made by the helper stream() does not say that it is one"),
        ),
    ),
    f"{_OTEL}.bedrock": Scope(
        input_includes_cache=False,
        loses_cache=True,
        provider="aws.bedrock",
        losses=(
            ("cache_unknown", "versions up to 0.40 have no cache, and one token for a stream"),
            ("cache_unknown", "a stream of InvokeModel has no cache"),
        ),
    ),
    # Converse reports what Bedrock reports: input without cache reads and writes.
    f"{_OTEL}.botocore.bedrock-runtime": Scope(
        input_includes_cache=False,
        loses_cache=True,
        guesses="mistral|cohere",
        losses=(("cache_unknown", "InvokeModel reports input without its cached tokens"),),
    ),
    f"{_OTEL}.genai.anthropic": Scope(),
    f"{_OTEL}.genai.openai": Scope(losses=(_NO_USAGE,)),
    f"{_OTEL}.google_genai": Scope(),
    f"{_OTEL}.google_genai 0": Scope(output_includes_reasoning=False, loses_cache=True),
    f"{_OTEL}.google_generativeai": Scope(output_includes_reasoning=False),
    f"{_OTEL}.langchain": Scope(
        loses_cache_writes=True,
        losses=(
            (
                "cache_write_unknown",
                "Anthropic's cache writes become 0 when they have times to live",
            ),
        ),
    ),
    f"{_OTEL}.openai.v1": Scope(
        loses_cache_writes=True,
        losses=(
            _NO_USAGE,
            ("usage_missing", "streams of versions up to 0.40 report none from newer clients"),
            _NO_WRITES,
        ),
    ),
    f"{_OTEL}.openai_agents": Scope(
        loses_cache=True,
        loses_cache_writes=True,
        losses=(
            _NO_CACHE,
            _NO_WRITES,
            ("usage_missing", "chat completions inside an agent report none"),
        ),
    ),
    f"{_OTEL}.openai_v2": Scope(loses_cache=True, losses=(_NO_USAGE, _NO_CACHE)),
    f"{_OTEL}.vertexai": Scope(output_includes_reasoning=False, loses_cache=True),
    "opentelemetry.util.genai.handler": Scope(loses_cache=True, losses=(_NO_USAGE, _NO_CACHE)),
    "pydantic-ai": Scope(
        losses=(("usage_missing", "versions 1.x report none from newer price data"),)
    ),
    "semantic_kernel.utils.telemetry.model_diagnostics.decorators": Scope(
        loses_cache=True, losses=(_NO_CACHE,)
    ),
    "strands.telemetry.tracer": Scope(),
}
