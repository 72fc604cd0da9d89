"""``spanledger reprice``: what the ledger has, at today's prices.

Promises: a dry run tells the same changes and writes nothing; what was cut short is finished by the
next run; sums by hour and day follow before the command ends. A collector that has the ledger open
is told about instead of disturbed. Never prices what is sealed.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spanledger.collector.repricer import Stretch, pieces, repriced, restate
from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.config import Config
from spanledger.config.price_files import load_book
from spanledger.errors import SpanledgerError
from spanledger.ledger.pricing import price
from spanledger.ledger.repricing import DELTA, added
from spanledger.store.client import Store

_SUMS: Final = [name for name, dtype in DELTA.items() if dtype.is_numeric()]


class RepriceError(SpanledgerError):
    """Nothing was changed."""


class _Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Counters belong to a running collector."""


def run(config: Config, stretch: Stretch, run: str, *, dry: bool) -> tuple[str, pl.DataFrame]:
    """Price a stretch of the ledger anew: the run's name, and what changed (``DELTA``).

    Raises:
        RepriceError: there is no ledger, or its calls of that time are gone.
        StartupError: another process has the ledger open.
    """
    path = config.data_dir / "clickhouse"
    if not path.is_dir():
        hint = "Choose another with --data-dir"
        raise RepriceError(f"there is no ledger in {config.data_dir}", hint=hint)
    book = load_book(config.prices.files, config.prices.data)
    begun_ns = time.time_ns()
    name = run or stretch.run(book.version, begun_ns)

    def prices(calls: pl.DataFrame) -> pl.DataFrame:
        return price(calls, book, known_at_ns=begun_ns)

    store = Store.open_embedded(path)
    try:
        if stretch.first_ns < store.sealed_before_ns:
            kept = datetime.fromtimestamp(store.sealed_before_ns / 1e9, UTC)
            hint = f"Give --from {kept:%Y-%m-%d} or later: of the time before only sums are left"
            raise RepriceError("single calls of that time were removed", hint=hint)
        with Console(stderr=True).status("Settling what is new"):
            _all(Settler(store, prices, _Unmetered()).run)
        total = sum(piece.calls for piece in pieces(store, stretch))
        with _bar("Looking" if dry else "Repricing", total) as advance:
            if dry:
                found = [DELTA.to_frame()]
                for piece in pieces(store, stretch):
                    found.append(repriced(store, stretch, piece, prices).delta())
                    advance(piece.calls)
                return name, added(*found)
            change = restate(
                store, stretch, prices, name, begun_ns, progress=lambda piece: advance(piece.calls)
            )
        with Console(stderr=True).status("Summing up"):
            _all(Roller(store).run)
        return name, change
    finally:
        store.close()


def _all(job: Any) -> None:
    while job():
        pass


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda calls: progress.advance(task, calls)


def show(run: str, delta: pl.DataFrame, form: Literal["table", "json"], *, dry: bool) -> None:
    """Print what changed, by day and model, with the sums."""
    changed = delta.filter(pl.col("changed") > 0)
    sums = delta.select(pl.col(_SUMS).sum()).row(0, named=True)
    if form == "json":
        rows = [{name: _plain(value) for name, value in row.items()} for row in changed.to_dicts()]
        told = {name: _plain(value) for name, value in sums.items()}
        typer.echo(json.dumps({"run": run, "dry_run": dry, "total": told, "changes": rows}))
        return
    title = (
        f"{'Would change' if dry else 'Changed'}: {sums['changed']:,} of {sums['calls']:,} calls"
    )
    table = Table("day", "provider", "model", title=title, title_justify="left")
    for heading in ("calls", "changed", "old USD", "new USD", "change USD"):
        table.add_column(heading, justify="right")
    lines = [*changed.to_dicts(), {"day": "total", "provider": "", "model": "", **sums}]
    for line in lines:
        money = (f"{line[name]:,.6f}" for name in ("old_usd", "new_usd", "change_usd"))
        names = (str(line["day"]), line["provider"], line["model"])
        table.add_row(*names, f"{line['calls']:,}", f"{line['changed']:,}", *money)
    Console().print(table)
    if sums["unpriced_before"] or sums["unpriced_after"]:
        typer.echo(
            f"Without a price: {sums['unpriced_before']:,} before, {sums['unpriced_after']:,} after"
        )
    typer.echo(f"Nothing was written (run {run})" if dry else f"Written as run {run}")


def _plain(value: Any) -> Any:
    return (
        value
        if isinstance(value, int)
        else f"{value:f}"
        if hasattr(value, "as_tuple")
        else str(value)
    )
