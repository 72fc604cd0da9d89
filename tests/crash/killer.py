"""A collector that is killed and started again on the same directory and ports.

Promises: ends only processes it started, by pid. Never reads the data directory itself: the
verdict is asked of the SQL listener, as a user would.
"""

import atexit
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Self

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from crash.faulted import Faults, order
from crash.oracle import JUDGED_SQL, Oracle, Verdict
from ports import free_port

from spanledger.__main__ import ALLOCATORS

_HERE: Final = Path(__file__).parent
_PATIENCE_S: Final = 60
_LISTENERS: Final = ("otlp.grpc", "otlp.http", "web", "sql")
_COUNTED: Final = ("stored", "duplicate", "not_a_call", "rejected", "dead")


class Zygote:
    """The process that has imported everything, and forks collectors; see ``faulted``."""

    def __init__(self) -> None:
        environment = {
            **ALLOCATORS,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "faulted.py"), "--zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def fork(self, asked: str) -> int:
        """Start a collector; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(asked)
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        with self._process:  # which closes the pipes: the end of its input ends it
            pass


@lru_cache(1)
def zygote() -> Zygote:
    """The one of this process: to import everything takes longer than most tests."""
    started = Zygote()
    atexit.register(started.close)
    return started


class Victim:
    """One data directory and whichever process serves it now."""

    def __init__(
        self, directory: Path, *options: str, port: int = 0, ca: Path | None = None
    ) -> None:
        """``port``: the first of four; ``ca``: who signed the listeners' certificate, if any."""
        self.data_dir = directory / "data"
        self.log = directory / "collector.log"
        self.switches = directory / "switches"
        self.switches.mkdir(parents=True)
        self._ca = ca
        ports = [port + i for i in range(4)] if port else [free_port() for _ in range(4)]
        self.address = {
            key: f"127.0.0.1:{number}" for key, number in zip(_LISTENERS, ports, strict=True)
        }
        listens = [f"{key}.listen={address}" for key, address in self.address.items()]
        self.options = [*listens, *options]
        self.pid = 0
        self._command: subprocess.Popen[bytes] | None = None

    def start(self, **faults: Any) -> Self:
        """Fork a collector with these faults inside."""
        asked = Faults(switches=str(self.switches), **faults)
        self.pid = zygote().fork(order(asked, self.data_dir, self.log, self.options))
        return self

    def serve(self, prefix: Sequence[str] = (), libraries: Path | None = None) -> Self:
        """Start the command that users start, without faults, by way of ``prefix``."""
        settings = [f"--set={option}" for option in self.options]
        module = (sys.executable, "-m", "spanledger", "serve", f"--data-dir={self.data_dir}")
        paths = [str(libraries), *sys.path] if libraries else sys.path
        with self.log.open("ab") as log:
            self._command = subprocess.Popen(
                [*prefix, *module, *settings],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
        self.pid = self._command.pid
        return self

    @property
    def alive(self) -> bool:
        if self._command:
            return self._command.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def reload(self, told: str = "the configuration was read anew") -> None:
        """Have the configuration read anew, and wait until the log says what came of it."""
        before = self.log.read_text().count(told)
        self.signal(signal.SIGHUP)
        assert until(lambda: self.log.read_text().count(told) > before, _PATIENCE_S), told

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.wait_dead()

    def wait_dead(self, seconds: float = _PATIENCE_S) -> bool:
        return until(lambda: not self.alive, seconds)

    def wait_answer(self, path: str = "/healthz", seconds: float = _PATIENCE_S) -> bool:
        """Wait until it listens, or is ready; False if it died before."""
        until(lambda: not self.alive or self.get(path) is not None, seconds)
        return self.alive and self.get(path) is not None

    def wait_open(self, seconds: float = _PATIENCE_S) -> bool:
        """Wait until the ledger is shown, after it was looked at for damage; False if it died."""
        until(lambda: not self.alive or self._shows(), seconds)
        return self.alive and self._shows()

    def _shows(self) -> bool:
        return self._fetch("sql", "/?query=SELECT%201") is not None

    def get(self, path: str) -> str | None:
        return self._fetch("web", path)

    def _fetch(self, listener: str, path: str) -> str | None:
        tls = ssl.create_default_context(cafile=str(self._ca)) if self._ca else None
        url = f"http{'s' if tls else ''}://{self.address[listener]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE_S, context=tls) as got:  # noqa: S310 - http(s)
                return str(got.read().decode())
        except (OSError, HTTPException):  # not yet, or it died while it answered
            return None

    def figures(self) -> dict[str, float]:
        """Every metric by its name, labels summed up."""
        sums: dict[str, float] = {}
        for line in (self.get("/metrics") or "").splitlines():
            if not line.startswith("#"):
                name, value = line.partition("{")[0].split(" ")[0], line.rsplit(" ", 1)[1]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def conserved(self) -> bool:
        seen = self.figures()
        ended = sum(seen.get(f"spanledger_items_{part}_total", 0) for part in _COUNTED)
        return seen["spanledger_items_received_total"] == ended + seen["spanledger_items_pending"]

    def drain(self, seconds: float = _PATIENCE_S) -> None:
        """Wait until everything acknowledged is in the ledger."""
        done = until(
            lambda: (
                self.figures().get("spanledger_items_pending", 1) == 0
                and self.get("/readyz") is not None
            ),
            seconds,
        )
        assert done, f"not drained: {self.log.read_text()[-2_000:]}"

    def judge(self, oracle: Oracle) -> Verdict:
        return oracle.judge(self.rows(JUDGED_SQL))

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        host, port = self.address["sql"].split(":")
        for attempt in range(5):
            try:
                client = clickhouse_connect.get_client(
                    host=host,
                    port=int(port),
                    secure=self._ca is not None,
                    ca_cert=str(self._ca) if self._ca else None,
                )
            except ClickHouseError:
                if attempt == 4:
                    raise
                time.sleep(0.2)
            else:
                break
        try:
            return list(client.query(sql).result_rows)
        finally:
            client.close()

    def held(self, name: str) -> bool:
        """Wait until somebody waits at a switch."""
        return until(Path(self.switches, f"{name}: held").exists, _PATIENCE_S)

    def switch(self, name: str, *, on: bool) -> None:
        path = self.switches / name
        path.touch() if on else path.unlink(missing_ok=True)

    def close(self) -> None:
        if self.pid:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; return whether it does."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if holds():
            return True
        time.sleep(0.01)
    return bool(holds())
