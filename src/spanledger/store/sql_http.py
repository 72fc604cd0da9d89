"""Interim: the ClickHouse HTTP interface over a read-only session."""

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spanledger.store.client import Store


def create_app(store: Store, _limits: Any) -> Starlette:
    """Make the ASGI application."""
    client = store.handle({"readonly": 1})
    lock = asyncio.Lock()

    async def query(request: Request) -> Response:
        text = request.query_params.get("query", "") + (await request.body()).decode()
        fmt = request.query_params.get("default_format") or "TabSeparated"
        async with lock:
            try:
                data = await asyncio.to_thread(client.raw_query, text, fmt=fmt)
            except Exception as error:  # noqa: BLE001
                return Response(str(error), 400)
        return Response(data)

    return Starlette(routes=[Route("/", query, methods=["GET", "POST"])])
