"""Exports, and a what-if, of a ledger in which calls were settled and summed up."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import doubles
import polars as pl
import pyarrow as pa
import pytest
from engine import open_ledger
from focus_rules import total, violations

from spanledger.cli import comparing
from spanledger.cli.export import Query, Request, offline, run
from spanledger.collector import roller, settler
from spanledger.collector.price_keeper import keep
from spanledger.collector.repricer import Stretch
from spanledger.config import Config
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.catalog.periods import instant_ns
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import entries_to_arrow
from spanledger.ledger.what_if import Switch
from spanledger.reports.export import VIEWS

CAPTURES = ("openinference-anthropic", "openllmetry-langchain-both", "agent-framework")
Export = Callable[[str], pl.DataFrame]


class Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Nobody looks."""


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Asks a ledger of calls that were observed more than once."""
    data_dir = tmp_path_factory.mktemp("settled")
    store = open_ledger(data_dir / "clickhouse")
    for capture in CAPTURES:
        charges = entries_to_arrow(doubles.charges_of(capture))
        store.insert(pa.Table.from_batches([charges]))
    known_at_ns = doubles.KNOWN_AT_NS
    settling = settler.Settler(
        store,
        lambda _: lambda calls: price(calls, doubles.BOOK, known_at_ns=known_at_ns),
        Unmetered(),
    )
    for job in (settling.run, roller.Roller(store).run):
        while job():
            pass
    for book in (PriceBook.bundled(corrected=False), doubles.BOOK):
        keep(store, book, known_at_ns)
    store.close()
    with offline(Config(data_dir=data_dir)) as asked:
        yield asked


@pytest.fixture
def export(query: Query, tmp_path: Path) -> Export:
    def exported(view: str) -> pl.DataFrame:
        file = tmp_path / f"{view}.parquet"
        request = Request(view=view, output=str(file))
        if VIEWS[view] is not None:
            begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (2026, 2027))
            request = replace(request, start=begin, end=end)
        run(request, query)
        return pl.read_parquet(file)

    return exported


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_rows(export: Export, view: str) -> None:
    assert export(view).height > 0


def test_calls_sums_and_focus_agree_to_the_last_digit(export: Export) -> None:
    calls = export("calls")
    assert calls.height == sum(doubles.TRUE_CALLS[capture] for capture in CAPTURES)
    cost = total(calls, "cost_usd")
    assert cost > Decimal(0)
    for view in ("costs_hourly", "costs_daily", "users_daily", "customers"):
        assert total(export(view), "cost_usd") == cost
    charges = export("focus")
    assert total(charges, "BilledCost") == cost
    assert total(charges, "ListCost") == total(calls, "list_cost_usd")


def test_what_was_settled_is_taken_back_and_booked_in_rows_of_their_own(export: Export) -> None:
    charges = export("focus")
    assert list(violations(charges, "1.4")) == []
    settled = charges.filter(x_EntryKind="restatement")
    assert set(settled["x_CorrectionReason"]) <= {"settled", "settled_anew"}
    assert (settled["BilledCost"] < 0).any()
    assert (settled["BilledCost"] > 0).any()


def test_a_what_if_has_each_settled_call_once(query: Query, export: Export) -> None:
    begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (2026, 2027))
    stretch = Stretch(instant_ns(begin), instant_ns(end))
    days = comparing.run(query, stretch, Switch(region=""), doubles.BOOK).found.by_day
    calls = export("calls")
    assert days["calls"].sum() == calls.height
    assert total(days, "booked_usd") == total(days, "today_usd") == total(calls, "cost_usd")
    assert total(days, "difference_usd") == 0
