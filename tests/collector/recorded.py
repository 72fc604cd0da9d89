"""Observations recorded while prices change, and what the ledger has to say of them.

The truth is worked out apart from settlement: a call costs what its merged facts cost by one book,
and which book that is follows from what was recorded first, be it seen by the ledger first or last.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from doubles import TRUE_CALLS, charges_of
from ledgers import one_book

from spanledger.collector.books import Books
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, entries_to_arrow
from spanledger.ledger.settlement import KEY, sameness
from spanledger.ledger.settlement_merge import _FACTS, merge
from spanledger.store.client import Store

OBSERVED = pl.concat([charges_of(capture) for capture in TRUE_CALLS]).with_row_index("number")
DIMENSIONS = ("user_id", "customer", "model", "provider", "service")
_DISCOUNT = """
  - {{name: {name}-{who}, provider: {who}, model: "*", discount_percent: {percent}{more}}}
"""

Totals = dict[str, dict[str, tuple[int, Decimal, int]]]


class Prices:
    """Discounts of a collector, in a price file that changes while it runs."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.file = directory / "discounts.yaml"
        self._place = directory / "books"
        self.restart()

    def use(self, percent: int, since: datetime | None = None) -> None:
        """Reload: Anthropic's discount is another one than that of the others."""
        more = f", from: {since:%Y-%m-%dT%H:%M:%SZ}" if since else ""
        shares = {"anthropic": percent, "openai": percent // 2, "aws.bedrock": percent // 4}
        discounts = (
            _DISCOUNT.format(name=f"d{percent}", who=who, percent=share, more=more)
            for who, share in shares.items()
        )
        self.file.write_text("contracts:" + "".join(discounts))
        self._load()

    def restart(self) -> None:
        """All that was in memory is gone."""
        self.books = Books(self._place)
        if self.file.exists():
            self._load()
        else:
            self.use(0)

    def _load(self) -> None:
        self.book = self.books.load([self.file])
        self.books.save()

    def record(self, numbers: list[int], tenant: str, known_at_ns: int) -> pl.DataFrame:
        """Charges for observations, by the book in use."""
        calls = OBSERVED[numbers].with_columns(tenant=pl.lit(tenant), request=pl.lit(0, pl.UInt32))
        return price(calls.select(CALLS.names()), self.book, known_at_ns=known_at_ns)


class Truth:
    """What was recorded, by anyone, whenever it comes to the ledger."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._first: dict[bytes, dict[str, Any]] = {}

    def recorded(self, charges: pl.DataFrame) -> None:
        for row in charges.iter_rows(named=True):
            known = self._first.setdefault(row["span_id"] + row["trace_id"], row)
            if row["known_at"] < known["known_at"]:
                self._first[row["span_id"] + row["trace_id"]] = row

    def totals(self) -> Totals:
        """Calls, money and output tokens of every call, by each dimension."""
        found: Totals = {name: defaultdict(lambda: (0, Decimal(0), 0)) for name in DIMENSIONS}
        for facts, spans in _calls():
            seen = sorted((self._first[span] for span in spans), key=lambda row: row["known_at"])
            whole = [row for row in seen if _priced_by(row) == _priced_by(facts)]
            call = pl.DataFrame([facts | {"request": 0}], schema=CALLS)
            prices = self._prices.books.prices_of((whole or seen)[0]["price_book"])
            (row,) = prices(call).iter_rows(named=True)
            for name in DIMENSIONS:
                calls, usd, tokens = found[name][row[name]]
                cost = usd + (row["cost_usd"] or Decimal(0))
                found[name][row[name]] = (calls + 1, cost, tokens + row["output_tokens"])
        return found


def reported(ask: Callable[[str], Any], tenant: str) -> Totals:
    """The same as the ledger tells it; ``ask`` it for the rows of a query."""

    def asked(name: str) -> dict[str, tuple[int, Decimal, int]]:
        totals = "count(), coalesce(sum(cost_usd), 0), sum(output_tokens)"
        sql = f"SELECT {name}, {totals} FROM calls WHERE tenant = '{tenant}' GROUP BY {name}"  # noqa: S608 - ours
        return {value: (calls, usd, tokens) for value, calls, usd, tokens in ask(sql)}

    return {name: asked(name) for name in DIMENSIONS}


@cache
def _calls() -> list[tuple[dict[str, Any], list[bytes]]]:
    """Every true call with its facts, and the spans that observed it; money is not looked at."""
    runs = OBSERVED.drop("run", "number").join(sameness(OBSERVED).calls, on=KEY, how="left")
    alone = pl.concat_str(pl.lit("alone "), pl.col("span_id").bin.encode("hex"), "trace_id_hex")
    runs = runs.with_columns(trace_id_hex=pl.col("trace_id").bin.encode("hex"))
    runs = runs.with_columns(pl.col("run").fill_null(alone)).drop("trace_id_hex")
    spans = runs.group_by("run").agg(span=pl.concat_list("span_id", "trace_id"))
    by_run = {run: [span + trace for span, trace in pairs] for run, pairs in spans.iter_rows()}
    facts = merge(runs, one_book)
    return [(row, by_run[row["run"]]) for row in facts.iter_rows(named=True)]


def _priced_by(facts: dict[str, Any]) -> Any:
    usage = sorted((pair["key"], pair["value"]) for pair in facts["usage"])
    return [facts[name] for name in _FACTS], usage


def insert(store: Store, charges: pl.DataFrame) -> None:
    """As a writer that does not see what another one wrote."""
    store.insert(pa.Table.from_batches([entries_to_arrow(charges)]))
