"""Rollups: hours and days of the ledger, summed once and read often.

Promises: a bucket is recomputed whole from the calls and replaced, never added to, so neither a
retry nor a correction can count twice; an hour is rolled when it is over, and again when anything
comes into it later. What is before the seal is never touched again: its calls may be gone. Views
read rolled hours from the rollup and all others live, so they are right at every moment and
complete within one pass. Bounded work a pass; it goes on where it stopped, also after a restart.

The sums of users are by day and made of the calls, and so follow the calls, not the seal: a day
that is over is recomputed when one of its hours is. Days from before there were such sums, or of
which they were lost, are made as far as there are calls.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import pyarrow as pa

from spanledger.store.client import ROLLED_UNTIL, USERS_ROLLED_UNTIL

# Hours recomputed in one statement.
HOURS_MAX: Final = 24
# Days of users recomputed in one statement: an old ledger gets them all at its first pass.
DAYS_MAX: Final = 4
ROLLED_STORED_AT: Final = "rolled_stored_at"
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_S: Final = 10**9
# An insert under way may bring rows with an earlier moment than those that were read already.
_MARGIN_US: Final = 10_000_000


class Store(Protocol):
    """What the rollups need of the store."""

    @property
    def sealed_before_ns(self) -> int: ...
    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...
    def moment_ns(self, name: str) -> int | None: ...
    def keep_moment(self, name: str, moment_ns: int) -> None: ...


class Roller:
    """The job; ``run`` is called again and again by one thread."""

    def __init__(self, store: Store, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._since_us: int | None = None
        self._newest_us = 0
        self._touched: dict[int, tuple[int, int]] = {}
        self._hours: list[int] = []  # to be recomputed, seconds since the epoch
        self._days: set[int] = set()
        self._user_days: set[int] = set()
        self._until_s: int | None = None  # where the hours that are over end, once all are rolled

    def run(self) -> bool:
        """Recompute what changed, as far as one pass goes; True if there is more.

        Raises:
            StoreUnavailable: call again; nothing is lost and nothing is done twice.
        """
        if self._until_s is None:
            self._look()
        hours = self._hours[:HOURS_MAX]
        if hours:
            self._store.execute("roll_hours", {"hours": [_text(hour) for hour in hours]})
            self._days |= {hour - hour % _DAY_S for hour in hours}
            del self._hours[: len(hours)]
            if self._hours:
                return True
        until_s = self._until_s or 0
        if days := sorted(day for day in self._days if day + _DAY_S <= until_s):
            self._store.execute("roll_days", {"days": [_text(day)[:10] for day in days]})
            self._user_days |= set(days)
            self._days -= set(days)
        if days := sorted(self._user_days)[:DAYS_MAX]:
            self._store.execute("roll_users", {"days": [_text(day)[:10] for day in days]})
            self._user_days -= set(days)
            if self._user_days:
                self._keep(USERS_ROLLED_UNTIL, min(self._user_days))
                return True
        self._finish(until_s)
        return False

    def _look(self) -> None:
        """Find the hours that are over and changed, or were not over when they did."""
        rolled_ns = self._store.moment_ns(ROLLED_UNTIL)
        # A clock that was set back does not make a past hour open again.
        until_s = max(self._clock_ns(), rolled_ns or 0) // _S // _HOUR_S * _HOUR_S
        sealed_s = self._store.sealed_before_ns // _S
        if self._since_us is None:
            seen_ns = self._store.moment_ns(ROLLED_STORED_AT) if rolled_ns is not None else 0
            self._since_us = max((seen_ns or 0) // 1_000 - _MARGIN_US, 0)
        rows = self._store.query("touched_hours", {"since_us": self._since_us}).to_pylist()
        touched = {row["hour_s"]: (row["entries"], row["stored_at_us"]) for row in rows}
        changed = {hour for hour in touched if touched[hour] != self._touched.get(hour)}
        if rolled_ns is not None and rolled_ns // _S < until_s:
            over = self._store.query(
                "filled_hours", {"first_ns": rolled_ns, "end_ns": until_s * _S}
            )
            changed |= set(over.column("hour_s").to_pylist())
        self._newest_us = max((at for _, at in touched.values()), default=self._since_us)
        self._touched = touched
        self._hours = sorted(hour for hour in changed if sealed_s <= hour < until_s)
        if rolled_ns is not None and rolled_ns // _S // _DAY_S < until_s // _DAY_S:
            # A day that ended since, also where its last hours brought nothing new.
            # Where calls were lost, the seal is in the middle of a day.
            first = max(rolled_ns // _S, sealed_s) // _DAY_S * _DAY_S
            self._days |= set(range(first, until_s // _DAY_S * _DAY_S, _DAY_S))
        self._user_days |= self._days_without_users(until_s)
        self._until_s = until_s

    def _days_without_users(self, until_s: int) -> set[int]:
        """Days that are over and whose users were not summed up yet, or are to be again."""
        first_ns = self._store.moment_ns(USERS_ROLLED_UNTIL) or 0
        end_ns = until_s // _DAY_S * _DAY_S * _S
        if end_ns <= first_ns:
            return set()
        filled = self._store.query("filled_hours", {"first_ns": first_ns, "end_ns": end_ns})
        return {hour - hour % _DAY_S for hour in filled.column("hour_s").to_pylist()}

    def _finish(self, until_s: int) -> None:
        self._keep(ROLLED_UNTIL, until_s)
        self._keep(USERS_ROLLED_UNTIL, until_s // _DAY_S * _DAY_S)
        if self._touched:
            self._store.keep_moment(ROLLED_STORED_AT, self._newest_us * 1_000)
        since_us = max(self._newest_us - _MARGIN_US, 0)
        if since_us != self._since_us:
            self._since_us = since_us
            rows = self._store.query("touched_hours", {"since_us": since_us}).to_pylist()
            # What came in the meantime is newer than what was rolled, and stays a change.
            self._touched = {
                row["hour_s"]: (row["entries"], row["stored_at_us"])
                for row in rows
                if row["stored_at_us"] <= self._newest_us
            }
        self._days = set()
        self._until_s = None

    def _keep(self, name: str, moment_s: int) -> None:
        """Keep how far the sums have come; it never goes back."""
        if (self._store.moment_ns(name) or 0) < moment_s * _S:
            self._store.keep_moment(name, moment_s * _S)


def _text(moment_s: int) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M:%S}"
