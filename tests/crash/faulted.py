"""A collector with faults inside: ``python faulted.py FAULTS serve-options`` or ``--zygote``.

Promises: it is the real service with the real journal and the real engine; the faults come in
through the constructor arguments that production leaves alone. Never patches a module.

As a zygote it imports everything once and forks a collector for each line of JSON on stdin: a
start then takes half a second instead of three, which is what makes hundreds of kills affordable.
The engine is not imported before the fork, because its threads would not survive it.
"""

import errno
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa

from spanledger import config as configuration
from spanledger.cli import logs
from spanledger.collector.journal import Journal, Position
from spanledger.collector.journal.disk import OsDisk
from spanledger.collector.service import Service
from spanledger.errors import SpanledgerError
from spanledger.store.client import Store
from spanledger.store.damage import Damage
from spanledger.store.errors import StoreUnavailable
from spanledger.store.session import Connect, Settings, embedded

POINTS: Final = (
    "after write",
    "before fsync",
    "after fsync",
    "before ack",
    "mid insert",
    "after insert",
    "mid rotate",
    "mid migration",
)
_HOLD_S_MAX: Final = 60


@dataclass(frozen=True)
class Faults:
    """What goes wrong. The directory ``switches`` holds a file for each fault that is on now."""

    point: str = ""  # where to be killed, of POINTS
    nth: int = 1  # at which visit
    seed: int = 0
    segment_bytes_max: int = 40_000  # so that rotation is frequent
    switches: str = ""
    config: str = ""  # file of the configuration, read anew at SIGHUP

    def on(self, name: str) -> bool:
        return bool(self.switches) and Path(self.switches, name).exists()

    def hold(self, name: str) -> None:
        """Wait while a switch is on, and let it be seen that somebody waits."""
        for _ in range(_HOLD_S_MAX * 100):
            if not self.on(name):
                return
            Path(self.switches, f"{name}: held").touch()
            time.sleep(0.01)


class Killer:
    """Counts the visits of the named point, and dies at the one asked for."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.random = random.Random(faults.seed)  # noqa: S311 - no secret
        self._left = faults.nth

    def due(self, point: str) -> bool:
        if point != self.faults.point:
            return False
        self._left -= 1
        return self._left == 0

    def reached(self, point: str) -> None:
        if self.due(point):
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyDisk(OsDisk):
    """The real disk of a process that may be killed between two calls, or whose calls fail."""

    def __init__(self, killer: Killer) -> None:
        self._killer = killer
        self._segments: set[int] = set()
        self._new = False

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        if path.suffix == ".journal" and flags & os.O_CREAT:
            self._segments.add(fd)
            self._new = True
            self._killer.reached("mid rotate")
        return fd

    def close(self, fd: int) -> None:
        self._segments.discard(fd)
        super().close(fd)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        if fd in self._segments:
            if self._killer.faults.on("enospc"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._killer.due("after write"):
                # A killed write may have come any way.
                super().pwrite(fd, data[: self._killer.random.randint(1, len(data))], offset)
                die()
        return super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        if fd not in self._segments:
            return super().fdatasync(fd)
        if self._killer.faults.on("eio"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._killer.reached("before fsync")
        super().fdatasync(fd)
        self._killer.reached("after fsync")
        return None

    def fsync_dir(self, path: Path) -> None:
        if self._new:
            self._killer.reached("mid rotate")
        super().fsync_dir(path)
        if self._new:
            self._new = False
            self._killer.reached("mid rotate")


class FaultyStore(Store):
    """The real ledger, behind a gate and a killer."""

    killer: Killer

    def damage(self, seconds_max: float, stopping: Callable[[], bool]) -> Damage:
        self.killer.faults.hold("repair")
        return super().damage(seconds_max, stopping)

    def insert(self, entries: pa.Table) -> None:
        killer = self.killer
        killer.faults.hold("insert")
        if killer.faults.on("store down"):
            raise StoreUnavailable("the test keeps it down")
        if killer.due("mid insert"):
            threading.Timer(killer.random.uniform(0, 0.02), die).start()
        super().insert(entries)
        killer.reached("after insert")
        if killer.faults.on("store cut"):  # committed, but the answer does not come through
            raise StoreUnavailable("the test cut the connection")


class _Client:
    """An engine's client that may die before any command; migrations are commands."""

    def __init__(self, client: Any, killer: Killer) -> None:
        self._client = client
        self._killer = killer

    def command(self, *arguments: Any, **named: Any) -> Any:
        self._killer.reached("mid migration")
        return self._client.command(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def service(
    config: configuration.Config, faults: Faults, load: Callable[[], configuration.Config]
) -> Service:
    """Wire a collector with the faults inside; a store on a server has its faults elsewhere."""
    killer = Killer(faults)

    class KilledJournal(Journal):
        def append(self, batch: pa.RecordBatch) -> Position:
            end = super().append(batch)
            killer.reached("before ack")
            return end

    def open_journal(directory: Path, schema: pa.Schema, **bounds: Any) -> Journal:
        bounds["segment_bytes_max"] = faults.segment_bytes_max
        return KilledJournal.open(directory, schema, **bounds, disk=FaultyDisk(killer))

    def open_store(_where: object) -> Store:
        path = config.data_dir / "clickhouse"
        path.mkdir(parents=True, exist_ok=True)
        plain = embedded(path)

        def connect(settings: Settings, database: str | None) -> Any:
            return _Client(plain(settings, database), killer)

        FaultyStore.killer = killer
        return FaultyStore(cast("Connect", connect), directory=path)

    return Service(
        config,
        load,
        open_store=open_store if config.store.dsn is None else None,
        open_journal=open_journal,
    )


def run(faults: Faults, data_dir: str, options: Sequence[str]) -> int:
    """Run a collector until it ends or is killed."""
    import asyncio  # noqa: PLC0415 - after the fork

    def load() -> configuration.Config:
        file = Path(faults.config) if faults.config else None
        return configuration.load(file, [f"data_dir='{data_dir}'", *options], environ={})

    logs.set_up("info", "text")
    try:
        return asyncio.run(service(load(), faults, load).run())
    except SpanledgerError as error:
        sys.stderr.write(f"spanledger: {error}\n")
        return error.exit_code


def zygote() -> None:
    """Fork a collector for each order on stdin; answer with its pid."""
    # Nobody waits for the killed; their parent's indifference buries them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        if pid := os.fork():
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(run(Faults(**order["faults"]), order["data_dir"], order["options"]))


def order(faults: Faults, data_dir: Path, log: Path, options: Sequence[str]) -> str:
    """What a zygote reads: one line."""
    parts = {"faults": asdict(faults), "data_dir": str(data_dir), "log": str(log)}
    return json.dumps({**parts, "options": list(options)}) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if sys.argv[1] == "--zygote":
        zygote()
    else:
        sys.exit(run(Faults(**json.loads(sys.argv[1])), sys.argv[2], sys.argv[3:]))
