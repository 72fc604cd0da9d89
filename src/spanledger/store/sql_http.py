"""The ClickHouse HTTP interface over the ledger's engine, read-only.

Promises: what clickhouse-connect, Grafana and curl send is understood (GET and POST, parameters,
formats, compression), errors have ClickHouse's words, codes and headers. A query that finds no room
is answered 503 at once, so a queue can never hold the process; one whose client has gone away is
stopped. Never changes a thing: settings and sessions that clients send are taken and ignored.

``database`` may be ours, ``default`` or nothing, and always means ours.
"""

import asyncio
import email.parser
import email.policy
import json
import re
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from spanledger.store.client import Store
from spanledger.store.errors import StoreUnavailable
from spanledger.store.sql_access import Access, has_credentials
from spanledger.store.sql_guard import AUTHENTICATION_FAILED, Refused
from spanledger.store.sql_native import hello, is_hello
from spanledger.store.sql_pool import Answer, Bounds, SqlPool, Stopped, Ticket

# The text has its own bound; the rest is for the parameters.
_BODY_BYTES_MAX: Final = 1024 * 1024
# Queries that may wait for each that runs: a dashboard asks for all its panels at once.
_WAITING_PER_LANE: Final = 16
# A stop that comes between two steps of a query finds nothing to stop; so it is repeated.
_STOP_AGAIN_S: Final = 0.2
_SLICE_BYTES: Final = 256 * 1024
# Below this, compressing costs more than it saves.
_COMPRESS_BYTES_MIN: Final = 4_096

_UNKNOWN_DATABASE: Final = 81
_TOO_MANY_QUERIES: Final = 202
_UNKNOWN: Final = 1002
_STATUS: Final = {
    **dict.fromkeys((36, 42, 43, 44, 46, 47, 53, 62, 73, 131, 215, 396, 456), 400),
    **dict.fromkeys((60, 81), 404),
    **dict.fromkeys((164, 497), 403),
    159: 408,
    202: 503,
}
_CODECS: Final = {"zstd": "zstd", "lz4": "lz4", "br": "brotli", "gzip": "gzip"}
# Of HTTP, not of Arrow: zlib's form.
_DEFLATE: Final = "deflate"


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    parameters: Mapping[str, str]
    format: str
    client_revision: int  # of the protocol that the Go driver speaks; 0 for all others


class _Fault(Exception):  # noqa: N818 - reads as what it is
    """A request that is answered with an error, in ClickHouse's form."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 500)


def create_app(store: Store, bounds: Bounds, users: Mapping[str, str] | None = None) -> Starlette:
    """Make the ASGI application; ``store.close`` closes what it opened.

    ``users``: name -> password of those who may ask; nobody is asked for one where there are none.
    """
    front = _Front(SqlPool(store, bounds), bounds.concurrent_queries_max, Access(users or {}))
    return Starlette(
        routes=[
            Route("/", front.query, methods=["GET", "POST"]),
            Route("/ping", _ok, methods=["GET"]),
            Route("/replicas_status", _ok, methods=["GET"]),
        ]
    )


async def _ok(_request: Request) -> Response:
    return PlainTextResponse("Ok.\n")


class _Front:
    """Requests in, answers out; the queries run on threads of their own."""

    def __init__(self, pool: SqlPool, lanes: int, access: Access) -> None:
        self._pool = pool
        self._access = access
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="sql")
        self._room = lanes * (1 + _WAITING_PER_LANE)
        self._inside = 0

    async def query(self, request: Request) -> Response:
        headers = {
            "X-ClickHouse-Query-Id": _query_id(request.query_params.get("query_id", "")),
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Server-Display-Name": "spanledger",
        }
        try:
            self._let_in(request)
            query = await _read(request)
            if query is None:
                return PlainTextResponse("Ok.\n", headers=headers)
            return await self._run(query, request, headers)
        except _Fault as fault:
            headers["X-ClickHouse-Exception-Code"] = str(fault.code)
            if fault.status == 503:
                headers["Retry-After"] = "1"
            if fault.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="spanledger"'
            return PlainTextResponse(f"{fault}\n", fault.status, headers)

    def _let_in(self, request: Request) -> None:
        try:
            self._access.check(request.headers, request.query_params)
        except Refused as refused:
            unasked = refused.code == AUTHENTICATION_FAILED and not has_credentials(
                request.headers, request.query_params
            )
            raise _Fault(refused.code, str(refused), 401 if unasked else 403) from None

    async def _run(self, query: _Query, request: Request, headers: dict[str, str]) -> Response:
        if self._inside >= self._room:
            raise _Fault(
                _TOO_MANY_QUERIES,
                f"Code: {_TOO_MANY_QUERIES}. DB::Exception: {self._inside} queries are running or "
                "waiting, which is all there is room for: try again. "
                "(TOO_MANY_SIMULTANEOUS_QUERIES)",
            )
        self._inside += 1
        started = time.perf_counter_ns()
        try:
            answer = await self._answer(query, request)
        except Refused as refused:
            raise _Fault(refused.code, str(refused)) from refused
        except ClickHouseError as error:
            raise _Fault(getattr(error, "code", None) or _UNKNOWN, _spoken(error)) from error
        except StoreUnavailable as error:
            raise _Fault(_TOO_MANY_QUERIES, f"The ledger cannot answer: {error}", 503) from error
        except Stopped:
            return Response(status_code=499)  # nobody reads it
        finally:
            self._inside -= 1
        summary = {
            **dict.fromkeys(("read_rows", "read_bytes", "written_rows", "written_bytes"), "0"),
            "result_bytes": str(len(answer.body)),
            "elapsed_ns": str(time.perf_counter_ns() - started),
        }
        headers |= {
            "X-ClickHouse-Format": answer.format,
            "X-ClickHouse-Summary": json.dumps(summary),
            "Content-Type": answer.content_type,
        }
        body = _encoded(answer.body, request, headers)
        headers["Content-Length"] = str(len(body))
        return StreamingResponse(_slices(body), headers=headers)

    async def _answer(self, query: _Query, request: Request) -> Answer:
        """Run it on a thread, and stop it when the client goes away."""
        if is_hello(query.text) and query.format == "Native":
            loop = asyncio.get_running_loop()
            version = await loop.run_in_executor(self._threads, self._pool.version)
            return Answer(hello(query.client_revision, version=version), query.format)
        ticket = Ticket()
        task = self._threads.submit(
            self._pool.answer, query.text, query.parameters, query.format, ticket
        )
        running = asyncio.wrap_future(task)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            either: set[asyncio.Future[Any]] = {running, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            while not running.done() and not task.cancel():
                await asyncio.to_thread(self._pool.stop, ticket)
                await asyncio.wait({running}, timeout=_STOP_AGAIN_S)
            if task.cancelled():
                raise Stopped
            return await running
        finally:
            gone.cancel()


async def _slices(body: bytes) -> AsyncIterator[memoryview]:
    """Piece by piece as the client takes it: in one piece it would be copied whole, twice."""
    whole = memoryview(body)
    for start in range(0, len(whole), _SLICE_BYTES):
        yield whole[start : start + _SLICE_BYTES]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request) -> _Query | None:
    """What is asked; None where nothing is, as a browser or a health check does."""
    fields = dict(request.query_params)
    body = _decoded(await _body(request), request.headers.get("content-encoding", ""))
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        fields |= _form(content_type, body)
        body = b""
    for name in ("compress", "decompress"):
        if fields.get(name, "0") not in ("0", "false"):
            raise _bad(f"{name}=1 (the native framing) is not supported, use HTTP's encodings")
    if fields.get("database", "") not in ("", "default", "spanledger"):
        raise _Fault(
            _UNKNOWN_DATABASE,
            f"Code: {_UNKNOWN_DATABASE}. DB::Exception: Database {fields['database']} does not "
            "exist: the ledger is spanledger. (UNKNOWN_DATABASE)",
        )
    try:
        text = "\n".join(part for part in (fields.get("query", ""), body.decode()) if part)
    except UnicodeDecodeError:
        raise _bad("the query is not UTF-8") from None
    if not text.strip():
        return None
    return _Query(
        text,
        {
            name.removeprefix("param_"): value
            for name, value in fields.items()
            if name.startswith("param_")
        },
        request.headers.get("x-clickhouse-format") or fields.get("default_format", ""),
        _revision(fields.get("client_protocol_version", "")),
    )


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            raise _bad(f"the request is larger than {_BODY_BYTES_MAX} bytes", 413)
    return bytes(body)


def _decoded(body: bytes, encoding: str) -> bytes:
    if not body or encoding in ("", "identity"):
        return body
    if encoding != _DEFLATE and encoding not in _CODECS:
        known = ", ".join([*_CODECS, _DEFLATE])
        raise _bad(f"Content-Encoding {encoding} is unknown: use one of {known}", 415)
    try:
        # Read no further than the bound, whatever the body would grow to.
        if encoding == _DEFLATE:
            plain = _inflated(body)
        else:
            with pa.CompressedInputStream(pa.BufferReader(body), _CODECS[encoding]) as stream:
                plain = stream.read(_BODY_BYTES_MAX + 1)
    except (OSError, zlib.error):
        raise _bad(f"the request is no valid {encoding}") from None
    if len(plain) > _BODY_BYTES_MAX:
        raise _bad(f"the request is larger than {_BODY_BYTES_MAX} bytes", 413)
    return bytes(plain)


def _inflated(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(body, _BODY_BYTES_MAX + 1)
    if not stream.eof and len(plain) <= _BODY_BYTES_MAX:
        raise zlib.error("ends too early")
    return plain


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form: clickhouse-connect sends long parameters like this."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode(errors="replace")
    return fields


def _encoded(body: bytes, request: Request, headers: dict[str, str]) -> bytes:
    """Compress when asked as ClickHouse wants to be asked: by parameter and by header."""
    asked = request.query_params.get("enable_http_compression", "0") not in ("0", "false")
    if not asked or len(body) < _COMPRESS_BYTES_MIN:
        return body
    offers = request.headers.get("accept-encoding", "").lower().replace(" ", "").split(",")
    accepted = [offer.split(";")[0] for offer in offers if not re.search(r";q=0(\.0*)?$", offer)]
    for encoding, codec in _CODECS.items():
        if encoding in accepted:
            headers["Content-Encoding"] = encoding
            return bytes(pa.compress(body, codec=codec, asbytes=True))
    if _DEFLATE in accepted:
        headers["Content-Encoding"] = _DEFLATE
        return zlib.compress(body)
    return body


def _spoken(error: ClickHouseError) -> str:
    """The engine's words, without the places of this machine that a damaged part names."""
    return re.sub(r"(?:/[^\s/:'\"(),]+){2,}/?", "(a path)", str(error))


def _revision(told: str) -> int:
    return int(told) if re.fullmatch(r"[0-9]{1,9}", told) else 0


def _query_id(asked: str) -> str:
    return asked if re.fullmatch(r"[\w.-]{1,64}", asked) else str(uuid.uuid4())


def _bad(message: str, status: int = 400) -> _Fault:
    return _Fault(36, f"Code: 36. DB::Exception: {message}. (BAD_ARGUMENTS)", status)
