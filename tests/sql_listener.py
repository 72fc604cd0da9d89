"""The SQL listener on a real socket, for tests with real clients."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import uvicorn

from spanledger.store.client import Store
from spanledger.store.sql_http import create_app


@dataclass(frozen=True)
class Bounds:
    """Small ones, so that a test can meet them."""

    query_seconds_max: int = 2
    result_rows_max: int = 200_000
    result_bytes_max: int = 8 * 1024 * 1024
    memory_bytes_max: int = 256 * 1024 * 1024
    concurrent_queries_max: int = 2


@contextlib.contextmanager
def listening(
    store: Store, bounds: Bounds, users: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A real SQL listener, for real clients; its port."""
    app = create_app(store, bounds, users)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as bound:  # from here on clients may connect
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join()
