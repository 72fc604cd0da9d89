"""Settlement: calls that were observed more than once are booked once.

Promises: reads what came into the ledger since it last looked, finds what is one call
(``ledger/settlement``), takes the observations back and books the call in their place
(``ledger/restatement``). What it writes depends only on the set of observations, so an interrupted
pass is finished by the next one, and a repeated one adds nothing. An observation that comes late
settles its call anew. Bounded work a pass; it goes on where it stopped, also after a restart.
Never changes or deletes an entry. One at a time: the process that owns the ledger runs it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from spanledger.collector import present
from spanledger.collector.circle import circle, stretches
from spanledger.ledger.replaced import MAKING, TAKING_BACK, corrected_anew, in_force, of_others
from spanledger.ledger.repricing import REPRICED
from spanledger.ledger.restatement import (
    BOOKING,
    LEGS,
    REVERSAL,
    bookings,
    legs_from_arrow,
    legs_to_arrow,
    reversals,
    undone,
)
from spanledger.ledger.settlement import KEY, OBSERVED, START_GAP_NS_MAX, sameness
from spanledger.ledger.settlement_merge import PricesOf, books, merge
from spanledger.store.errors import StoreUnavailable

SETTLED: Final = "settled"
SETTLED_ANEW: Final = "settled_anew"
REASONS: Final = (SETTLED, SETTLED_ANEW)

# Rows looked at in one pass: well below a second of work, so that stopping never waits for long;
# a quarter of it costs three times as much a row, where all spans are of one minute (measured).
ROWS_MAX: Final = 20_000
# With so few the answer stays below the store's bound, however many rows share their traits.
_ROWS_MIN: Final = 100
# An insert under way may bring rows with an earlier moment than those that were read already.
MARGIN_US: Final = 10_000_000
# The circle of one call: as many observers as it may have, each a gap apart.
_CIRCLE_NS: Final = 16 * START_GAP_NS_MAX
SETTLED_STORED_AT: Final = "settled_stored_at"
# Moments looked up at a time; an insert has one, and there are hundreds within the margin at most.
_MOMENTS_MAX: Final = 100_000

_START: Final[Mapping[str, Any]] = {
    "stored_at_us": 0,
    "start_time_ns": 0,
    "trace_hex": "",
    "span_hex": "",
}


class Store(present.Store, Protocol):
    """What settlement needs of the store."""

    def moment_ns(self, name: str) -> int | None: ...
    def keep_moment(self, name: str, moment_ns: int) -> None: ...


class Meters(Protocol):
    """What settlement tells the metrics, after the store's commit."""

    def restated(self, legs: pl.DataFrame) -> None: ...


class Settler:
    """The job; ``run`` is called again and again by one thread."""

    def __init__(
        self,
        store: Store,
        prices_of: PricesOf,
        meters: Meters,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        rows_max: int = ROWS_MAX,
        margin_us: int = MARGIN_US,
    ) -> None:
        """``prices_of`` price a call of which no observer knew all that its price needs."""
        self._store = store
        self._prices_of = prices_of
        self._meters = meters
        self._clock_ns = clock_ns
        self._rows_max = self._rows = rows_max
        self._margin_us = margin_us
        self._since_us: int | None = None
        self._seen: dict[int, int] = {}  # charges of each moment within the margin
        self._moments: dict[int, int] = {}  # to be looked at
        self._cursor = _START
        self._is_derived = False

    def run(self) -> bool:
        """Settle what is new, as far as one pass goes; True if there is more.

        Raises:
            StoreUnavailable: call again; nothing is lost and nothing is done twice.
        """
        if self._since_us is None:
            kept_ns = self._store.moment_ns(SETTLED_STORED_AT) or 0
            self._since_us = max(kept_ns // 1_000 - self._margin_us, 0)
        if not self._is_derived:
            self._derive(since_us=self._since_us)
        if not self._moments:
            self._look()
        moments = self._next_moments()
        if not moments:
            return False
        try:
            page = self._page(moments)
            if page.height:
                self._settle(page)
                self._correct_anew(page)
        except StoreUnavailable:
            # Perhaps these rows share traits with more of the ledger than one answer may hold.
            self._rows = max(self._rows // 2, _ROWS_MIN)
            raise
        if page.height == self._rows:
            self._cursor = page.select(_START.keys()).row(-1, named=True)
        else:
            self._cursor = _START
            self._finish(moments)
        self._rows = min(self._rows * 2, self._rows_max)
        return bool(self._moments)

    def _look(self) -> None:
        """Find the moments at which charges came that were not looked at yet."""
        found = self._store.query(
            "fresh_moments", {"since_us": self._since_us, "moments_max": _MOMENTS_MAX}
        )
        charges = dict(zip(*(column.to_pylist() for column in found.columns), strict=True))
        self._moments = {
            moment: count for moment, count in charges.items() if self._seen.get(moment) != count
        }

    def _next_moments(self) -> list[int]:
        """As many as one page holds; at least one, which may need several pages."""
        until = np.cumsum([0, *self._moments.values()])
        return list(self._moments)[: max(int(np.searchsorted(until, self._rows, "right")) - 1, 1)]

    def _page(self, moments: Sequence[int]) -> pl.DataFrame:
        parameters = {
            "moments_us": moments,
            "first_us": moments[0],
            "last_us": moments[-1],
            "rows_max": self._rows,
        }
        return pl.DataFrame(self._store.query("fresh_charges", {**self._cursor, **parameters}))

    def _finish(self, moments: Sequence[int]) -> None:
        """These moments were looked at; a later one of them that gets more is looked at again."""
        for moment in moments:
            self._seen[moment] = self._moments.pop(moment)
        newest_us = max(self._seen)
        self._since_us = newest_us - self._margin_us
        self._seen = {at: count for at, count in self._seen.items() if at >= self._since_us}
        self._store.keep_moment(SETTLED_STORED_AT, newest_us * 1_000)

    def _settle(self, page: pl.DataFrame) -> None:
        around = circle(self._store, page)
        if around is None:
            return
        found = sameness(around)
        if not found.related.height:
            return
        related = around.join(found.related, on=KEY, how="semi")
        entries = self._entries(
            "entries_of_spans",
            related,
            spans=related["span"].unique().to_list(),
            reasons=[*REASONS, REPRICED],
        )
        charges = entries.filter(pl.col("kind") == "charge")
        legs = entries.filter(pl.col("reason").is_in(REASONS))
        prices = entries.filter(pl.col("reason") == REPRICED)
        outdated = _outdated(charges, legs)
        outdated += self._of_other_books(charges, prices, legs, found.calls)
        stale, wanted = self._difference(legs, found.calls, related, outdated)
        known_at_ns = entries["known_at"].cast(pl.Int64).max()
        now_ns = max(self._clock_ns(), int(str(known_at_ns)) + 1)
        # What was priced anew is taken back before what it is a correction of.
        repriced = self._repriced(prices, stale, wanted)
        if repriced.height:
            begun = pl.lit(None, pl.Int64).alias("begun_ns")  # later than that, or it would win
            stale, wanted = stale.with_columns(begun), wanted.with_columns(begun)
        made = [
            undone(repriced, SETTLED_ANEW, pl.lit(now_ns)),
            undone(stale, SETTLED_ANEW, pl.col("begun_ns").fill_null(now_ns + 1)),
            *self._booked(charges, prices, wanted, now_ns + 2),
        ]
        self._write(pl.concat([part.select(LEGS.names()) for part in made]))

    def _correct_anew(self, page: pl.DataFrame) -> None:
        """Correct the prices of spans that came again, recorded earlier than what was corrected."""
        page = page.filter(pl.col("start_time_ns") >= self._store.sealed_before_ns)
        if not page.height:
            return
        where = stretches(page["tenant"], page["start_time_ns"], 0)
        where["reason"] = REPRICED
        if not self._store.query("any_repriced", where).num_rows:
            return
        spans = {"spans": page["span"].to_list()}
        found = legs_from_arrow(self._store.query("repriced_spans", {**where, **spans}))
        if not found.height:
            return
        entries = self._entries(
            "entries_of_spans",
            found,
            spans=found["span"].to_list(),
            reasons=[*REASONS, REPRICED],
        )
        settled = in_force(entries.filter(pl.col("reason").is_in(REASONS)))
        alone = entries.join(settled, on=KEY, how="anti")  # settlement sees to the others
        now_ns = max(self._clock_ns(), int(str(entries["known_at"].cast(pl.Int64).max())) + 1)
        charges = alone.filter(pl.col("kind") == "charge")
        runs = alone.filter(pl.col("reason") == REPRICED)["run"].unique()
        prices = alone.filter(pl.col("run").is_in(runs.implode()))
        self._write(corrected_anew(charges, prices, now_ns))

    # --- what there is --------------------------------------------------------------------------

    def _entries(self, query: str, rows: pl.DataFrame, **parameters: Any) -> pl.DataFrame:
        starts_ns = rows["start_time"].cast(pl.Int64)
        where = stretches(rows["tenant"], starts_ns, _CIRCLE_NS)
        return legs_from_arrow(self._store.query(query, {**where, **parameters})).cast(LEGS)

    def _difference(
        self,
        legs: pl.DataFrame,
        calls: pl.DataFrame,
        related: pl.DataFrame,
        outdated: Sequence[str],
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What is booked and should not be (legs), and what should be and is not (calls)."""
        open_runs = in_force(legs)["run"].unique()
        is_stale = ~_base(open_runs).is_in(calls["run"].implode())
        stale_runs = open_runs.filter(is_stale | open_runs.is_in(outdated))
        stale = legs.clear()
        if len(stale_runs):
            # All legs of such a run, also on spans that are not among those at hand.
            stale = self._entries("entries_of_runs", related, runs=stale_runs.to_list())
        stale = in_force(stale).join(_begun(stale, TAKING_BACK), on="run", how="left")
        done = (
            in_force(legs)
            .filter(~pl.col("run").is_in(stale_runs.implode()))
            .group_by("run")
            .len("legs")
            .join(_begun(legs, MAKING), on="run")
            .with_columns(base=_base(pl.col("run")))
        )
        past = (
            legs.select("run").unique().group_by(base=_base(pl.col("run"))).agg(generation=pl.len())
        )
        state = (
            calls.group_by(base="run")
            .agg(observations=pl.len())
            .join(done.select("base", "legs", "begun_ns", in_force="run"), on="base", how="left")
            .join(past, on="base", how="left")
        )
        # A pass that was cut short is finished under its name; what was taken back once and is
        # right again gets a new one.
        name = pl.coalesce(
            "in_force",
            pl.concat_str("base", pl.lit("."), pl.col("generation").fill_null(0)),
        )
        missing = state.filter(
            pl.col("legs").is_null() | (pl.col("legs") < pl.col("observations") + 1)
        ).select("base", "begun_ns", name=name)
        wanted = calls.join(missing, left_on="run", right_on="base")
        wanted = wanted.select(*KEY, "begun_ns", run="name")
        return stale, wanted

    def _of_other_books(
        self, charges: pl.DataFrame, prices: pl.DataFrame, legs: pl.DataFrame, calls: pl.DataFrame
    ) -> list[str]:
        """The runs that another book would price now, because an earlier record came.

        What was priced anew stays, and so does what cannot be had at the prices of that book.
        """
        several = pl.col("price_book").n_unique().over("run") > 1
        observed = charges.drop("run").join(calls, on=KEY).filter(several)
        corrected = observed.join(prices, on=KEY, how="semi").select("run")
        observed = observed.join(corrected, on="run", how="anti")
        booked = in_force(legs).filter(pl.col("leg") == BOOKING)
        booked = booked.select("run", "price_book", base=_base(pl.col("run")))
        of = booked.join(books(observed), left_on="base", right_on="run", suffix="_wanted")
        of = of.filter(pl.col("price_book") != pl.col("price_book_wanted"))
        if not of.height:
            return []
        observed = observed.join(of, left_on="run", right_on="base", how="semi")
        to_be_had = merge(observed, self._prices_of).select(
            base="run", price_book_wanted="price_book"
        )
        return of.join(to_be_had, on=["base", "price_book_wanted"])["run"].to_list()

    def _repriced(
        self, prices: pl.DataFrame, stale: pl.DataFrame, wanted: pl.DataFrame
    ) -> pl.DataFrame:
        """The corrections of prices on spans whose booking changes: legs in force."""
        changing = pl.concat([stale.select(KEY), wanted.select(KEY)]).unique()
        if stale.height:  # also of spans that are not among those at hand
            spans = changing["span_id"].bin.encode("hex").unique().to_list()
            prices = self._entries("price_corrections", changing, spans=spans, reason=REPRICED)
        return in_force(prices).join(changing, on=KEY, how="semi")

    # --- what is made of it ---------------------------------------------------------------------

    def _booked(
        self, charges: pl.DataFrame, prices: pl.DataFrame, wanted: pl.DataFrame, now_ns: int
    ) -> list[pl.DataFrame]:
        if not wanted.height:
            return []
        decided_ns = pl.col("begun_ns").fill_null(now_ns)
        observed = charges.drop("run").join(wanted, on=KEY)
        anew = prices.drop("run").filter(pl.col("leg") == BOOKING).join(wanted, on=KEY)
        calls = merge(observed, self._prices_of, anew).with_columns(settled_into=pl.lit(""))
        begun = wanted.select("run", "begun_ns").unique()
        calls = calls.join(begun, on="run", maintain_order="left")
        place = calls.select(
            "run",
            settled_into=pl.concat_str(
                pl.col("trace_id").bin.encode("hex"),
                pl.lit("/"),
                pl.col("span_id").bin.encode("hex"),
            ),
        )
        taken = observed.drop("settled_into").join(place, on="run")
        return [
            reversals(taken, pl.col("run"), SETTLED, decided_ns),
            bookings(calls, pl.col("run"), SETTLED, decided_ns),
        ]

    def _write(self, legs: pl.DataFrame) -> None:
        if not legs.height:
            return
        self._is_derived = False  # until it is: an error in between is made good by the next pass
        new = self._store.restate(legs_to_arrow(legs))
        if new.num_rows:
            self._meters.restated(legs_from_arrow(new))
        starts_ns = legs["start_time"].cast(pl.Int64)
        self._derive(
            runs=legs["run"].unique().to_list(),
            first_ns=int(str(starts_ns.min())),
            last_ns=int(str(starts_ns.max())),
        )

    def _derive(self, **which: Any) -> None:
        present.derive(self._store, **which)
        self._is_derived = True


def _base(run: Any) -> Any:
    """The name of a run (a column or its expression) without its generation."""
    return run.str.split(".").list.first()


def _begun(legs: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
    """When each run was decided, by those of its legs that are there: the others follow it."""
    there = legs.filter(pl.col("leg").is_in(numbers))
    return there.group_by("run").agg(begun_ns=pl.col("known_at").cast(pl.Int64).max())


def _outdated(charges: pl.DataFrame, legs: pl.DataFrame) -> list[str]:
    """The runs that took back what is not in force any more, and those half taken back."""
    other = of_others(legs.filter(pl.col("leg") == REVERSAL), charges)["run"]
    begun = legs.filter(pl.col("leg").is_in(TAKING_BACK))["run"]
    return pl.concat([other, begun]).unique().to_list()


assert set(KEY) <= set(OBSERVED)  # noqa: S101 - what is found is looked up by its key
