"""What the views cost at 1, 3 and 10 million calls over 90 days, in the embedded store.

    python benchmarks/views.py --calls 1000000,3000000,10000000 [--ingest] [--into FILE]
    python benchmarks/views.py --calls 1000000 --directory DIR --keep

Builds each ledger, lets settlement and the rollups catch up, and asks each view, each panel of the
dashboards and each gauge, in a process of its own a size, with the settings of the SQL interface
(one thread on two cores). *Cold*: the engine's caches are dropped, and the system's copies of the
ledger's files. *Warm*: the median of up to five more; *CPU*: of the
whole process in one of those. *Rows*: what the engine read. *Memory*: the
query's peak, as far as a look every 3 ms sees it. With ``--ingest``, new spans are inserted all the
while: 2,000 a second are aimed at, and the rate that was reached is told with the answers.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any, Final

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from views_questions import DASHBOARD, MONTH, TRACE, Question, questions

from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.config import Config
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.ledger.schema import ENTRIES, MONEY, entries_to_arrow
from spanledger.store.client import Store
from spanledger.store.sql_pool import _settings

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))  # a folder, not a package

import document

DAYS: Final = 90
STEP: Final = 250_000
CACHES: Final = ("MARK", "UNCOMPRESSED", "QUERY CONDITION", "PRIMARY INDEX", "INDEX MARK")
WARM_RUNS: Final = 5
WARM_MS_MAX: Final = 2_000
LOOK_S: Final = 0.003
INSERTS_PER_S: Final = 4
SPANS_PER_INSERT: Final = 500
HEADINGS: Final = ("cold ms", "warm ms", "CPU ms", "rows read", "memory MB")


@dataclass(frozen=True)
class Answer:
    name: str
    cold_ms: float
    warm_ms: float
    cpu_ms: float
    rows_read: int
    memory_mb: float

    def cells(self) -> list[str]:
        milliseconds = [f"{ms:,.0f}" for ms in (self.cold_ms, self.warm_ms, self.cpu_ms)]
        return [*milliseconds, f"{self.rows_read:,}", f"{self.memory_mb:.0f}"]


@dataclass
class Inserted:
    """What came in while questions were asked."""

    took_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def spans(self) -> int:
        return len(self.took_ms) * SPANS_PER_INSERT

    def __str__(self) -> str:
        if not self.took_ms:
            return "nothing inserted meanwhile"
        return f"{self.spans / self.seconds:,.0f} spans/s inserted meanwhile"


@dataclass(frozen=True)
class Found:
    answers: list[Answer]
    inserted: Inserted


@dataclass(frozen=True)
class Options:
    calls: int
    directory: Path
    settle: bool
    build: bool
    ingest: bool
    cookbook: bool


class Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Nobody looks."""


class Asker:
    """Asks as the SQL interface does, and looks at the engine from the side."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self._asking = store.open_session(_settings(Config().sql), "questions")
        self._beside = store.open_session({})

    def rows(self, sql: str) -> Any:
        return self._beside.run(lambda client: client.query(sql).result_rows)

    def measure(self, question: Question) -> Answer:
        self._forget()
        cold_ms = self._time_ms(question)
        read, cpu_s = self._rows_read(), time.process_time()
        times = [self._time_ms(question)]
        read = self._rows_read() - read
        while len(times) < WARM_RUNS and sum(times) < WARM_MS_MAX:
            times.append(self._time_ms(question))
        cpu_ms = 1_000 * (time.process_time() - cpu_s) / len(times)
        return Answer(
            question.name, cold_ms, median(times), cpu_ms, read, self._memory_mb(question)
        )

    def _time_ms(self, question: Question) -> float:
        began = time.perf_counter()
        self._asking.run(
            lambda client: client.raw_query(
                question.sql, parameters=dict(question.parameters) or None, fmt="Native"
            )
        )
        return 1_000 * (time.perf_counter() - began)

    def _rows_read(self) -> int:
        ((value,),) = self.rows("SELECT value FROM system.events WHERE event = 'SelectedRows'")
        return int(value)

    def _memory_mb(self, question: Question) -> float:
        """Ask once more, with somebody who looks on."""
        seen, is_over = [0], threading.Event()
        peak = (
            "SELECT max(peak_memory_usage) FROM system.processes WHERE Settings['readonly'] = '1'"
        )

        def look() -> None:
            while not is_over.wait(LOOK_S):
                seen.append(int(self.rows(peak)[0][0]))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            self._time_ms(question)
        finally:
            is_over.set()
            looking.join()
        return max(seen) / 1e6

    def _forget(self) -> None:
        def drop(client: Client) -> None:
            for cache in CACHES:
                client.command(f"SYSTEM DROP {cache} CACHE")

        self._beside.run(drop)
        for folder, _, names in os.walk(self._directory):
            for name in names:
                with suppress(OSError):  # merged away meanwhile
                    handle = os.open(f"{folder}/{name}", os.O_RDONLY)
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(handle)


def build(store: Store, calls: int, now: datetime) -> None:
    begin_ns = int((now - timedelta(days=DAYS)).timestamp()) * 10**9
    sql = Path(__file__).with_suffix(".sql").read_text()
    session = store.open_session({})
    began = time.perf_counter()

    def fill(client: Client) -> None:
        for first in range(0, calls, STEP):
            values = {"first": first, "rows": STEP, "total": calls, "begin_ns": begin_ns}
            client.command(sql, parameters=values)

    session.run(fill)
    print(f"{'built':<34} {time.perf_counter() - began:9.1f} s")


def catch_up(store: Store, *, settle: bool) -> None:
    book = PriceBook.bundled()

    def prices(calls: pl.DataFrame) -> pl.DataFrame:
        return price(calls, book, known_at_ns=time.time_ns())

    settler = Settler(store, lambda _: prices, Unmetered())
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
        print(f"{name:<34} {seconds:9.1f} s, longest step {longest:.2f} s", flush=True)


@contextmanager
def ingestion(store: Store, *, wanted: bool) -> Iterator[Inserted]:
    """Insert new spans at a steady pace, and say at the end which pace it was."""
    is_over, inserted = threading.Event(), Inserted()

    def insert() -> None:
        number = time.time_ns()
        due = time.monotonic()
        while not is_over.wait(max(0, due - time.monotonic())):
            due += 1 / INSERTS_PER_S
            number += SPANS_PER_INSERT
            began = time.perf_counter()
            store.insert(fresh(number, SPANS_PER_INSERT))
            inserted.took_ms.append(1_000 * (time.perf_counter() - began))

    inserting = threading.Thread(target=insert)
    began = time.monotonic()
    if wanted:
        inserting.start()
    try:
        yield inserted
    finally:
        is_over.set()
        if wanted:
            inserting.join()
        inserted.seconds = time.monotonic() - began
        print(inserted)
        if took_ms := inserted.took_ms:
            print(
                f"{inserted.spans:,} spans; an insert of {SPANS_PER_INSERT}: median "
                f"{median(took_ms):.0f} ms, longest {max(took_ms):.0f} ms"
            )


def fresh(first: int, rows: int) -> pa.Table:
    """Charges of this moment."""
    plain: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Boolean: False, pl.List: []}
    columns = {
        name: None if dtype == MONEY else plain.get(dtype.base_type())
        for name, dtype in ENTRIES.items()
    }
    now = datetime.now(UTC)
    told: dict[str, Any] = {
        "kind": "charge",
        "tenant": "default",
        "service": "service-1",
        "model": "gpt-5",
    }
    told |= {"leg": 0, "calls": 1, "start_time": now, "known_at": now, "cost_class": "exact"}
    told |= {
        "provider": "openai",
        "model": "gpt-5",
        "status": "ok",
        "input_tokens": 900,
        "output_tokens": 90,
    }
    ids = [
        {"trace_id": (number // 4).to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
        for number in range(first, first + rows)
    ]
    frame = pl.DataFrame(
        [columns | told | each | {"parent_span_id": bytes(8)} for each in ids], ENTRIES
    )
    return pa.Table.from_batches([entries_to_arrow(frame)])


def run(options: Options) -> Found:
    """One size, in a process of its own: the engine's memory and caches are a process's."""
    store = Store.open_embedded(options.directory)
    try:
        print(f"\n{options.calls:,} calls")
        now = datetime.now(UTC)
        if options.build:
            build(store, options.calls, now)
        catch_up(store, settle=options.build and options.settle)
        asker = Asker(store, options.directory)
        for table, count, size in asker.rows(
            "SELECT table, sum(rows), formatReadableSize(sum(bytes_on_disk)) FROM system.parts "
            "WHERE active AND database = 'spanledger' GROUP BY table ORDER BY table"
        ):
            print(f"{table:<34} {count:>14,} rows {size:>12}")
        answers = []
        print(f"{'':<58} " + " ".join(f"{heading:>12}" for heading in HEADINGS))
        with ingestion(store, wanted=options.ingest) as inserted:
            for question in questions(now, asker.rows, cookbook=options.cookbook):
                try:
                    answers.append(asker.measure(question))
                except ClickHouseError as error:  # mostly a limit of the SQL interface
                    print(f"{question.name[:58]:<58} refused: {str(error)[:100]!r}", flush=True)
                    continue
                cells = " ".join(f"{cell:>12}" for cell in answers[-1].cells())
                print(f"{question.name[:58]:<58} {cells}", flush=True)
        print(f"largest memory of the process: {getrusage(RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
        return Found(answers, inserted)
    finally:
        store.close()


def goals(answers: Sequence[Answer]) -> str:
    warm = {answer.name: answer.warm_ms for answer in answers}
    slowest = max((name for name in warm if name.startswith(DASHBOARD)), key=warm.__getitem__)
    return (
        f"Warm: {TRACE} {warm[TRACE]:.0f} ms (goal 50), {MONTH} {warm[MONTH]:.0f} ms (goal 200), "
        f"slowest {slowest} {warm[slowest]:.0f} ms (goal 1,000)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default="1000000", help="one or more sizes, with commas")
    parser.add_argument("--directory", type=Path, help="a ledger of one size a folder")
    parser.add_argument("--keep", action="store_true", help="use what is in --directory already")
    parser.add_argument("--unsettled", action="store_true", help="leave twins as they came")
    parser.add_argument("--ingest", action="store_true", help="insert 2,000 spans/s beside")
    parser.add_argument("--cookbook", action="store_true", help="also ask docs/sql-cookbook.md")
    parser.add_argument("--into", type=Path, help="a document to put the table into as well")
    arguments = parser.parse_args()
    base = arguments.directory or Path(tempfile.mkdtemp(prefix="spanledger-views-"))
    sizes = [int(calls) for calls in arguments.calls.split(",")]
    found: dict[int, Found] = {}
    try:
        for calls in sizes:
            options = Options(
                calls=calls,
                directory=base / str(calls),
                settle=not arguments.unsettled,
                build=not arguments.keep,
                ingest=arguments.ingest,
                cookbook=arguments.cookbook,
            )
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                found[calls] = process.submit(run, options).result()
            print(goals(found[calls].answers), flush=True)
    finally:
        if arguments.directory is None:
            shutil.rmtree(base)
    if arguments.into:
        tables = [
            (
                f"{calls:,} calls, {each.inserted}",
                ("question", *HEADINGS),
                [[answer.name, *answer.cells()] for answer in each.answers],
            )
            for calls, each in found.items()
        ]
        document.replace(arguments.into, "views", document.markdown(tables))


if __name__ == "__main__":
    main()
