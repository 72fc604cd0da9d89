"""The demo: collector, stand-in provider, sample app, report; everything on this machine.

    python demo/run.py           stays up until Ctrl-C, to look around
    python demo/run.py --once    exits 0 only if ledger and provider agree to the last digit

Promises: a fresh data directory every time, removed at the end; no traffic beyond the loopback
interface; every process it starts is stopped, however it ends.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.text import Text

from spanledger.reports import render, summary

HERE: Final = Path(__file__).parent
READY_WAIT_S: Final = 60.0  # the embedded engine opens in a second; a cold disk takes longer
LEDGER_WAIT_S: Final = 30.0
STOP_WAIT_S: Final = 12.0  # the collector promises to drain within 10
POLL_S: Final = 0.1
LOG_LINES_SHOWN: Final = 30

# Loopback only, whatever proxy the shell has set; read by the children and by this process.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True)
class Ports:
    """Where everything listens on 127.0.0.1."""

    grpc: int
    http: int
    web: int
    sql: int
    provider: int

    @classmethod
    def choose(cls, *, defaults: bool) -> "Ports":
        """Take the documented ports where they are free, or any free ones."""
        wanted = (4317, 4318, 8080, 8123, 8900)
        with ExitStack() as held:  # all at once, or two could get the same one
            return cls(*(_hold(port if defaults else 0, held) for port in wanted))


def _hold(port: int, held: ExitStack) -> int:
    for attempt in (port, 0):
        sock = held.enter_context(socket.socket())
        # As servers do: a port whose last connections are still closing counts as free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", attempt))
        except OSError:
            continue
        number: int = sock.getsockname()[1]
        return number
    raise DemoError("no free port on 127.0.0.1")


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the length of a ``with`` block, its output in a file."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches only this script, which then stops it in order.
        child = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_until(what: str, done: Callable[[], bool], limit_s: float) -> None:
    """Poll for something another process does.

    Raises:
        DemoError: it did not happen in time.
    """
    deadline_s = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline_s:
            raise DemoError(f"waited {limit_s:.0f} s in vain until {what}")
        time.sleep(POLL_S)


def start_collector(stack: ExitStack, ports: Ports, folder: Path) -> subprocess.Popen[bytes]:
    """Start ``spanledger serve`` on a fresh directory and wait until it is ready."""
    listeners = {
        "otlp.grpc.listen": ports.grpc,
        "otlp.http.listen": ports.http,
        "web.listen": ports.web,
        "sql.listen": ports.sql,
    }
    command = [sys.executable, "-m", "spanledger", "serve", "--data-dir", str(folder / "data")]
    for key, port in listeners.items():
        command += ["--set", f"{key}=127.0.0.1:{port}"]
    log = folder / "collector.log"
    collector = stack.enter_context(process(command, log))

    def ready() -> bool:
        if collector.poll() is not None:
            raise DemoError(f"the collector exited with {collector.returncode}:\n{_tail(log)}")
        return _answers(f"http://127.0.0.1:{ports.web}/readyz")

    try:
        wait_until("the collector is ready", ready, READY_WAIT_S)
    except DemoError as error:
        if collector.poll() is not None:
            raise
        raise DemoError(f"{error}; its log:\n{_tail(log)}") from None
    return collector


def start_provider(stack: ExitStack, ports: Ports, folder: Path) -> Path:
    """Start the stand-in provider and return the file of its own record."""
    record, log = folder / "provider.jsonl", folder / "provider.log"
    port = str(ports.provider)
    command = [sys.executable, str(HERE / "provider.py"), "--port", port, "--record", str(record)]
    provider = stack.enter_context(process(command, log))

    def listening() -> bool:
        if provider.poll() is not None:
            raise DemoError(f"the provider exited with {provider.returncode}:\n{_tail(log)}")
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", ports.provider)) == 0

    wait_until("the provider listens", listening, READY_WAIT_S)
    return record


def run_app(ports: Ports) -> None:
    """Run the sample app to its end."""
    command = [sys.executable, str(HERE / "app.py")]
    command += ["--provider", f"http://127.0.0.1:{ports.provider}"]
    command += ["--collector", f"http://127.0.0.1:{ports.http}"]
    app = subprocess.run(command, check=False, timeout=120)
    if app.returncode:
        raise DemoError(f"the sample app exited with {app.returncode}")


def wait_for_ledger(ports: Ports, calls: int) -> None:
    """Wait until every call of the app can be queried."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=ports.sql)

    def arrived() -> bool:
        return int(client.query("SELECT count() FROM calls").result_rows[0][0]) >= calls

    wait_until(f"the ledger holds all {calls} calls", arrived, LEDGER_WAIT_S)


def print_report(console: Console, ports: Ports, started: datetime) -> None:
    """Print the cost report, read from the SQL listener like any other client would."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=ports.sql)
    report = summary.load(client, start=started, end=datetime.now(UTC))
    console.print(render.summary(report))


def print_addresses(console: Console, ports: Ports) -> None:
    """Print where to look next, as commands to paste."""
    query = "SELECT+model,sum(cost_usd)+FROM+calls+GROUP+BY+model+FORMAT+JSON"
    program = Path(sys.executable).parent / "spanledger"
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    places = {
        "page": f"http://127.0.0.1:{ports.web}/",
        "report": f"{program} report --url http://127.0.0.1:{ports.sql}",
        "SQL": f"curl 'http://127.0.0.1:{ports.sql}/?query={query}'",
        "metrics": f"curl -s http://127.0.0.1:{ports.web}/metrics | grep ^genai_",
        "Python": f"clickhouse_connect.get_client(host='127.0.0.1', port={ports.sql})",
        "send spans": f"OTLP/gRPC 127.0.0.1:{ports.grpc}, OTLP/HTTP http://127.0.0.1:{ports.http}",
    }
    console.print(Text(" look around", style="bold"))
    for name, text in places.items():
        # Not wrapped and not marked up: these are for the clipboard.
        console.print(
            Text(f"   {name:<11}", style="dim").append(text, style="cyan"), soft_wrap=True
        )
    console.print()


def check(console: Console, ports: Ports, record: Path) -> bool:
    """Let the oracle compare the ledger with the provider's record."""
    command = [sys.executable, str(HERE / "check.py"), "--record", str(record)]
    command += ["--sql-port", str(ports.sql)]
    verdict = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    agrees = verdict.returncode == 0
    mark = Text(" ✓ ", style="bold green") if agrees else Text(" ✗ ", style="bold red")
    said = (verdict.stdout + verdict.stderr).strip()
    console.print(mark.append(said, style="default"), soft_wrap=True)
    console.print()
    return agrees


def demo(console: Console, *, once: bool) -> bool:
    """Run everything; true if the ledger agrees with the provider."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanledger-demo-")))
        ports = Ports.choose(defaults=not once)
        with console.status("starting the collector") as status:
            started = datetime.now(UTC)
            collector = start_collector(stack, ports, folder)
            record = start_provider(stack, ports, folder)
            status.update("running the sample app: OpenAI and Anthropic SDKs, threads, asyncio")
            run_app(ports)
            status.update("waiting for the ledger")
            with record.open() as lines:
                calls = sum(1 for _ in lines)
            try:
                wait_for_ledger(ports, calls)
            except DemoError as error:
                console.print(Text(str(error), style="yellow"))
        print_report(console, ports, started)
        agrees = check(console, ports, record)
        if once:
            return agrees
        print_addresses(console, ports)
        console.print(Text(" running until Ctrl-C", style="dim"))
        code = collector.wait()
        raise DemoError(f"the collector exited with {code}:\n{_tail(folder / 'collector.log')}")


def main() -> int:
    """Run the demo; 0 if all went well."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--once", action="store_true", help="print the report, check it and exit")
    once = parser.parse_args().once
    signal.signal(signal.SIGTERM, _interrupt)
    # A fixed width where there is no terminal: the same report in every log.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    try:
        return 0 if demo(console, once=once) else 1
    except KeyboardInterrupt:
        return 1 if once else 0
    except (DemoError, ClickHouseError, subprocess.TimeoutExpired) as error:
        console.print(Text(str(error), style="red"))
        return 1


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  loopback, http
            return bool(answer.status == 200)
    except OSError:  # refused, not ready (an HTTPError is an OSError), or cut
        return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])


if __name__ == "__main__":
    sys.exit(main())
