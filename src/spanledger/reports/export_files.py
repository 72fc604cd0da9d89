"""Tables to a stream of bytes: CSV, JSON lines, Parquet.

Promises: columns stand in the order of the table; a null and an empty text are told apart (in CSV:
nothing, and ``""``); Parquet keeps the exact types (decimal128(38, 18), nanoseconds UTC, maps).
Holds one table at a time. Never seeks, so a pipe will do.
"""

from collections.abc import Callable
from typing import BinaryIO, Final, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from spanledger.reports.plain_text import csv_columns, frame_of, json_rows


class Writer(Protocol):
    """Takes tables of one schema; ``close`` ends the file, not the stream."""

    def write(self, rows: pa.Table) -> None: ...
    def close(self) -> None: ...


class Csv:
    """RFC 4180 with a line of names; lines end with a line feed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._is_begun = False

    def write(self, rows: pa.Table) -> None:
        frame = csv_columns(frame_of(rows))
        frame.write_csv(self._stream, include_header=not self._is_begun)
        self._is_begun = True

    def close(self) -> None:
        """Nothing is left to write."""


class JsonLines:
    """One object a line; decimals are texts."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, rows: pa.Table) -> None:
        lines = json_rows(frame_of(rows))
        if len(lines):
            self._stream.write("\n".join([*lines.to_list(), ""]).encode())

    def close(self) -> None:
        """Nothing is left to write."""


class Parquet:
    """A group of rows for each table."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = _Positioned(stream)
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        if self._writer is None:
            sink = cast("BinaryIO", self._stream)
            self._writer = pq.ParquetWriter(sink, rows.schema, compression="zstd")
        if rows.num_rows:
            self._writer.write_table(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Positioned:
    """A stream that knows how far it is: Parquet notes the place of every group, a pipe has none.

    ``close`` leaves the stream open: it is the caller's.
    """

    closed: Final = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0

    def write(self, data: bytes) -> int:
        self._stream.write(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.flush()

    @staticmethod
    def writable() -> bool:
        return True

    @staticmethod
    def readable() -> bool:
        return False

    @staticmethod
    def seekable() -> bool:
        return False


FORMATS: Final[dict[str, Callable[[BinaryIO], Writer]]] = {
    "csv": Csv,
    "jsonl": JsonLines,
    "parquet": Parquet,
}
