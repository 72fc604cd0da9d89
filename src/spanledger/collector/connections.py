"""HTTP connections that do not wait for ever.

Promises: a connection that has not sent a whole request head in time is closed, whether it is new,
sends a byte a second, or came back after a pause; beyond ``CONNECTIONS_MAX`` new ones are closed at
once. A flood of connections leaves files for the journal and the engine. Never ends a request under
way: the body's own time is kept by who reads it.

uvicorn bounds only the pause between two requests, so a thousand sockets that say nothing would
stay for ever.
"""

import asyncio
import contextlib
import resource
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

# A request head is one packet; a minute of trouble on the way is the sender's to retry.
HEAD_SECONDS_MAX: Final = 10.0
# Exporters hold one each. A connection costs about 20 kB and a file descriptor.
CONNECTIONS_MAX: Final = 2_048
# Files for segments of the journal, parts of the ledger, threads of the engine: some 150 are usual.
_FILES_KEPT: Final = 512


def connections_each(listeners: int) -> int:
    """How many connections each listener may hold; raises the limit of open files for them.

    A thousand, the usual limit, is for programs that must not be surprised by more; the hard limit
    is what the system has for this process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS has a lower one that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, (soft - _FILES_KEPT) // listeners))


def bounded(connections_max: int) -> type["BoundedConnection"]:
    """What a listener makes of a connection, so many at a time."""
    return type("Connection", (BoundedConnection,), {"connections_max": connections_max})


class BoundedConnection(H11Protocol):
    """uvicorn's connection with a time for the request head."""

    head_seconds_max = HEAD_SECONDS_MAX
    connections_max = CONNECTIONS_MAX

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; without a request under way they are of a head, which must be whole soon."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._closing is None:
            self._closing = self.loop.call_later(self.head_seconds_max, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
