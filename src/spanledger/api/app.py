"""What a browser, Prometheus and a load balancer ask of the collector.

Promises: ``/healthz`` answers while the process runs; ``/readyz`` with 200 once every part does
its work until it stops, and it says what has failed meanwhile; ``/metrics`` speaks the text format
and OpenMetrics. Never changes anything, never shows a name or a figure without being asked by path,
loads nothing from another host.
"""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from spanledger.collector.metrics import Meters

# What is true now may be false in a second: no proxy may keep an answer.
_FRESH: Final = {"cache-control": "no-store"}
_PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def create_app(
    meters: Meters,
    not_ready: Callable[[], Sequence[str]],
    may_read: Callable[[str | None], bool] = lambda _authorization: True,
    degraded: Callable[[], Sequence[str]] = tuple,
) -> Starlette:
    """The ASGI application of the web listener.

    Args:
        meters: what ``/metrics`` shows.
        not_ready: names what is still being waited for; empty when all is well.
        may_read: whether a header ``Authorization`` opens ``/metrics``; health is open to all.
        degraded: names what has failed since, while calls are still taken.
    """
    page = files("spanledger.api").joinpath("index.html").read_text(encoding="utf-8")

    def metrics(request: Request) -> Response:
        # A plain function: it runs on a worker thread, for thousands of series take a while.
        if not may_read(request.headers.get("authorization")):
            told = {"www-authenticate": 'Bearer realm="spanledger"', **_FRESH}
            return PlainTextResponse("a token that may read is needed\n", 401, headers=told)
        encode, content_type = _encoder(request.headers.get("accept", ""))
        # Not as media_type, to which a text response would add a second charset.
        return Response(encode(meters.registry), headers={"content-type": content_type, **_FRESH})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok", headers=_FRESH)

    async def readyz(_request: Request) -> Response:
        waiting_for = list(not_ready())
        if waiting_for:
            return JSONResponse({"ready": False, "waiting_for": waiting_for}, 503, headers=_FRESH)
        # A store that went away keeps nobody from sending: calls wait in the journal. Were it 503,
        # a load balancer would take away every collector at once, and the calls would be lost.
        failed = list(degraded())
        body = {"ready": True, "degraded": failed} if failed else {"ready": True}
        return JSONResponse(body, headers=_FRESH)

    async def index(_request: Request) -> Response:
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ]
    )


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        # It compares versions as numbers, and fails on "version=x".
        return choose_encoder("")
