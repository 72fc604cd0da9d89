"""The rows that the store would not take: a file for a person, and the way back.

Promises: a row is written so that it comes back exactly, to the nanosecond and the last digit; a
line that cannot be read is kept and told of, never dropped. Only who holds the journal's lock
writes here. Never holds content, because entries hold none.

One JSON object a line: ``reason`` and ``entry`` (ids in hex, times in UTC, money as text).
"""

import base64
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from spanledger.collector.journal import Journal
from spanledger.ledger.schema import ENTRIES_ARROW

_NS: Final = 1_000_000_000
_BATCH_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Letter:
    """One line of the file."""

    line: str
    reason: str
    entry: dict[str, Any] | None  # as written; None where the line cannot be read


class DeadLetters:
    """The file ``dead.jsonl``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: pa.Table, reason: str) -> None:
        """Append one row durably."""
        entry = {
            field.name: _written(_python(row.column(field.name)), field.type)
            for field in row.schema
        }
        with self.path.open("a+b") as file:
            # A line that a crash cut short must not swallow this one.
            if file.tell() and not _ends_a_line(file.fileno(), file.tell()):
                file.write(b"\n")
            file.write(json.dumps({"reason": reason, "entry": entry}).encode() + b"\n")
            file.flush()
            os.fdatasync(file.fileno())

    def letters(self) -> Iterator[Letter]:
        """Read the file line by line; nothing where there is none."""
        try:
            file = self.path.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                if line.strip():
                    yield _letter(line)

    def retry(self, journal: Journal) -> tuple[int, int]:
        """Give every readable row back to the journal; return how many, and how many stay here.

        A crash on the way leaves rows in both places. They are stored once all the same, because
        the ledger keeps one row per key.

        Raises:
            JournalFull: no room; the rows that are not yet in the journal stay here.
            JournalBroken: the disk failed.
        """
        rows: list[dict[str, Any]] = []
        kept: list[str] = []
        for letter in self.letters():
            row = _row(letter)
            if row is None:
                kept.append(letter.line)
            else:
                rows.append(row)
        for first in range(0, len(rows), _BATCH_ROWS):
            table = pa.Table.from_pylist(rows[first : first + _BATCH_ROWS], schema=ENTRIES_ARROW)
            journal.append(table.combine_chunks().to_batches()[0])
        if rows:
            self._replace(kept)
        return len(rows), len(kept)

    def _replace(self, lines: Sequence[str]) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)


def _ends_a_line(fd: int, size: int) -> bool:
    return os.pread(fd, 1, size - 1) == b"\n"


def _letter(line: str) -> Letter:
    try:
        found = json.loads(line)
        return Letter(line, str(found["reason"]), dict(found["entry"]))
    except (ValueError, KeyError, TypeError):
        return Letter(line, "unreadable", None)


def _row(letter: Letter) -> dict[str, Any] | None:
    """The row as Arrow takes it; None where it cannot be made, or has columns we do not know."""
    if letter.entry is None or letter.entry.keys() != set(ENTRIES_ARROW.names):
        return None
    try:
        row = {field.name: _exact(letter.entry[field.name], field.type) for field in ENTRIES_ARROW}
        pa.Table.from_pylist([row], schema=ENTRIES_ARROW)
    except (ValueError, TypeError, KeyError, InvalidOperation, pa.ArrowException):
        return None
    return row


def _python(column: pa.ChunkedArray) -> Any:
    if pa.types.is_timestamp(column.type):  # a datetime has no nanoseconds
        column = column.cast(pa.int64())
    return column[0].as_py()


def _written(value: Any, kind: pa.DataType) -> Any:
    """A value as JSON has it."""
    if pa.types.is_timestamp(kind) and value is not None:
        seconds, ns = divmod(value, _NS)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"
    match value:
        case bytes():
            return value.hex()
        case Decimal():
            return str(value)
        case dict():
            return {name: _written(part, pa.null()) for name, part in value.items()}
        case list() | tuple():
            return [_written(part, pa.null()) for part in value]
        case _:
            return value


def _exact(value: Any, kind: pa.DataType) -> Any:
    """The inverse of ``_written``."""
    types = pa.types
    if value is None:
        return None
    if types.is_map(kind):
        return [(_exact(k, kind.key_type), _exact(v, kind.item_type)) for k, v in value]
    if types.is_list(kind):
        return [_exact(part, kind.value_type) for part in value]
    if types.is_struct(kind):
        return {field.name: _exact(value[field.name], field.type) for field in kind}
    return _exact_scalar(value, kind)


def _exact_scalar(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_timestamp(kind):
        whole, _, ns = str(value).removesuffix("Z").partition(".")
        moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        return int(moment.timestamp()) * _NS + int(ns)
    if pa.types.is_decimal(kind):
        return Decimal(value)
    if pa.types.is_fixed_size_binary(kind):
        return base64.b16decode(value, casefold=True)
    return value
