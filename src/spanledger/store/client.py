"""The store: insert entries, say which are known, run named queries.

Promises: one code path over clickhouse-connect, embedded or server; every setting that matters is
pinned on each call, because the engine's defaults changed twice in 2026; an error is ``BadRows``
or ``StoreUnavailable`` and quotes no value. Never updates or deletes an entry.

Handles: a client is one session of the engine and answers one query at a time, so writing and
reading have one each, behind a lock of its own; a slow read does not hold up an insert.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

import clickhouse_connect
import numpy as np
import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError

from spanledger.store.errors import BadRows, StoreUnavailable
from spanledger.store.migrations import DATABASE, migrate

_KEY: Final = ("tenant", "trace_id", "span_id", "kind", "run", "leg")

_INSERT: Final = {
    "async_insert": 0,  # an insert that returned is in the table
    "insert_deduplicate": 0,  # the key decides what is a duplicate, not the block's hash
    "max_partitions_per_insert_block": 100,
}
_READ: Final = {
    "readonly": 2,
    "max_execution_time": 30,
    "max_result_rows": 1_000_000,
    "result_overflow_mode": "throw",
}
# One insert touches at most 100 partitions (months), or the engine refuses all of it.
_PARTITIONS_MAX: Final = 100

# Any number will do that spreads span ids; this is 2**64 over the golden ratio, as in hashing.
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_KNOWN: Final = f"""
SELECT {", ".join(_KEY)}
FROM entries
WHERE start_time BETWEEN fromUnixTimestamp64Nano({{first_ns:Int64}}, 'UTC')
    AND fromUnixTimestamp64Nano({{last_ns:Int64}}, 'UTC')
    AND reinterpretAsUInt64(span_id) * {_SPREAD} + reinterpretAsUInt64(trace_id)
        IN {{hashes:Array(UInt64)}}
"""

DIMENSIONS: Final = (
    "tenant",
    "service",
    "environment",
    "provider",
    "model",
    "user_id",
    "customer",
    "team",
    "project",
    "feature",
    "agent",
    "workflow",
    "api_key_alias",
    "conversation_id",
)
_FAR: Final = datetime(2100, 1, 1, tzinfo=UTC)


class Store:
    """An open ledger."""

    def __init__(self, write: Client, read: Client, path: Path) -> None:
        self._write = write
        self._read = read
        self._path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()

    @classmethod
    def open_embedded(cls, path: Path) -> Self:
        """Open or make the ledger in a directory with the engine of this process; takes a second.

        Raises:
            StartupError: another version's schema.
            StoreUnavailable: the engine cannot open the directory.
        """
        path.mkdir(parents=True, exist_ok=True)
        with _errors():
            write = clickhouse_connect.get_client(interface="chdb", path=str(path))
        try:
            with _errors():
                migrate(write)
                read = clickhouse_connect.get_client(
                    interface="chdb", path=str(path), database=DATABASE
                )
        except BaseException:
            write.close()
            raise
        return cls(write, read, path)

    def handle(self, settings: Mapping[str, Any]) -> Client:
        """Another session of the same engine, for the SQL interface; the caller closes it."""
        with _errors():
            return clickhouse_connect.get_client(
                interface="chdb", path=str(self._path), database=DATABASE, settings=dict(settings)
            )

    def insert(self, entries: pa.Table) -> None:
        """Add entries (``ENTRIES_ARROW``); they are in the ledger when this returns.

        Raises:
            BadRows: at least one row will never be taken.
            StoreUnavailable: try again; what was written before is found by ``known``.
        """
        for part in _within_partitions(entries):
            with self._writing, _errors():
                self._write.insert_arrow("entries", part, settings=_INSERT)

    def known(self, entries: pa.Table) -> pa.BooleanArray:
        """Say for each entry whether one with its key is in the ledger.

        The bounds of time prune by the sorting key and a hash of the ids finds the few candidates;
        the comparison itself is exact.
        """
        if not entries.num_rows:
            return pa.array([], pa.bool_())
        times_ns = pl.Series(entries["start_time"]).dt.epoch("ns")
        hashes = _uint64(entries["span_id"]) * _SPREAD + _uint64(entries["trace_id"])
        parameters = {
            "first_ns": times_ns.min(),
            "last_ns": times_ns.max(),
            "hashes": hashes.tolist(),
        }
        with self._writing, _errors():
            found = self._write.query_arrow(_KNOWN, parameters=parameters)
        schema = pa.schema([entries.schema.field(name) for name in _KEY])
        candidates = pl.DataFrame(found.cast(schema)).with_columns(known=pl.lit(value=True))
        keys = pl.DataFrame(entries.select(_KEY))
        joined = keys.join(candidates.unique(), on=_KEY, how="left", maintain_order="left")
        return joined.get_column("known").fill_null(value=False).to_arrow()

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run ``sql/queries/<name>.sql`` with its typed parameters.

        Raises:
            StoreUnavailable: the engine cannot answer.
        """
        text = files("spanledger.store").joinpath("sql", "queries", f"{name}.sql").read_text()
        with self._reading, _errors():
            return self._read.query_arrow(text, parameters=dict(parameters or {}), settings=_READ)

    def spent_usd(self, dimensions: Mapping[str, str], since: datetime) -> Decimal:
        """The cost of all calls since an instant; unpriced ones add nothing.

        Args:
            dimensions: column of ``calls`` -> value; only ``DIMENSIONS``.
            since: with its zone.
        """
        parameters: dict[str, Any] = {**dict.fromkeys(DIMENSIONS), **dimensions}
        parameters |= {"since": since, "until": _FAR}
        return Decimal(self.query("spend_filtered", parameters).column("spent")[0].as_py())

    def close(self) -> None:
        """End both sessions; the last one closes the engine."""
        with self._reading:
            self._read.close()
        with self._writing:
            self._write.close()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise BadRows("rejected_by_store") from error
    except (ClickHouseError, pa.ArrowInvalid) as error:
        code = getattr(error, "code", None)
        text = f"{type(error).__name__}{f' {code}' if code else ''}"
        raise StoreUnavailable(text) from error


def _uint64(ids: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The first eight bytes of fixed-width ids as the engine's reinterpretAsUInt64 reads them."""
    array = ids.combine_chunks()
    width = array.type.byte_width
    raw = np.frombuffer(array.buffers()[1], np.uint8)
    start = array.offset * width
    rows = raw[start : start + len(array) * width].reshape(len(array), width)
    return np.ascontiguousarray(rows[:, :8]).view("<u8").reshape(-1)


def _within_partitions(entries: pa.Table) -> Iterator[pa.Table]:
    months = pl.Series(entries["start_time"]).dt.truncate("1mo")
    if months.n_unique() <= _PARTITIONS_MAX:
        yield entries
        return
    rank = months.rank("dense").to_numpy()
    for first in range(0, int(rank.max()), _PARTITIONS_MAX):
        inside = (rank > first) & (rank <= first + _PARTITIONS_MAX)
        yield entries.filter(pa.array(inside))
