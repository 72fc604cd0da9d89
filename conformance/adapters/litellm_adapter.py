"""LiteLLM: ``completion_cost`` on a response with its own usage object, as its proxy calls it.

It has today's prices only, so a vector of another month is refused here; the hour of the day is
pinned as its own code does. Other kinds of calls (speech, transcription, OCR, rerank, video,
images) go in as the responses that LiteLLM makes of them.
"""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

# Its price list is read from the package; otherwise importing it fetches one.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm._internal_context import pinned_billing_time
from litellm.cost_calculator import completion_cost, cost_per_token, ocr_batch_cost
from litellm.llms.base_llm.ocr.transformation import OCRResponse, OCRUsageInfo
from litellm.types.llms.openai import ResponseAPIUsage, ResponsesAPIResponse
from litellm.types.utils import (
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    ImageObject,
    ImageResponse,
    ModelResponse,
    PromptTokensDetailsWrapper,
    ServerToolUse,
    StandardBuiltInToolsParams,
    Usage,
)
from protocol import Unsupported, Vector, Work, serve

PROVIDERS = {
    "aws.bedrock": "bedrock",
    "azure.ai.openai": "azure",
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "mistral_ai": "mistral",
    "moonshotai": "moonshot",
    "together": "together_ai",
    "voyageai": "voyage",
    "x_ai": "xai",
}
# The release that is pinned has the prices of this month.
MONTH = "2026-11"
TOKEN_KEYS = {
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_write_12h_tokens",
    "cache_audio_read_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_citation_tokens",
    "output_reasoning_tokens",
    "web_searches",
}

Quantities = Mapping[str, Any]


def usage_object(vector: Vector) -> Usage:
    """The usage as LiteLLM's own transformations fill it in: inclusive, with every detail."""
    said: Quantities = vector["usage"]
    count = said.get
    written = any(key.startswith("cache_write") for key in said)
    lifetimes = CacheCreationTokenDetails(
        ephemeral_5m_input_tokens=count("cache_write_5m_tokens"),
        ephemeral_1h_input_tokens=count("cache_write_1h_tokens"),
        ephemeral_12h_input_tokens=count("cache_write_12h_tokens"),
    )
    is_split = len(said.keys() & {f"cache_write_{ttl}_tokens" for ttl in ("5m", "1h", "12h")}) > 0
    prompt: dict[str, Any] = {
        "cached_tokens": count("cache_read_tokens"),
        "audio_tokens": count("input_audio_tokens"),
        "image_tokens": count("input_image_tokens"),
        "cache_creation_tokens": count("cache_write_tokens"),
        "cache_creation_token_details": lifetimes if is_split else None,
        # What was not searched is not reported: a 0 here would be billed as one search.
        "web_search_requests": count("web_searches") or None,
    }
    if "cache_audio_read_tokens" in said:
        prompt["cached_tokens_details"] = {"audio_tokens": said["cache_audio_read_tokens"]}
    completion = {
        "reasoning_tokens": count("output_reasoning_tokens"),
        "audio_tokens": count("output_audio_tokens"),
        "image_tokens": count("output_image_tokens"),
    }
    others: dict[str, Any] = {}
    if vector["provider"] == "anthropic":
        others["inference_geo"] = vector["context"].get("region")
        others["speed"] = "fast" if vector["context"].get("service_tier") == "fast" else None
    if "cache_read_tokens" in said:
        others["cache_read_input_tokens"] = said["cache_read_tokens"]
    if written:
        others["cache_creation_input_tokens"] = said["cache_write_tokens"]
    if "output_citation_tokens" in said:
        others["citation_tokens"] = said["output_citation_tokens"]
    if count("web_searches"):
        others["server_tool_use"] = ServerToolUse(web_search_requests=said["web_searches"])
    # Citations are counted beside the completion on the wire, inside the output in the vectors.
    completed = count("output_tokens", 0) - count("output_citation_tokens", 0)
    return Usage(
        prompt_tokens=count("input_tokens", 0),
        completion_tokens=completed,
        total_tokens=count("input_tokens", 0) + completed,
        prompt_tokens_details=PromptTokensDetailsWrapper(**without_none(prompt)),
        completion_tokens_details=CompletionTokensDetailsWrapper(**without_none(completion)),
        **without_none(others),
    )


def response_of(vector: Vector, provider: str | None) -> ModelResponse | ResponsesAPIResponse:
    """A chat response; OpenAI's searches are counted in the output of its other API."""
    searches = vector["usage"].get("web_searches", 0)
    if provider != "openai" or not searches:
        return ModelResponse(model=vector["model"], usage=usage_object(vector))
    call = {"type": "web_search_call", "id": "x", "status": "completed"}
    usage = ResponseAPIUsage(
        input_tokens=vector["usage"].get("input_tokens", 0),
        output_tokens=vector["usage"].get("output_tokens", 0),
        total_tokens=0,
    )
    return ResponsesAPIResponse(
        id="x", created_at=0, model=vector["model"], output=[call] * searches, usage=usage
    )


def without_none(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value is not None}


def tokens(vector: Vector, provider: str | None) -> Callable[[], float]:
    """A chat, an embedding, a batch: everything that is billed by the token."""
    context = vector["context"]
    tier = context.get("service_tier")
    options: dict[str, Any] = {
        "completion_response": response_of(vector, provider),
        "model": vector.get("requested_model", vector["model"]),
        "custom_llm_provider": provider,
        "service_tier": None if provider == "anthropic" else tier,
        "call_type": "aretrieve_batch" if context.get("processing") == "batch" else "completion",
    }
    if context.get("region") and provider == "openai":
        options["data_residency"] = context["region"]
    if "web_search" in context.get("tools_offered", ()):
        options["standard_built_in_tools_params"] = StandardBuiltInToolsParams(
            web_search_options={"search_context_size": "medium"}
        )
    return lambda: completion_cost(**options)


def pages(vector: Vector, provider: str | None) -> Callable[[], float]:
    said: Quantities = vector["usage"]
    annotated = said.get("input_annotated_document_pages", 0)
    usage = OCRUsageInfo(
        pages_processed=said["input_document_pages"] - annotated,
        pages_processed_annotation=annotated,
    )
    response = OCRResponse(pages=[], model=vector["model"], usage_info=usage)
    if vector["context"].get("processing") == "batch":
        return lambda: sum(ocr_batch_cost(vector["model"], provider, usage))
    return lambda: sum(
        cost_per_token(
            model=vector["model"], custom_llm_provider=provider, call_type="ocr", response=response
        )
    )


def video(vector: Vector, provider: str | None) -> Callable[[], float]:
    ((key, seconds),) = vector["usage"].items()
    resolution = key.removeprefix("video_seconds").strip("_") or None
    usage = without_none({"duration_seconds": float(seconds), "video_resolution": resolution})
    # A response has attributes; a plain dictionary would be taken for chat usage.
    response = type("VideoResponse", (), {"usage": usage})()
    return lambda: completion_cost(
        completion_response=response,
        model=vector["model"],
        custom_llm_provider=provider,
        call_type="create_video",
    )


def images(vector: Vector, provider: str | None) -> Callable[[], float]:
    ((key, count),) = vector["usage"].items()
    size = key.removeprefix("images_").upper()
    response = ImageResponse(data=[ImageObject(url="x")] * count)
    return lambda: completion_cost(
        completion_response=response,
        model=vector["model"],
        custom_llm_provider=provider,
        call_type="image_generation",
        size=size,
        optional_params={"resolution": size, "image_size": size},
    )


def transcription(vector: Vector, provider: str | None) -> Callable[[], float]:
    if vector["context"].get("processing") == "batch":
        raise Unsupported("no way to say batch for a transcription")
    seconds = float(vector["usage"]["audio_seconds"])
    return lambda: sum(
        cost_per_token(
            model=vector["model"],
            custom_llm_provider=provider,
            call_type="transcription",
            audio_transcription_file_duration=seconds,
        )
    )


def speech(vector: Vector, provider: str | None) -> Callable[[], float]:
    return lambda: sum(
        cost_per_token(
            model=vector["model"],
            custom_llm_provider=provider,
            call_type="speech",
            prompt_characters=vector["usage"]["input_characters"],
        )
    )


def rerank(vector: Vector, provider: str | None) -> Callable[[], float]:
    units = {"search_units": vector["usage"]["rerank_searches"]}
    return lambda: sum(
        cost_per_token(
            model=vector["model"],
            custom_llm_provider=provider,
            call_type="rerank",
            rerank_billed_units=units,
        )
    )


# Leading words of usage keys -> the kind of call of LiteLLM that is billed by them.
KINDS = {
    "audio_seconds": transcription,
    "images_": images,
    "input_annotated_document_pages": pages,
    "input_characters": speech,
    "input_document_pages": pages,
    "rerank_searches": rerank,
    "video_seconds": video,
}


def by_unit(vector: Vector, provider: str | None) -> Callable[[], float]:
    """The call of LiteLLM that takes these units."""
    keys = set(vector["usage"])
    if keys <= TOKEN_KEYS:
        return tokens(vector, provider)
    kinds = {kind for key in keys for start, kind in KINDS.items() if key.startswith(start)}
    if len(kinds) != 1 or keys & TOKEN_KEYS:
        raise Unsupported(f"no way to say {', '.join(sorted(keys))}")
    return kinds.pop()(vector, provider)


def prepare(vector: Vector) -> Work:
    """The call, with everything that LiteLLM can be told."""
    for key in ("operator_prices", "percent_off"):
        if key in vector["context"]:
            raise Unsupported(f"{key}: needs prices of one's own")
    at = datetime.fromisoformat(vector["at"])
    if f"{at:%Y-%m}" != MONTH:
        raise Unsupported("no way to ask for the price of another day")
    provider = PROVIDERS.get(vector["provider"], vector["provider"]) or None
    call = by_unit(vector, provider)

    def work() -> float:
        try:
            with pinned_billing_time(at):
                return call()
        except Exception as error:
            # It raises bare exceptions for a model that is not in its list.
            if any(words in str(error) for words in ("isn't mapped", "LLM Provider NOT provided")):
                raise Unsupported(str(error)) from error
            raise

    return work


litellm.suppress_debug_info = True

if __name__ == "__main__":
    serve(prepare)
