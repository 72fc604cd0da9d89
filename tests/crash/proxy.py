"""A TCP proxy that can be cut: an outage of exactly the length that a test wants.

Promises: while cut, nobody listens and every connection is gone; mended, it listens at the same
address again. Its one thread ends with it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Final, Self

_CHUNK_BYTES: Final = 65_536


class Proxy:
    """One listening address in front of another."""

    def __init__(self, target: str, port: int = 0) -> None:
        self._target = target
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._cuts = 0
        self._under_way: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self.mend()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Stop listening and end every connection."""
        self._run(self._cut())

    def mend(self) -> None:
        """Listen again."""
        self._run(self._listen())

    def close(self) -> None:
        """End for good."""
        self.cut()
        self._run(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._cuts += 1
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _ended(self) -> None:
        while self._under_way:
            await asyncio.gather(*self._under_way)
        await asyncio.sleep(0)  # what was aborted last is closed in the next round of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():  # one that is still connecting must not outlive the loop
            self._begun(task)
        host, port = self._target.split(":")
        cuts = self._cuts
        try:
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # nobody is there: neither is the proxy, for this client
            writer.transport.abort()
            return
        if cuts != self._cuts:  # while it was being connected
            writer.transport.abort()
            there_writer.transport.abort()
            return
        self._open |= {writer, there_writer}
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            self._begun(asyncio.create_task(self._pump(source, sink)))

    def _begun(self, task: asyncio.Task[Any]) -> None:
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                sink.write(chunk)
                await sink.drain()
        sink.close()
        with contextlib.suppress(OSError):
            await sink.wait_closed()
        self._open.discard(sink)
