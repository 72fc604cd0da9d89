"""A stretch of the ledger priced anew, piece by piece.

Promises: every call of the stretch is looked at as it is booked now; what costs something else is
corrected (``ledger/repricing``). Cut short and started again it goes on: what was corrected costs
the same by then, and a run of one name never corrects a call twice. Bounded memory, however long
the stretch. Never changes or deletes an entry, never touches what is sealed.

Settlement must not run beside it: who runs this owns the upkeep of the ledger.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa

from spanledger.collector import present
from spanledger.collector.present import Store
from spanledger.ledger.repricing import DELTA, Repriced, added, reprice
from spanledger.ledger.restatement import LEGS, legs_from_arrow, legs_to_arrow
from spanledger.ledger.settlement_merge import Price

# Calls of one piece. Pieces of 50,000 were no quicker and took 500 MB more while whole entries are
# held twice (measured).
CALLS_MAX: Final = 20_000
_MINUTE_S: Final = 60
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
    store: Store, stretch: Stretch, price: Price, calls_max: int = CALLS_MAX
) -> Iterator[tuple[Piece, Repriced]]:
    """Price all calls of a stretch anew, piece by piece; writes nothing.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    wanted = {name: list(getattr(stretch, name)) for name in ("tenants", "providers", "models")}
    for piece in pieces(store, stretch, calls_max):
        where = {name: getattr(piece, name) for name in ("first_ns", "end_ns", "parts", "part")}
        booked = legs_from_arrow(store.query("present_calls", {**where, **wanted}))
        yield piece, reprice(booked.select(LEGS.names()), price)


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
    total = DELTA.to_frame()
    present.derive(store, runs=[run])
    for piece, found in repriced(store, stretch, price, calls_max):
        if found.changed.any():
            store.restate(legs_to_arrow(found.legs(run, begun_ns)))
            present.derive(store, runs=[run], first_ns=piece.first_ns, last_ns=piece.end_ns)
        total = added(total, found.delta())
        progress(piece)
    return total
