"""Keeps in the ledger what the price book says, so that a past cost can be explained.

Promises: of each book that was in use only what differs from the ones before is added; what could
not be added is tried again, with a warning. Never on the way of an acknowledgement, and never in
the way of settlement and sums: whatever fails here, they go on.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import pyarrow as pa

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.price_states import (
    differences,
    stamped,
    states,
    states_from_arrow,
    states_to_arrow,
)

_log: Final = logging.getLogger(__name__)

# After a failure. Nobody waits for it, and while the store is away there are warnings enough.
_AGAIN_S: Final = 60.0


class Store(Protocol):
    """What is needed of the store."""

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def add_prices(self, prices: pa.Table) -> None: ...


def keep(store: Store, book: PriceBook, now_ns: int) -> int:
    """Add what a book says and the ledger does not have; returns how many prices differed.

    Raises:
        StoreUnavailable: call again; what was added before is not added twice.
    """
    latest = states_from_arrow(store.query("prices_latest"))
    found = differences(latest, states(book.snapshot()))
    if found.height:
        store.add_prices(states_to_arrow(stamped(found, latest, book.version, now_ns)))
    return found.height


class PriceKeeper:
    """The job; ``run`` is called again and again by one thread."""

    def __init__(
        self,
        store: Store,
        book: Callable[[], PriceBook],
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``book``: the one that is in use; another one after the configuration is reloaded."""
        self._store = store
        self._book = book
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._kept: PriceBook | None = None
        self._again_at = float("-inf")

    def run(self) -> bool:
        """Keep the book that is in use, once; there is never more to do."""
        book = self._book()
        if book is self._kept or self._monotonic() < self._again_at:
            return False
        try:
            differing = keep(self._store, book, self._clock_ns())
        except Exception as error:  # noqa: BLE001 - as promised, the jobs beside it go on
            self._again_at = self._monotonic() + _AGAIN_S
            _log.warning(
                "the prices of %s are not in the ledger yet, tried again in %.0f s: %s",
                book.version,
                _AGAIN_S,
                f"{type(error).__name__}: {error}",
            )
        else:
            self._kept = book
            if differing:
                _log.info("prices of %s are kept, %d differed", book.version, differing)
        return False
