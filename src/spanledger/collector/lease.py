"""The lease: of several collectors on one store, one does the upkeep.

Promises: whoever claimed first is the owner until it gives up or its claim runs out; then the next
one takes over, by itself. All times are by the store's clock. A collector that cannot renew its
claim stops being the owner before others may begin.
Never more than advice: a statement that was sent while the lease was held may be done after it ran
out, and a store has no lock to forbid that. Legs have the same keys whoever writes them, so they
are right also then; a bucket of the rollups that two wrote at once may keep a row of the slower
one until something comes into it again.

A claim is a row of ``upkeep``: its name has its begin and its owner, its moment is when it runs
out. A new claim counts only at the second look, when those that were under way beside it are there.
A command that needs the ledger for itself claims an early begin, so that the owner gives way to it,
and starts when whoever owned the upkeep has had its whole term to see that.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import pyarrow as pa

# An insert that was sent before ours is there by then, and so is its claim.
_ARRIVED_S: Final = 0.5
# A claim is renewed when a third of it is over, so that one failure is not the end of it.
_RENEWALS: Final = 3


class Store(Protocol):
    """What a lease needs of the store."""

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...


class Lease:
    """The claim of one collector; one thread asks."""

    def __init__(
        self,
        store: Store,
        seconds: float,
        *,
        goes_first: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Claim nothing yet.

        Args:
            store: where claims are kept.
            seconds: how long after a crash the upkeep rests until another one takes over; the same
                for all that share a store.
            goes_first: go before collectors, also before the owner, which has its term to notice.
            monotonic: the clock of this process.
        """
        self._store = store
        self._seconds = seconds
        self._arrived_s = seconds if goes_first else _ARRIVED_S
        self._goes_first = goes_first
        self._monotonic = monotonic
        self._owner = uuid.uuid4().hex
        self._since_ns = 0
        self._claimed_at = self._ends_at = self._look_at = float("-inf")
        self._is_first = False

    def held(self) -> bool:
        """Say whether to go on with the upkeep; claims, looks and renews when it is time.

        Raises:
            StoreUnavailable: the lease is as it was, until it runs out.
        """
        if self._monotonic() >= self._look_at:
            self._look()
        return self._is_first and self._monotonic() < self._ends_at

    def give_up(self) -> None:
        """Let the next one take over at once.

        Raises:
            StoreUnavailable: it takes over when the claim has run out.
        """
        self._is_first = False
        self._look_at = self._ends_at = float("-inf")
        if self._since_ns:
            self._claim(0)
            self._since_ns = 0

    def _look(self) -> None:
        now = self._monotonic()
        if self._since_ns and now < self._ends_at:
            self._claim(self._seconds)
        elif not self._mine():
            self._since_ns = 0
            self._claim(self._seconds)
            self._claimed_at = self._monotonic()
        claims = self._claims()
        self._since_ns = next((since for since, owner in claims if owner == self._owner), 0)
        self._ends_at = now + self._seconds
        arrived = self._monotonic() >= self._claimed_at + self._arrived_s
        self._is_first = bool(claims) and claims[0][1] == self._owner and arrived
        pause_s = self._seconds / _RENEWALS if arrived else _ARRIVED_S
        self._look_at = now + min(pause_s, self._seconds / _RENEWALS)

    def _mine(self) -> bool:
        """After an error the claim may be there though nobody said so."""
        return any(owner == self._owner for _, owner in self._claims())

    def _claims(self) -> list[tuple[int, str]]:
        rows = self._store.query("claims").to_pylist()
        return [(row["since_ns"], row["owner"]) for row in rows]

    def _claim(self, seconds: float) -> None:
        # A claim of seconds since 1970 is before all claims of nanoseconds, and in order with such.
        newly_ns = int(time.time()) if self._goes_first else 0
        values = {
            "since_ns": self._since_ns or newly_ns,
            "owner": self._owner,
            "lasts_ms": round(seconds * 1_000),
        }
        self._store.execute("keep_claim", values)
