"""``spanledger prune``: remove single calls from before a day; their sums stay.

Promises: settles and sums up what it removes first; a collector that has the ledger open is told
about instead of disturbed. Never touches sums, counters or calls from later on.
"""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from spanledger.cli import offline
from spanledger.collector.books import Books
from spanledger.collector.pruner import DAYS_KEPT_MIN, prune
from spanledger.config import Config
from spanledger.errors import SpanledgerError


class PruneError(SpanledgerError):
    """Nothing was removed."""


def run(config: Config, before: datetime, now: datetime | None = None) -> int:
    """Remove the calls from before a moment; says on stderr what it does, returns the entries.

    Raises:
        PruneError: the moment is too near.
        NoLedgerError: there is no ledger here.
        StartupError: another process has the ledger open.
    """
    now = now or datetime.now(UTC)
    if before > now - timedelta(days=DAYS_KEPT_MIN):
        hint = f"Give --before a day that is at least {DAYS_KEPT_MIN} days ago: spans arrive late"
        raise PruneError(f"{before:%F} is too near", hint=hint)
    books = Books(config.data_dir / "books")
    book = books.load(config.prices.files, config.prices.data)
    with offline.opened(config) as store:
        offline.settle(store, books.prices_of, book)
        offline.sum_up(store)
        with Console(stderr=True).status("Removing"):
            return prune(store, int(before.timestamp()) * 10**9)
