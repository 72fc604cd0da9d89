"""What pricing costs: microseconds a call in frames of several sizes, beside genai-prices.

Run: python benchmarks/pricing.py
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

import genai_prices
import polars as pl
from genai_prices.data import providers

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, ENTRIES

MODELS = 200
FRAMES = ((10_000, MODELS), (10_000, 1), (512, MODELS), (512, 10), (1, 1))
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
KNOWN_AT_NS = 1_795_000_000_000_000_000


def token_models(book: PriceBook, count: int) -> list[tuple[str, str]]:
    """Sellers and models that price input and output tokens, spread over the whole book."""
    found = [
        (provider.id, model.id)
        for provider in providers
        for model in provider.models
        if {"input_mtok", "output_mtok"} <= vars(model.get_prices(AT)).keys()
        and provider.find_model(model.id, all_providers=providers) is model
        and not isinstance(book.resolve(provider.id, model.id, ""), str)
    ]
    return found[:: len(found) // count][:count]


def make_calls(names: list[tuple[str, str]], rows: int, seed: int = 7) -> pl.DataFrame:
    """Chat calls with cached tokens, cache writes and reasoning, as ``dialects`` hands them on."""
    numbers = random.Random(seed)  # noqa: S311 - a load, no secret
    picks = [names[numbers.randrange(len(names))] for _ in range(rows)]
    inputs = [numbers.randrange(100, 300_000) for _ in range(rows)]
    outputs = [numbers.randrange(1, 8_000) for _ in range(rows)]
    blank: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Boolean: False}
    columns = {
        name: pl.Series(name, [blank.get(dtype)] * rows, dtype) for name, dtype in CALLS.items()
    }
    said: dict[str, list[Any]] = {
        "provider": [provider for provider, _ in picks],
        "request_model": [model for _, model in picks],
        "response_model": [model for _, model in picks],
        "start_time": [AT] * rows,
        "status": ["ok"] * rows,
        "convention": ["declared"] * rows,
        "input_tokens": inputs,
        "cache_read_tokens": [count // 2 for count in inputs],
        "cache_write_tokens": [count // 10 for count in inputs],
        "cache_write_5m_tokens": [count // 10 for count in inputs],
        "output_tokens": outputs,
        "output_reasoning_tokens": [count // 3 for count in outputs],
        "usage": [[]] * rows,
        "attributes": [[]] * rows,
    }
    columns |= {name: pl.Series(name, values, CALLS[name]) for name, values in said.items()}
    return pl.DataFrame(columns).select(CALLS.names())


def microseconds(work: Callable[[], object], calls: int, seconds: float = 2.0) -> float:
    """Median over as many runs as fit into ``seconds``."""
    work()
    runs, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        work()
        runs.append(time.perf_counter() - begin)
    return median(runs) / calls * 1e6


def main() -> None:
    begin = time.perf_counter()
    book = PriceBook.bundled()
    print(f"price book {book.version}: loaded in {time.perf_counter() - begin:.2f} s")
    names = token_models(book, MODELS)
    for rows, models in FRAMES:
        calls = make_calls(names[:models], rows)
        entries = price(calls, book, known_at_ns=KNOWN_AT_NS)
        assert entries.schema == ENTRIES  # noqa: S101 - a benchmark of something else is no use
        assert entries.get_column("cost_usd").null_count() == 0  # noqa: S101
        spent = microseconds(partial(price, calls, book, known_at_ns=KNOWN_AT_NS), rows)
        print(f"spanledger    frames of {rows:>6,}, {models:>3} models: {spent:9.2f} us a call")
    sample = (
        make_calls(names, 500)
        .select("provider", "request_model", "input_tokens", "cache_read_tokens", "output_tokens")
        .rows()
    )

    def peer() -> None:
        for provider, model, tokens, cached, output in sample:
            genai_prices.calc_price(
                genai_prices.Usage(
                    input_tokens=tokens, cache_read_tokens=cached, output_tokens=output
                ),
                model,
                provider_id=provider,
                genai_request_timestamp=AT,
            )

    print(
        f"genai-prices  calc_price,    {MODELS:>3} models: {microseconds(peer, 500):9.2f} us a call"
    )


if __name__ == "__main__":
    main()
