"""A real collector in its own process, on free ports, ended by its test."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import clickhouse_connect

LISTENERS = {"OTLP/gRPC": "otlp.grpc", "OTLP/HTTP": "otlp.http", "web": "web", "SQL": "sql"}
PATIENCE_S = 60  # of a test on a machine that is busy with other work


class Collector:
    """`spanledger serve` and what it said."""

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        tls: ssl.SSLContext | None = None,
        token: str = "",
        **listeners: str,
    ) -> None:
        """Start it. ``tls``: how to reach its listeners, ``token``: what to show to them."""
        self.tls = tls
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        command = [sys.executable, "-m", "spanledger", "serve", "--data-dir", str(data_dir)]
        for key in LISTENERS.values():
            address = listeners.get(key.replace(".", "_"), "127.0.0.1:0")
            command += ["--set", f"{key}.listen={address}"]
        self.log = data_dir.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.addresses: dict[str, str] = {}
        for line in self.process.stdout or ():
            if match := re.match(r"\s+(\S+)\s+(\S+:\d+)$", line):
                self.addresses[match[1]] = match[2]
            if line.lstrip().startswith("data"):
                break

    def wait_ready(self) -> "Collector":
        self.wait(lambda: self.get("web", "/readyz")[0] == 200)
        return self

    def get(
        self, listener: str, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        shown = {**self._headers, **(headers or {})}
        url = self.url(listener) + path
        return _fetch(urllib.request.Request(url, headers=shown), self.tls)  # noqa: S310 - http(s)

    def url(self, listener: str) -> str:
        return f"http{'s' if self.tls else ''}://{self.addresses[listener]}"

    def post(
        self,
        body: bytes,
        content_type: str = "application/x-protobuf",
        path: str = "/v1/traces",
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        url = self.url("OTLP/HTTP") + path
        headers = {**self._headers, "content-type": content_type, **(more or {})}
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - to http(s) only
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S, context=self.tls) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        host, port = self.addresses["SQL"].rsplit(":", 1)
        client = clickhouse_connect.get_client(host=host, port=int(port))
        try:
            return client.query(sql).result_rows
        finally:
            client.close()

    def wait_calls(self, count: int) -> None:
        """Wait until so many calls are in the ledger, and whatever was sent is in the metrics."""
        self.wait(lambda: self.rows("SELECT count() FROM calls")[0][0] >= count)
        self.wait(lambda: self.metric("spanledger_items_pending") == 0)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have the labels."""
        return _total(self.get("web", "/metrics")[1], name, **labels)

    def wait(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds, but not for a process that has ended."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"waited in vain: {self.log.read_text()}"
            self.sleep(0.02)

    def sleep(self, seconds: float) -> None:
        """Let it work for a while, unless it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"the collector ended: {self.log.read_text()}")

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to end; the exit code, -9 if it had to be killed."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal_number)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        if self.process.stdout:
            self.process.stdout.close()
        return self.process.returncode


def conserved(collector: Collector) -> bool:
    """Is every received item accounted for at this moment?"""
    samples = collector.get("web", "/metrics")[1]  # one look: between two of them it goes on
    parts = ("stored", "duplicate", "not_a_call", "rejected", "dead")
    ended = sum(_total(samples, f"spanledger_items_{part}_total") for part in parts)
    pending = _total(samples, "spanledger_items_pending")
    return _total(samples, "spanledger_items_received_total") == ended + pending


def _total(samples: str, name: str, **labels: str) -> float:
    wanted = [f"{key}={json.dumps(value)}" for key, value in labels.items()]
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in samples.splitlines()
        if re.match(rf"{name}[ {{]", line) and all(label in line for label in wanted)
    )


def _fetch(request: urllib.request.Request, tls: ssl.SSLContext | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S, context=tls) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
