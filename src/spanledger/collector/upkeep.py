"""The upkeep of the ledger: what is done to it after the commit, again and again.

Promises: the jobs run one after the other in one thread, each as long as it has more to do; trouble
of the store is retried with growing pauses. A stop waits for the step under way, but not for long.
Never on the way of an acknowledgement.

Where several collectors share a store, only the owner of the lease works. One that becomes the
owner begins with new jobs: what the old ones remember is older than what others did since.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from spanledger.store.errors import StoreUnavailable

_log: Final = logging.getLogger(__name__)

_PAUSE_S_MAX: Final = 60.0  # an outage's end is noticed within this time

_PATIENCE_S: Final = 2.0  # a part of the 10 s in which a collector has to stop

# One bounded step of a job; True if there is more to do.
Job = Callable[[], bool]


class Lease(Protocol):
    """Who of several may work."""

    def held(self) -> bool: ...
    def give_up(self) -> None: ...


class Upkeep:
    """The thread of the jobs."""

    def __init__(
        self,
        make_jobs: Callable[[], Sequence[Job]],
        every_seconds: float,
        lease: Lease | None = None,
    ) -> None:
        """``lease``: None where nobody else can have the ledger open."""
        self._make_jobs = make_jobs
        self._lease = lease
        self._jobs: Sequence[Job] = ()
        self._is_owner = False
        self._every_s = every_seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_owner(self) -> bool:
        """Whether this collector is the one that does the upkeep."""
        return self._is_owner

    def close(self) -> None:
        """Stop after the step under way; what is left is done after the next start.

        One that lasts longer ends when the store is closed, and is done again.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        pause_s = self._every_s
        while not self._closing.is_set():
            try:
                self._work()
            except StoreUnavailable as unavailable:
                if self._closing.is_set():
                    return
                pause_s = min(pause_s * 2, _PAUSE_S_MAX)
                _log.warning("upkeep of the ledger retries in %.0f s: %s", pause_s, unavailable)
            else:
                pause_s = self._every_s
            self._closing.wait(pause_s)
        if self._lease is not None:
            with contextlib.suppress(StoreUnavailable):
                self._lease.give_up()

    def _work(self) -> None:
        if not self._owns():
            return
        for job in self._jobs:
            while not self._closing.is_set() and self._owns() and job():
                pass

    def _owns(self) -> bool:
        """Whether to go on; with new jobs if it was not so before."""
        is_owner = self._lease is None or self._lease.held()
        if is_owner and not self._is_owner:
            self._jobs = self._make_jobs()
            _log.info("this collector does the upkeep of the ledger")
        elif self._is_owner and not is_owner:
            self._jobs = ()
            _log.info("another collector does the upkeep of the ledger")
        self._is_owner = is_owner
        return is_owner
