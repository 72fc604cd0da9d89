"""Reads ClickHouse's Native blocks as its Go driver does over HTTP, strictly.

``revision`` is what the driver believes: above 0 a block begins with its info, from 54454 on each
column tells whether its serialisation is an unusual one (which the driver refuses). Whatever is
left over, cut short or unknown raises, as it breaks the driver.
"""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

# What the driver calls the first block by, before it knows the server's revision.
DRIVER_REVISION = 54_460
_WITH_SERIALISATION = 54_454

_NUMBERS = {
    "UInt8": "B",
    "UInt16": "H",
    "UInt32": "I",
    "UInt64": "Q",
    "Int8": "b",
    "Int16": "h",
    "Int32": "i",
    "Int64": "q",
    "Float32": "f",
    "Float64": "d",
    "Bool": "?",
    "Date": "H",
    "DateTime": "I",
    "DateTime64": "q",
    "Enum8": "b",
}


def columns(body: bytes, revision: int) -> Mapping[str, Sequence[Any]]:
    """Every column of all blocks in an answer."""
    reader = _Reader(body)
    found: dict[str, list[Any]] = {}
    while reader.at < len(body):
        for name, values in reader.block(revision).items():
            found.setdefault(name, []).extend(values)
    return found


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def block(self, revision: int) -> Mapping[str, Sequence[Any]]:
        if revision > 0:
            assert self._take(8) == b"\x01\x00\x02\xff\xff\xff\xff\x00"
        count, rows = self._number(), self._number()
        found = {}
        for _ in range(count):
            name, kind = self._text(), self._text()
            if revision >= _WITH_SERIALISATION:
                assert self._take(1) == b"\x00", "the driver knows no unusual serialisation"
            if rows:
                self._prefix(kind)
            found[name] = self._column(kind, rows)
        return found

    def _prefix(self, kind: str) -> None:
        outer, inner = _parts(kind)
        if outer == "LowCardinality":
            assert self._numbers("Q", 1) == [1]
        else:
            for part in inner if outer in {"Array", "Map", "Tuple", "Nullable"} else ():
                self._prefix(part)

    def _column(  # noqa: PLR0911 - one for each kind of type
        self, kind: str, rows: int
    ) -> list[Any]:
        outer, inner = _parts(kind)
        if outer == "String":
            return [self._text() for _ in range(rows)]
        if outer == "FixedString":
            return [self._take(int(inner[0])) for _ in range(rows)]
        if outer == "Decimal":
            width = 16 if int(inner[0]) > 18 else 8
            whole = [int.from_bytes(self._take(width), "little", signed=True) for _ in range(rows)]
            return [Decimal(number).scaleb(-int(inner[1])) for number in whole]
        if outer == "Nullable":
            nulls = self._numbers("?", rows)
            values = self._column(inner[0], rows)
            return [None if null else value for null, value in zip(nulls, values, strict=True)]
        if outer == "LowCardinality":
            return self._dictionary(inner[0]) if rows else []
        if outer in {"Array", "Map"}:
            ends = self._numbers("Q", rows)
            parts = [self._column(part, ends[-1] if ends else 0) for part in inner]
            items = parts[0] if outer == "Array" else list(zip(*parts, strict=True))
            lists = [items[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            return lists if outer == "Array" else [dict(pairs) for pairs in lists]
        if outer == "Tuple":
            return list(zip(*(self._column(part, rows) for part in inner), strict=True))
        numbers = self._numbers(_NUMBERS[outer], rows)
        if outer == "DateTime":
            return [datetime.fromtimestamp(number, UTC) for number in numbers]
        if outer == "DateTime64":
            zero = datetime(1970, 1, 1, tzinfo=UTC)
            micros = [number * 10 ** (6 - int(inner[0])) for number in numbers]
            return [zero + timedelta(microseconds=number) for number in micros]
        return numbers

    def _dictionary(self, kind: str) -> list[Any]:
        (flags,) = self._numbers("Q", 1)
        assert flags & 0x100 == 0, "the driver knows no shared dictionary"
        assert flags & 0x200, "the driver wants the keys with the block"
        (size,) = self._numbers("q", 1)
        words = self._column(kind.removeprefix("Nullable(").removesuffix(")"), size)
        (rows,) = self._numbers("q", 1)
        keys = self._numbers("BHIQ"[flags & 0xFF], rows)
        if kind.startswith("Nullable("):
            words[0] = None
        return [words[key] for key in keys]

    def _numbers(self, code: str, rows: int) -> list[Any]:
        shape = struct.Struct(f"<{rows}{code}")
        return list(shape.unpack(self._take(shape.size)))

    def _text(self) -> str:
        return self._take(self._number()).decode()

    def _number(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self._take(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _take(self, count: int) -> bytes:
        taken = self._body[self.at : self.at + count]
        assert len(taken) == count, "the block is cut short"
        self.at += count
        return taken


def _parts(kind: str) -> tuple[str, Sequence[str]]:
    """``Map(String, Array(UInt8))`` -> ``Map``, [``String``, ``Array(UInt8)``]; names left out."""
    outer, _, rest = kind.partition("(")
    parts, depth, word = [], 0, ""
    for char in rest.removesuffix(")"):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(word.strip())
            word = ""
        else:
            word += char
    parts.append(word.strip())
    if outer == "Tuple":  # its parts have names
        parts = [part.split(" ", 1)[-1] if " " in part.split("(")[0] else part for part in parts]
    return outer, parts
