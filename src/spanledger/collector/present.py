"""The present form of restated calls, which follows from their legs.

Promises: may be asked for any number of times, also after an error in between: the latest leg of a
span says what it is now. Whoever writes legs asks for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa

LATEST_NS: Final = 4_102_444_800 * 10**9  # the year 2100: no call starts later
_NEVER_US: Final = 9_000_000_000_000_000  # the year 2255: nothing came in since


class Store(Protocol):
    """What corrections need of the store."""

    @property
    def sealed_before_ns(self) -> int: ...
    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...
    def restate(self, legs: pa.Table) -> pa.Table:
        """Add the legs that are not there yet; returns those."""


class _Store(Protocol):
    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None: ...


def derive(
    store: _Store,
    *,
    runs: Sequence[str] = (),
    since_us: int = _NEVER_US,
    first_ns: int = 0,
    last_ns: int = LATEST_NS,
    first_leg: int = 0,
) -> None:
    """Bring the calls up to date that some runs restated, or legs that came in since a moment.

    Args:
        store: the ledger.
        runs: corrections by name.
        since_us: legs that came in then or later count too, whatever their run.
        first_ns: of calls that started then or later,
        last_ns: and not after.
        first_leg: legs of lower numbers are known to be followed by one of this or higher.

    Raises:
        StoreUnavailable: ask again.
    """
    bounds = {"first_ns": first_ns, "last_ns": last_ns, "first_leg": first_leg}
    store.execute("derive_restated", {"runs": list(runs), "since_us": since_us, **bounds})
