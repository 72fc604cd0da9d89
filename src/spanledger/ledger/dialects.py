"""Span batch to calls: who called which model, with which usage, in canonical units.

Promises: every span of the batch is counted once, as a call, as not-a-call with a reason, or as a
reject with a reason; what a span becomes depends on that span alone. Usage leaves here in the
canonical units of genai-prices: input includes cache reads and writes, output includes reasoning.
Never sums two spellings of one fact (the first that is present wins), never guesses in silence.

This is a table: ``FIELDS`` says where a fact is read, ``SCOPES`` what an instrumentation is known
to mean by its numbers, ``AGGREGATES`` which operations repeat what their children report. A new
dialect is new rows. Names: OpenTelemetry GenAI semantic conventions, old and new
(gen_ai.system became gen_ai.provider.name in 1.37, prompt/completion_tokens became
input/output_tokens in 1.28, cache_creation became cache_write in 2026).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import polars as pl

from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX
from spanledger.ledger.otlp import ATTRIBUTE, REJECTS as SPAN_REJECTS, RESOURCE, AttributeKeys, Kind
from spanledger.ledger.schema import CALLS, MONEY, QUANTITY_MAP, USAGE_COLUMNS


@dataclass(frozen=True)
class Field:
    """Where a fact is read: names in order of trust, on the span, then on the resource."""

    names: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    kind: Kind = Kind.TEXT


def _text(*names: str, resource: Sequence[str] = ()) -> Field:
    return Field(names, tuple(resource))


def _count(*names: str) -> Field:
    return Field(names, kind=Kind.COUNT)


FIELDS: Final[Mapping[str, Field]] = {
    "service": _text(resource=["service.name"]),
    "environment": _text(resource=["deployment.environment.name", "deployment.environment"]),
    "provider": _text("gen_ai.provider.name", "gen_ai.system"),
    "request_model": _text("gen_ai.request.model"),
    "response_model": _text("gen_ai.response.model"),
    "operation": _text("gen_ai.operation.name"),
    "user_id": _text("user.id", "enduser.id", "gen_ai.request.user"),
    "customer": _text("spanledger.customer", "customer.id", resource=["spanledger.customer"]),
    "team": _text("spanledger.team", "team.id", resource=["spanledger.team", "team"]),
    "project": _text("spanledger.project", resource=["spanledger.project", "service.namespace"]),
    "feature": _text("spanledger.feature", resource=["spanledger.feature"]),
    "conversation_id": _text("gen_ai.conversation.id", "session.id"),
    "agent": _text("gen_ai.agent.name"),
    "workflow": _text("gen_ai.workflow.name"),
    "api_key_alias": _text("spanledger.api_key_alias", resource=["spanledger.api_key_alias"]),
    # The tier of the response, never the requested one (PRICING rule 3).
    "service_tier": _text(
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "anthropic.response.service_tier",
        "gen_ai.response.service_tier",
    ),
    "response_id": _text("gen_ai.response.id"),
    "error_type": _text("error.type"),
    "time_to_first_token_s": Field(("gen_ai.response.time_to_first_chunk",), kind=Kind.NUMBER),
    "cost_reported": Field(("gen_ai.usage.cost.amount", "gen_ai.usage.cost"), kind=Kind.NUMBER),
    "input_tokens": _count("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": _count("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "cache_read_tokens": _count(
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"
    ),
    "cache_write_tokens": _count(
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
    ),
    "cache_write_5m_tokens": _count("anthropic.usage.cache_creation.ephemeral_5m_input_tokens"),
    "cache_write_1h_tokens": _count("anthropic.usage.cache_creation.ephemeral_1h_input_tokens"),
    "output_reasoning_tokens": _count(
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"
    ),
    "input_audio_tokens": _count("gen_ai.usage.audio.input_tokens"),
    "output_audio_tokens": _count("gen_ai.usage.audio.output_tokens"),
    "cache_audio_read_tokens": _count("gen_ai.usage.audio.cache_read.input_tokens"),
    "input_image_tokens": _count("gen_ai.usage.image.input_tokens"),
    "output_image_tokens": _count("gen_ai.usage.image.output_tokens"),
    # Not a usage of its own: it decides whether input includes the cached tokens.
    "total_tokens": _count("gen_ai.usage.total_tokens"),
}

# Kept as text beside the columns. Parameters and ids; nothing that holds what was said.
KEPT: Final = (
    "aws.bedrock.guardrail.id",
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
    "server.address",
    "server.port",
)

# Operations that repeat the usage of the calls below them, or that bill nothing themselves.
AGGREGATES: Final = (
    "chain",
    "count_tokens",
    "create_agent",
    "execute_tool",
    "fetch_response",
    "framework",
    "invoke_agent",
    "invoke_workflow",
    "plan",
    "retrieval",
)

# Calls of the provider that cost nothing and may name no operation, by the end of the span's name.
FREE: Final = ("count_tokens",)

# Old names of a payer to the value that gen_ai.provider.name has for it today.
PROVIDERS: Final[Mapping[str, str]] = {
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}


@dataclass(frozen=True)
class Scope:
    """What an instrumentation is known to mean by its numbers."""

    input_includes_cache: bool = True
    loses_cache: bool = False


SCOPES: Final[Mapping[str, Scope]] = {
    # The Anthropic SDK's own spans; they have the split of cache writes by time to live.
    "com.anthropic.sdk.python": Scope(),
    "com.anthropic.sdk.python.bedrock": Scope(),
    "opentelemetry.instrumentation.genai.openai": Scope(),
    "opentelemetry.instrumentation.genai.anthropic": Scope(),
    "opentelemetry.instrumentation.google_genai": Scope(),
    "opentelemetry.instrumentation.openai_v2": Scope(loses_cache=True),
    # Converse reports what Bedrock reports: input without cache reads and writes.
    "opentelemetry.instrumentation.botocore.bedrock-runtime": Scope(input_includes_cache=False),
}

NOT_A_CALL: Final = ("not_genai", "aggregate", "free", "no_model_no_usage")
REJECTS: Final = (*SPAN_REJECTS, "model_name_too_long")

_COUNTS: Final = tuple(name for name, field in FIELDS.items() if field.kind is Kind.COUNT)


@dataclass(frozen=True)
class Normalised:
    """What a span batch became.

    ``calls``: a ``CALLS`` frame. ``not_calls``: reason -> spans. ``rejects``: a frame of
    ``request`` UInt32, ``reason`` String, ``spans`` UInt32, for the answer to each sender.
    """

    calls: pl.DataFrame
    not_calls: Mapping[str, int]
    rejects: pl.DataFrame


def attribute_keys(kept_too: Iterable[str] = ()) -> AttributeKeys:
    """The attributes to read from spans: those of ``FIELDS``, those kept, and the user's own."""
    kinds = dict.fromkeys((*KEPT, *kept_too), Kind.KEEP)
    for field in FIELDS.values():
        kinds.update(dict.fromkeys((*field.names, *field.resource), field.kind))
    return AttributeKeys(kinds)


def normalise(spans: pl.DataFrame, tenant: str) -> Normalised:
    """Turn a span batch of ``otlp.decode`` into calls; every span is accounted for."""
    facts = (
        spans.lazy()
        .with_columns(_facts(tuple(spans.columns)))
        .with_columns(_IDENTITY)
        .with_columns(_FATE)
        .collect(optimizations=_AS_WRITTEN)
    )
    calls = facts
    not_calls: dict[str, int] = {}
    rejects = _NO_REJECTS
    if facts.get_column("fate").null_count() < facts.height:
        calls = facts.filter(pl.col("fate").is_null())
        fates = facts.filter(pl.col("fate").is_not_null())
        others = fates.filter(pl.col("reject").is_null())
        not_calls = dict(others.group_by("fate").len().iter_rows())
        rejects = (
            fates.filter(pl.col("reject").is_not_null())
            .group_by("request", pl.col("reject").alias("reason"))
            .agg(pl.len().alias("spans"))
        )
    canonical = calls.lazy().with_columns(pl.lit(tenant).alias("tenant"))
    for step in _CANONICAL:
        canonical = canonical.with_columns(step)
    return Normalised(
        calls=canonical.select(_AS_CALLS).collect(optimizations=_AS_WRITTEN),
        not_calls=not_calls,
        rejects=rejects,
    )


# The steps below are written in the order in which they are best run, and a lone span should not
# wait for a query optimiser to find that out.
_AS_WRITTEN: Final = pl.QueryOptFlags.none()
_NO_REJECTS: Final = pl.DataFrame(
    schema={"request": pl.UInt32, "reason": pl.String, "spans": pl.UInt32}
)


@lru_cache(maxsize=256)  # an emitter always sends the same few sets of attributes
def _facts(present: tuple[str, ...]) -> list[pl.Expr]:
    return [_first(name, present) for name in FIELDS]


def _first(name: str, present: Sequence[str]) -> pl.Expr:
    """The first spelling that is present; text ends in "", numbers in null."""
    field = FIELDS[name]
    columns = [ATTRIBUTE + key for key in field.names] + [RESOURCE + key for key in field.resource]
    found = [pl.col(column) for column in columns if column in present]
    if field.kind is Kind.TEXT:
        # An empty text is as good as absent: the next spelling may know better.
        said = [pl.when(column != "").then(column) for column in found[:-1]]
        return pl.coalesce(*said, *found[-1:], pl.lit("")).alias(name)
    dtype = pl.Int64 if field.kind is Kind.COUNT else pl.Float64
    return (pl.coalesce(found) if found else pl.lit(None, dtype)).alias(name)


_IDENTITY: Final = [
    pl.col("provider").str.to_lowercase().replace(PROVIDERS),
    pl.col("operation").str.to_lowercase(),
    pl.col("service_tier").str.to_lowercase(),
    ((pl.col("request_model") != "") | (pl.col("response_model") != "")).alias("has_model"),
    pl.any_horizontal(pl.col(_COUNTS).is_not_null()).alias("has_usage"),
]


def _fate() -> list[pl.Expr]:
    """Null for a call, else why it is none; rejects come first."""
    genai = pl.col("has_model") | pl.col("has_usage") | (pl.col("provider") != "")
    genai |= pl.col("operation") != ""
    longest = pl.max_horizontal(
        pl.col("request_model").str.len_bytes(), pl.col("response_model").str.len_bytes()
    )
    too_long = pl.when(longest > MODEL_NAME_BYTES_MAX).then(pl.lit("model_name_too_long"))
    reject = pl.coalesce("reject", too_long)
    fate = (
        pl.when(reject.is_not_null())
        .then(reject)
        .when(~genai)
        .then(pl.lit("not_genai"))
        .when(pl.col("operation").is_in(AGGREGATES))
        .then(pl.lit("aggregate"))
        .when(pl.any_horizontal(pl.col("name").str.ends_with(name) for name in FREE))
        .then(pl.lit("free"))
        .when(~pl.col("has_model") & ~pl.col("has_usage"))
        .then(pl.lit("no_model_no_usage"))
    )
    return [reject.alias("reject"), fate.alias("fate")]


_FATE: Final = _fate()


def _cached() -> pl.Expr:
    return pl.col("cache_read_tokens") + pl.col("cache_write_tokens")


def _input_includes_cache() -> list[pl.Expr]:
    """Is input inclusive of cached tokens, and how do we know?

    The numbers decide where they can; then the scope table; then the specification.
    """
    counted = pl.col("input_tokens") + pl.col("output_tokens")
    total = pl.col("total_tokens")
    proven_out = (_cached() > pl.col("input_tokens")) | (
        (_cached() > 0) & (total == counted + _cached())
    )
    proven_in = (_cached() == 0) | (total == counted)
    without = [name for name, scope in SCOPES.items() if not scope.input_includes_cache]
    declared_out = pl.col("scope_name").is_in(without)
    convention = (
        pl.when(proven_out | proven_in)
        .then(pl.lit("proven"))
        .when(pl.col("scope_name").is_in(list(SCOPES)))
        .then(pl.lit("declared"))
        .otherwise(pl.lit("assumed"))
    )
    includes = pl.when(proven_out).then(statement=False).when(proven_in).then(statement=True)
    return [
        includes.otherwise(~declared_out).alias("includes_cache"),
        convention.alias("convention"),
    ]


def _reported_cost() -> pl.Expr:
    """USD to twelve places: a token of the cheapest model, and all that a double has to say.

    A reported 0 means "unknown" in every emitter that writes it.
    """
    cost = pl.col("cost_reported")
    scaled = (cost * 1e12).round().cast(pl.Int64).cast(MONEY)
    return pl.when((cost > 0) & (cost < 1e6)).then(scaled / 10**12)


_LOSE_CACHE: Final = [name for name, scope in SCOPES.items() if scope.loses_cache]
_FAILED: Final = pl.col("failed") | (pl.col("error_type") != "")

# What makes facts canonical, step by step: each step may use the columns of those before it.
_CANONICAL: Final = (
    [
        pl.any_horizontal(pl.col(_COUNTS) < 0).fill_null(value=False).alias("usage_invalid"),
        (~pl.col("has_usage")).alias("usage_missing"),
        pl.lit(value=False).alias("usage_estimated"),
        pl.col("scope_name").is_in(_LOSE_CACHE).alias("cache_unknown"),
        pl.when(_FAILED).then(pl.lit("error")).otherwise(pl.lit("ok")).alias("status"),
        (pl.col("time_to_first_token_s") * 1_000).alias("time_to_first_token_ms"),
        _reported_cost().alias("cost_reported_usd"),
        pl.lit([], QUANTITY_MAP).alias("usage"),
        pl.coalesce(
            "cache_write_tokens",
            pl.col("cache_write_5m_tokens") + pl.col("cache_write_1h_tokens").fill_null(0),
            "cache_write_1h_tokens",
        ),
    ],
    [pl.col(_COUNTS).clip(lower_bound=0).fill_null(0)],
    _input_includes_cache(),
    [
        pl.when("includes_cache")
        .then(0)
        .otherwise(_cached())
        .add(pl.col("input_tokens"))
        .alias("input_tokens")
    ],
)
_AS_CALLS: Final = [pl.col(name).cast(dtype) for name, dtype in CALLS.items()]


assert set(USAGE_COLUMNS) <= set(FIELDS)  # noqa: S101 - the table must fill the schema
