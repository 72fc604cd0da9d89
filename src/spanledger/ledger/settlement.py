"""Which observations are of one call.

One call can be seen more than once: by the SDK's own spans and an instrumentation around it, by a
client and the gateway it goes through, nested in one trace or in traces that know nothing of each
other. Each observation was booked when it came; here is found what belongs together.

Promises: a function of the set of observations alone, the same for any order and any repetition.
Two observations are of one call only if their times meet, their counts can be those of one call,
and one of three things holds, in this order of trust: the same response id; one is nested in the
other; the same fingerprint (service, model, counts). Two spans of one observer (service and
instrumentation) are two calls, unless one is the parent of the other. The provider decides nothing:
a call to Bedrock is reported as anthropic's by one and as aws.bedrock's by the other. Response
ids may repeat, so an id alone decides nothing either.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

# Part of every run id: bookings of other rules are settled anew.
RULES: Final = "s1"

# Observers of one call begin within a minute of each other, however long it lasts: what lies
# between them is a queue of a gateway. It bounds how much of the ledger is read around a span.
START_GAP_NS_MAX: Final = 60 * 10**9
# Clocks of two machines that pass a call on to each other.
_SKEW_NS_MAX: Final = 2 * 10**9
# In the order of time, so many observations of equal looks are compared with each other.
_NEAREST: Final = 8
# No call has so many observers; ids or counts that repeat like this identify nothing.
_OBSERVERS_MAX: Final = 16

KEY: Final = ("tenant", "start_time", "trace_id", "span_id")
# What is looked at.
OBSERVED: Final = (
    *KEY,
    "parent_span_id",
    "duration_ns",
    "service",
    "scope_name",
    "request_model",
    "response_model",
    "model",
    "response_id",
    "status",
    "usage_missing",
    "usage_estimated",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_reasoning_tokens",
)


@dataclass(frozen=True)
class Sameness:
    """What was found among observations.

    ``calls``: ``KEY`` of each observation of a call that has several, and ``run``, one for each
    call. ``related``: ``KEY`` of every observation that looked as if it had a twin.
    """

    calls: pl.DataFrame
    related: pl.DataFrame


def sameness(observations: pl.DataFrame) -> Sameness:
    """Find the calls that were observed more than once.

    Args:
        observations: charges, with at least the columns of ``OBSERVED``.
    """
    rows = (
        observations.select(OBSERVED)
        .unique(KEY)
        .sort(KEY)
        .with_row_index("at")
        .with_columns(
            pl.col("request_model", "response_model").pipe(_bare_model),
            end_time=pl.col("start_time") + pl.duration(nanoseconds="duration_ns"),
        )
    )
    pairs = _pairs(rows)
    related = rows[pl.concat([pairs["a"], pairs["b"]]).unique().sort()].select(KEY)
    clusters = list(_clusters(rows, pairs))
    members = pl.DataFrame(
        {
            "at": [at for cluster in clusters for at in cluster],
            "run": [run for cluster in clusters for run in [_run(rows, cluster)] * len(cluster)],
        },
        schema={"at": pl.UInt32, "run": pl.String},
    )
    return Sameness(rows.join(members, on="at").select(*KEY, "run"), related)


def _bare_model(name: pl.Expr) -> pl.Expr:
    """A model's name without who serves it, where, and of which day it is."""
    return (
        name.str.to_lowercase()
        .str.replace(r"^.*/", "")
        .str.replace(r"^([a-z-]+\.)?(anthropic|amazon|cohere|deepseek|meta|mistral|qwen)\.", "")
        .str.replace(r"[-@](20\d{6}|20\d{2}-\d{2}-\d{2}).*$", "")
    )


def _run(rows: pl.DataFrame, cluster: Sequence[int]) -> str:
    """The name of a settlement: its rules and exactly these observations, in the order of keys."""
    digest = hashlib.blake2b(RULES.encode(), digest_size=12)
    keys = rows[sorted(cluster)].select(
        "tenant", pl.col("start_time").cast(pl.Int64), "trace_id", "span_id"
    )
    for row in keys.iter_rows():
        digest.update(repr(row).encode())
    return f"{RULES}-{digest.hexdigest()}"


# --- pairs --------------------------------------------------------------------------------------

_BY_ID, _NESTED, _IN_TRACE, _FINGERPRINT = range(4)
_A, _B = "a_", "b_"


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """The pairs that can be one call, the most trusted first."""
    nested = rows.rename(lambda name: _A + name).join(
        rows.rename(lambda name: _B + name),
        left_on=["a_tenant", "a_trace_id", "a_span_id"],
        right_on=["b_tenant", "b_trace_id", "b_parent_span_id"],
        coalesce=False,
    )
    looks: list[tuple[int, pl.DataFrame, pl.Expr]] = [
        (_NESTED, nested, _MET & _SAME_MODEL & (_EXACT | _BOTH_FAILED | _LIKELY)),
        (
            _BY_ID,
            _near(rows.filter(pl.col("response_id") != ""), ["tenant", "response_id"]),
            _MET & _LIKE & (_OTHER_OBSERVER | _IS_NESTED),
        ),
        (_IN_TRACE, _near(rows, ["tenant", "trace_id", *_COUNTS]), _MET & _TWINS & _WITHIN),
        (_FINGERPRINT, _near(rows, ["tenant", "service", *_COUNTS]), _OVERLAP & _TWINS),
    ]
    found = [
        candidates.filter(condition).select(
            pl.lit(rule).alias("rule"),
            pl.min_horizontal("a_at", "b_at").alias("a"),
            pl.max_horizontal("a_at", "b_at").alias("b"),
            (~_EXACT).alias("inexact"),
            (pl.col("a_start_time") - pl.col("b_start_time")).abs().alias("gap"),
        )
        for rule, candidates, condition in looks
    ]
    order = ["rule", "inexact", "gap", "a", "b"]
    return pl.concat(found).sort(order).unique(["a", "b"], keep="first", maintain_order=True)


_COUNTS: Final = ("input_tokens", "output_tokens")


def _near(rows: pl.DataFrame, same: Sequence[str]) -> pl.DataFrame:
    """Pair each row with the next few, in the order of time, that are equal in some columns."""
    rows = rows.filter(pl.len().over(same) > 1).sort(*same, "at")
    ordered = rows.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))
    first = ordered.rename(lambda name: _A + name)
    second = ordered.rename(lambda name: _B + name)
    equal = pl.all_horizontal(pl.col(_A + name) == pl.col(_B + name) for name in same)
    parts = [
        first.with_columns(pl.col("a_place").add(step).alias("b_place"))
        .join(second, on="b_place")
        .filter(equal)
        for step in range(1, _NEAREST + 1)
    ]
    return pl.concat(parts)


def _either(name: str) -> pl.Expr:
    return pl.col(_A + name) | pl.col(_B + name)


def _both(name: str) -> pl.Expr:
    return pl.col(_A + name) & pl.col(_B + name)


def _equal(name: str) -> pl.Expr:
    return pl.col(_A + name) == pl.col(_B + name)


def _said(first: str, second: str) -> pl.Expr:
    """Both say the same, and something."""
    return (pl.col(first) == pl.col(second)) & (pl.col(first) != "")


def _within(outer: str, inner: str) -> pl.Expr:
    begins = pl.col(f"{outer}start_time") <= pl.col(f"{inner}start_time")
    return begins & (pl.col(f"{inner}end_time") <= pl.col(f"{outer}end_time"))


def _apart(name: str) -> pl.Expr:
    return (pl.col(_A + name) - pl.col(_B + name)).abs()


def _most(name: str) -> pl.Expr:
    return pl.max_horizontal(_A + name, _B + name)


def _fresh(side: str) -> pl.Expr:
    """Input that came from no cache and went to none."""
    cached = pl.col(f"{side}cache_read_tokens") + pl.col(f"{side}cache_write_tokens")
    return pl.col(f"{side}input_tokens") - cached


_GAP: Final = _apart("start_time") <= pl.duration(nanoseconds=START_GAP_NS_MAX)
_SKEW: Final = pl.duration(nanoseconds=_SKEW_NS_MAX)
_OVERLAP: Final = (
    _GAP
    & (pl.col("a_start_time") <= pl.col("b_end_time"))
    & (pl.col("b_start_time") <= pl.col("a_end_time"))
)
_MET: Final = (
    _GAP
    & (pl.col("a_start_time") <= pl.col("b_end_time") + _SKEW)
    & (pl.col("b_start_time") <= pl.col("a_end_time") + _SKEW)
)
_WITHIN: Final = _within(_A, _B) | _within(_B, _A)
_IS_NESTED: Final = _equal("trace_id") & (
    (pl.col("a_span_id") == pl.col("b_parent_span_id"))
    | (pl.col("b_span_id") == pl.col("a_parent_span_id"))
)
_OTHER_SCOPE: Final = ~_equal("scope_name")
_OTHER_OBSERVER: Final = _OTHER_SCOPE | ~_equal("service")
_OTHER_ID: Final = (
    ~_equal("response_id") & (pl.col("a_response_id") != "") & (pl.col("b_response_id") != "")
)
_SAME_MODEL: Final = (
    _said("a_model", "b_model")
    | _said("a_request_model", "b_request_model")
    | _said("a_response_model", "b_response_model")
    | _said("a_request_model", "b_response_model")
    | _said("a_response_model", "b_request_model")
)
_EXACT: Final = (
    _equal("input_tokens")
    & _equal("output_tokens")
    & ((pl.col("a_input_tokens") > 0) | (pl.col("a_output_tokens") > 0))
)
_BOTH_FAILED: Final = (
    (pl.col("a_status") == "error") & (pl.col("b_status") == "error") & _both("usage_missing")
)
# What emitters are known to lose or to add: the cache, the thoughts, a token of the stream's start,
# the prompt of a tool.
_INPUT_LIKE: Final = (
    (_apart("input_tokens") * 10 <= _most("input_tokens"))
    | (_fresh(_A) == pl.col("b_input_tokens"))
    | (_fresh(_B) == pl.col("a_input_tokens"))
)
_OUTPUT_LIKE: Final = (_apart("output_tokens") * 10 <= _most("output_tokens")) | (
    _apart("output_tokens") <= pl.max_horizontal(_most("output_reasoning_tokens"), pl.lit(2))
)
_LIKE: Final = _either("usage_missing") | _either("usage_estimated") | (_INPUT_LIKE & _OUTPUT_LIKE)
_LIKELY: Final = _LIKE & _OTHER_SCOPE & ~_OTHER_ID
_TWINS: Final = (_EXACT | _BOTH_FAILED) & _SAME_MODEL & _OTHER_SCOPE & ~_OTHER_ID


# --- clusters -----------------------------------------------------------------------------------


@dataclass
class _Cluster:
    """Observations taken for one call so far."""

    members: list[int]
    observers: dict[tuple[str, str], list[int]]  # service and scope -> members
    ids: set[str]


_Place = tuple[bytes, bytes, bytes]  # trace, span, parent


def _nested(one: _Place, other: _Place) -> bool:
    return one[0] == other[0] and (one[1] == other[2] or one[2] == other[1])


def _clusters(rows: pl.DataFrame, pairs: pl.DataFrame) -> Iterator[list[int]]:
    """Join pairs, the most trusted first, as long as nothing speaks against it."""
    at = pl.concat([pairs["a"], pairs["b"]]).unique().sort()
    facts = rows[at].select(
        "at", "service", "scope_name", "response_id", "trace_id", "span_id", "parent_span_id"
    )
    places: dict[int, _Place] = {}
    of: dict[int, _Cluster] = {}
    for number, service, scope, answer, *place in facts.iter_rows():
        places[number] = (place[0], place[1], place[2])
        of[number] = _Cluster([number], {(service, scope): [number]}, {answer} - {""})
    for rule, a, b in pairs.select("rule", "a", "b").iter_rows():
        one, other = of[a], of[b]
        if one is not other and _may_join(one, other, rule, places):
            one.members += other.members
            one.ids |= other.ids
            for observer, members in other.observers.items():
                one.observers.setdefault(observer, []).extend(members)
            of |= dict.fromkeys(other.members, one)
    distinct = {id(cluster): cluster for cluster in of.values()}
    yield from (sorted(c.members) for c in distinct.values() if len(c.members) > 1)


def _may_join(one: _Cluster, other: _Cluster, rule: int, places: Mapping[int, _Place]) -> bool:
    if len(one.members) + len(other.members) > _OBSERVERS_MAX:
        return False
    if rule != _NESTED and one.ids and other.ids and not one.ids & other.ids:
        return False
    # One observer sees two calls, unless its one span is inside the other.
    return all(
        any(_nested(places[x], places[y]) for y in other.observers[observer])
        for observer in one.observers.keys() & other.observers.keys()
        for x in one.observers[observer]
    )
