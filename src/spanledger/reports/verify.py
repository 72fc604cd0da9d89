"""A stretch of the ledger verified, piece by piece.

Promises: every entry of the stretch, and every sum that is whole within it, is looked at; at most
one piece is held at a time, and of what is wrong only the number and some examples. Reads only,
through tables that anybody may ask for over SQL, so it runs beside a collector: what came in too
short a while ago to be settled or summed up is counted and left out, never called wrong.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl
import pyarrow as pa

from spanledger.ledger import verification as checks
from spanledger.ledger.settlement import KEY
from spanledger.ledger.settlement_merge import Price
from spanledger.ledger.verification_prices import KNOWN, PRICES, KnownPrices, check_prices
from spanledger.reports.export import ROWS_MAX, Cut, by_number, by_time
from spanledger.reports.plain_text import frame_of
from spanledger.reports.verify_sums import (
    SUMS,
    Ask,
    Compared,
    Stretch,
    Upkeep,
    compare,
    sql,
)

# The checks, in their order, and what each of them counts.
CHECKS: Final[Mapping[str, str]] = {
    checks.LINES: "entries",
    PRICES: "lines",
    checks.RECOMPUTE: "bookings",
    checks.LEGS: "corrected spans",
    SUMS: "sums of an hour or a day",
}
# What is told beside them: what could not be looked at, and why.
TOLD: Final[Mapping[str, str]] = {
    "before_prices": "lines of books whose prices this ledger did not record",
    "other_book": "bookings by other books than the one that is loaded, not priced anew",
    "unsettled_spans": "corrected spans with a charge that is not settled yet, left out",
    "unsummed_hours": "hours that are not summed up, or changed since, left out",
}

Progress = Callable[[str, float], None]  # what is looked at, and how much of it is done


@dataclass
class Verdict:
    """What came of it."""

    examples_max: int
    looked_at: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    _examples: list[pl.DataFrame] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Was everything that could be looked at the same to the last digit?"""
        return not self.wrong.total()

    def add(self, result: Compared) -> None:
        """Count what a check found."""
        room = max(self.examples_max - self.wrong[result.check], 0)
        self.looked_at[result.check] += result.looked_at
        self.wrong[result.check] += result.wrong
        self.told.update(result.told)
        if result.found.height and room:
            self._examples.append(result.found.head(room))

    def examples(self) -> pl.DataFrame:
        """Some of what is wrong (``FINDINGS``), in the order of the checks."""
        order = pl.col("check").replace_strict(
            list(CHECKS), range(len(CHECKS)), return_dtype=pl.Int8
        )
        return pl.concat([checks.FINDINGS.to_frame(), *self._examples]).sort(
            order, maintain_order=True
        )


def extent(ask: Ask) -> tuple[int, int] | None:
    """From when to when the ledger reaches, ns since the epoch; None where it is empty."""
    found = ask(sql("extent"), {}).to_pylist()
    return (found[0]["first_ns"], found[0]["end_ns"]) if found else None


def verify(
    ask: Ask,
    stretch: Stretch,
    upkeep: Upkeep,
    price: Price,
    book: str,
    *,
    progress: Progress = lambda *_: None,
    rows_max: int = ROWS_MAX,
) -> Verdict:
    """Verify a stretch of the ledger.

    Args:
        ask: the ledger.
        stretch: of it.
        upkeep: how far its upkeep had come before anything was asked.
        price: prices calls by the book that is loaded.
        book: the version of that.
        progress: is told how far it is.
        rows_max: how many entries are asked for at a time.

    Raises:
        TooMuch: the ledger will not answer even the smallest question.
    """
    verdict = Verdict(stretch.examples_max)
    known = _known(ask)
    for rows, reached_ns in _entries(ask, stretch, rows_max):
        for result in _checked(rows, known, upkeep, price, book):
            verdict.add(result)
        progress("entries", (reached_ns - stretch.since_ns) / (stretch.until_ns - stretch.since_ns))
    for result in compare(ask, stretch, upkeep):
        verdict.add(result)
        progress("sums", result.done)
    return verdict


def _known(ask: Ask) -> KnownPrices:
    text = sql("prices")
    pages = by_number(
        lambda cut: ask(text, {"rows": cut.rows, "skip": cut.skip}), Cut(0, 1, ROWS_MAX)
    )
    states = pl.concat([pl.DataFrame(page.rows).cast(KNOWN) for page in pages])
    return KnownPrices(states, frozenset(ask(sql("books"), {}).column("book").to_pylist()))


def _entries(ask: Ask, stretch: Stretch, rows_max: int) -> Iterator[tuple[pl.DataFrame, int]]:
    """The entries of a stretch (``BOOKED``), and until when; those of a span are never divided."""
    text = sql("entries")

    def asked(cut: Cut) -> pa.Table:
        where = {"since_ns": cut.since_ns, "until_ns": cut.until_ns}
        return ask(text, {**where, **stretch.whose, "rows": cut.rows, "skip": cut.skip})

    kept = checks.BOOKED.to_frame()
    wanted = Cut(stretch.since_ns, stretch.until_ns, rows_max)
    for piece in by_time(asked, "start_time", wanted):
        came = frame_of(piece.rows).select(checks.BOOKED.names()).cast(checks.BOOKED)
        rows = pl.concat([kept, came])
        # A crowded instant comes in several pieces: its last span may go on in the next.
        is_last = pl.all_horizontal(pl.col(name) == pl.col(name).last() for name in KEY)
        kept = rows.filter(is_last)
        yield rows.filter(~is_last), piece.until_ns
    yield kept, stretch.until_ns


def _checked(
    rows: pl.DataFrame, known: KnownPrices, upkeep: Upkeep, price: Price, book: str
) -> Iterator[Compared]:
    lines = checks.lines_of(rows)
    found = checks.check_lines(rows, lines)
    yield Compared(checks.LINES, rows.height, found.height, found)
    found, before = check_prices(rows, lines, known)
    told = {"before_prices": before}
    yield Compared(PRICES, lines.height - before, found.height, found, told)
    found, recomputed, other = checks.check_recompute(rows, price, book)
    yield Compared(checks.RECOMPUTE, recomputed, found.height, found, {"other_book": other})
    found, spans, unsettled = checks.check_legs(rows, upkeep.settled_us)
    yield Compared(checks.LEGS, spans, found.height, found, {"unsettled_spans": unsettled})
