"""The ClickHouse HTTP interface over the embedded engine, read-only.

Promises: what clickhouse-connect and curl send is understood (GET and POST, parameters, formats,
gzip, zstd and lz4), errors have ClickHouse's words, codes and headers. A query that finds no room
is answered 503 at once, so a queue can never hold the process. Never changes a thing: settings that
clients send, sessions and users are taken and ignored.

``database`` may be ours, ``default`` or nothing, and always means ours.
"""

import asyncio
import email.parser
import email.policy
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spanledger.store.client import Store
from spanledger.store.errors import StoreUnavailable
from spanledger.store.sql_guard import Refused
from spanledger.store.sql_pool import Answer, Bounds, SqlPool

# The text has its own bound; the rest is for the parameters.
_BODY_BYTES_MAX: Final = 1024 * 1024
# Queries that may wait for each that runs: a dashboard asks for all its panels at once.
_WAITING_PER_LANE: Final = 8
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
_CODECS: Final = {"zstd": "zstd", "lz4": "lz4", "gzip": "gzip"}


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    parameters: Mapping[str, str]
    format: str


class _Fault(Exception):  # noqa: N818 - reads as what it is
    """A request that is answered with an error, in ClickHouse's form."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 500)


def create_app(store: Store, bounds: Bounds) -> Starlette:
    """Make the ASGI application; ``store.close`` closes what it opened."""
    front = _Front(SqlPool(store, bounds).answer, bounds.concurrent_queries_max)
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

    def __init__(self, answer: Callable[[str, Mapping[str, str], str], Answer], lanes: int) -> None:
        self._answer = answer
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
            query = await _read(request)
            if query is None:
                return PlainTextResponse("Ok.\n", headers=headers)
            return await self._run(query, request, headers)
        except _Fault as fault:
            headers["X-ClickHouse-Exception-Code"] = str(fault.code)
            if fault.status == 503:
                headers["Retry-After"] = "1"
            return PlainTextResponse(f"{fault}\n", fault.status, headers)

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
            answer = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._answer, query.text, query.parameters, query.format
            )
        except Refused as refused:
            raise _Fault(refused.code, str(refused)) from refused
        except ClickHouseError as error:
            raise _Fault(getattr(error, "code", None) or _UNKNOWN, _spoken(error)) from error
        except StoreUnavailable as error:
            raise _Fault(_TOO_MANY_QUERIES, f"The ledger cannot answer: {error}", 503) from error
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
        return Response(_encoded(answer.body, request, headers), headers=headers)


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
    if encoding not in _CODECS:
        raise _bad(f"Content-Encoding {encoding} is unknown: use gzip, zstd or lz4", 415)
    try:
        # Read no further than the bound, whatever the body would grow to.
        with pa.CompressedInputStream(pa.BufferReader(body), _CODECS[encoding]) as stream:
            plain = stream.read(_BODY_BYTES_MAX + 1)
    except OSError:
        raise _bad(f"the request is no valid {encoding}") from None
    if len(plain) > _BODY_BYTES_MAX:
        raise _bad(f"the request is larger than {_BODY_BYTES_MAX} bytes", 413)
    return bytes(plain)


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
    accepted = re.findall(r"[a-z0-9]+", request.headers.get("accept-encoding", ""))
    for encoding, codec in _CODECS.items():
        if encoding in accepted:
            headers["Content-Encoding"] = encoding
            return bytes(pa.compress(body, codec=codec, asbytes=True))
    return body


def _spoken(error: ClickHouseError) -> str:
    """The engine's words, without the places of this machine that a damaged part names."""
    return re.sub(r"(?:/[^\s/:'\"(),]+){2,}/?", "(a path)", str(error))


def _query_id(asked: str) -> str:
    return asked if re.fullmatch(r"[\w.-]{1,64}", asked) else str(uuid.uuid4())


def _bad(message: str, status: int = 400) -> _Fault:
    return _Fault(36, f"Code: 36. DB::Exception: {message}. (BAD_ARGUMENTS)", status)
