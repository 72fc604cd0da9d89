"""``spanledger reprice``: what the ledger has, at today's prices.

Promises: a dry run tells what would change of the calls as they stand, and corrects nothing; what
was cut short is finished by the next run; sums by hour and day follow before the command ends. A
collector that has the ledger open is told about instead of disturbed. Never prices what is sealed.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spanledger.cli import offline
from spanledger.collector.books import Books
from spanledger.collector.repricer import Piece, Stretch, pieces, repriced, restate
from spanledger.config import Config
from spanledger.errors import SpanledgerError
from spanledger.ledger.pricing import price
from spanledger.ledger.repricing import DELTA, added
from spanledger.ledger.settlement_merge import Price
from spanledger.store.client import Store

_SUMS: Final = [name for name, dtype in DELTA.items() if dtype.is_numeric()]


class RepriceError(SpanledgerError):
    """Nothing was changed."""


@dataclass(frozen=True)
class Told:
    """What a run changed, or would."""

    run: str
    delta: pl.DataFrame  # DELTA
    is_dry: bool


def run(config: Config, stretch: Stretch, name: str, *, dry: bool) -> Told:
    """Price a stretch of the ledger anew; ``name`` empty: by what is priced, and now.

    Raises:
        NoLedgerError: there is no ledger here.
        RepriceError: it is no time.
        SealedError: its calls of that time are gone.
        StartupError: another process has the ledger open.
        LeaseLostError: on a server, another one took the upkeep over; start again.
        ServerAwayError: what was corrected stays; start again.
    """
    if stretch.first_ns >= stretch.end_ns:
        raise RepriceError("the time begins after it ends", hint="Give --from a day before --to")
    books = Books(config.data_dir / "books")
    book = books.load(config.prices.files, config.prices.data)

    def prices(calls: pl.DataFrame) -> pl.DataFrame:
        return price(calls, book, known_at_ns=0)

    with offline.opened_anywhere(config) as store:
        offline.refuse_sealed(stretch.first_ns, store.sealed_before_ns)
        if dry:
            name = name or stretch.run(book.version, time.time_ns())
            return Told(name, _looked_at(store, stretch, prices), is_dry=True)
        with offline.owned(store, config) as still_owner:
            offline.settle(store, books.prices_of, book, still_owner)
            begun_ns = time.time_ns()  # no earlier: what was said until now was said at old prices
            name = name or stretch.run(book.version, begun_ns)
            with _bar("Repricing", store, stretch) as advance:

                def progress(piece: Piece) -> None:
                    still_owner()
                    advance(piece)

                delta = restate(store, stretch, prices, name, begun_ns, progress=progress)
            offline.sum_up(store, still_owner)
        return Told(name, delta, is_dry=False)


def _looked_at(store: Store, stretch: Stretch, prices: Price) -> pl.DataFrame:
    delta = DELTA.to_frame()
    with _bar("Looking", store, stretch) as advance:
        for piece, found in repriced(store, stretch, prices):
            delta = added(delta, found.delta())
            advance(piece)
    return delta


@contextmanager
def _bar(what: str, store: Store, stretch: Stretch) -> Iterator[Callable[[Piece], None]]:
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=sum(piece.calls for piece in pieces(store, stretch)))
        yield lambda piece: progress.advance(task, piece.calls)


def show(told: Told, form: Literal["table", "json"]) -> None:
    """Print what changed, by day and model, with the sums."""
    changed = told.delta.filter(pl.col("changed") > 0)
    sums = told.delta.select(pl.col(_SUMS).sum()).row(0, named=True)
    if form == "json":
        said = {"run": told.run, "dry_run": told.is_dry, "total": sums}
        typer.echo(json.dumps({**said, "changes": changed.to_dicts()}, default=_plain))
        return
    what = "Would change" if told.is_dry else "Changed"
    title = f"{what}: {sums['changed']:,} of {sums['calls']:,} calls"
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
    typer.echo("Nothing was written" if told.is_dry else f"Written as run {told.run}")


def _plain(value: Decimal | date) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else f"{value:%F}"
