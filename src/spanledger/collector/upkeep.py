"""The upkeep of the ledger: what is done to it after the commit, again and again.

Promises: the jobs run one after the other in one thread, each as long as it has more to do; trouble
of the store is retried with growing pauses. A stop waits for the step under way, but not for long.
Never on the way of an acknowledgement.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from spanledger.store.errors import StoreUnavailable

_log: Final = logging.getLogger(__name__)

_PAUSE_S_MAX: Final = 60.0  # an outage's end is noticed within this time

_PATIENCE_S: Final = 2.0  # a part of the 10 s in which a collector has to stop

# One bounded step of a job; True if there is more to do.
Job = Callable[[], bool]


class Upkeep:
    """The thread of the jobs."""

    def __init__(self, jobs: Sequence[Job], every_seconds: float) -> None:
        self._jobs = jobs
        self._every_s = every_seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

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
                for job in self._jobs:
                    while not self._closing.is_set() and job():
                        pass
            except StoreUnavailable as unavailable:
                if self._closing.is_set():
                    return
                pause_s = min(pause_s * 2, _PAUSE_S_MAX)
                _log.warning("upkeep of the ledger retries in %.0f s: %s", pause_s, unavailable)
            else:
                pause_s = self._every_s
            self._closing.wait(pause_s)
