"""What the views cost at 1, 3 and 10 million calls over 90 days, in the embedded store.

Run: python benchmarks/views.py [--calls 1000000] [--directory DIR] [--keep]

Prints how long settlement and rollups take to catch up, then for each view and each query of the
dashboards: the first time (the engine's caches dropped), the median of three more, and the rows
that the engine expects to read.
"""

import argparse
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any

import polars as pl

from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.store.client import Store
from spanledger.store.migrations import views

ROOT = Path(__file__).parents[1]
DAYS = 90
STEP = 250_000
CACHES = ("MARK", "UNCOMPRESSED", "QUERY CONDITION", "PRIMARY INDEX", "INDEX MARK")


class Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Nobody looks."""


def build(store: Store, calls: int, now: datetime, *, settle: bool) -> None:
    begin_ns = int((now - timedelta(days=DAYS)).timestamp()) * 10**9
    sql = Path(__file__).with_suffix(".sql").read_text()
    began = time.perf_counter()
    for first in range(0, calls, STEP):
        values = {"first": first, "rows": STEP, "total": calls, "begin_ns": begin_ns}
        command(store, sql, values)
    print(f"{'built':<34} {time.perf_counter() - began:9.1f} s")
    book = PriceBook.bundled()
    settler = Settler(store, lambda c: price(c, book, known_at_ns=time.time_ns()), Unmetered())
    jobs = [("settled", settler.run), ("rolled up", Roller(store).run)]
    for name, job in jobs[0 if settle else 1 :]:
        began = time.perf_counter()
        longest = 0.0
        more = True
        while more:
            step = time.perf_counter()
            more = job()
            longest = max(longest, time.perf_counter() - step)
        seconds = time.perf_counter() - began
        print(f"{name:<34} {seconds:9.1f} s, longest step {longest:.2f} s")


def queries(store: Store, now: datetime) -> Iterator[tuple[str, str]]:
    month = f"{now:%Y-%m}-01"
    trace = rows(store, "SELECT trace_id FROM calls WHERE start_time > now() - 86400 LIMIT 1")[0][0]
    yield "calls by trace id", f"SELECT * FROM calls WHERE trace_id = '{trace}'"  # noqa: S608
    yield "month to date", f"SELECT sum(cost_usd) FROM costs_daily WHERE day >= '{month}'"  # noqa: S608
    yield (
        "30 days by model, costs_daily",
        ("SELECT model, sum(cost_usd) FROM costs_daily WHERE day >= today() - 30 GROUP BY model"),
    )
    yield (
        "a day by hour",
        ("SELECT hour, sum(cost_usd) FROM costs_hourly WHERE hour >= now() - 86400 GROUP BY hour"),
    )
    yield (
        "a day of calls by user",
        ("SELECT user_id, sum(cost_usd) FROM calls WHERE start_time >= now() - 86400 GROUP BY 1"),
    )
    yield "one conversation", "SELECT * FROM calls WHERE conversation_id = 'conversation-77'"
    for view in views():
        name = view.name.removesuffix(".sql")
        table = f"{name}(known_at = '{now:%F %T}')" if name == "calls_as_of" else name
        cost = "cost_change_usd" if name == "restatements" else "cost_usd"
        yield f"all of {name}", f"SELECT count(), sum({cost}) FROM {table}"  # noqa: S608
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        for title, sql in panels(json.loads(file.read_text())):
            yield f"{file.stem}: {title}", filled(sql)


def panels(node: Any) -> Iterator[tuple[str, str]]:
    """Title and SQL of every panel, however deep."""
    if isinstance(node, dict):
        for target in node.get("targets", ()):
            if "rawSql" in target:
                yield str(node.get("title")), target["rawSql"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from panels(inner)


def filled(sql: str) -> str:
    """Fill in Grafana's macros: the last 30 days, everything chosen."""
    sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= now() - INTERVAL 30 DAY", sql)
    return re.sub(r"\$__conditionalAll\(.*?\), \$\w+\)", "1 = 1", sql)


def rows(store: Store, sql: str) -> Any:
    return store._reading.run(lambda client: client.query(sql).result_rows)  # noqa: SLF001


def command(store: Store, sql: str, parameters: dict[str, Any] | None = None) -> None:
    store._writing.run(lambda client: client.command(sql, parameters=parameters))  # noqa: SLF001


def measure(store: Store, name: str, sql: str) -> None:
    for cache in CACHES:
        command(store, f"SYSTEM DROP {cache} CACHE")
    times = []
    for _ in range(4):
        began = time.perf_counter()
        rows(store, sql)
        times.append(1_000 * (time.perf_counter() - began))
    read = sum(table[3] for table in rows(store, f"EXPLAIN ESTIMATE {sql}"))
    print(f"{name[:50]:<50} {times[0]:9.0f} {median(times[1:]):9.0f} {read:14,}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--keep", action="store_true", help="use what is in --directory already")
    parser.add_argument("--unsettled", action="store_true", help="leave twins as they came")
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="spanledger-views-"))
    now = datetime.now(UTC)
    store = Store.open_embedded(directory)
    try:
        if not arguments.keep:
            build(store, arguments.calls, now, settle=not arguments.unsettled)
        sizes = rows(
            store,
            "SELECT table, sum(rows), formatReadableSize(sum(bytes_on_disk)) FROM system.parts "
            "WHERE active AND database = 'spanledger' GROUP BY table ORDER BY table",
        )
        for table, count, size in sizes:
            print(f"{table:<34} {count:>14,} rows {size:>12}")
        print(f"\n{'':<50} {'cold ms':>9} {'warm ms':>9} {'rows read':>14}")
        for name, sql in queries(store, now):
            measure(store, name, sql)
        print(f"\nlargest memory of the process: {getrusage(RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    finally:
        store.close()
        if arguments.directory is None:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
