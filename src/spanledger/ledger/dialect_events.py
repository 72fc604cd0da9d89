"""The dialects as data: the log records that are the authoritative account of a model call.

Promises: only names and facts, each traceable to a captured or documented record. Never code. Some
coding agents report one call on up to five signals; of these the log alone is complete (their spans
are without the cache, the thoughts or the model), so their log is booked and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Where a record says a fact: attributes in order of trust; "a + b" for counts that make it
# together.
Said = tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """One event that is a model call, and how to read it as if it were a span."""

    name: str
    facts: Mapping[str, Said]  # attribute of a span -> where the record has it
    means: Mapping[str, str]  # attribute of a span -> what goes without saying
    # Under this scope the attribute event.name is only the end of the name.
    scope: str = ""
    only: Mapping[str, str] = field(default_factory=dict)  # attribute -> the value it must have
    needs: Said = ()  # attributes without which the record is about something else
    # Attribute -> its value -> who is paid; any other value says nothing about that.
    payers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    duration_ms: str = ""  # the attribute; the record is written when the call has ended
    first_chunk_after_ms: str = ""


EVENTS: Final = (
    Event(
        "claude_code.api_request",
        scope="com.anthropic.claude_code",
        facts={
            "gen_ai.response.model": ("model",),
            "gen_ai.response.id": ("request_id",),
            "gen_ai.usage.input_tokens": ("input_tokens",),  # without the cache
            "gen_ai.usage.output_tokens": ("output_tokens",),
            "gen_ai.usage.cache_read.input_tokens": ("cache_read_tokens",),
            "gen_ai.usage.cache_write.input_tokens": ("cache_creation_tokens",),
            "gen_ai.usage.cost": ("cost_usd",),
            # user.id is a device; the others are there once somebody has logged in.
            "user.id": ("user.email", "user.account_uuid", "user.id"),
        },
        means={"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic"},
        duration_ms="duration_ms",
    ),
    Event(
        "codex.sse_event",
        # Two records a response say "completed"; the one with counts is the call.
        only={"event.kind": "response.completed"},
        needs=("input_token_count",),
        facts={
            "gen_ai.request.model": ("model", "slug"),
            "gen_ai.usage.input_tokens": ("input_token_count",),
            "gen_ai.usage.output_tokens": ("output_token_count",),
            "gen_ai.usage.cache_read.input_tokens": ("cached_token_count",),
            "gen_ai.usage.cache_write.input_tokens": ("cache_write_token_count",),
            "gen_ai.usage.reasoning.output_tokens": ("reasoning_token_count",),
            # Whatever its name says, it is the total, and not to be added to anything.
            "gen_ai.usage.total_tokens": ("tool_token_count",),
            "gen_ai.conversation.id": ("conversation.id",),
            "user.id": ("user.email", "user.account_id"),
        },
        means={"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"},
        first_chunk_after_ms="ttft_ms",
    ),
    Event(
        "gemini_cli.api_response",
        facts={
            "gen_ai.response.model": ("model",),
            # The results of built-in tools are prompt, and billed as such.
            "gen_ai.usage.input_tokens": ("input_token_count + tool_token_count",),
            "gen_ai.usage.output_tokens": ("output_token_count",),  # without the thoughts
            "gen_ai.usage.cache_read.input_tokens": ("cached_content_token_count",),
            "gen_ai.usage.reasoning.output_tokens": ("thoughts_token_count",),
            "gen_ai.usage.total_tokens": ("total_token_count",),
            "user.id": ("user.email",),
        },
        means={"gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "gcp.gemini"},
        payers={"auth_type": {"vertex-ai": "gcp.vertex_ai"}},
        duration_ms="duration_ms",
    ),
)

# Repeats, as a log record, the usage of a span or of one of the events above.
REPEATING: Final = ("gen_ai.client.inference.operation.details",)

# What makes a record itself beside its times and its event, read as it was sent. Never change this:
# a retry across an upgrade would be another call. Nothing that a relay may add (host, process),
# and no fraction: how that is written out may change.
IDENTITY: Final = (
    "event.timestamp",
    "event.sequence",
    "session.id",
    "conversation.id",
    "prompt.id",
    "prompt_id",
    "request_id",
    "client_request_id",
    "model",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "input_token_count",
    "output_token_count",
    "cached_token_count",
    "cache_write_token_count",
    "cached_content_token_count",
    "reasoning_token_count",
    "thoughts_token_count",
    "tool_token_count",
    "total_token_count",
)
