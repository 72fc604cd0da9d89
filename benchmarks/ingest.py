"""Sustained ingest of a real collector: durable, priced and queryable, the sender beside it.

    python benchmarks/ingest.py [--seconds 10] [--spans-per-request 512,1] [--content-bytes 0]
    python benchmarks/ingest.py --peer phoenix [--install-peer] [--seconds 10] [--into FILE]

Starts `spanledger serve` on a fresh directory, sends OTLP/gRPC with several requests in flight for
a bounded time, waits until every acknowledged span can be queried, and prints spans a second, CPU
time a span (all threads of the collector, from /proc), acknowledgement times, resident memory and
journal bytes a row. Loopback only; ends by itself.

With ``--peer`` four loads are put on both, one after the other: 512 spans a request, one span a
request, 512 spans with 8 kB of content each (over OTLP/HTTP: the peer's gRPC refuses more than
4 MB), and one client that sends 1,000 spans a second, a hundred a request. The peer acknowledges
into memory, so what counts is what it has persisted, and how long after.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingest_load import Load, Sent, run
from ingest_targets import Collector, Phoenix, Target, cpu_seconds, directory_bytes, resident_mb
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))  # a folder, not a package

import document
import environments

HERE = Path(__file__).parent
# The peer may have 40,000 spans in memory when the load ends, and persists some hundred a second:
# what is not there after this long is said to be missing, and the rate is that of what is.
DRAIN_SECONDS_MAX = 60
COUNT_SECONDS = 0.5
PEER_LOADS = (
    Load(512),
    Load(1),
    Load(512, content_bytes=8_192, wire="http"),
    Load(100, rate=1_000),
)
HEADINGS = (
    "server", "load", "in flight", "acknowledged/s", "persisted/s", "not yet",
    "requests/s", "busy",
    "CPU µs/span", "ack p50 ms", "ack p99 ms", "drain s", "peak MB", "disk B/span",
    "journal B/span",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one load did to one server."""

    server: str
    load: Load
    sent: Sent
    persisted: int
    drained_seconds: float
    cpu_us_per_span: float
    resident_mb: float
    disk_bytes_per_span: float
    journal_bytes_per_span: float | None


def measure(server: str, start: Callable[[str], Target], load: Load, seconds: float) -> Result:
    """One load on one fresh server."""
    with tempfile.TemporaryDirectory(prefix="spanledger-bench-") as directory:
        target = start(directory)
        pid = target.process.pid
        try:
            target.wait_ready()
            cpu = cpu_seconds(pid)
            sent = asyncio.run(run(target.addresses[load.wire], load, seconds))
            persisted, drained = drain(target, sent.spans)
            spans = max(persisted, 1)
            journal = target.journal_bytes()
            return Result(
                server,
                load,
                sent,
                persisted,
                drained,
                cpu_us_per_span=(cpu_seconds(pid) - cpu) / spans * 1e6,
                resident_mb=resident_mb(pid),
                disk_bytes_per_span=directory_bytes(directory) / spans,
                journal_bytes_per_span=None if journal is None else journal / spans,
            )
        finally:
            target.stop()


def drain(target: Target, spans: int) -> tuple[int, float]:
    """Wait until everything that was acknowledged can be queried: how much can, after how long."""
    started = time.perf_counter()
    while True:
        persisted, waited = target.persisted(), time.perf_counter() - started
        if persisted >= spans or waited > DRAIN_SECONDS_MAX:
            return persisted, waited
        time.sleep(COUNT_SECONDS)


def described(load: Load) -> str:
    """A load in words."""
    spans = "1 span" if load.spans_per_request == 1 else f"{load.spans_per_request} spans"
    parts = [f"{spans}/request"]
    if load.content_bytes:
        parts.append(f"{load.content_bytes:,} B of content each")
    if load.rate:
        parts.append(f"{load.rate:,} spans/s")
    if load.wire != "grpc":
        parts.append("HTTP")
    return ", ".join(parts)


def row_of(result: Result) -> list[str]:
    sent = result.sent
    # A server that acknowledged one request in the whole time has no quantiles, but that one time.
    cuts = statistics.quantiles(sent.acks_ms * 2, n=100) if sent.acks_ms else [0.0] * 99
    journal = result.journal_bytes_per_span
    return [
        result.server,
        described(result.load),
        str(result.load.in_flight),
        f"{sent.spans / sent.seconds:,.0f}",
        f"{result.persisted / (sent.seconds + result.drained_seconds):,.0f}",
        f"{sent.spans - result.persisted:,}",
        f"{len(sent.acks_ms) / sent.seconds:,.0f}",
        str(sent.busy),
        f"{result.cpu_us_per_span:,.1f}",
        f"{cuts[49]:,.1f}",
        f"{cuts[98]:,.1f}",
        f"{result.drained_seconds:.1f}",
        f"{result.resident_mb:,.0f}",
        f"{result.disk_bytes_per_span:,.0f}",
        "" if journal is None else f"{journal:,.0f}",
    ]


def peers(name: str, *, install: bool) -> dict[str, Callable[[str], Target]]:
    """How to start the peer, if one was asked for."""
    if not name:
        return {}
    if not environments.is_ready(name, home=HERE):
        if not install:
            raise SystemExit(f"{name} is not installed; --install-peer does it, about 500 MB")
        environments.make(name, home=HERE)
    python = environments.python(name)
    return {name: lambda directory: Phoenix(directory, python)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--spans-per-request", default="512,64,1")
    parser.add_argument("--content-bytes", type=int, default=0)
    parser.add_argument("--peer", choices=("phoenix",), default="")
    parser.add_argument("--install-peer", action="store_true")
    parser.add_argument("--into", type=Path, help="a document to put the table into as well")
    options = parser.parse_args()
    servers = {"spanledger": Collector} | peers(options.peer, install=options.install_peer)
    loads = [
        Load(int(spans), options.content_bytes) for spans in options.spans_per_request.split(",")
    ]
    console = Console(width=170)
    results = []
    for load in PEER_LOADS if options.peer else loads:
        for server, start in servers.items():
            with console.status(f"{server}: {described(load)}, {options.seconds:.0f} s"):
                results.append(measure(server, start, load, options.seconds))
            persisted = row_of(results[-1])[HEADINGS.index("persisted/s")]
            console.print(f"{server}: {described(load)}: {persisted} spans persisted a second")
    rows = [row_of(result) for result in results]
    table = Table(title="ingest, the sender on the same machine")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if options.into:
        document.replace(options.into, "ingest", document.markdown([("", HEADINGS, rows)]))


if __name__ == "__main__":
    main()
