"""What pricing costs: CPU microseconds a call in frames of several sizes, beside other libraries.

    python benchmarks/pricing.py [--peers] [--into FILE]

spanledger and genai-prices price the same calls of 200 models in this process. The other libraries
are asked the vectors of the conformance suite, in their own environments through its adapters;
without those environments they are left out with a line saying so, ``--peers`` makes them.
"""

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import genai_prices
import polars as pl
from genai_prices.data import providers
from rich.console import Console
from rich.table import Table

import spanledger

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))  # a folder, not a package

import document
import environments
from judge import load_vectors

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import CALLS, ENTRIES

MODELS = 200
FRAMES = ((10_000, MODELS), (10_000, 1), (512, MODELS), (512, 10), (1, 1))
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
KNOWN_AT_NS = 1_795_000_000_000_000_000
# Of the 200 models, for one call at a time.
SINGLE_CALLS = 500
# How often a peer is asked every vector: the first round fills its caches and is left out.
ROUNDS = 11


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    library: str
    what: str
    calls: str
    cpu_us: float


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
    """Median CPU time, all threads, over as many runs as fit into ``seconds``."""
    work()
    runs, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.process_time()
        work()
        runs.append(time.process_time() - begin)
    return median(runs) / calls * 1e6


def of_frames(book: PriceBook, names: list[tuple[str, str]]) -> Iterator[Figure]:
    """The engine, on frames of several sizes."""
    for rows, models in FRAMES:
        calls = make_calls(names[:models], rows)
        entries = price(calls, book, known_at_ns=KNOWN_AT_NS)
        assert entries.schema == ENTRIES  # noqa: S101 - a benchmark of something else is no use
        assert entries.get_column("cost_usd").null_count() == 0  # noqa: S101
        spent = microseconds(partial(price, calls, book, known_at_ns=KNOWN_AT_NS), rows)
        what = "frame of one row" if rows == 1 else f"frames of {rows:,}"
        yield Figure("spanledger", what, "1 model" if models == 1 else f"{models} models", spent)


def of_single_calls(names: list[tuple[str, str]]) -> Iterator[Figure]:
    """One call at a time: the estimator of this package, and calc_price of genai-prices."""
    sample = (
        make_calls(names, SINGLE_CALLS)
        .select("provider", "request_model", "input_tokens", "cache_read_tokens", "output_tokens")
        .rows()
    )
    estimate: Any = getattr(spanledger, "estimate", None)

    def ours() -> None:
        for provider, model, tokens, cached, output in sample:
            estimate(
                model=model,
                provider=provider,
                input_tokens=tokens,
                cache_read_tokens=cached,
                output_tokens=output,
                at=AT,
            )

    def theirs() -> None:
        for provider, model, tokens, cached, output in sample:
            genai_prices.calc_price(
                genai_prices.Usage(
                    input_tokens=tokens, cache_read_tokens=cached, output_tokens=output
                ),
                model,
                provider_id=provider,
                genai_request_timestamp=AT,
            )

    if estimate is None:
        print("spanledger.estimate is not in this tree: left out")
    else:
        spent = microseconds(ours, SINGLE_CALLS)
        yield Figure("spanledger", "estimate, one call", f"{MODELS} models", spent)
    spent = microseconds(theirs, SINGLE_CALLS)
    yield Figure("genai-prices", "calc_price", f"{MODELS} models", spent)


def of_peers(*, make: bool) -> Iterator[Figure]:
    """The median over the vectors that a library has a figure for."""
    vectors = load_vectors()
    for name in environments.ADAPTERS:
        if name == environments.OURS:
            continue  # its adapter prices frames of one row, which the table has already
        if not environments.is_ready(name):
            if not make:
                print(f"{name} is not installed: left out; --peers installs it")
                continue
            environments.make(name)
        rounds = environments.ask(name, [*vectors] * ROUNDS)[len(vectors) :]
        spent: dict[str, list[float]] = defaultdict(list)
        for answer in rounds:
            if answer["outcome"] == "priced":
                spent[answer["id"]].append(answer["cpu_us"])
        library = f"{name} {environments.version(name)}".strip()
        each = [median(times) for times in spent.values()]
        yield Figure(library, "conformance vectors, one call", f"{len(each)} vectors", median(each))


def rows_of(figures: list[Figure]) -> list[list[str]]:
    """The table, each figure beside the engine's on frames of 10,000 calls of 200 models."""
    best = figures[0].cpu_us
    return [
        [
            figure.library,
            figure.what,
            figure.calls,
            f"{figure.cpu_us:,.2f}",
            f"{figure.cpu_us / best:,.0f}",
        ]
        for figure in figures
    ]


HEADINGS = ("library", "what", "calls of", "CPU µs a call", "times the first row")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="install the other libraries")
    parser.add_argument("--into", type=Path, help="a document to put the table into as well")
    options = parser.parse_args()
    begin = time.perf_counter()
    book = PriceBook.bundled()
    print(f"price book {book.version}: loaded in {time.perf_counter() - begin:.2f} s")
    names = token_models(book, MODELS)
    figures = [*of_frames(book, names), *of_single_calls(names), *of_peers(make=options.peers)]
    rows = rows_of(figures)
    if options.into:
        document.replace(options.into, "speed", document.markdown([("", HEADINGS, rows)]))
    table = Table()
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < len("ab") else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
