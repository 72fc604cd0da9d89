"""Retention: single calls go after their time, with them who made them; their sums stay.

Promises: what is removed was settled and is in the sums by hour and day, which are sealed before
anything is removed: from then on they never change, and what arrives for that time is refused as
too old. So no sum, gauge or counter changes by it. An interrupted removal is finished by the next.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import pyarrow as pa

from spanledger.store.client import ROLLED_UNTIL

_log: Final = logging.getLogger(__name__)

_DAY_NS: Final = 86_400 * 10**9
# Spans arrive late: after an outage of their sender, out of its retry queue.
DAYS_KEPT_MIN: Final = 2


class Store(Protocol):
    """What retention needs of the store."""

    @property
    def sealed_before_ns(self) -> int: ...
    def seal(self, before_ns: int) -> None: ...
    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...
    def moment_ns(self, name: str) -> int | None: ...


def prune(store: Store, before_ns: int) -> int:
    """Remove the single calls from before a moment (00:00 UTC of its day); returns the entries.

    Raises:
        ValueError: the sums do not reach that far yet.
        StoreUnavailable: call again.
    """
    before_ns -= before_ns % _DAY_NS
    if before_ns > (store.moment_ns(ROLLED_UNTIL) or 0):
        raise ValueError("nothing can be removed before it is in the sums by hour and day")
    entries = store.query("older_than", {"before_ns": before_ns}).column("entries")[0].as_py()
    if entries:
        store.seal(before_ns)
        # Before the calls: as long as any is left, a removal that was cut short is done again.
        store.execute("prune_users", {"before_ns": before_ns})
        store.execute("prune_entries", {"before_ns": before_ns})
        store.execute("prune_restated", {"before_ns": before_ns})
    return int(entries)


class Pruner:
    """The job; ``run`` is called again and again by one thread, after settlement and rollups."""

    def __init__(
        self,
        store: Store,
        calls_days: int,
        sums_days: int,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._calls_days = calls_days
        self._sums_days = max(sums_days, calls_days)
        self._clock_ns = clock_ns
        self._done_day = 0

    def run(self) -> bool:
        """Remove what is over its time, once a day; there is never more.

        Raises:
            StoreUnavailable: call again.
        """
        now_ns = self._clock_ns()
        if now_ns // _DAY_NS == self._done_day:
            return False
        before_ns = _month_start_ns(now_ns - self._calls_days * _DAY_NS)
        if before_ns <= (self._store.moment_ns(ROLLED_UNTIL) or 0):
            if entries := prune(self._store, before_ns):
                _log.info("removed %d entries that were kept their time", entries)
            sums_before_ns = _month_start_ns(now_ns - self._sums_days * _DAY_NS)
            self._store.execute("prune_hours", {"before_ns": sums_before_ns})
            self._store.execute("prune_days", {"before_ns": sums_before_ns})
            self._done_day = now_ns // _DAY_NS
        return False


def _month_start_ns(moment_ns: int) -> int:
    # Whole months are whole parts on disk: removing them rewrites nothing.
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment_ns // 10**9)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(first.timestamp()) * 10**9
