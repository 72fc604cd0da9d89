"""The ledger knows every price that its books had, and people see what changed."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from genai_prices.data_units import unit_data
from hypothesis import HealthCheck, given, settings, strategies as st
from ledgers import Ledger

from spanledger.collector import derived
from spanledger.collector.price_keeper import PriceKeeper, keep
from spanledger.ledger.catalog import PriceBook, Units, read_document
from spanledger.ledger.price_states import KEY, states, states_from_arrow
from spanledger.store.damage import Part
from spanledger.store.errors import StoreUnavailable

NOON_NS = 1_793_534_400 * 10**9
UNITS = Units.from_data(unit_data)


def book(name: str, **usd: str) -> PriceBook:
    """A book of some models, each with a rate for a million input tokens."""
    prices = [
        {"provider": "acme", "model": model, "rates": {"input_mtok": Decimal(rate)}}
        for model, rate in usd.items()
    ]
    document = read_document({"prices": prices}, "user", UNITS)
    assert not document.errors
    return PriceBook((), unit_data, name, [document])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger")
    yield opened
    opened.store.close()


def in_force(ledger: Ledger) -> list[dict[str, Any]]:
    latest = states_from_arrow(ledger.store.query("prices_latest"))
    return latest.filter("in_force").drop("book", "learned_at").sort(KEY).to_dicts()


def changes(ledger: Ledger) -> Any:
    return ledger.query(
        "SELECT book, kind, model, old_usd, new_usd, change_ratio FROM price_changes"
        " ORDER BY learned_at, model"
    )


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    books=st.lists(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(("1", "2"))), min_size=1, max_size=4
    )
)
def test_whatever_was_kept_before_the_last_book_is_in_force_and_is_not_added_twice(
    ledger: Ledger, books: Sequence[Mapping[str, str]]
) -> None:
    for number, rates in enumerate(books):
        of_now = book(f"book {number}", **rates)
        keep(ledger.store, of_now, NOON_NS)
        assert in_force(ledger) == states(of_now.snapshot()).sort(KEY).to_dicts()
        assert keep(ledger.store, of_now, NOON_NS) == 0


def test_changes_are_shown_with_old_and_new_and_the_first_book_is_none(ledger: Ledger) -> None:
    keep(ledger.store, book("one", a="2", b="4", c="8"), NOON_NS)
    assert changes(ledger) == []
    keep(ledger.store, book("two", a="2", b="1", d="16"), NOON_NS)
    assert changes(ledger) == [
        ("two", "changed", "b", Decimal(4), Decimal(1), 0.25),
        ("two", "removed", "c", Decimal(8), None, None),
        ("two", "added", "d", None, Decimal(16), None),
    ]
    keep(ledger.store, book("three", a="2", b="1", c="8", d="16"), NOON_NS)
    assert changes(ledger)[3:] == [("three", "added", "c", None, Decimal(8), None)]


def test_what_was_added_twice_is_shown_once(ledger: Ledger) -> None:
    keep(ledger.store, book("one", a="2"), NOON_NS)
    keep(ledger.store, book("two", a="3"), NOON_NS)
    shown = changes(ledger)
    table = ledger.store.query("prices_latest")
    ledger.store.add_prices(table)  # a retry
    assert changes(ledger) == shown
    later = table.column("learned_at").cast(pa.int64()).to_pylist()[0] + 1
    at = table.schema.get_field_index("learned_at")
    moment = pa.array([later]).cast(table.schema.field(at).type)
    ledger.store.add_prices(table.set_column(at, table.schema.field(at), moment))
    assert changes(ledger) == shown


class Away:
    """A store that fails until it is told otherwise."""

    def __init__(self, ledger: Ledger, error: Exception) -> None:
        self.ledger = ledger
        self.error: Exception | None = error

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        if self.error is not None:
            raise self.error
        return self.ledger.store.query(name, parameters)

    def add_prices(self, prices: pa.Table) -> None:
        self.ledger.store.add_prices(prices)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("a defect")])
def test_what_cannot_be_kept_is_tried_again_later_and_stops_nothing(
    ledger: Ledger, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    store = Away(ledger, error)
    one = book("one", a="2")
    keeper = PriceKeeper(store, lambda: one, monotonic=lambda: now_s)
    assert not keeper.run()
    assert "the prices of one are not in the ledger yet" in caplog.text
    store.error = None
    assert not keeper.run()
    assert in_force(ledger) == []
    now_s = 60.0
    assert not keeper.run()
    assert len(in_force(ledger)) == 1


def test_another_book_is_kept_when_it_comes_into_use(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    in_use = book("one", a="2", b="2")
    keeper = PriceKeeper(ledger.store, lambda: in_use)
    for _ in range(3):
        keeper.run()
    in_use = book("two", a="3", b="2")
    for _ in range(3):
        keeper.run()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "prices of one are kept, 2 differed",
        "prices of two are kept, 1 differed",
    ]
    assert [row[:3] for row in changes(ledger)] == [("two", "changed", "a")]


def test_after_damage_the_prices_in_use_are_kept_again_and_the_loss_is_told(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    one = book("one", a="2", b="2")
    keep(ledger.store, one, NOON_NS)
    whole = in_force(ledger)
    ((name, path),) = ledger.query(
        "SELECT name, path FROM system.parts WHERE active AND table = 'prices'"
    )
    shutil.copy(Path(path, "checksums.txt"), Path(path, "data.bin"))
    (damaged,) = ledger.store.damage(60, lambda: False).active
    assert damaged == Part("prices", name)
    ledger.store.detach([damaged])
    derived.rebuild(ledger.store, [damaged])
    assert "earlier ones may be missing" in caplog.text
    assert in_force(ledger) == []
    PriceKeeper(ledger.store, lambda: one).run()
    assert in_force(ledger) == whole
    assert changes(ledger) == []
