"""tokencost: ``calculate_cost_by_tokens`` for input, cached input and output, added up.

It takes three kinds of tokens and a model's name; everything else it cannot be told.
"""

from datetime import datetime
from decimal import Decimal

from protocol import Unsupported, Vector, Work, serve
from tokencost import calculate_cost_by_tokens

# What the model's name is in its list, where that is not the name alone.
PREFIXES = {
    "azure.ai.openai": "azure/",
    "cerebras": "cerebras/",
    "dashscope": "dashscope/",
    "deepseek": "deepseek/",
    "gcp.gemini": "gemini/",
    "gcp.vertex_ai": "vertex_ai/",
    "groq": "groq/",
    "mistral_ai": "mistral/",
    "moonshotai": "moonshot/",
    "openrouter": "openrouter/",
    "perplexity": "perplexity/",
    "together": "together_ai/",
    "voyageai": "voyage/",
    "x_ai": "xai/",
}
# The list in the package is of one day; what is asked of another month it cannot know.
MONTH = "2026-11"
TAKEN = {"input_tokens", "cache_read_tokens", "output_tokens"}
# Parts that are billed like their whole unless a price says otherwise, which it could not.
INSIDE = {"output_reasoning_tokens"}
STANDARD = {"default", "auto"}


def prepare(vector: Vector) -> Work:
    """Three questions, one for each kind of tokens that was used."""
    context = vector["context"].items()
    special = [key for key, value in context if key != "tools_offered" and value not in STANDARD]
    if special:
        raise Unsupported(f"no way to say {', '.join(special)}")
    if f"{datetime.fromisoformat(vector['at']):%Y-%m}" != MONTH:
        raise Unsupported("no way to ask for the price of another day")
    usage = {key: count for key, count in vector["usage"].items() if count}
    unknown = usage.keys() - TAKEN - INSIDE
    if unknown:
        raise Unsupported(f"no way to say {', '.join(sorted(unknown))}")
    cached = usage.get("cache_read_tokens", 0)
    counts = {
        "input": usage.get("input_tokens", 0) - cached,
        "cached": cached,
        "output": usage.get("output_tokens", 0),
    }
    model = PREFIXES.get(vector["provider"], "") + vector["model"]

    def work() -> Decimal:
        try:
            return sum(
                (
                    calculate_cost_by_tokens(count, model, kind)
                    for kind, count in counts.items()
                    if count or kind == "input"
                ),
                Decimal(0),
            )
        except KeyError as error:
            raise Unsupported(str(error.args[0]).strip()) from error

    return work


if __name__ == "__main__":
    serve(prepare)
