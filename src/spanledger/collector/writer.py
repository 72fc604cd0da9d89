"""Journal to store: at its own pace, for ever, each entry once.

Promises: the mark moves only after the store has committed; trouble of the store is retried until
it ends, with growing pauses; a row that no retry can save goes to the dead letters with its reason
and the rows around it are stored. Of two deliveries of one entry the first stays (the ledger never
changes a recorded cost). Never drops a row, never holds more than one batch.

The writer decides what is a duplicate by asking the ledger, so the counters count what the ledger
gained; the table's own idempotence stands behind it for the moment between commit and mark.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.dead_letters import DeadLetters
from spanledger.collector.journal import Journal
from spanledger.ledger.schema import completed
from spanledger.store.errors import BadRows, StoreUnavailable

_log: Final = logging.getLogger(__name__)

_IDLE_S: Final = 0.5  # how soon an idle writer notices that it is to close
_RETIRE_NS: Final = 10_000_000_000  # a segment lasts seconds under load, so this keeps few too many
_PAUSE_S_MIN: Final = 0.1
_PAUSE_S_MAX: Final = 10.0  # an outage's end is noticed within this time


class Store(Protocol):
    """What the writer needs of the store."""

    def insert(self, entries: pa.Table) -> None: ...
    def known(self, entries: pa.Table) -> pa.BooleanArray:
        """Which entries are in the ledger, or stand earlier in the same table."""


class Meters(Protocol):
    """What the writer tells the metrics, after the store's commit."""

    def stored(self, entries: pl.DataFrame) -> None: ...
    def duplicate(self, items: int) -> None: ...
    def dead(self, reason: str, items: int) -> None: ...
    def store_up(self, *, up: bool) -> None: ...


class Writer:
    """The writer thread."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        meters: Meters,
        dead: DeadLetters,
        *,
        batch_rows_max: int,
        batch_wait_ms: int,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """``batch_wait_ms``: how long a first row waits for company; inserts love company."""
        self._journal = journal
        self._store = store
        self._meters = meters
        self._dead = dead
        self._batch_rows_max = batch_rows_max
        self._batch_wait_s = batch_wait_ms / 1_000
        self._clock_ns = clock_ns
        self._oldest_ns: int | None = None  # known_at of the oldest row of the batch at work
        self._rows_lost = 0
        self._retire_at_ns = clock_ns()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Store what is in the journal, then stop; False if time ran out (nothing is lost)."""
        self._closing.set()
        self._thread.join(timeout_s)
        self._given_up.set()
        # A batch under way is finished or abandoned before the store may be closed.
        self._thread.join(_PAUSE_S_MAX)
        return not self._journal.pending_rows

    def lag_seconds(self) -> float:
        """Age of the oldest entry that is not in the ledger yet; 0 when all are."""
        oldest_ns = self._oldest_ns
        return 0.0 if oldest_ns is None else max(self._clock_ns() - oldest_ns, 0) / 1e9

    def _run(self) -> None:
        position = self._journal.mark
        while not self._given_up.is_set():
            self._keep_house()
            try:
                if not self._journal.wait(position, 0 if self._closing.is_set() else _IDLE_S):
                    self._oldest_ns = None
                    if self._closing.is_set():
                        return
                    continue
                self._closing.wait(self._batch_wait_s)
                batches, end = self._journal.read(position, self._batch_rows_max)
            except OSError as error:  # such as too many open files: it passes or a person helps
                _log.warning("cannot read the journal, retrying: %s", error)
                self._given_up.wait(_PAUSE_S_MAX)
                continue
            # An older version's segment lacks the columns that were added since.
            tables = [completed(batch) for batch in batches]
            if tables:
                entries = pa.concat_tables(tables)
                self._oldest_ns = pc.min(entries["known_at"]).value
                if not self._persist(entries):
                    return
            self._journal.move_mark(end)
            position = end

    def _keep_house(self) -> None:
        """Remove what the journal need not keep; tell what damage has cost."""
        if (lost := self._journal.rows_lost - self._rows_lost) > 0:
            self._rows_lost += lost
            self._meters.dead("journal_damaged", lost)
        if self._clock_ns() >= self._retire_at_ns:
            self._retire_at_ns = self._clock_ns() + _RETIRE_NS
            self._journal.retire()

    def _persist(self, entries: pa.Table) -> bool:
        """Store what is new; False if told to give up before the store took it."""
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                self._store_new(entries)
            except BadRows as bad:
                return self._isolate(entries, bad.reason)
            except StoreUnavailable as unavailable:
                self._meters.store_up(up=False)
                _log.warning("store unavailable, retrying in %.1f s: %s", pause_s, unavailable)
                if self._given_up.wait(pause_s):
                    return False
                pause_s = min(pause_s * 2, _PAUSE_S_MAX)
            else:
                self._meters.store_up(up=True)
                return True

    def _store_new(self, entries: pa.Table) -> None:
        new = entries.filter(pc.invert(self._store.known(entries)))
        if new.num_rows:
            self._store.insert(new)
            self._meters.stored(pl.DataFrame(new))
        if new.num_rows < entries.num_rows:
            self._meters.duplicate(entries.num_rows - new.num_rows)

    def _isolate(self, entries: pa.Table, reason: str) -> bool:
        """Halve until the rows that cannot be stored stand alone."""
        if entries.num_rows == 1:
            _log.error("a row was put aside: %s", reason)
            self._dead.add(entries, reason)
            self._meters.dead(reason, 1)
            return True
        half = entries.num_rows // 2
        return self._persist(entries.slice(0, half)) and self._persist(entries.slice(half))
