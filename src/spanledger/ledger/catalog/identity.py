"""Names that spans carry, and what they may stand for in the price data.

Promises: tables and string rules only; every function is cheap for a name of any shape, because
the book has cut names to ``MODEL_NAME_BYTES_MAX`` before.
Never decides on its own: it proposes providers and spellings, and the price data's own matching
rules accept one or none.
"""

import re
from collections.abc import Iterator
from typing import Final

# What emitters call a provider -> its id in genai-prices. Keys are folded (see ``fold``). Words of
# the wild name an API after the provider ("openai.chat", "google.vertex.anthropic.messages"): the
# longest leading part that is in the table counts.
_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "anthropic_bedrock": "aws",
    "anthropic_vertex": "google",
    "amazon": "aws",
    "amazon_bedrock": "aws",
    "aws": "aws",
    "az_ai": "azure",
    "azure": "azure",
    "azureopenai": "azure",
    "bedrock": "aws",
    "bigmodel": "zhipuai",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "cohere": "cohere",
    "copilot": "github-copilot",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "fireworks": "fireworks",
    "gcp": "google",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "google": "google",
    "grok": "x-ai",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "openai_decisions": "openai-decisions",
    "openrouter": "openrouter",
    "open_router": "openrouter",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "together": "together",
    "togetherai": "together",
    "vertex": "google",
    "vertexai": "google",
    "voyage": "voyageai",
    "voyageai": "voyageai",
    "workers_ai": "cloudflare",
    "x_ai": "x-ai",
    "xai": "x-ai",
    "z_ai": "zai",
    "zai": "zai",
    "zhipu": "zhipuai",
    "zhipuai": "zhipuai",
}

# Payers without prices in the book: self-hosted runtimes and platforms with prices of their own.
# Their models often have the name of one that somebody else sells, at a price that is not theirs.
_WITHOUT_PRICES: Final = frozenset(
    {
        "aws_sagemaker",
        "hf",
        "hugging_face",
        "huggingface",
        "ibm_watsonx",
        "llama_cpp",
        "llamacpp",
        "lm_studio",
        "lmstudio",
        "localai",
        "nvidia",
        "ollama",
        "replicate",
        "sagemaker",
        "sglang",
        "tgi",
        "vllm",
        "watsonx",
    }
)

# Sellers whose ids have no vendor in front, so that a path is a way of addressing, not a name:
# "models/gemini-2.5-pro", "bedrock/converse/us.amazon.nova-lite-v1:0", an ARN.
_SELL_BARE_NAMES: Final = frozenset(
    {"anthropic", "aws", "azure", "cohere", "deepseek", "google", "mistral", "openai", "x-ai"}
)

# A regional Bedrock profile costs what the region costs. "global." is another price: never cut.
_BEDROCK_REGION: Final = re.compile(r"^(?:us|us-gov|eu|apac|jp|au|ca|sa|in|me|af)\.(?=[a-z0-9]+\.)")
_BEDROCK_MODEL: Final = re.compile(
    r"^(?:arn:aws[a-z-]*:bedrock:|(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|in|me|af|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|moonshotai|nvidia|qwen|writer|zai)\.)"
)
_SEPARATORS: Final = re.compile(r"[\s.\-/]+")


def fold(provider: str) -> str:
    """Lower case, one separator: "Azure OpenAI", "azure-openai" and "azure.openai" are one."""
    return _SEPARATORS.sub("_", provider.strip().lower())


def provider_id(folded: str) -> str | None:
    """The id of the provider that a folded name stands for."""
    parts = folded.split("_")
    leading = ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((_PROVIDERS[name] for name in leading if name in _PROVIDERS), None)


def has_no_prices(folded: str) -> bool:
    """Is this somebody who is paid, but not by any price of the book?"""
    parts = folded.split("_")
    return any("_".join(parts[:count]) in _WITHOUT_PRICES for count in range(len(parts), 0, -1))


def canonical(provider: str) -> str:
    """The id under which price files and calls meet, whether genai-prices knows it or not."""
    folded = fold(provider)
    parts = folded.split("_")
    leading = ["_".join(parts[:count]) for count in range(len(parts), 0, -1)]
    runtime = next((name for name in leading if name in _WITHOUT_PRICES), None)
    return runtime or provider_id(folded) or folded


def is_bedrock_model(name: str) -> bool:
    """Does the id itself say that Bedrock served it, whatever the provider attribute says?"""
    return _BEDROCK_MODEL.match(name) is not None


def spellings(provider: str, name: str) -> Iterator[str]:
    """A model name as reported, then without what an API or a platform put around it."""
    yield name
    bare = name
    if "/" in bare and provider in _SELL_BARE_NAMES:
        bare = bare.rsplit("/", 1)[-1]
        yield bare
    if provider == "aws" and _BEDROCK_REGION.match(bare):
        bare = _BEDROCK_REGION.sub("", bare)
        yield bare
    if "@" in bare:
        yield bare.replace("@", "-")  # Vertex: claude-sonnet-4-5@20250929
        yield bare.partition("@")[0]


def route(name: str) -> tuple[str, str] | None:
    """("openrouter", "x-ai/grok-4") of "openrouter/x-ai/grok-4": a gateway's way to name both."""
    head, slash, tail = name.partition("/")
    provider = provider_id(fold(head)) if slash else None
    return (provider, tail) if provider and tail else None
