"""What is kept of price books: the latest states are the last book, and nothing comes twice."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, book_with

from spanledger.ledger.catalog import PriceRow
from spanledger.ledger.price_states import (
    KEY,
    STATES,
    STATES_ARROW,
    differences,
    stamped,
    states,
    states_from_arrow,
    states_to_arrow,
)

NOON_NS = 1_793_534_400 * 10**9


def row(price_id: str = "user/acme/large/standard#input_mtok", **said: Any) -> PriceRow:
    plain: dict[str, Any] = {
        "price_id": price_id,
        "layer": "user",
        "provider": "acme",
        "model": "large",
        "unit": "input_tokens",
        "usd": Decimal("2.5"),
        "per": 10**6,
        "factor": None,
        "context": "",
        "input_above": -1,
        "input_up_to": None,
        "when": "",
        "valid_from_ns": None,
        "valid_until_ns": None,
        "known_at_ns": 0,
        "reason": "",
        "source": "",
    }
    return PriceRow(**{**plain, **said})


class History:
    """The table, in memory: rows are added and never taken away."""

    def __init__(self) -> None:
        self.rows = STATES.to_frame()

    @property
    def latest(self) -> pl.DataFrame:
        return self.rows.sort("learned_at").unique(KEY, keep="last", maintain_order=True)

    def keep(self, book: Sequence[PriceRow], now_ns: int = NOON_NS) -> int:
        found = differences(self.latest, states(book))
        self.rows = pl.concat([self.rows, stamped(found, self.latest, "book", now_ns)])
        return found.height

    def in_force(self) -> list[dict[str, Any]]:
        names = states([]).columns
        return self.latest.filter("in_force").select(names).sort(KEY).to_dicts()


def as_kept(book: Sequence[PriceRow]) -> list[dict[str, Any]]:
    return states(book).sort(KEY).to_dicts()


def a_row(names: st.SearchStrategy[str]) -> st.SearchStrategy[PriceRow]:
    return st.builds(
        row,
        names,
        model=names,
        usd=st.sampled_from([None, Decimal(0), Decimal("1e-18"), Decimal(10**6)]),
        input_up_to=st.sampled_from([None, 0, 200_000]),
        valid_from_ns=st.sampled_from([None, 0, NOON_NS]),
        reason=st.sampled_from(["", "dearer"]),
    )


@settings(deadline=None, max_examples=40)
@given(
    books=st.lists(st.lists(a_row(st.sampled_from("abc")), max_size=6), max_size=6),
    now_ns=st.lists(st.integers(0, NOON_NS), min_size=6, max_size=6),
)
def test_after_any_books_by_any_clock_the_last_one_is_in_force_and_nothing_is_added_twice(
    books: list[list[PriceRow]], now_ns: list[int]
) -> None:
    history = History()
    for book, moment_ns in zip(books, now_ns, strict=False):
        history.keep(book, moment_ns)
        assert history.in_force() == as_kept(book)
        assert history.keep(book, moment_ns) == 0


def test_a_price_that_changed_and_one_that_went_are_told_with_their_figures() -> None:
    history = History()
    history.keep([row("a"), row("b"), row("c")])
    assert history.keep([row("a"), row("b", usd=Decimal(3))]) == 2
    told = history.rows.tail(2).select("price_id", "usd", "in_force").rows()
    assert told == [("b", Decimal(3), True), ("c", Decimal("2.5"), False)]


def test_a_file_that_was_written_anew_with_the_same_prices_says_the_same() -> None:
    history = History()
    history.keep([row(known_at_ns=1)])
    assert history.keep([row(known_at_ns=2)]) == 0


def test_what_no_column_has_room_for_is_kept_as_near_as_can_be() -> None:
    odd = row(
        reason="half a pair: \ud83d",
        factor=Decimal("0.66666666666666666667"),
        input_above=10**30,
        input_up_to=10**31,
        per=10**30,
        valid_from_ns=-(10**20),
        valid_until_ns=10**21,
    )
    (kept,) = states([odd]).to_dicts()
    assert kept["reason"] == "half a pair: ?"
    assert kept["factor"] == Decimal("0.666666666666666667")
    assert kept["input_above"] == kept["input_up_to"] == kept["per"] == 2**63 - 1
    assert (kept["valid_from"].year, kept["valid_until"].year) == (1900, 2262)
    history = History()
    assert (history.keep([odd]), history.keep([odd])) == (1, 0)


def test_states_go_to_the_store_and_back_unchanged() -> None:
    history = History()
    history.keep([row(), row("b", usd=None, factor=Decimal(2), valid_from_ns=NOON_NS)])
    table = states_to_arrow(history.rows)
    assert table.schema == STATES_ARROW
    assert states_from_arrow(table).equals(history.rows)


def test_every_price_of_a_book_has_a_key_of_its_own_also_of_files_that_say_the_same() -> None:
    same = {
        "prices": [{"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": 1}}],
        "contracts": [{"name": "c", "model": ["gpt-4o", "gpt-4o"], "discount_percent": 5}],
    }
    for book in (BOOK, book_with(same)):
        rows = list(book.snapshot())
        assert states(rows).height == len(rows) > 8_000
