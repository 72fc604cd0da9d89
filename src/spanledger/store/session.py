"""One handle on the engine, safe to share between threads, never with a stale answer on it.

Promises: one call at a time; the handle is opened when it is first needed, and thrown away after
any error, so the next call starts on a fresh one. Never retries, never translates an error.

Measured on chDB 4.4 (engine 26.9) through clickhouse-connect 1.12, and the reason for this file:

- A query that fails midway leaves what it had written on its handle, and **the next answer of that
  handle begins with it**: ``SELECT 5`` after a result that was too large gave 6 MB of other rows.
  Opening a handle takes 12 ms, so a handle that has seen an error is closed.
- Handles work side by side (12 threads on 4 handles, inserts and reads: no error); on one handle
  calls wait for each other. A heavy read on one leaves inserts on another at their speed.
- ``SET`` and ``USE`` belong to a handle. All handles of a process must name one path; when the last
  is closed another path may be opened (50 ms; the very first opening takes 1.4 s).
- The engine takes no signal handlers away, and ends cleanly without ``close`` at exit.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from spanledger.store.errors import StoreUnavailable

Settings = Mapping[str, str | int]
Connect = Callable[[Settings, str | None], Client]  # settings, database

_T = TypeVar("_T")

# Pinned on every handle: without it the host's time zone moves now(), toDate() and day bounds.
EVERYWHERE: Final[Settings] = {"session_timezone": "UTC"}

# The engine's caches default to 5 GB each; these are ample for the ledger's 60 columns.
_ENGINE: Final = {
    "mark_cache_size": 64 * 1024 * 1024,
    "index_mark_cache_size": 16 * 1024 * 1024,
    "primary_index_cache_size": 64 * 1024 * 1024,
    "query_condition_cache_size": 16 * 1024 * 1024,
}


def embedded(path: Path) -> Connect:
    """Connect to the engine inside this process, with its data in ``path``."""

    def connect(settings: Settings, database: str | None) -> Client:
        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(path),
            database=database,
            settings={**EVERYWHERE, **settings},
            chdb_options=dict(_ENGINE),
        )

    return connect


class Session:
    """A handle that is opened when needed and renewed after every error."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._closed = False

    def run(self, call: Callable[[Client], _T]) -> _T:
        """Hand the client to ``call`` while nobody else has it.

        Raises:
            StoreUnavailable: the session was closed.
            Exception: whatever ``call`` raised, or opening the handle.
        """
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._client is None:
                self._client = self._connect()
            try:
                return call(self._client)
            except BaseException:
                self._drop()
                raise

    def close(self, timeout_s: float = -1) -> bool:
        """Let no further call begin and close the handle; False if one under way lasts longer."""
        self._closed = True
        if not self._lock.acquire(timeout=timeout_s):
            return False
        try:
            self._drop()
        finally:
            self._lock.release()
        return True

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def bindable(value: Any) -> Any:
    """Give a parameter of a query the form in which it arrives whole.

    Raises:
        ValueError: a time without a zone.
    """
    # clickhouse-connect writes a time in the host's zone and without its fraction; text is exact.
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError(f"a query needs times with a zone, got {value}: add +00:00")
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
