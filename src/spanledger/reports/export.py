"""Rows of a public view, or charges as FOCUS, piece by piece and in order.

Promises: every row whose time is in ``[since, until)`` comes exactly once and in a stable order,
however many there are; at most one piece is held at a time, and a piece that is refused for its
size is asked for again in halves. Rows of one instant are never divided between two questions
unless there are more of them than a piece may have. Reads only; knows nothing of files and formats.

Why pieces, not one answer that streams: the SQL listener answers whole and bounds each answer (32
MiB, a million rows), so that nobody's question can take the collector's memory. A piece is asked
for by time, the key of the ledger, so the hundredth costs what the first did; ``OFFSET`` would read
everything before it again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

# Some MB of calls. Larger pieces are no faster (measured) and may be refused.
ROWS_MAX: Final = 10_000
# How wide the first piece is; the next ones are as wide as what was found is dense.
_FIRST_NS: Final = 15 * 60 * 10**9
_WIDER_MAX: Final = 8
_DENSITY_AIM: Final = 0.7

FOCUS: Final = "focus"
# What can be exported, and the column that says when: the public views, and charges for FOCUS.
# None: sums over all calls, which belong to no time.
VIEWS: Final[dict[str, str | None]] = {
    "calls": "start_time",
    "conversations": "first_call",
    "costs_daily": "day",
    "costs_hourly": "hour",
    "customers": None,
    "features": None,
    "keys": None,
    "price_changes": "learned_at",
    "restatements": "known_at",
    "services": None,
    "unpriced_models": None,
    "users": None,
    "users_daily": "day",
    FOCUS: "start_time",
}


class TooMuch(Exception):  # noqa: N818 - reads as what it is
    """A piece was refused for its size, its memory or its time."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is asked for: the first ``rows`` after ``skip`` in ``[since_ns, until_ns)``."""

    since_ns: int
    until_ns: int
    rows: int
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows in order; everything before ``until_ns`` has come with this piece or before it."""

    rows: pa.Table
    until_ns: int


Ask = Callable[[Cut], pa.Table]


def sql(view: str) -> str:
    """The question for a piece of a view.

    Raises:
        ValueError: it is none of ``VIEWS``.
    """
    if view not in VIEWS:
        raise ValueError(f"there is no view {view!r} to export: one of {', '.join(VIEWS)}")
    folder = files("spanledger.reports").joinpath("sql", "export")
    return folder.joinpath(f"{view}.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Answer:
    rows: pa.Table
    rows_max: int  # that were asked for

    @property
    def is_whole(self) -> bool:
        # Exactly as many as were asked for may be all of them, or the beginning.
        return bool(self.rows.num_rows < self.rows_max)


def pieces(
    ask: Ask, view: str, since_ns: int, until_ns: int, rows_max: int = ROWS_MAX
) -> Iterator[Piece]:
    """Everything in ``[since_ns, until_ns)``; the first piece may be empty, and tells the columns.

    Raises:
        TooMuch: even a single row is refused.
    """
    time = VIEWS[view]
    if time is None:
        yield from by_number(ask, Cut(since_ns, until_ns, rows_max))
    else:
        yield from by_time(ask, time, Cut(since_ns, until_ns, rows_max))


def by_time(ask: Ask, time: str, wanted: Cut) -> Iterator[Piece]:
    """What lies between two moments by the column ``time``; see ``pieces``."""
    since_ns = wanted.since_ns
    width_ns = _FIRST_NS
    rows_max = wanted.rows
    is_first = True
    while since_ns < wanted.until_ns:
        reached_ns = min(since_ns + width_ns, wanted.until_ns)
        answer = _asked(ask, Cut(since_ns, reached_ns, rows_max))
        rows = answer.rows
        if not answer.is_whole:
            # The last instant may have more rows than came; all before it are complete.
            times_ns = _times_ns(rows, time)
            reached_ns = int(times_ns[-1].as_py())
            rows = rows.filter(pc.less(times_ns, reached_ns))
        if rows.num_rows or (answer.is_whole and is_first):
            yield Piece(rows, reached_ns)
        elif not answer.is_whole:
            yield from by_number(ask, Cut(reached_ns, reached_ns + 1, rows_max))
            reached_ns += 1
        is_first = False
        # What was too much is likely to be so again.
        rows_max = min(wanted.rows, 2 * answer.rows_max)
        width_ns = _next_width(answer, reached_ns - since_ns)
        since_ns = reached_ns


def _next_width(answer: _Answer, covered_ns: int) -> int:
    """As wide as most of a piece is likely to fill."""
    found = answer.rows.num_rows
    factor = _DENSITY_AIM * answer.rows_max / found if found else _WIDER_MAX
    return max(1, int(covered_ns * min(factor, _WIDER_MAX)))


def by_number(ask: Ask, wanted: Cut) -> Iterator[Piece]:
    """For rows of one instant, and where there is no time; see ``pieces``."""
    cut = wanted
    while True:
        answer = _asked(ask, cut)
        if answer.rows.num_rows or not cut.skip:
            yield Piece(answer.rows, cut.until_ns)
        if answer.is_whole:
            return
        cut = replace(cut, rows=answer.rows_max, skip=cut.skip + answer.rows.num_rows)


def _asked(ask: Ask, cut: Cut) -> _Answer:
    """Ask, for half as many rows as long as they are too much."""
    while True:
        try:
            return _Answer(ask(cut), cut.rows)
        except TooMuch:
            if cut.rows == 1:
                raise
            cut = replace(cut, rows=cut.rows // 2)


def _times_ns(rows: pa.Table, time: str) -> pa.ChunkedArray:
    return rows.column(time).cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
