"""``spanledger export``: the rows of a view, or charges as FOCUS, to a file or a pipe.

Promises: a file is there whole or not at all; what is said to people goes to stderr, rows alone to
stdout; a ledger that cannot be asked is told in one sentence with what to do. Holds one piece of
the answer at a time. Reads only.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from spanledger.cli.offline import opened
from spanledger.cli.report import cause, connect_http
from spanledger.config import Config
from spanledger.errors import SpanledgerError
from spanledger.reports import export, focus_export
from spanledger.reports.export_files import FORMATS
from spanledger.store.client import READING

STDOUT: Final = "-"
_ENDINGS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_DAYS: Final = 30
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Nobody else asks this engine, so a piece may take its time and its memory.
_OFFLINE: Final = {
    **READING,
    "max_execution_time": 600,
    "max_memory_usage": 1024 * 1024 * 1024,
    "readonly": 2,
}
# ClickHouse's codes: a time, a memory, a size that was too much; no room for one more query.
_TOO_MUCH: Final = {159, 241, 307, 396}
_BUSY: Final = 202
# A dashboard that asks for all its panels is through by then.
_BUSY_PAUSES_S: Final = (0.5, 1, 2, 4, 8)

Query = Callable[[str, Mapping[str, Any]], pa.Table]


class ExportError(SpanledgerError):
    """Nothing was exported."""


@dataclass(frozen=True)
class Request:
    """What is wanted; ``form`` empty: by the ending of the file."""

    view: str = "calls"
    start: datetime | None = None
    end: datetime | None = None
    output: str = STDOUT
    form: str = ""
    focus_version: str = ""
    billing_account: str = ""


def check(request: Request) -> None:
    """Say what is wrong with a request, before anybody is asked.

    Raises:
        ExportError: it makes no sense.
    """
    if request.view not in export.VIEWS:
        hint = f"Choose one of {', '.join(export.VIEWS)}"
        raise ExportError(f"there is no view {request.view!r} to export", hint=hint)
    if _form(request) == "parquet" and request.output == STDOUT and sys.stdout.isatty():
        raise ExportError("Parquet is nothing for a terminal", hint="Give --output FILE")
    _range(request)


def run(request: Request, query: Query) -> int:
    """Write what is wanted; returns the number of rows.

    Raises:
        ExportError: the request makes no sense, or the ledger did not answer.
    """
    check(request)
    since_ns, until_ns = _range(request)
    pieces = export.pieces(
        _asker(export.sql(request.view), query), request.view, since_ns, until_ns
    )
    if request.view == export.FOCUS:
        pieces = focus_export.charges(pieces, request.focus_version, request.billing_account)
    count = 0
    try:
        with _opened(request.output) as stream, _progress(request, since_ns, until_ns) as shown:
            writer = FORMATS[_form(request)](stream)
            for piece in pieces:
                writer.write(piece.rows)
                count += piece.rows.num_rows
                shown(piece.until_ns, count)
            writer.close()
            stream.flush()
    except export.TooMuch as error:
        hint = "Raise sql.memory_bytes_max and sql.result_bytes_max, or stop it and use --offline"
        raise ExportError(f"the ledger cannot answer in pieces: {error}", hint=hint) from None
    where = "" if request.output == STDOUT else f" to {request.output}"
    typer.echo(f"Wrote {count:,} rows of {request.view}{where}", err=True)
    if request.view == export.FOCUS:
        _tell_left_out(query, since_ns, until_ns)
    return count


@contextlib.contextmanager
def listener(config: Config, url: str) -> Iterator[Query]:
    """Ask the collector at ``url``, else that of the configuration.

    Raises:
        ReportError: nobody answers there.
    """
    scheme = "http" if config.tls.cert_file is None else "https"
    user = None if url else next(iter(config.sql.users), None)
    client: Any = connect_http(
        url or f"{scheme}://{config.sql.listen}",
        user.name if user else None,
        user.password.reveal() if user else "",
    )
    try:
        yield lambda text, parameters: client.query_arrow(text, parameters=dict(parameters))
    finally:
        client.close()


@contextlib.contextmanager
def offline(config: Config) -> Iterator[Query]:
    """Ask the ledger itself, while no collector has it.

    Raises:
        NoLedgerError: there is none here.
        StartupError: another process has it open.
    """
    with opened(config) as store:
        session = store.open_session(_OFFLINE)
        yield lambda text, parameters: session.run(
            lambda client: client.query_arrow(text, parameters=dict(parameters))
        )


def _form(request: Request) -> str:
    return request.form or _ENDINGS.get(Path(request.output).suffix.lower(), "csv")


def _range(request: Request) -> tuple[int, int]:
    if export.VIEWS[request.view] is None:
        if request.start or request.end:
            hint = "Leave --from and --to out, or export calls"
            raise ExportError(f"{request.view} sums over all calls, it has no time", hint=hint)
        return 0, 1
    end = request.end or datetime.now(UTC)
    start = request.start or end - timedelta(days=_DAYS)
    if start >= end:
        hint = "Give --from a moment before --to"
        raise ExportError(f"nothing lies between {start:%F %T%z} and {end:%F %T%z}", hint=hint)
    return _ns(start), _ns(end)


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _asker(text: str, query: Query) -> export.Ask:
    def ask(cut: export.Cut) -> pa.Table:
        return answered(query, text, _parameters(text, cut))

    return ask


def _parameters(text: str, cut: export.Cut) -> dict[str, int]:
    values = {
        "since_ns": cut.since_ns,
        "until_ns": cut.until_ns,
        "rows": cut.rows,
        "skip": cut.skip,
    }
    return {name: value for name, value in values.items() if f"{{{name}:" in text}


def answered(query: Query, text: str, parameters: Mapping[str, Any]) -> pa.Table:
    """Ask for a piece; a ledger that is busy is asked again.

    Raises:
        TooMuch: a piece is too large, or takes too long.
        ExportError: it did not answer.
    """
    for pause_s in (*_BUSY_PAUSES_S, None):
        try:
            return query(text, parameters)
        except ClickHouseError as error:
            code = getattr(error, "code", None)
            if code in _TOO_MUCH:
                raise export.TooMuch(cause(error)) from None
            if code != _BUSY or pause_s is None:
                hint = "Is there a spanledger behind it, of the same version?"
                raise ExportError(f"the ledger did not answer: {cause(error)}", hint=hint) from None
            time.sleep(pause_s)
    raise AssertionError("the last try answers or raises")


def _tell_left_out(query: Query, since_ns: int, until_ns: int) -> None:
    text = focus_export.without_price()
    calls = answered(query, text, {"since_ns": since_ns, "until_ns": until_ns})
    if count := calls.column("calls")[0].as_py():
        typer.echo(
            f"{count:,} calls of this time have no price and therefore no row: "
            "see the view unpriced_models",
            err=True,
        )


@contextlib.contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    """A stream to write to; a file takes its name only when it is whole."""
    if output == STDOUT:
        try:
            yield sys.stdout.buffer
        except BrokenPipeError:
            # Whoever read had enough; nothing may be flushed into the pipe at the end either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    path = Path(output)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as stream:
            yield cast("BinaryIO", stream)
        part.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(
    request: Request, since_ns: int, until_ns: int
) -> Iterator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    timeless = export.VIEWS[request.view] is None
    with bar:
        task: TaskID = bar.add_task(
            request.view, total=None if timeless else until_ns - since_ns, rows=0
        )
        yield lambda reached_ns, rows: bar.update(
            task, completed=reached_ns - since_ns, rows=rows, refresh=False
        )
