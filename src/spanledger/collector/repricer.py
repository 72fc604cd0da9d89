"""A stretch of the ledger priced anew, piece by piece.

Promises: every call of the stretch is looked at as it is booked now; what costs something else is
corrected (``ledger/repricing``). Cut short and started again it goes on: what was corrected costs
the same by then, and a run of one name never corrects a call twice. Bounded memory, however long
the stretch. Never changes or deletes an entry, never touches what is sealed.

Settlement must not run beside it: who runs this owns the upkeep of the ledger.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa

from spanledger.collector.circle import frame
from spanledger.ledger.repricing import DELTA, Repriced, added, reprice
from spanledger.ledger.restatement import LEGS, legs_to_arrow
from spanledger.ledger.settlement_merge import Price

# Calls of one piece: about 300 MB while whole entries are held twice.
CALLS_MAX: Final = 50_000
_MINUTE_S: Final = 60
_S: Final = 10**9


class Store(Protocol):
    """What repricing needs of the store."""

    @property
    def sealed_before_ns(self) -> int: ...
    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...
    def restate(self, legs: pa.Table) -> pa.Table:
        """Add the legs that are not there yet; returns those."""


@dataclass(frozen=True)
class Stretch:
    """Which calls: by when they started, and whose; nothing named is all."""

    first_ns: int
    end_ns: int
    tenants: Sequence[str] = ()
    providers: Sequence[str] = ()
    models: Sequence[str] = field(default=())

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


def pieces(store: Store, stretch: Stretch, calls_max: int = CALLS_MAX) -> Iterator[Piece]:
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


def repriced(store: Store, stretch: Stretch, piece: Piece, price: Price) -> Repriced:
    """Price the calls of a piece anew; writes nothing.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    names = ("tenants", "providers", "models")
    wanted = {name: list(getattr(stretch, name)) for name in names}
    where = {name: getattr(piece, name) for name in ("first_ns", "end_ns", "parts", "part")}
    present = frame(store.query("present_calls", {**where, **wanted}))
    return reprice(present.select(LEGS.names()).cast(LEGS), price)


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
    _derive(store, run, stretch)
    for piece in pieces(store, stretch, calls_max):
        found = repriced(store, stretch, piece, price)
        if found.changed.any():
            store.restate(legs_to_arrow(found.legs(run, begun_ns)))
            _derive(store, run, piece)
        total = added(total, found.delta())
        progress(piece)
    return total


def _derive(store: Store, run: str, where: Stretch | Piece) -> None:
    bounds = {"first_ns": where.first_ns, "last_ns": where.end_ns}
    store.execute("derive_restated", {"runs": [run], "since_us": _NEVER_US, **bounds})


_NEVER_US: Final = 9_000_000_000_000_000  # the year 2255
