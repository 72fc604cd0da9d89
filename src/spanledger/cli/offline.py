"""The ledger of a data directory, for commands that need it while no collector runs.

Promises: a ledger that is not there, has another owner or lies on a server is told in a sentence;
what was opened is closed. Never makes a ledger.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import polars as pl
from rich.console import Console

from spanledger.collector.price_keeper import keep
from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.config import Config
from spanledger.errors import SpanledgerError
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.settlement_merge import PricesOf
from spanledger.store.client import Store


class NoLedgerError(SpanledgerError):
    """There is nothing here to be opened."""


class SealedError(SpanledgerError):
    """Single calls of a time are gone."""


class _Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Counters belong to a running collector."""


@contextmanager
def opened(config: Config) -> Iterator[Store]:
    """Open the embedded ledger that a configuration names.

    Raises:
        NoLedgerError: there is none.
        StartupError: another process has it open.
    """
    if config.store.dsn is not None:
        hint = "Its collectors do the upkeep; ask it over SQL"
        raise NoLedgerError("the ledger is on a server (store.dsn)", hint=hint)
    path = config.data_dir / "clickhouse"
    if not path.is_dir():
        hint = "Choose another with --data-dir"
        raise NoLedgerError(f"there is no ledger in {config.data_dir}", hint=hint)
    store = Store.open_embedded(path)
    try:
        yield store
    finally:
        store.close()


def refuse_sealed(first_ns: int, sealed_before_ns: int) -> None:
    """See that a time begins after the moment at which the ledger is sealed.

    Raises:
        SealedError: it does not.
    """
    if first_ns < sealed_before_ns:
        kept = datetime.fromtimestamp(sealed_before_ns / 1e9, UTC)
        hint = f"Give --from {kept:%Y-%m-%d} or later: of the time before only sums are left"
        raise SealedError("single calls of that time were removed", hint=hint)


def settle(store: Store, prices_of: PricesOf, book: PriceBook) -> None:
    """Settle what is new, to the end; the book of now is kept first."""
    keep(store, book, time.time_ns())
    _finish("Settling what is new", Settler(store, prices_of, _Unmetered()).run)


def sum_up(store: Store) -> None:
    """Bring the sums by hour and day up to date, to the end."""
    _finish("Summing up", Roller(store).run)


def _finish(told: str, job: Callable[[], bool]) -> None:
    with Console(stderr=True).status(told):
        while job():
            pass
