"""Pieces of the ledger as pieces of a FOCUS dataset.

Promises: the same columns and types in every piece, also in an empty one. Never asks anything.
"""

from collections.abc import Iterator
from importlib.resources import files
from typing import Final

import polars as pl
import pyarrow as pa

from spanledger.ledger.limits import MONEY_DIGITS, MONEY_SCALE
from spanledger.ledger.schema import MONEY, TIME
from spanledger.reports.export import Piece
from spanledger.reports.focus import focus
from spanledger.reports.focus_columns import MOMENT, NEWEST, columns
from spanledger.reports.plain_text import frame_of

_ARROW: Final[list[tuple[pl.DataType | type[pl.DataType], pa.DataType]]] = [
    (pl.String, pa.string()),
    (MONEY, pa.decimal128(MONEY_DIGITS, MONEY_SCALE)),
    (MOMENT, pa.timestamp("ms", "UTC")),
    (TIME, pa.timestamp("ns", "UTC")),
]


def charges(pieces: Iterator[Piece], version: str, billing_account: str) -> Iterator[Piece]:
    """Make charges of entries; ``version`` empty: the newest."""
    version = version or NEWEST
    shape = schema(version)
    for piece in pieces:
        frame = focus(frame_of(piece.rows), version, billing_account)
        rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(shape)
        yield Piece(rows, piece.until_ns)


def schema(version: str) -> pa.Schema:
    """The Arrow schema of a version; its metadata says which."""
    fields = [
        pa.field(
            column.name,
            next(arrow for dtype, arrow in _ARROW if column.dtype == dtype),
            column.allows_nulls,
        )
        for column in columns(version)
    ]
    return pa.schema(fields, {"focus_version": version})


def without_price() -> str:
    """The question how many calls of a range have no row."""
    folder = files("spanledger.reports").joinpath("sql", "export")
    return folder.joinpath("without_price.sql").read_text(encoding="utf-8")
