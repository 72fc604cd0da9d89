"""``spanledger prune``: remove single calls from before a day; their sums stay.

Promises: settles and sums up what it removes first; a collector that has the ledger open is told
about instead of disturbed. Never touches sums, counters or calls from later on.
"""

from datetime import UTC, datetime, timedelta

import polars as pl
from rich.console import Console

from spanledger.collector.pruner import DAYS_KEPT_MIN, prune
from spanledger.collector.roller import Roller
from spanledger.collector.settings import rules
from spanledger.collector.settler import Settler
from spanledger.config import Config
from spanledger.errors import SpanledgerError
from spanledger.store.client import Store


class PruneError(SpanledgerError):
    """Nothing was removed."""


class _Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Counters belong to a running collector."""


def run(config: Config, before: datetime, now: datetime | None = None) -> int:
    """Remove the calls from before a moment; says on stderr what it does, returns the entries.

    Raises:
        PruneError: the moment is too near.
        StartupError: another process has the ledger open.
    """
    now = now or datetime.now(UTC)
    if before > now - timedelta(days=DAYS_KEPT_MIN):
        hint = f"Give --before a day that is at least {DAYS_KEPT_MIN} days ago: spans arrive late"
        raise PruneError(f"{before:%F} is too near", hint=hint)
    path = config.data_dir / "clickhouse"
    if not path.is_dir():
        hint = "Choose another with --data-dir"
        raise PruneError(f"there is no ledger in {config.data_dir}", hint=hint)
    price = rules(config).price
    store = Store.open_embedded(path)
    try:
        settler = Settler(store, price, _Unmetered())
        with Console(stderr=True).status("Settling and summing up what is new"):
            for job in (settler.run, Roller(store).run):
                while job():
                    pass
        with Console(stderr=True).status("Removing"):
            return prune(store, int(before.timestamp()) * 10**9)
    finally:
        store.close()
