"""The book's lines are those of genai-prices, save where a listed correction says why not."""

import pytest
from differential import KEYS, run
from genai_prices.types import ModelInfo
from pricing_calls import BOOK, UNCORRECTED, models

from spanledger.ledger.catalog import PriceBook


@pytest.mark.parametrize(("seed", "book"), [(1, BOOK), (2, UNCORRECTED)])
def test_every_rate_of_every_model_gives_the_lines_of_genai_prices(
    seed: int, book: PriceBook
) -> None:
    result = run(seed, book)
    assert result.different[:3] == []
    assert result.cases > 10_000
    assert bool(result.explained) == (book is BOOK)
    priced_units = {key for _, info, _ in models() for key in _price_keys(info)}
    assert priced_units <= {price_id.partition("#")[2].split(">")[0] for price_id in result.rated}


def _price_keys(info: ModelInfo) -> set[str]:
    prices = [variant.prices for variant in info.price_variants or ()]
    if isinstance(info.prices, list):
        prices += [price.prices for price in info.prices]
    else:
        prices.append(info.prices)
    return {key for each in prices for key, value in vars(each).items() if value is not None} & {
        *KEYS
    }
