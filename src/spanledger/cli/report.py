"""``spanledger report``: ask a ledger over SQL and print the answer.

Promises: a ledger that cannot be asked is told in one sentence with what to do. Reads only.
"""

import logging
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, cast
from urllib.parse import urlsplit

import clickhouse_connect
import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from spanledger.errors import SpanledgerError
from spanledger.reports import render, summary

_CONNECT_S: Final = 5
# An engine's message can be a page: its first line says it.
_MESSAGE_CHARS_MAX: Final = 300


class ReportError(SpanledgerError):
    """The ledger could not be asked."""


def run(
    url: str,
    start: datetime,
    end: datetime,
    form: Literal["table", "json"],
    connect: Callable[[str], summary.Client] | None = None,
) -> None:
    """Print the summary of ``[start, end)`` to stdout; ``connect`` opens a client for ``url``.

    Raises:
        ReportError: the range is empty, the ledger cannot be reached, or it refused a query.
    """
    if start >= end:
        hint = "Give --from a moment before --to"
        raise ReportError(f"nothing lies between {start:%F %T%z} and {end:%F %T%z}", hint=hint)
    client = (connect or connect_http)(url)
    try:
        answer = summary.load(client, start=start, end=end)
    except ClickHouseError as error:
        hint = "Is there a spanledger behind this --url, of the same version?"
        raise ReportError(f"the ledger did not answer: {cause(error)}", hint=hint) from None
    if form == "json":
        typer.echo(render.summary_json(answer))
    else:
        Console(file=sys.stdout).print(render.summary(answer))


def connect_http(url: str, username: str | None = None, password: str = "") -> summary.Client:
    """Open a client for a ClickHouse HTTP address, which may hold name and password itself.

    Raises:
        ReportError: the address cannot be read, or nothing answers there.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        hint = "Write it as --url http://127.0.0.1:8123"
        raise ReportError(f"--url {url!r} is not the address of a SQL listener", hint=hint)
    secure = parts.scheme == "https"
    # It logs what it then raises.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    try:
        client = clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (443 if secure else 8123),
            secure=secure,
            username=username or parts.username,
            password=password or parts.password or "",
            database=parts.path.strip("/") or "__default__",
            connect_timeout=_CONNECT_S,
        )
    except ClickHouseError as error:
        # Without the user and the password that the address may hold.
        where = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if secure else 8123)}"
        hint = "Is `spanledger serve` running, and is this its sql.listen? Choose with --url"
        raise ReportError(f"no ledger answers at {where}: {cause(error)}", hint=hint) from None
    return cast("summary.Client", client)


def cause(error: BaseException) -> str:
    """Say in one line why; what the system said, if that was it, and not who wrapped it."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(char for char in text[:_MESSAGE_CHARS_MAX] if char.isprintable())
