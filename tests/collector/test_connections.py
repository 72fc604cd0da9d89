"""Connections over real sockets: who says nothing is closed, who works is not."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from certificates import Authority
from fakes import Meters
from otlp_requests import chat, request

from spanledger.collector import receiver_http
from spanledger.collector.commit import Accepted, Request
from spanledger.collector.connections import BoundedConnection
from spanledger.collector.listeners import HttpServer, bind
from spanledger.config import Address

BODY = request([chat()]).SerializeToString()
HEAD = (
    b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
    b"content-length: %d\r\n\r\n" % len(BODY)
)
NEVER = 3_600.0  # beyond any test


class Connection(BoundedConnection):
    """With the bounds of the test under way."""


def serving(
    use: Callable[[str, int], Awaitable[None]],
    *,
    head_seconds: float = NEVER,
    body_seconds: float = NEVER,
    connections: int = 100,
    tls: ssl.SSLContext | None = None,
) -> None:
    Connection.head_seconds_max = head_seconds
    Connection.connections_max = connections

    def accept(taken: Request) -> None:
        taken.answer(Accepted())

    async def run() -> None:
        app = receiver_http.create_app(
            accept, Meters(), lambda _: "acme", body_bytes_max=10**6, body_seconds_max=body_seconds
        )
        server = HttpServer(app, bind("x", Address("127.0.0.1", 0)), tls, Connection)
        server.start()
        try:
            await use(server.address.host, server.address.port)
        finally:
            await server.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


class Connected:
    """A client's end of a connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        try:
            return await self._reader.read()
        except ConnectionResetError:
            return b""

    async def accepted(self) -> bool:
        self.send(HEAD + BODY)
        return (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


def test_a_connection_that_says_nothing_or_half_a_head_is_closed() -> None:
    async def use(host: str, port: int) -> None:
        async with Connected(host, port) as silent, Connected(host, port) as halting:
            halting.send(HEAD[:-3])
            assert await silent.rest() == b""
            assert await halting.rest() == b""

    serving(use, head_seconds=0.1)


def test_a_connection_that_comes_back_with_half_a_head_is_closed() -> None:
    async def use(host: str, port: int) -> None:
        async with Connected(host, port) as sender:
            assert await sender.accepted()
            Connection.head_seconds_max = 0.1
            sender.send(b"P")
            assert await sender.rest() == b""

    serving(use)


def test_a_body_that_takes_too_long_is_told_and_ends_its_connection() -> None:
    async def use(host: str, port: int) -> None:
        async with Connected(host, port) as sender:
            sender.send(HEAD + BODY[:1])
            answer = await sender.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.1 s" in answer

    serving(use, body_seconds=0.1)


def test_connections_beyond_the_bound_are_closed_and_the_others_work() -> None:
    async def use(host: str, port: int) -> None:
        async with Connected(host, port) as first, Connected(host, port) as second:
            assert await first.accepted()
            assert await second.accepted()
            async with Connected(host, port) as surplus:
                assert await surplus.rest() == b""
            assert await second.accepted()

    serving(use, connections=2)


def test_a_connection_that_does_not_shake_hands_is_closed(tmp_path: Path) -> None:
    signed = Authority(tmp_path).sign("server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(signed.cert, signed.key)

    async def use(host: str, port: int) -> None:
        async with Connected(host, port) as silent:
            assert await silent.rest() == b""

    serving(use, head_seconds=0.1, tls=tls)


def test_the_limit_of_files_is_raised_and_divided_with_some_left_for_others() -> None:
    script = """
import resource
from spanledger.collector.connections import connections_each
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 1_512))
print(connections_each(4), connections_each(1), resource.getrlimit(resource.RLIMIT_NOFILE))
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))
print(connections_each(4))"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "250 1000 (1512, 1512)\n1\n"
