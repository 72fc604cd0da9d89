"""Span batch to calls: who called which model, with which usage, in canonical units.

Promises: every span of the batch is counted once, as a call, as not-a-call with a reason, or as a
reject with a reason; what a span becomes depends on that span alone. Usage leaves here in the
canonical units of genai-prices: input includes cache reads and writes, output includes reasoning.
Never sums two spellings of one fact (the first that is present wins), never guesses in silence.

The rules are here, what they know of each instrumentation is rows in ``dialect_fields`` (where
a fact is read) and ``dialect_scopes`` (what an instrumentation means by its numbers, which spans
repeat what their children report).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import polars as pl

from spanledger.ledger import dialect_logs
from spanledger.ledger.dialect_fields import CONTENT, EXTRAS, FIELDS, KEPT, Spelling
from spanledger.ledger.dialect_scopes import (
    AGGREGATES,
    API_OF_PROVIDER,
    BEDROCK_HOST,
    BEDROCK_MODEL,
    FREE,
    HOSTS,
    KINDS,
    LOGGED,
    PROVIDERS,
    SCOPES,
)
from spanledger.ledger.dialect_usage import CANONICAL, COUNTS, MODEL, SCOPE, scope_in_table
from spanledger.ledger.limits import MODEL_NAME_BYTES_MAX, QUANTITY_MAX
from spanledger.ledger.otlp import REJECTS as SPAN_REJECTS
from spanledger.ledger.otlp_values import ATTRIBUTE, RESOURCE, AttributeKeys, Kind
from spanledger.ledger.schema import CALLS, MONEY, QUANTITY_MAP, USAGE_COLUMNS

NOT_A_CALL: Final = (
    "not_genai",
    "aggregate",
    "free",
    "no_model_no_usage",
    *dialect_logs.NOT_A_CALL,
)
REJECTS: Final = (*SPAN_REJECTS, "model_name_too_long", "too_old")


@dataclass(frozen=True)
class Normalised:
    """What a span batch became.

    ``calls``: a ``CALLS`` frame. ``not_calls``: reason -> spans. ``rejects``: a frame of
    ``request`` UInt32, ``reason`` String, ``spans`` UInt32, for the answer to each sender.
    """

    calls: pl.DataFrame
    not_calls: Mapping[str, int]
    rejects: pl.DataFrame


def content_names(names: Iterable[str]) -> list[str]:
    """Those of the names under which content would come."""
    return [name for name in names if re.search(CONTENT, name)]


# Column -> names under which an installation's own apps write it; they come before all others.
Own = tuple[tuple[str, tuple[str, ...]], ...]


def attribute_keys(kept_too: Iterable[str] = (), own: Own = ()) -> AttributeKeys:
    """The attributes to read from spans: those of ``FIELDS``, those kept, and the user's own."""
    kept = (*KEPT, *kept_too)
    kinds = dict.fromkeys(kept, Kind.KEEP)
    for _, names in own:
        kinds.update(dict.fromkeys(names, Kind.TEXT))
    kinds.update(dict.fromkeys(KINDS, Kind.TEXT))
    for field in FIELDS.values():
        kinds.update(dict.fromkeys(field.resource, field.kind))
        for spelling in field.names:
            for name in (spelling,) if isinstance(spelling, str) else spelling:
                key, mark, _ = _parts(name)
                kinds[key] = Kind.RAW if mark else field.kind
    kinds.update(dialect_logs.KINDS)
    return AttributeKeys(kinds, kept, dialect_logs.BODIES)


def _parts(name: str) -> tuple[str, str, str]:
    """Attribute, how the value lies inside it ("", "$" JSON path, "~" pattern), and where."""
    for mark in "$~":
        key, found, where = name.partition(mark)
        if found:
            return key, found, where
    return name, "", ""


def normalise(spans: pl.DataFrame, tenant: str | Sequence[str], own: Own = ()) -> Normalised:
    """Turn a span batch of ``otlp.decode`` into calls; every item is accounted for.

    ``tenant``: of all of them, or one of each request, from the credential it came with.
    """
    whose = (
        pl.lit(tenant)
        if isinstance(tenant, str)
        else pl.lit(pl.Series(tenant, dtype=pl.String)).gather("request")
    )
    spans, not_calls = dialect_logs.as_spans(spans)
    facts = (
        spans.lazy()
        .with_columns(_facts(tuple(spans.columns), own))
        .with_columns(_NAMES)
        .with_columns(_IDENTITY)
        .with_columns(_FATE)
        .collect(optimizations=_AS_WRITTEN)
    )
    calls = facts
    rejects = _NO_REJECTS
    if facts.get_column("fate").null_count() < facts.height:
        calls = facts.filter(pl.col("fate").is_null())
        fates = facts.filter(pl.col("fate").is_not_null())
        others = fates.filter(pl.col("reject").is_null())
        for reason, items in others.group_by("fate").len().iter_rows():
            not_calls[reason] = not_calls.get(reason, 0) + items
        rejects = (
            fates.filter(pl.col("reject").is_not_null())
            .group_by("request", pl.col("reject").alias("reason"))
            .agg(pl.len().alias("spans"))
        )
    canonical = calls.lazy().with_columns(whose.alias("tenant"))
    for step in CANONICAL:
        canonical = canonical.with_columns(step)
    return Normalised(
        calls=canonical.select(_AS_CALLS).collect(optimizations=_AS_WRITTEN),
        not_calls=not_calls,
        rejects=rejects,
    )


def refuse_before(normalised: Normalised, start_ns: int) -> Normalised:
    """Reject the calls that began before a moment: the ledger of that time is sealed."""
    is_old = pl.col("start_time").cast(pl.Int64) < start_ns
    old = normalised.calls.filter(is_old)
    if not old.height:
        return normalised
    rejects = old.group_by("request", reason=pl.lit("too_old")).agg(pl.len().alias("spans"))
    return Normalised(
        calls=normalised.calls.filter(~is_old),
        not_calls=normalised.not_calls,
        rejects=pl.concat([normalised.rejects, rejects]),
    )


# The steps below are written in the order in which they are best run, and a lone span should not
# wait for a query optimiser to find that out.
_AS_WRITTEN: Final = pl.QueryOptFlags.none()
_NO_REJECTS: Final = pl.DataFrame(
    schema={"request": pl.UInt32, "reason": pl.String, "spans": pl.UInt32}
)


@lru_cache(maxsize=256)  # an emitter always sends the same few sets of attributes
def _facts(present: tuple[str, ...], own: Own) -> list[pl.Expr]:
    names_of = dict(own)
    kinds = [
        (pl.col(ATTRIBUTE + key) != "") & ~pl.col(ATTRIBUTE + key).str.contains(calls)
        for key, calls in KINDS.items()
        if ATTRIBUTE + key in present
    ]
    other_kind = pl.any_horizontal(kinds).fill_null(value=False) if kinds else pl.lit(value=False)
    return [
        *(_first(name, present, names_of.get(name, ())) for name in FIELDS),
        other_kind.alias("other_kind"),
        _usage_map(present).alias("usage"),
    ]


def _usage_map(present: Sequence[str]) -> pl.Expr:
    """Usage that has no column: a map of the counts above zero."""
    counts = {name: found for name in EXTRAS if (found := _found(name, present))}
    pairs = [
        pl.when(count > 0).then(pl.struct(key=pl.lit(name), value=count.cast(MONEY)))
        for name, found in counts.items()
        for count in (pl.coalesce(found),)
    ]
    # Built only where it can hold something: it costs half a millisecond, however short the batch.
    return pl.concat_list(pairs).list.drop_nulls() if pairs else pl.lit([], QUANTITY_MAP)


def _first(name: str, present: Sequence[str], own: Sequence[str]) -> pl.Expr:
    """The first spelling that is present; text ends in "", numbers in null."""
    field = FIELDS[name]
    places = [prefix + key for prefix in (ATTRIBUTE, RESOURCE) for key in own]
    found = [pl.col(column).cast(pl.String) for column in places if column in present]
    found += _found(name, present)
    if field.kind is Kind.TEXT:
        # An empty text is as good as absent: the next spelling may know better.
        said = [pl.when(column != "").then(column) for column in found[:-1]]
        return pl.coalesce(*said, *found[-1:], pl.lit("")).alias(name)
    dtype = pl.Int64 if field.kind is Kind.COUNT else pl.Float64
    return (pl.coalesce(found) if found else pl.lit(None, dtype)).alias(name)


def _found(name: str, present: Sequence[str]) -> list[pl.Expr]:
    field = FIELDS[name]
    spelled = (_spelled(spelling, field.kind, present) for spelling in field.names)
    return [
        *(expression for expression in spelled if expression is not None),
        *(pl.col(RESOURCE + key) for key in field.resource if RESOURCE + key in present),
    ]


def _spelled(spelling: Spelling, kind: Kind, present: Sequence[str]) -> pl.Expr | None:
    """Read one spelling; None where its attribute does not occur."""
    if isinstance(spelling, tuple):
        first, *others = (_spelled(name, kind, present) for name in spelling)
        if first is None:
            return None
        # Buckets beside the first may be absent; without the first there is no fact.
        return sum((other.fill_null(0) for other in others if other is not None), start=first)
    key, mark, where = _parts(spelling)
    if ATTRIBUTE + key not in present:
        return None
    column = pl.col(ATTRIBUTE + key)
    if not mark:
        return column
    text = column.str.json_path_match(f"${where}") if mark == "$" else column.str.extract(where)
    return _read(text, kind)


def _read(text: pl.Expr, kind: Kind) -> pl.Expr:
    """A value found inside a text, in the kind of its field."""
    if kind is Kind.COUNT:
        number = text.cast(pl.Int64, strict=False)
        return pl.when(number.is_between(0, QUANTITY_MAX)).then(number)
    return text.cast(pl.Float64, strict=False) if kind is Kind.NUMBER else text


_PAYERS: Final = {name: scope.provider for name, scope in SCOPES.items() if scope.provider}
# One table for all three: a look-up costs a lone call more than all that it looks up.
_PAYER_NAMES: Final = {**PROVIDERS, **_PAYERS, **HOSTS}

_HOST: Final = (
    pl.col("host").str.to_lowercase().str.extract(r"^(?:[a-z]+://)?([^/:?#]+)").fill_null("")
)
_HOST_END: Final = rf"(?:^|[.-])({'|'.join(map(re.escape, HOSTS))})$"
_NAMES: Final = [
    scope_in_table(),
    _HOST.alias("host"),
    # MLflow writes a text as JSON, in quotes.
    pl.col("request_model", "response_model", "provider").str.strip_chars('"'),
    pl.col("operation", "service_tier", "region").str.to_lowercase(),
    pl.any_horizontal(pl.col(COUNTS).is_not_null()).alias("has_usage"),
]
_IDENTITY: Final = [
    # Who is paid: the host knows, then the shape of the model's id, then the scope.
    pl.coalesce(
        pl.when(pl.col("host").str.contains(BEDROCK_HOST)).then(pl.lit("aws.bedrock")),
        pl.col("host").str.extract(_HOST_END),
        pl.when(MODEL.str.contains(BEDROCK_MODEL)).then(pl.lit("aws.bedrock")),
        pl.when(SCOPE.is_in(list(_PAYERS))).then(SCOPE),
        pl.col("provider").str.to_lowercase().str.replace(API_OF_PROVIDER, "$1"),
    )
    .replace(_PAYER_NAMES)
    .alias("provider"),
    ((pl.col("request_model") != "") | (pl.col("response_model") != "")).alias("has_model"),
]


# LiteLLM's child with the raw provider answer; pydantic-ai 1's run of an agent, which names neither
# model nor operation; the request half of logfire's stream, whose usage comes in a span of its own;
# the outer span of embeddings in Vercel's version 7, whose usage is in the spans below it.
_REPEATS: Final = (
    (pl.col("name") == "raw_gen_ai_request")
    | ((SCOPE == "pydantic-ai") & (pl.col("request_model") == "") & (pl.col("operation") == ""))
    | (
        SCOPE.str.starts_with("logfire.")
        & ~pl.col("has_usage")
        & (pl.col("response_id") == "")
        & ~pl.col("failed")
    )
    | ((SCOPE == "gen_ai") & (pl.col("operation") == "embeddings") & ~pl.col("has_usage"))
)


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
        .when(SCOPE.str.contains(LOGGED) & ~pl.col("is_log"))
        .then(pl.lit(dialect_logs.OTHER_SIGNAL))
        .when(pl.col("operation").is_in(AGGREGATES) | pl.col("other_kind") | _REPEATS)
        .then(pl.lit("aggregate"))
        .when(pl.any_horizontal(pl.col("name").str.ends_with(name) for name in FREE))
        .then(pl.lit("free"))
        .when(~pl.col("has_model") & ~pl.col("has_usage"))
        .then(pl.lit("no_model_no_usage"))
    )
    return [reject.alias("reject"), fate.alias("fate")]


_FATE: Final = _fate()


_AS_CALLS: Final = [pl.col(name).cast(dtype) for name, dtype in CALLS.items()]


assert set(USAGE_COLUMNS) <= set(FIELDS)  # noqa: S101 - the table must fill the schema
