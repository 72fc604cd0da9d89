"""What the ingest benchmark loads: real servers on loopback, each on a fresh directory.

A target has ``addresses`` by wire, ``process``, ``wait_ready``, ``persisted`` (spans that can be
queried), ``journal_bytes`` if it has a journal, and ``stop``.
"""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Protocol

import clickhouse_connect

NAMES = {"OTLP/gRPC": "grpc", "OTLP/HTTP": "http", "web": "web", "SQL": "sql"}
READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 20
BODY_BYTES_MAX = 16 * 1_024 * 1_024


class Target(Protocol):
    """A server under load."""

    process: subprocess.Popen[str]
    addresses: dict[str, str]

    def wait_ready(self) -> None: ...
    def persisted(self) -> int: ...
    def journal_bytes(self) -> int | None: ...
    def stop(self) -> None: ...


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1_024 if match else 0.0


def directory_bytes(directory: str) -> int:
    """Everything that the server keeps."""
    return sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())


class Collector:
    """`spanledger serve` on free ports and a fresh directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        listeners = ("otlp.grpc", "otlp.http", "web", "sql")
        command = [sys.executable, "-m", "spanledger", "serve", "--data-dir", directory]
        # 512 spans of 8 kB are a little more than the default takes.
        command += ["--set", f"otlp.body_bytes_max={BODY_BYTES_MAX}"]
        for name in listeners:
            command += ["--set", f"{name}.listen=127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.addresses: dict[str, str] = {}
        for line in self.process.stdout or ():
            if match := re.match(r"\s*(OTLP/gRPC|OTLP/HTTP|web|SQL)\s.*?([\d.]+:\d+)", line):
                self.addresses[NAMES[match[1]]] = match[2]
            if len(self.addresses) == len(listeners):
                break

    def wait_ready(self) -> None:
        wait_for(f"http://{self.addresses['web']}/readyz")

    def persisted(self) -> int:
        host, port = self.addresses["sql"].split(":")
        client = clickhouse_connect.get_client(host=host, port=int(port))
        try:
            return int(str(client.command("SELECT count() FROM calls")))
        finally:
            client.close()

    def journal_bytes(self) -> int | None:
        return sum(file.stat().st_size for file in Path(self._directory, "journal").iterdir())

    def stop(self) -> None:
        stop(self.process)


class Phoenix:
    """`phoenix serve` of arize-phoenix, with its SQLite database in the directory."""

    def __init__(self, directory: str, python: Path) -> None:
        http, grpc = free_port(), free_port()
        self._database = Path(directory, "phoenix.db")
        self.addresses = {"http": f"127.0.0.1:{http}", "grpc": f"127.0.0.1:{grpc}"}
        settings = {
            "PHOENIX_WORKING_DIR": directory,
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(http),
            "PHOENIX_GRPC_PORT": str(grpc),
            # Nothing of a benchmark leaves the machine.
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        }
        self.process = subprocess.Popen(
            [python, "-m", "phoenix.server.main", "serve"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": directory, **settings},
        )

    def wait_ready(self) -> None:
        wait_for(f"http://{self.addresses['http']}/healthz")

    def persisted(self) -> int:
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)
        try:
            return int(database.execute("SELECT count(*) FROM spans").fetchone()[0])
        finally:
            database.close()

    def journal_bytes(self) -> int | None:
        return None

    def stop(self) -> None:
        stop(self.process)


def free_port() -> int:
    """A port that nobody listens on; another process may take it before we do."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own URL
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} did not become ready within {READY_SECONDS_MAX} s")


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
