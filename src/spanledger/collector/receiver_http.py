"""OTLP/HTTP: POST /v1/traces and /v1/logs, protobuf or JSON, plain or gzip.

Promises: a body is read and decompressed only up to its bound and in its time; every answer is in
the encoding of the request, as the protocol asks. Metrics are taken and ignored, so that an
exporter which sends every signal never fails. Never blocks the event loop on disk or store.
"""

import asyncio
import time
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from spanledger.collector import responses
from spanledger.collector.auth import HEADER
from spanledger.collector.commit import Busy
from spanledger.collector.receiver_grpc import Meters, Submit, Who, outcome_of
from spanledger.ledger.otlp import Body
from spanledger.ledger.otlp_wire import Signal

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
# Exporters give up after 10 s; a body that takes longer has nobody waiting for its answer.
_BODY_SECONDS_MAX: Final = 15.0
# What else is said with a status. A body that was not read to its end ends its connection: whoever
# goes on sending it would keep it for ever.
_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"www-authenticate": 'Bearer realm="spanledger"', "connection": "close"},
    503: {"retry-after": "2"},  # whole seconds; see responses.RETRY_AFTER_S
    **{status: {"connection": "close"} for status in (408, 413, 415)},
}


class _Unreadable(Exception):  # noqa: N818 - reads as what it is
    """The body is not read to its end; carries what to answer."""

    def __init__(self, answer: responses.Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def create_app(
    submit: Submit,
    meters: Meters,
    who: Who,
    *,
    body_bytes_max: int,
    body_seconds_max: float = _BODY_SECONDS_MAX,
) -> Starlette:
    """The ASGI application of the OTLP/HTTP listener."""

    async def export(request: Request, signal: Signal) -> Response:
        started = time.perf_counter()
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            tenant = _known(who(request.headers.get(HEADER)))
            async with asyncio.timeout(body_seconds_max):
                data = await _body(request, content_type, body_bytes_max)
            body = Body(data, is_json=content_type == _JSON, signal=signal)
            answer = responses.answer(await outcome_of(submit, body, "http", tenant), signal)
        except _Unreadable as unreadable:
            answer = unreadable.answer
        except TimeoutError:
            reason = f"the body did not arrive within {body_seconds_max:g} s; send smaller batches"
            answer = responses.refusal(reason, 408)
        except MemoryError:
            answer = responses.answer(Busy("memory"), signal)
        meters.request("http", answer.kind)
        meters.acknowledged(time.perf_counter() - started)
        as_json = content_type == _JSON
        return Response(
            answer.encoded(as_json=as_json),
            answer.http_status,
            headers=_HEADERS.get(answer.http_status),
            media_type=_JSON if as_json else _PROTOBUF,
        )

    return Starlette(
        routes=[
            Route("/v1/traces", partial(export, signal=Signal.TRACES), methods=["POST"]),
            Route("/v1/logs", partial(export, signal=Signal.LOGS), methods=["POST"]),
            Route("/v1/metrics", _ignore, methods=["POST"]),
        ]
    )


async def _ignore(request: Request) -> Response:
    is_json = request.headers.get("content-type", "").startswith(_JSON)
    return Response(b"{}" if is_json else b"", media_type=_JSON if is_json else _PROTOBUF)


async def _body(request: Request, content_type: str, body_bytes_max: int) -> bytes:
    if content_type not in {_PROTOBUF, _JSON}:
        raise _refused(f"content-type must be {_PROTOBUF} or {_JSON}", 415)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", ""}:
        raise _refused("content-encoding must be gzip or absent", 415)
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > body_bytes_max:
                raise _Unreadable(responses.too_large(body_bytes_max))
    except ClientDisconnect:
        raise _refused("the sender closed the connection", 400) from None
    return _gunzip(bytes(received), body_bytes_max) if encoding == "gzip" else bytes(received)


def _gunzip(data: bytes, body_bytes_max: int) -> bytes:
    """Decompress at most one byte past the bound: a bomb costs no more than an honest body."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = inflater.decompress(data, body_bytes_max + 1)
    except zlib.error:
        raise _refused("the body is no gzip", 400) from None
    if len(plain) > body_bytes_max:
        raise _Unreadable(responses.too_large(body_bytes_max))
    if not inflater.eof:
        raise _refused("the gzip body is cut short", 400)
    return plain


def _known(tenant: str | None) -> str:
    """Refuse a stranger before the body is read: it costs nothing."""
    if tenant is None:
        raise _Unreadable(responses.stranger())
    return tenant


def _refused(reason: str, http_status: int) -> _Unreadable:
    return _Unreadable(responses.refusal(reason, http_status))
