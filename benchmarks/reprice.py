"""What `spanledger reprice` takes for a million calls, in the embedded store.

    python benchmarks/reprice.py --calls 1000000 [--into FILE]

Builds a ledger of calls over 90 days (as benchmarks/views.py does), prices all of it at the bundled
prices, and once more at 10 % less from everybody, where every call that has a price changes. Then
at the same prices again, where none does. *CPU*: of the whole process, both cores, for each call
looked at. *Memory*: the largest that the process has been so far, the engine included.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import views

from spanledger.collector.repricer import Stretch, restate
from spanledger.ledger.catalog import PriceBook, read_document
from spanledger.ledger.pricing import price
from spanledger.store.client import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))  # a folder, not a package

import document

EVERYTHING: Final = Stretch(0, 4 * 10**18)
PROVIDERS: Final = ("openai", "anthropic", "gcp.gemini")
HEADINGS: Final = ("calls", "changed", "seconds", "CPU µs a call", "memory MB")


@dataclass(frozen=True)
class Run:
    calls: int
    changed: int
    wall_s: float
    cpu_s: float
    memory_mb: float

    def cells(self) -> list[str]:
        each_us = 1e6 * self.cpu_s / self.calls
        return [
            *(f"{count:,}" for count in (self.calls, self.changed)),
            *(f"{value:.1f}" for value in (self.wall_s, each_us)),
            f"{self.memory_mb:,.0f}",
        ]


def at_discount(percent: int) -> PriceBook:
    units = PriceBook.bundled().units
    contracts = [
        {"name": f"all-{who}", "provider": who, "model": "*", "discount_percent": percent}
        for who in PROVIDERS
    ]
    read = read_document({"contracts": contracts}, "user", units)
    return PriceBook.bundled([read])


def measure(store: Store, book: PriceBook) -> Run:
    """Price the whole ledger anew at these prices."""

    def prices(calls: pl.DataFrame) -> pl.DataFrame:
        return price(calls, book, known_at_ns=0)

    began_s, began_cpu_s, now_ns = time.perf_counter(), time.process_time(), time.time_ns()
    delta = restate(store, EVERYTHING, prices, f"run {now_ns}", now_ns)
    return Run(
        int(delta["calls"].sum()),
        int(delta["changed"].sum()),
        time.perf_counter() - began_s,
        time.process_time() - began_cpu_s,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--into", type=Path, help="a document to put the table into as well")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="spanledger-reprice-"))
    rows = []
    try:
        store = Store.open_embedded(directory / "ledger")
        try:
            views.build(store, arguments.calls, datetime.now(UTC))
            bundled, cheaper = PriceBook.bundled(), at_discount(10)
            for name, book in (
                ("first prices", bundled),
                ("other prices", cheaper),
                ("the same prices", cheaper),
            ):
                rows.append([name, *measure(store, book).cells()])
                print("  ".join(f"{cell:>16}" for cell in rows[-1]), flush=True)
        finally:
            store.close()
    finally:
        shutil.rmtree(directory)
    if arguments.into:
        table = ("", ("repriced at", *HEADINGS), rows)
        document.replace(arguments.into, "reprice", document.markdown([table]))


if __name__ == "__main__":
    main()
