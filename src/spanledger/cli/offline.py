"""The ledger, for commands that need it for themselves.

Promises: a ledger that is not there or has another owner is told in a sentence; what was opened is
closed. One in a data directory is opened while no collector runs. On a server collectors go on
taking calls, and leave the upkeep to the command (``collector/lease``). Never makes a ledger in a
data directory.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Final

import polars as pl
from rich.console import Console

from spanledger.collector.lease import Lease
from spanledger.collector.opening import open_the_store
from spanledger.collector.price_keeper import keep
from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.config import Config
from spanledger.errors import SpanledgerError
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.settlement_merge import PricesOf
from spanledger.store.client import Store
from spanledger.store.errors import StoreUnavailable

# Raises ``LeaseLostError`` when the upkeep is another's.
StillOwner = Callable[[], None]

_LOOK_S: Final = 0.2


class NoLedgerError(SpanledgerError):
    """There is nothing here to be opened."""


class SealedError(SpanledgerError):
    """Single calls of a time are gone."""


class ServerAwayError(SpanledgerError):
    """The server that holds the ledger does not answer, or not as it should."""


class LeaseLostError(SpanledgerError):
    """Another process does the upkeep now."""


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


@contextmanager
def opened_anywhere(config: Config) -> Iterator[Store]:
    """Open the ledger that a configuration names, also on a server.

    Raises:
        NoLedgerError, StartupError: as ``opened``.
        ServerAwayError: a server that does not answer, now or later.
    """
    if config.store.dsn is None:
        with opened(config) as store:
            yield store
        return
    try:
        store = open_the_store(config)
        try:
            yield store
        finally:
            store.close()
    except StoreUnavailable as error:
        where = f"{config.store.dsn.host}:{config.store.dsn.port}"
        hint = "See its log, then start the command again: what was written stays"
        raise ServerAwayError(f"the server at {where} failed ({error})", hint=hint) from error


@contextmanager
def owned(store: Store, config: Config) -> Iterator[StillOwner]:
    """Have the upkeep of the ledger to oneself; what is yielded says whether it is still so.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    if config.store.dsn is None:  # whoever has opened it is alone
        yield _alone
        return
    lease = Lease(store, config.settlement.lease_seconds, goes_first=True)
    lost, is_over = Event(), Event()

    def renew() -> None:
        while not is_over.wait(_LOOK_S):
            with suppress(StoreUnavailable):  # it is held until it runs out
                if not lease.held():
                    lost.set()
                    return

    def still_owner() -> None:
        if lost.is_set():
            hint = "Start it again: what was written stays, and it goes on from there"
            raise LeaseLostError("the upkeep of the ledger went to another process", hint=hint)

    renewing = Thread(target=renew, name="lease")
    try:
        with Console(stderr=True).status("Waiting until the collectors leave the upkeep to us"):
            while not lease.held():
                time.sleep(_LOOK_S)
        renewing.start()
        yield still_owner
    finally:
        is_over.set()
        if renewing.is_alive():
            renewing.join()
        with suppress(StoreUnavailable):
            lease.give_up()


def refuse_sealed(first_ns: int, sealed_before_ns: int) -> None:
    """See that a time begins after the moment at which the ledger is sealed.

    Raises:
        SealedError: it does not.
    """
    if first_ns < sealed_before_ns:
        kept = datetime.fromtimestamp(sealed_before_ns / 1e9, UTC)
        hint = f"Give --from {kept:%Y-%m-%d} or later: of the time before only sums are left"
        raise SealedError("single calls of that time were removed", hint=hint)


def _alone() -> None:
    """Nobody else can have the ledger open."""


def settle(
    store: Store, prices_of: PricesOf, book: PriceBook, still_owner: StillOwner = _alone
) -> None:
    """Settle what is new, to the end; the book of now is kept first."""
    keep(store, book, time.time_ns())
    _finish("Settling what is new", Settler(store, prices_of, _Unmetered()).run, still_owner)


def sum_up(store: Store, still_owner: StillOwner = _alone) -> None:
    """Bring the sums by hour and day up to date, to the end."""
    _finish("Summing up", Roller(store).run, still_owner)


def _finish(told: str, job: Callable[[], bool], still_owner: StillOwner) -> None:
    with Console(stderr=True).status(told):
        while job():
            still_owner()
