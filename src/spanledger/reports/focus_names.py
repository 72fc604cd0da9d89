"""Names that FOCUS shows: of who is paid, of what is sold, of units.

Promises: every provider and unit has a name, an unknown one its own.
"""

from typing import Final

# gen_ai.provider.name -> who is paid, and for what.
_PROVIDERS: Final = {
    "anthropic": ("Anthropic", "Claude API"),
    "aws.bedrock": ("Amazon Web Services", "Amazon Bedrock"),
    "azure.ai.inference": ("Microsoft", "Azure AI Inference"),
    "azure.ai.openai": ("Microsoft", "Azure OpenAI"),
    "cohere": ("Cohere", "Cohere API"),
    "deepseek": ("DeepSeek", "DeepSeek API"),
    "gcp.gemini": ("Google", "Gemini API"),
    "gcp.gen_ai": ("Google", "Gemini API"),
    "gcp.vertex_ai": ("Google", "Vertex AI"),
    "groq": ("Groq", "Groq API"),
    "ibm.watsonx.ai": ("IBM", "watsonx.ai"),
    "mistral_ai": ("Mistral AI", "Mistral API"),
    "moonshot_ai": ("Moonshot AI", "Kimi API"),
    "openai": ("OpenAI", "OpenAI API"),
    "perplexity": ("Perplexity", "Perplexity API"),
    "x_ai": ("xAI", "xAI API"),
}
# A cost needs somebody who is paid, even where nothing says who.
_NOBODY: Final = "unknown"

_UNITS: Final = {
    "characters": "Characters",
    "cached_token_hours": "Token-Hours",
    "pages": "Pages",
    "requests": "Requests",
    "seconds": "Seconds",
    "tokens": "Tokens",
}
# Units with a size behind, such as images_4k and video_seconds_720p.
_SIZED: Final = {"images": "Images", "video_seconds": "Seconds"}


def provider_name(provider: str) -> str:
    """Who is paid."""
    return _PROVIDERS[provider][0] if provider in _PROVIDERS else provider or _NOBODY


def service_name(provider: str) -> str:
    """What they sell."""
    return _PROVIDERS[provider][1] if provider in _PROVIDERS else provider or _NOBODY


def base_unit(usage_key: str) -> str:
    """What a usage key counts: ``cache_read_tokens`` -> ``Tokens``."""
    for start, name in _SIZED.items():
        if usage_key == start or usage_key.startswith(f"{start}_"):
            return name
    if usage_key in _UNITS:
        return _UNITS[usage_key]
    last = usage_key.rpartition("_")[2]
    return _UNITS.get(last, last.title() or _NOBODY)


def token_direction(usage_key: str) -> str | None:
    """Whether tokens go in or come out; None where it counts no tokens, or both."""
    if not usage_key.endswith("tokens"):
        return None
    if usage_key.startswith("output_"):
        return "Output"
    return "Input" if usage_key.startswith(("input_", "cache_")) else None


def token_cache_action(usage_key: str) -> str | None:
    """What a cache has to do with tokens that go in; None for all others."""
    if token_direction(usage_key) != "Input":
        return None
    if not usage_key.startswith("cache_"):
        return "None"
    return "Write" if "write" in usage_key else "Read"
