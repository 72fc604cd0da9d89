"""genai-prices: ``calc_price`` with the provider's id, the instant and the price context."""

from datetime import datetime
from decimal import Decimal

import genai_prices
from genai_prices.data_units import unit_data
from protocol import Unsupported, Vector, Work, serve

PROVIDERS = {
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
# Not a matter of the call, so not of its context either.
NO_WAY_TO_SAY = ("operator_prices", "percent_off")


def prepare(vector: Vector) -> Work:
    """All that ``calc_price`` takes."""
    said = vector["context"]
    for key in NO_WAY_TO_SAY:
        if key in said:
            raise Unsupported(f"no way to say {key}")
    context = {key: said[key] for key in ("service_tier", "processing") if key in said}
    if said.get("service_tier") == "fast":
        context["speed"] = "fast"
    if "region" in said:
        context["inference_geo"] = said["region"]
    usage = {
        key: Decimal(count) if isinstance(count, str) else count
        for key, count in vector["usage"].items()
    }
    unknown = usage.keys() - unit_data.keys()
    if unknown:
        raise Unsupported(f"no unit for {', '.join(sorted(unknown))}")
    at = datetime.fromisoformat(vector["at"])
    provider = PROVIDERS.get(vector["provider"], vector["provider"]) or None

    def work() -> Decimal:
        try:
            return genai_prices.calc_price(
                genai_prices.Usage(**usage),
                vector["model"],
                provider_id=provider,
                genai_request_timestamp=at,
                price_context=context or None,
            ).total_price
        except (LookupError, ValueError) as error:  # no such model; usage that cannot be
            raise Unsupported(str(error)) from error

    return work


if __name__ == "__main__":
    serve(prepare)
