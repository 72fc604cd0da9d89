"""A real ledger with what writes to it, for tests of the upkeep."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from doubles import BOOK
from engine import open_ledger

from spanledger.collector.settler import Settler
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import entries_to_arrow
from spanledger.ledger.settlement_merge import Price, PricesOf


class Unmetered:
    """Metrics that nobody looks at."""

    def restated(self, legs: pl.DataFrame) -> None: ...


class Ledger:
    """A ledger that can be closed and opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = open_ledger(path)

    def reopen(self) -> None:
        self.store.close()
        self.store = open_ledger(self.path)

    def query(self, sql: str) -> Any:
        return self.store._reading.run(lambda client: client.query(sql).result_rows)

    def deliver(self, charges: pl.DataFrame) -> None:
        """As the writer does: what is known is left out."""
        table = pa.Table.from_batches([entries_to_arrow(charges)])
        new = table.filter(pc.invert(self.store.known(table)))
        if new.num_rows:
            self.store.insert(new)

    def settler(self, prices_of: PricesOf | None = None, **more: Any) -> Settler:
        return Settler(self.store, prices_of or one_book, Unmetered(), **more)


def as_of_now(calls: pl.DataFrame) -> pl.DataFrame:
    return price(calls, BOOK, known_at_ns=0)


def one_book(_: str) -> Price:
    """The book in use is the only one that there ever was."""
    return as_of_now


def settle(settler: Settler) -> None:
    while settler.run():
        pass
