"""Entries against their lines, prices and facts: what is wrong is found, what is right is not."""

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, KNOWN_AT_NS, book_with, call, priced

from spanledger.ledger import verification as checks
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.limits import QUANTITY_MAX, RATE_USD_MAX
from spanledger.ledger.price_states import states
from spanledger.ledger.pricing import price
from spanledger.ledger.pricing_lines import wide_amounts
from spanledger.ledger.schema import MONEY, PRICED
from spanledger.ledger.verification_prices import KNOWN, KnownPrices, check_prices

USAGE: dict[str, Any] = {"input_tokens": 1_001, "cache_read_tokens": 333, "output_tokens": 77}
AGREED = {
    "prices": [
        {
            "provider": "openai",
            "model": "gpt-5",
            "region": "eu",
            "multiply": {"tokens": "1.1"},
        }
    ],
    "contracts": [
        {"name": "a *2 b", "provider": "openai", "model": "*", "discount_percent": "12.5"},
        {
            "name": "own",
            "provider": "anthropic",
            "model": "claude-sonnet-4-5",
            "rates": {"input_tokens": {"usd": "2.5", "per": 1_000_000}},
        },
    ],
}


@cache
def agreed() -> PriceBook:
    return book_with(AGREED)


def booked(*calls: dict[str, Any], book: PriceBook = BOOK) -> pl.DataFrame:
    """Charges as verification reads them."""
    ids = [pl.col(name).bin.encode("hex") for name in ("trace_id", "span_id")]
    more = {"who": pl.lit(1, pl.UInt64), "stored_at_us": pl.lit(0, pl.Int64)}
    entries = priced(*calls, book=book).with_columns(*ids, **more)
    return entries.select(checks.BOOKED.names()).cast(checks.BOOKED)


@cache
def of_all_kinds() -> pl.DataFrame:
    return booked(
        call("openai", "gpt-4o", **USAGE),
        call("openai", "gpt-4o", **USAGE, convention="assumed"),
        call("openai", "gpt-5", **USAGE, service_tier="flex"),
        call("openai", "nobody-knows", **USAGE),
        call("openai", "gpt-4o", status="error"),
        call("groq", "whisper-large-v3", input_audio_seconds="12.345678901"),
        call("anthropic", "claude-sonnet-4-5", **USAGE, cache_write_tokens=50),
    )


def known(book: PriceBook, *, is_recorded: bool = True) -> KnownPrices:
    kept = states(book.snapshot()).select(KNOWN.names()).cast(KNOWN)
    return KnownPrices(kept, frozenset({book.version} if is_recorded else ()))


def checked(rows: pl.DataFrame, book: PriceBook = BOOK) -> Iterator[pl.DataFrame]:
    lines = checks.lines_of(rows)
    yield checks.check_lines(rows, lines)
    yield check_prices(rows, lines, known(book))[0]
    yield checks.check_recompute(
        rows, lambda calls: price(calls, book, known_at_ns=KNOWN_AT_NS), book.version
    )[0]


def test_calls_of_every_class_are_reproduced() -> None:
    for found in checked(of_all_kinds()):
        assert found.rows() == []
        assert found.schema == checks.FINDINGS


def test_nothing_at_all_is_sound() -> None:
    for found in checked(checks.BOOKED.to_frame()):
        assert found.rows() == []
    assert checks.check_legs(checks.BOOKED.to_frame(), 0)[1:] == (0, 0)


def changed(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    dtype = rows.schema[column]
    value = pl.col(column)
    if dtype == MONEY:
        return rows.with_columns(value.fill_null(0) + pl.lit(Decimal("1e-18"), MONEY))
    if dtype == pl.String:
        return rows.with_columns(value + "x")
    return rows.with_columns(value.list.head(value.list.len().cast(pl.Int64) - 1))


@pytest.mark.parametrize("column", [name for name in PRICED if name != "price_book"])
def test_whatever_the_book_says_differently_is_found(column: str) -> None:
    rows = of_all_kinds().filter(pl.col("lines").list.len() > 0)
    *_, found = checked(changed(rows, column))
    assert found.height == rows.height
    assert found["why"].str.contains(column).all()


def test_what_another_book_booked_is_not_priced_anew() -> None:
    rows = of_all_kinds().with_columns(price_book=pl.lit("older"), cost_usd=pl.lit(7).cast(MONEY))
    found, recomputed, other = checks.check_recompute(rows, lambda _: rows, BOOK.version)
    assert (found.height, recomputed, other) == (0, 0, rows.height)


fraction = st.decimals(0, 10**6, places=18)
quantities = st.one_of(st.integers(0, QUANTITY_MAX).map(Decimal), fraction)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            quantities, st.sampled_from([1, -1]), fraction, st.sampled_from([1, 7, 60, 10**6])
        ),
        min_size=1,
        max_size=5,
    )
)
def test_an_amount_is_the_exact_product_rounded_once(
    lines: list[tuple[Decimal, int, Decimal, int]],
) -> None:
    usd, per = [row[2] for row in lines], [row[3] for row in lines]
    signed = [count * sign for count, sign, _, _ in lines]
    made = checks.amounts(
        pl.Series(signed, dtype=MONEY), pl.Series(usd, dtype=MONEY), pl.Series(per, dtype=pl.Int64)
    )
    assert made.to_list() == wide_amounts(signed, usd, per).to_list()


@pytest.mark.parametrize(
    ("quantity", "usd", "per"),
    [(QUANTITY_MAX + 1, 1, 1), (1, RATE_USD_MAX + 1, 1), (1, -1, 1), (1, 1, 0), (1, 1, -1)],
)
def test_a_line_that_arithmetic_has_no_room_for_is_told(quantity: int, usd: int, per: int) -> None:
    row = of_all_kinds().head(1)
    line = {"unit": "x", "quantity": quantity, "rate_usd": usd, "per": per, "amount_usd": 1}
    lines = pl.Series([[line | {"price_id": "x"}]], dtype=checks.BOOKED["lines"])
    (found,) = checks.check_lines(*_with(row, lines)).rows(named=True)
    assert found["why"] == "its line x does not multiply out"
    assert found["comes_out"] == "none"


def _with(row: pl.DataFrame, lines: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    forged = row.with_columns(lines=lines)
    return forged, checks.lines_of(forged)


def test_factors_and_contracts_on_a_price_are_known_by_their_names() -> None:
    """Also where a contract is called what a factor looks like."""
    rows = booked(
        call("openai", "gpt-5", **USAGE, region="eu"),
        call("anthropic", "claude-sonnet-4-5", **USAGE),
        book=agreed(),
    )
    assert "*1.1" in str(rows["lines"].to_list())
    assert "*0.875 contract/a *2 b" in str(rows["lines"].to_list())
    assert "contract/own" in str(rows["lines"].to_list())
    for found in checked(rows, agreed()):
        assert found.rows() == []


def test_a_list_cost_is_told_where_a_contract_lies_over_its_prices() -> None:
    rows = booked(call("openai", "gpt-5", **USAGE), book=agreed())
    assert (rows["list_cost_usd"] > rows["cost_usd"]).all()
    forged = rows.with_columns(list_cost_usd=pl.col("cost_usd"))
    found, _ = check_prices(forged, checks.lines_of(forged), known(agreed()))
    assert found["comes_out"].to_list() == [f"{rows['list_cost_usd'][0].normalize():f}"]


def test_a_price_of_a_book_that_was_not_recorded_is_counted_apart() -> None:
    rows = booked(call("openai", "gpt-5", **USAGE), book=agreed())
    lines = checks.lines_of(rows)
    assert check_prices(rows, lines, known(BOOK))[1] == lines.height
    assert check_prices(rows, lines, known(agreed(), is_recorded=False))[1] == 0
    nothing = KnownPrices(KNOWN.to_frame(), frozenset({agreed().version}))
    found, before = check_prices(rows, lines, nothing)
    assert (found.height, before) == (1, 0)


def test_a_charge_that_is_not_settled_yet_may_be_another_than_was_taken_back() -> None:
    charge = of_all_kinds().head(1).with_columns(stored_at_us=pl.lit(5, pl.Int64))
    taken_back = charge.with_columns(
        kind=pl.lit("restatement"),
        run=pl.lit("s"),
        leg=pl.lit(1, pl.UInt8),
        calls=pl.lit(-1, pl.Int8),
        cost_usd=-pl.col("cost_usd") - pl.lit(Decimal("1e-18"), MONEY),
    )
    both = pl.concat([charge, taken_back])
    assert checks.check_legs(both, 4)[1:] == (0, 1)
    found, looked_at, _ = checks.check_legs(both, 5)
    assert (found.height, looked_at) == (1, 1)
