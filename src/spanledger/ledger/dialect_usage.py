"""From counts as they were reported to canonical usage, and what is doubtful about it.

Promises: input includes cached tokens, output includes reasoning; the flags of a call say which
count its emitter is known to lose, to invent or to leave out. Each step is a pure expression over
the facts of one span. Never sums two spellings of one fact; never decides in silence: what the
numbers do not prove is ``declared`` by the scope table or ``assumed`` from the specification.
"""

from collections.abc import Callable
from typing import Final

import polars as pl

from spanledger.ledger.dialect_fields import FIELDS
from spanledger.ledger.dialect_scopes import SCOPES, Scope
from spanledger.ledger.otlp_values import Kind
from spanledger.ledger.schema import MONEY

COUNTS: Final = tuple(name for name, field in FIELDS.items() if field.kind is Kind.COUNT)

# Of a scope whose versions mean different things, a major version has a name of its own.
SCOPE: Final = pl.col("scope")
MODEL: Final = (
    pl.when(pl.col("request_model") != "").then("request_model").otherwise("response_model")
)


def scope_in_table() -> pl.Expr:
    """The name under which ``SCOPES`` knows a span's scope, as the column ``scope``."""
    name, major = pl.col("scope_name"), pl.col("scope_version").str.extract(r"^(\d+)\.")
    versioned = pl.concat_str(name, pl.lit(" "), major)
    return pl.when(versioned.is_in(list(SCOPES))).then(versioned).otherwise(name).alias("scope")


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
    declared_out = _of_scopes(lambda scope: not scope.input_includes_cache)
    convention = (
        pl.when(proven_out | proven_in)
        .then(pl.lit("proven"))
        .when(SCOPE.is_in(list(SCOPES)))
        .then(pl.lit("declared"))
        .otherwise(pl.lit("assumed"))
    )
    includes = pl.when(proven_out).then(statement=False).when(proven_in).then(statement=True)
    return [
        includes.otherwise(~declared_out).alias("includes_cache"),
        convention.alias("convention"),
    ]


def _output_with_reasoning() -> pl.Expr:
    """Gemini's candidates are without the thoughts; some emitters pass them on so."""
    without = _of_scopes(lambda scope: not scope.output_includes_reasoning)
    output, reasoning = pl.col("output_tokens"), pl.col("output_reasoning_tokens")
    implied = pl.max_horizontal(pl.col("total_tokens") - pl.col("input_tokens"), output)
    complete = pl.when(reasoning > 0).then(output + reasoning).otherwise(implied)
    return pl.when(without).then(complete).otherwise(output).alias("output_tokens")


def _reported_cost() -> pl.Expr:
    """USD to twelve places: a token of the cheapest model, and all that a double has to say.

    A reported 0 means "unknown" in every emitter that writes it.
    """
    cost = pl.col("cost_reported")
    scaled = (cost * 1e12).round().cast(pl.Int64).cast(MONEY)
    return pl.when((cost > 0) & (cost < 1e6)).then(scaled / 10**12)


def _doubts() -> list[pl.Expr]:
    """What is known to be wrong with the counts of a span, before they are completed."""
    read, written = pl.col("cache_read_tokens"), pl.col("cache_write_tokens")
    streamed = pl.col("streamed").str.to_lowercase() == "true"
    unknown = _of_scopes(lambda scope: scope.loses_cache) & read.is_null()
    guessed = streamed & (
        _of_scopes(lambda scope: scope.adds_to_streams)
        | (_of_scopes(lambda scope: scope.guesses_streams) & read.is_null())
    )
    for name, scope in SCOPES.items():
        if scope.guesses:
            guessed |= (name == SCOPE) & MODEL.str.contains(scope.guesses)
    no_writes = _of_scopes(lambda scope: scope.loses_cache_writes) & (written.fill_null(0) == 0)
    # Cached tokens that are neither in the input nor beside it: the cost has no upper bound.
    guessed |= unknown & _of_scopes(lambda scope: not scope.input_includes_cache)
    doubts = {
        "cache_unknown": unknown,
        "cache_write_unknown": no_writes & ~unknown,
        "usage_estimated": guessed,
    }
    # Without output there is no usage to doubt, or it is of an embedding, which has no cache.
    return [
        (doubt & pl.col("output_tokens").is_not_null()).alias(name)
        for name, doubt in doubts.items()
    ]


def _of_scopes(meant: Callable[[Scope], bool]) -> pl.Expr:
    return SCOPE.is_in([name for name, scope in SCOPES.items() if meant(scope)])


_NO_TOKENS: Final = pl.col("input_tokens").is_null() & pl.col("output_tokens").is_null()
_FAILED: Final = pl.col("failed") | (pl.col("error_type") != "")

# What makes facts canonical, step by step: each step may use the columns of those before it.
CANONICAL: Final = (
    [
        pl.any_horizontal(pl.col(COUNTS) < 0).fill_null(value=False).alias("usage_invalid"),
        (_NO_TOKENS & (pl.col("usage").list.len() == 0)).alias("usage_missing"),
        *_doubts(),
        pl.when(_FAILED).then(pl.lit("error")).otherwise(pl.lit("ok")).alias("status"),
        (pl.col("time_to_first_token_s") * 1_000).alias("time_to_first_token_ms"),
        _reported_cost().alias("cost_reported_usd"),
        pl.coalesce(
            "cache_write_tokens",
            pl.col("cache_write_5m_tokens") + pl.col("cache_write_1h_tokens").fill_null(0),
            "cache_write_1h_tokens",
        ),
    ],
    # Parts without a whole (thoughts, but no output) are no usage.
    [pl.when("usage_missing").then(0).otherwise(pl.col(COUNTS).clip(0).fill_null(0)).name.keep()],
    [
        pl.col("input_tokens") + pl.col("compaction_input_tokens"),
        pl.col("output_tokens") + pl.col("compaction_output_tokens"),
    ],
    [_output_with_reasoning()],
    _input_includes_cache(),
    [
        pl.when("includes_cache")
        .then(0)
        .otherwise(_cached())
        .add(pl.col("input_tokens"))
        .alias("input_tokens")
    ],
)
