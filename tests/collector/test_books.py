"""Price books that were in use can be asked again, after reloads, restarts and worse."""

import os
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from pricing_calls import NOON, call

from spanledger.collector.books import Books
from spanledger.errors import PriceFileError
from spanledger.ledger.schema import CALLS

ASKED = pl.DataFrame([call("acme", "acme-1", NOON, input_tokens=1_000_000)], schema=CALLS)
PRICES = "prices: [{{provider: acme, model: acme-1, {more}rates: {{input_mtok: {usd}}}}}]\n"


class Prices:
    """A price file that changes."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "mine.yaml"
        self.directory = directory / "data" / "books"
        self.books = Books(self.directory)

    def use(self, usd: int, more: str = "") -> str:
        """Take another price into use, as a reload does; returns the version."""
        self.file.write_text(PRICES.format(usd=usd, more=more))
        version = self.books.load([self.file]).version
        self.books.save()
        return version

    def restart(self) -> None:
        self.books = Books(self.directory)

    def cost(self, version: str) -> Decimal | None:
        found: Decimal | None = self.books.prices_of(version)(ASKED)["cost_usd"][0]
        return found


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    return Prices(tmp_path)


def test_every_book_answers_with_its_own_prices_after_reloads_and_restarts(prices: Prices) -> None:
    versions = {usd: prices.use(usd) for usd in (1, 2, 3, 4, 5, 6)}
    for _ in range(2):
        assert {usd: prices.cost(version) for usd, version in versions.items()} == {
            usd: Decimal(usd) for usd in versions
        }
        prices.restart()
        prices.use(6)
        prices.file.unlink()  # the texts are kept, not the name of the file


def test_a_book_that_is_gone_is_answered_by_the_one_in_use_and_told_once(
    prices: Prices, caplog: pytest.LogCaptureFixture
) -> None:
    prices.use(7)
    for version in ("genai-prices-0.0.1+00000000", "", "..", ".new", "/etc"):
        caplog.clear()
        assert [prices.cost(version) for _ in range(3)] == [Decimal(7)] * 3
        assert len(caplog.records) == 1


@pytest.mark.parametrize("damage", ["prices: [", PRICES.format(usd=9, more=""), None])
def test_what_is_not_the_book_of_that_version_any_more_does_not_count(
    prices: Prices, damage: str | None
) -> None:
    """Damaged, or made anew over bundled prices that an upgrade changed: another version."""
    version = prices.use(1)
    prices.use(2)
    (kept,) = (prices.directory / version).iterdir()
    kept.unlink() if damage is None else kept.write_text(damage)
    prices.restart()
    prices.use(2)
    assert prices.cost(version) == Decimal(2)


def test_a_date_of_a_price_makes_another_book(prices: Prices) -> None:
    ended = prices.use(1, more="until: 2020-01-01, ")
    lasting = prices.use(1)
    assert (prices.cost(ended), prices.cost(lasting)) == (None, Decimal(1))


def test_a_wrong_price_file_leaves_the_book_in_use(prices: Prices) -> None:
    prices.use(1)
    prices.file.write_text("prices: [{provider: acme}]\n")
    with pytest.raises(PriceFileError):
        prices.books.load([prices.file])
    assert prices.cost("gone") == Decimal(1)


def test_only_the_newest_books_are_kept_and_one_used_again_is_new(prices: Prices) -> None:
    prices.books = Books(prices.directory, books_max=3)
    versions = [prices.use(usd) for usd in (1, 2, 3)]
    for age, version in enumerate(versions):
        os.utime(prices.directory / version, (age, age))
    assert prices.use(1) == versions[0]
    newest = prices.use(4)
    kept = {path.name for path in prices.directory.iterdir()}
    assert kept == {versions[0], versions[2], newest}
    prices.books = Books(prices.directory, bytes_max=0)
    newest = prices.use(5)
    assert [path.name for path in prices.directory.iterdir()] == [newest]


def test_a_place_that_cannot_be_written_stops_nothing(
    prices: Prices, caplog: pytest.LogCaptureFixture
) -> None:
    prices.directory.parent.write_text("a file where a directory should be")
    first, second = prices.use(1), prices.use(2)
    assert (prices.cost(first), prices.cost(second)) == (Decimal(1), Decimal(2))
    assert "gone after the next restart" in caplog.text
