"""What an export takes: time, rows a second and peak memory, of each format and of FOCUS.

Run: python benchmarks/export.py [--calls 1000000]

The ledger and its SQL listener run in this process, ``spanledger export`` in one of its own, as
beside a collector; its peak is what the system says of it when it has ended.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn
from clickhouse_connect.driver.client import Client

from spanledger.config import Config
from spanledger.store.client import Store
from spanledger.store.sql_http import create_app

_PORT: Final = 22_990
_STEP: Final = 250_000
_LOOK_S: Final = 0.1
_MIB: Final = 1024 * 1024


def build(store: Store, calls: int) -> None:
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    session = store.open_session({})
    for first in range(0, calls, _STEP):
        values = {"first": first, "rows": min(_STEP, calls - first)}
        session.run(partial(_command, sql, values))


def _command(sql: str, values: dict[str, int], client: Client) -> None:
    client.command(sql, parameters=values)


def measure(view: str, form: str, directory: Path) -> None:
    file = directory / f"{view}.{form}"
    arguments = ("--from", "2026-10-01", "--to", "2026-12-31", "--output", str(file))
    command = [sys.executable, "-m", "spanledger", "export", "--view", view, *arguments]
    url = ("--url", f"http://127.0.0.1:{_PORT}")
    begun = time.perf_counter()
    process = subprocess.Popen([*command, *url], stderr=subprocess.DEVNULL)
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, _peak_kib(process.pid))
        time.sleep(_LOOK_S)
    seconds = time.perf_counter() - begun
    size = file.stat().st_size / _MIB
    print(
        f"{view:<6} {form:<8} {seconds:7.1f} s  peak {peak_kib / 1024:6.0f} MiB"
        f"  file {size:8.1f} MiB  exit code {process.returncode}",
        flush=True,
    )


def _peak_kib(pid: int) -> int:
    """What the process held at most; rusage would count what this one held when it forked."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as made:
        store = Store.open_embedded(Path(made) / "clickhouse")
        build(store, calls)
        app = create_app(store, Config().sql)
        config = uvicorn.Config(app, port=_PORT, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            for view, form in (
                ("calls", "csv"),
                ("calls", "jsonl"),
                ("calls", "parquet"),
                ("focus", "csv"),
                ("focus", "parquet"),
            ):
                measure(view, form, Path(made))
        finally:
            server.should_exit = True
            thread.join()
            store.close()


if __name__ == "__main__":
    main()
