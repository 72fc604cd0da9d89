"""Sums held against what they are sums of: hours, days, the view calls, settlements.

Promises: every hour and day that is whole within the stretch is compared by every dimension that it
is summed by, to the last digit; what changed after it was summed up last is counted and left out.
The engine does the arithmetic and answers with what differs. Reads only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

import polars as pl
import pyarrow as pa

from spanledger.ledger.verification import FINDINGS, LEGS
from spanledger.reports.export import TooMuch

SUMS: Final = "sums"

# Compared at a time: hours of so many entries, which an engine of bounded memory can hold, and at
# most a month of hours or days.
_ENTRIES_MAX: Final = 500_000
_HOURS_MAX: Final = 31 * 24
_DAYS_MAX: Final = 31
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_S: Final = 10**9
# The observations of one call are at most this far apart.
_AROUND_NS: Final = 16 * 60 * _S

# Asks a question with its parameters; raises TooMuch where the answer is too large.
Ask = Callable[[str, Mapping[str, Any]], pa.Table]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is verified: by when calls started, and whose; nothing named is all."""

    since_ns: int
    until_ns: int
    tenants: Sequence[str] = ()
    models: Sequence[str] = ()
    examples_max: int = 10  # that are told, of each check

    @property
    def whose(self) -> Mapping[str, Any]:
        """The parameters of every question."""
        return {"tenants": list(self.tenants), "models": list(self.models)}


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How far the upkeep of the ledger has come, and what may be under way."""

    sealed_ns: int
    rolled_ns: int  # hours before are summed up
    users_rolled_ns: int  # days before are summed up by user
    rolled_us: int  # with what came in until then
    settled_us: int  # charges that came in until then are settled
    calm_us: int  # what came in later may be in one table and not yet in the next

    @classmethod
    def read(cls, ask: Ask, now_us: int, margin_us: int) -> "Upkeep":
        """Ask for it.

        Args:
            ask: the ledger.
            now_us: this moment.
            margin_us: how long an insert may be under way; 0 where nobody writes.
        """
        kept = {row["name"]: row["moment_ns"] for row in ask(sql("upkeep"), {}).to_pylist()}
        return cls(
            sealed_ns=kept.get("sealed_before", 0),
            rolled_ns=kept.get("rolled_until", 0),
            users_rolled_ns=kept.get("users_rolled_until", 0),
            rolled_us=kept.get("rolled_stored_at", 0) // 1_000 - margin_us,
            settled_us=kept.get("settled_stored_at", 0) // 1_000 - margin_us,
            calm_us=now_us - margin_us,
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """What one comparison found."""

    check: str
    looked_at: int
    wrong: int
    found: pl.DataFrame  # FINDINGS, some of those that are wrong
    told: Mapping[str, int] = field(default_factory=dict)
    done: float = 1  # how much of all


def sql(name: str) -> str:
    """The text of a question."""
    folder = files("spanledger.reports").joinpath("sql", "verify")
    return folder.joinpath(f"{name}.sql").read_text(encoding="utf-8")


def compare(ask: Ask, stretch: Stretch, upkeep: Upkeep) -> Iterator[Compared]:
    """Compare all sums of a stretch."""
    first_s = -(-stretch.since_ns // (_HOUR_S * _S)) * _HOUR_S
    end_s = stretch.until_ns // (_HOUR_S * _S) * _HOUR_S
    changed: set[int] = set()  # days
    for begin_s in range(first_s, end_s, _HOURS_MAX * _HOUR_S):
        for hours in _hours(ask, begin_s, min(begin_s + _HOURS_MAX * _HOUR_S, end_s)):
            is_rolled = (pl.col("hour_s") * _S < upkeep.rolled_ns) & (
                pl.col("stored_us") <= upkeep.rolled_us
            )
            present = hours.filter(pl.col("hour_s") * _S >= upkeep.sealed_ns)
            later = present.filter(~is_rolled)
            changed |= set(later["hour_s"] // _DAY_S * _DAY_S)
            done = (begin_s - first_s) / (end_s - first_s)
            yield Compared(SUMS, 0, 0, FINDINGS.to_frame(), {"unsummed_hours": later.height}, done)
            rolled = present.filter(is_rolled)["hour_s"].to_list()
            yield from _sums(ask, stretch, "sums_by_hour", rolled, upkeep.rolled_us)
            calm = present.filter(pl.col("stored_us") <= upkeep.calm_us)["hour_s"].to_list()
            yield from _sums(ask, stretch, "sums_of_calls", calm, upkeep.calm_us)
            if calm:
                yield _runs(ask, stretch, upkeep, calm[0], calm[-1] + _HOUR_S)
    begin_s = -(-first_s // _DAY_S) * _DAY_S
    rolled_s = min(end_s, upkeep.rolled_ns // _S) // _DAY_S * _DAY_S
    days = [day for day in range(begin_s, rolled_s, _DAY_S) if day not in changed]
    for at in range(0, len(days), _DAYS_MAX):
        part = days[at : at + _DAYS_MAX]
        yield from _sums(ask, stretch, "sums_by_day", part, upkeep.rolled_us)
        # These go with the calls, not with the other sums.
        kept = [day for day in part if upkeep.sealed_ns <= day * _S < upkeep.users_rolled_ns]
        yield from _sums(ask, stretch, "sums_of_users", kept, upkeep.rolled_us)


def _hours(ask: Ask, since_s: int, until_s: int) -> Iterator[pl.DataFrame]:
    """The hours that have anything, as many at a time as one question should read."""
    hours = pl.DataFrame(ask(sql("hours"), {"since_ns": since_s * _S, "until_ns": until_s * _S}))
    hours = hours.cast(pl.Int64).with_columns(
        group=pl.col("entries").cum_sum() // _ENTRIES_MAX,
    )
    yield from hours.partition_by("group", maintain_order=True)


def _sums(
    ask: Ask, stretch: Stretch, question: str, buckets: Sequence[int], until_us: int
) -> Iterator[Compared]:
    """Compare the sums of some hours or days; of fewer at a time where they are too many.

    Something may come in between two questions: what is found is told only of buckets in which
    nothing came in after ``until_us``.
    """
    if not buckets:
        return
    try:
        result = _compared(ask, stretch, question, buckets)
    except TooMuch:
        if len(buckets) == 1:
            raise
        half = len(buckets) // 2
        for part in (buckets[:half], buckets[half:]):
            yield from _sums(ask, stretch, question, part, until_us)
        return
    if result.wrong:
        width_s = _width_s(question)
        hours = pl.concat(_hours(ask, buckets[0], buckets[-1] + width_s))
        later = hours.filter(pl.col("stored_us") > until_us)["hour_s"] // width_s * width_s
        calm = sorted(set(buckets) - set(later))
        if len(calm) < len(buckets):
            yield from _sums(ask, stretch, question, calm, until_us)
            return
    yield result


def _width_s(question: str) -> int:
    return _DAY_S if question in {"sums_by_day", "sums_of_users"} else _HOUR_S


_WHAT: Final = {
    "sums_by_hour": "the sums by hour have other {} than the ledger",
    "sums_of_calls": "the view calls has other {} than the ledger",
    "sums_by_day": "the sums by day have other {} than the hours",
    "sums_of_users": "the sums of users have other {} than the ledger",
}


def _compared(ask: Ask, stretch: Stretch, question: str, buckets: Sequence[int]) -> Compared:
    width_s = _width_s(question)
    which = (
        {"hours": [_text(bucket) for bucket in buckets]}
        if width_s == _HOUR_S
        else {"days": [_text(bucket)[:10] for bucket in buckets]}
    )
    where = {"since_ns": buckets[0] * _S, "until_ns": (buckets[-1] + width_s) * _S}
    answer = ask(sql(question), {**which, **where, **stretch.whose, "rows": stretch.examples_max})
    rows = pl.DataFrame(answer)
    start = pl.from_epoch("bucket_s")
    found = rows.select(
        check=pl.lit(SUMS),
        day=start.dt.date(),
        tenant="tenant",
        trace_id=pl.lit(""),
        span_id=pl.lit(""),
        entry=pl.format(
            "{} {}",
            start.dt.strftime("%Y-%m-%d %H:%M"),
            pl.concat_str("provider", "model", separator="/").str.strip_prefix("/"),
        ),
        booked="booked",
        comes_out="comes_out",
        why=pl.format(_WHAT[question], "differs"),
    ).cast(FINDINGS)
    return Compared(SUMS, len(buckets), _found(rows), found)


def _runs(ask: Ask, stretch: Stretch, upkeep: Upkeep, since_s: int, until_s: int) -> Compared:
    """Settlements whose legs are not all there; what was removed lacks some of them rightly."""
    sealed_ns = upkeep.sealed_ns + _AROUND_NS if upkeep.sealed_ns else 0
    where = {
        "since_ns": max(since_s * _S, sealed_ns),
        "until_ns": until_s * _S,
        "around_ns": _AROUND_NS,
        "stored_before_us": upkeep.calm_us,
    }
    rows = pl.DataFrame(ask(sql("runs"), {**where, **stretch.whose, "rows": stretch.examples_max}))
    found = rows.select(
        check=pl.lit(LEGS),
        day=pl.col("first").dt.date(),
        tenant="tenant",
        trace_id="trace_id",
        span_id="span_id",
        entry=pl.format("run {}", "run"),
        booked=pl.format("{} taken back, {} booked", "taken_back", "booked"),
        comes_out=pl.lit("one booking for what is taken back"),
        why=pl.lit("the legs of a settlement are not all there"),
    ).cast(FINDINGS)
    return Compared(LEGS, 0, _found(rows), found)


def _found(rows: pl.DataFrame) -> int:
    return int(rows.get_column("found")[0]) if rows.height else 0


def _text(moment_s: int) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M:%S}"
