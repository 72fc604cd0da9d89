"""``spanledger verify``: is every cost in the ledger what its facts, prices and lines make it?

Promises: what is wrong goes to stdout with examples, and the exit code is 1; it is 0 only if all
that could be looked at is the same to the last digit, and what could not be is told with its
number. Reads only: beside a running collector, through its SQL listener, or alone.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import pyarrow as pa
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from spanledger.cli import export, moments
from spanledger.config import Config
from spanledger.config.price_files import load_book
from spanledger.errors import SpanledgerError
from spanledger.ledger.catalog.periods import instant_ns
from spanledger.ledger.pricing import price
from spanledger.reports import verify
from spanledger.reports.export import TooMuch
from spanledger.reports.verify_sums import Ask, Stretch, Upkeep

# An insert, a settlement or a summing up that is under way is through by then.
_MARGIN_US: Final = 10_000_000
_EXIT_WRONG: Final = 1


class VerifyError(SpanledgerError):
    """Nothing was verified."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted; no moment: as far as the ledger reaches."""

    start: datetime | None = None
    end: datetime | None = None
    tenants: Sequence[str] = ()
    models: Sequence[str] = ()


def run(
    config: Config, wanted: Request, url: str, *, offline: bool, form: Literal["table", "json"]
) -> int:
    """Verify a stretch of the ledger and print the verdict; returns the exit code.

    Raises:
        VerifyError: it is no time, or the ledger cannot answer in pieces.
        ExportError, ReportError: it did not answer.
        NoLedgerError, StartupError: there is none here, or another process has it open.
        PriceFileError: a price file cannot be used.
    """
    if wanted.start and wanted.end and wanted.start >= wanted.end:
        raise VerifyError("the time begins after it ends", hint="Give --from a day before --to")
    book = load_book(config.prices.files, config.prices.data)
    asked = export.offline(config) if offline else export.listener(config, url)
    with asked as query, _bar() as progress:

        def ask(text: str, parameters: Mapping[str, Any]) -> pa.Table:
            return export.answered(query, text, parameters)

        try:
            # What came in after this moment is not expected to be settled and summed up.
            now_us = time.time_ns() // 1_000
            upkeep = Upkeep.read(ask, now_us, 0 if offline else _MARGIN_US)
            stretch = _stretch(ask, wanted)
            verdict = verify.verify(
                ask,
                stretch,
                upkeep,
                lambda calls: price(calls, book, known_at_ns=0),
                book.version,
                progress=progress,
            )
        except TooMuch as error:
            hint = "Raise sql.memory_bytes_max and sql.result_bytes_max, or stop it and --offline"
            raise VerifyError(f"the ledger cannot answer in pieces: {error}", hint=hint) from None
    (_print_json if form == "json" else _print_table)(stretch, verdict)
    return 0 if verdict.is_sound else _EXIT_WRONG


def _stretch(ask: Ask, wanted: Request) -> Stretch:
    there = verify.extent(ask) or (0, 1)
    since_ns = there[0] if wanted.start is None else instant_ns(wanted.start)
    until_ns = there[1] if wanted.end is None else instant_ns(wanted.end)
    return Stretch(since_ns, max(until_ns, since_ns + 1), wanted.tenants, wanted.models)


@contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("Verifying {task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(next(iter(verify.CHECKS.values())), total=1.0)
        yield lambda what, done: progress.update(task, description=what, completed=done)


def _print_json(stretch: Stretch, verdict: verify.Verdict) -> None:
    said = {
        "from": moments.text(stretch.since_ns),
        "to": moments.text(stretch.until_ns),
        "sound": verdict.is_sound,
        "checks": {
            name: {"looked_at": verdict.looked_at[name], "wrong": verdict.wrong[name]}
            for name in verify.CHECKS
        },
        "not_looked_at": {name: verdict.told[name] for name in verify.TOLD},
        "examples": verdict.examples().to_dicts(),
    }
    typer.echo(json.dumps(said, default=str))


def _print_table(stretch: Stretch, verdict: verify.Verdict) -> None:
    console = Console(file=sys.stdout)
    title = f"{moments.text(stretch.since_ns)} to {moments.text(stretch.until_ns)}"
    table = Table("check", title=title, title_justify="left")
    for heading in ("looked at", "wrong"):
        table.add_column(heading, justify="right")
    for name, what in verify.CHECKS.items():
        looked_at = f"{verdict.looked_at[name]:,} {what}"
        table.add_row(name, looked_at, f"{verdict.wrong[name]:,}")
    console.print(table)
    for name, what in verify.TOLD.items():
        if verdict.told[name]:
            typer.echo(f"{verdict.told[name]:,} {what}")
    # Plain lines, not a table: an id that is cut cannot be looked up.
    for one in verdict.examples().iter_rows(named=True):
        where = "/".join(filter(None, (one["trace_id"], one["span_id"])))
        who = " ".join(filter(None, (str(one["day"]), one["tenant"], where, one["entry"])))
        typer.echo(f"{one['check']}: {who}: {one['why']}")
        typer.echo(f"    booked {one['booked']}, comes out {one['comes_out']}")
    typer.echo(
        "Every figure was reproduced"
        if verdict.is_sound
        else f"{verdict.wrong.total():,} could not be reproduced"
    )
