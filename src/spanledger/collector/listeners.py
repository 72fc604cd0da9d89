"""Sockets and servers: bound before anything is started, closed together.

Promises: a taken port is one clear sentence at start, never a server that silently shares it;
``stop`` lets requests under way finish within its time. Never installs signal handlers.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from typing import Any, Final

import grpc
import uvicorn
from grpc import aio
from starlette.types import ASGIApp

from spanledger.collector.connections import BoundedConnection
from spanledger.config import Address
from spanledger.errors import StartupError

# Idle keep-alive connections of exporters: longer than their usual export interval of 5 s.
_KEEP_ALIVE_S: Final = 75


def bind(key: str, address: Address) -> socket.socket:
    """Take a port.

    Raises:
        StartupError: it is taken, or the host is not of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=1_024)
    except OSError as error:
        raise _taken(key, address, error) from None


def bind_grpc(
    server: aio.Server, key: str, address: Address, credentials: grpc.ServerCredentials | None
) -> Address:
    """Bind a gRPC server and say where; gRPC's own error names neither port nor cause."""
    with bind(key, address):
        pass
    try:
        if credentials is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), credentials)
    except RuntimeError as error:
        raise _taken(key, address, error) from None
    return Address(address.host, port)


def _taken(key: str, address: Address, error: Exception) -> StartupError:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StartupError(
        f"cannot listen on {address} ({key}): {cause}",
        hint=f"Stop what listens there, or choose another address: --set {key}=127.0.0.1:PORT",
    )


class HttpServer:
    """One ASGI application on one socket."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        tls: ssl.SSLContext | None = None,
        connection: type[BoundedConnection] = BoundedConnection,
    ) -> None:
        host, port = bound.getsockname()[:2]
        self.address = Address(host, port)
        self._socket = bound
        config = uvicorn.Config(
            app,
            http=connection,
            access_log=False,
            log_config=None,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        config.load()
        # A context that is ours, so that its certificate can be renewed while it serves.
        config.ssl = tls
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self, grace_s: float = 3.0) -> None:
        """Close; requests under way have this long. A second time does nothing."""
        # Read when it stops. It is declared as whole seconds, and given to asyncio as it is.
        self._server.config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()


class _QuietServer(uvicorn.Server):
    """Without what the service does for all its servers: signals, start and end of an application.

    A client that connects and says nothing is dropped also where it should shake hands first, for
    which asyncio would wait a minute, and hold any number of them.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        config = self.config
        connection: Any = config.http_protocol_class

        def connected() -> asyncio.Protocol:
            made: asyncio.Protocol = connection(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        handshake_s = connection.head_seconds_max if config.ssl else None
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                connected,
                sock=bound,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=handshake_s,
            )
            for bound in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
