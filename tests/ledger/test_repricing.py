"""Prices of calls as the ledger has them: by the facts alone, and only where something differs."""

import polars as pl
from doubles import BOOK, TRUE_CALLS, charges_of

from spanledger.ledger.pricing import price
from spanledger.ledger.repricing import PRESENT, PRICES_ARROW, reprice
from spanledger.ledger.schema import CALLS, PRICED

OBSERVED = pl.concat([charges_of(capture) for capture in TRUE_CALLS])


def of_today(calls: pl.DataFrame) -> pl.DataFrame:
    return price(calls, BOOK, known_at_ns=0)


def test_prices_depend_on_nothing_but_the_facts() -> None:
    calls = OBSERVED.with_columns(request=pl.lit(0, pl.UInt32)).select(CALLS.names())
    found = reprice(OBSERVED.select(PRESENT.names()), of_today)
    assert found.priced.select(PRICED).equals(of_today(calls).select(PRICED))


def test_what_is_priced_as_it_was_booked_is_left_alone() -> None:
    booked = OBSERVED.with_columns(
        reprice(OBSERVED.select(PRESENT.names()), of_today).priced.select(PRICED).get_columns()
    )
    found = reprice(booked.select(PRESENT.names()), of_today)
    assert not found.changed.any()
    assert found.prices().num_rows == 0
    assert found.prices().schema.equals(PRICES_ARROW)


def test_no_calls_are_no_prices() -> None:
    found = reprice(PRESENT.to_frame(), of_today)
    assert found.prices().num_rows == 0
    assert found.delta().height == 0
