"""A stretch of the ledger priced anew, piece by piece.

Promises: every call of the stretch is looked at as it is booked now; what costs something else is
corrected (``ledger/repricing``). Cut short and started again it goes on: what was corrected costs
the same by then, and a run of one name never corrects a call twice. Bounded memory, however long
the stretch. Never changes or deletes an entry, never touches what is sealed.

Settlement must not run beside it: who runs this owns the upkeep of the ledger.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa

from spanledger.collector import present
from spanledger.ledger.repricing import (
    DELTA,
    REPRICED,
    Repriced,
    added,
    present_from_arrow,
    reprice,
)
from spanledger.ledger.restatement import BOOKING
from spanledger.ledger.settlement_merge import Price

# Calls of one piece.
CALLS_MAX: Final = 50_000
# Pieces whose prices wait to be written, or are being written: one in each of the two statements.
_PIECES_AHEAD: Final = 2
_S: Final = 10**9


@dataclass(frozen=True)
class Stretch:
    """Which calls: by when they started, and whose; nothing named is all."""

    first_ns: int
    end_ns: int
    tenants: Sequence[str] = ()
    providers: Sequence[str] = ()
    models: Sequence[str] = ()

    def run(self, book: str, begun_ns: int) -> str:
        """Name the correction of this stretch with a book's prices, begun at a moment."""
        said = repr((self.first_ns, self.end_ns, self.tenants, self.providers, self.models, book))
        return f"p1-{hashlib.blake2b(said.encode(), digest_size=6).hexdigest()}-{begun_ns:x}"


@dataclass(frozen=True)
class Piece:
    """A part of a stretch, small enough to be held."""

    first_ns: int
    end_ns: int
    calls: int  # about: charges, also of other models
    parts: int = 1
    part: int = 0


class Asked(Protocol):
    """A ledger that is only asked."""

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...


class Store(Asked, Protocol):
    """A ledger that is corrected; several threads do so at once."""

    @property
    def sealed_before_ns(self) -> int: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...
    def restate_prices(self, prices: pa.Table, parameters: Mapping[str, Any]) -> None:
        """Take the calls back whose prices these are, and book them anew."""


def pieces(store: Asked, stretch: Stretch, calls_max: int = CALLS_MAX) -> Iterator[Piece]:
    """Cut a stretch: minutes that hold a piece's worth together, a crowded minute in parts."""
    found = store.query("calls_by_minute", {"first_ns": stretch.first_ns, "end_ns": stretch.end_ns})
    begin_ns, calls = stretch.first_ns, 0
    for minute_s, charges in zip(*(column.to_pylist() for column in found.columns), strict=True):
        minute_ns = max(minute_s * _S, stretch.first_ns)
        if calls and calls + charges > calls_max:
            yield from _parts(begin_ns, minute_ns, calls, calls_max)
            begin_ns, calls = minute_ns, 0
        calls += charges
    if calls:
        yield from _parts(begin_ns, stretch.end_ns, calls, calls_max)


def _parts(first_ns: int, end_ns: int, calls: int, calls_max: int) -> Iterator[Piece]:
    parts = -(-calls // calls_max)
    yield from (Piece(first_ns, end_ns, calls // parts, parts, part) for part in range(parts))


def repriced(
    store: Asked, stretch: Stretch, price: Price, calls_max: int = CALLS_MAX
) -> Iterator[tuple[Piece, Repriced]]:
    """Price all calls of a stretch anew, piece by piece; writes nothing.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    wanted = {name: list(getattr(stretch, name)) for name in ("tenants", "providers", "models")}
    for piece in pieces(store, stretch, calls_max):
        where = {name: getattr(piece, name) for name in ("first_ns", "end_ns", "parts", "part")}
        booked = present_from_arrow(store.query("present_calls", {**where, **wanted}))
        yield piece, reprice(booked, price)


def restate(
    store: Store,
    stretch: Stretch,
    price: Price,
    run: str,
    begun_ns: int,
    *,
    progress: Callable[[Piece], None] = lambda _: None,
    calls_max: int = CALLS_MAX,
) -> pl.DataFrame:
    """Correct all calls of a stretch that cost something else now: what changed, as ``DELTA``.

    Raises:
        ValueError: the stretch begins before the moment at which the ledger is sealed.
        StoreUnavailable: what was corrected stays; start again.
    """
    if stretch.first_ns < store.sealed_before_ns:
        raise ValueError("single calls from before the seal are gone: their sums are final")
    # Of the two legs of a call, which come together, the booking is the later one.
    derive = partial(present.derive, store, runs=[run], first_leg=BOOKING)
    derive()

    def write(piece: Piece, prices: pa.Table) -> Piece:
        where = {"first_ns": piece.first_ns, "end_ns": piece.end_ns}
        if prices.num_rows:
            decided = {"run": run, "reason": REPRICED, "begun_ns": begun_ns}
            store.restate_prices(prices, {**where, **decided})
            derive(first_ns=piece.first_ns, last_ns=piece.end_ns)
        return piece

    total = DELTA.to_frame()
    writing: deque[Future[Piece]] = deque()
    with ThreadPoolExecutor(_PIECES_AHEAD, "reprice") as writers:
        try:
            for piece, found in repriced(store, stretch, price, calls_max):
                while len(writing) >= _PIECES_AHEAD:
                    progress(writing.popleft().result())
                writing.append(writers.submit(write, piece, found.prices()))
                total = added(total, found.delta())
            while writing:
                progress(writing.popleft().result())
        finally:
            for waiting in writing:
                waiting.cancel()
    return total
