"""Attributes of OTLP: which keys are read, and how their values become columns.

Promises: a column for each known key that occurs, in the dtype of its kind; text within its bound
and always UTF-8; a count is a whole number, null where nothing was sent, -1 where nonsense was.
Never copies the value of a key that was not asked for.
"""

import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.ledger import otlp_wire
from spanledger.ledger.limits import (
    CUSTOM_KEY_BYTES_MAX,
    QUANTITY_MAX,
    RAW_USAGE_BYTES_MAX,
    TEXT_BYTES_MAX,
)
from spanledger.ledger.schema import TEXT_MAP

ATTRIBUTE: Final = "attr."
RESOURCE: Final = "resource."
# What an app attaches under this prefix is kept under the rest of its name.
CUSTOM: Final = b"spanledger.attribute."


class Kind(Enum):
    """How the value of a known attribute is read."""

    TEXT = "text"  # String: numbers and booleans are written out, string arrays as JSON
    RAW = "raw"  # String up to 64 KiB: usage JSON, to be read for numbers and dropped
    COUNT = "count"  # Int64 in 0..1e12, -1 where the value is no such number
    NUMBER = "number"  # Float64: times and reported costs; null where it is none
    KEEP = "keep"  # goes into the ``attributes`` map as text


class AttributeKeys:
    """The attribute keys to read and how, in the form that a hash look-up takes. Made once.

    ``kept`` names keys that also go into the ``attributes`` map, whatever their kind; ``bodies``
    the only texts that are read from the body of a log record: names of events.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        kept: Collection[str] = (),
        bodies: Collection[str] = (),
    ) -> None:
        self.names = list(kinds)
        self.kinds = list(kinds.values())
        self.encoded = pa.array([name.encode() for name in self.names], pa.binary())
        # One more place than names: the keys that begin with CUSTOM share the last.
        self.is_raw = np.array([kind is Kind.RAW for kind in self.kinds] + [False])
        self.is_kept = np.array(
            [kind is Kind.KEEP or name in kept for name, kind in kinds.items()] + [True]
        )
        self.bodies = pa.array([body.encode() for body in bodies], pa.binary())


def flat(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The items of all lists in one array, and for each item the index of its list."""
    return lists.flatten(), pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)


def text(values: pa.Array) -> pl.Series:
    """Text within its bound, "" where nothing was sent."""
    return pl.Series(_utf8(_cut(values, TEXT_BYTES_MAX))).fill_null("")


def _cut(values: pa.Array, bytes_max: int) -> pa.Array:
    longest = pc.max(pc.binary_length(values)).as_py() or 0
    return pc.binary_slice(values, 0, bytes_max) if longest > bytes_max else values


def _utf8(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:
        # Bytes that are no UTF-8, or a character that was cut in half: only these rows are
        # decoded one by one, with the replacement character, because the cast names no culprit.
        unchecked = pa.Array.from_buffers(
            pa.string(), len(values), values.buffers(), offset=values.offset
        )
        ascii_only = pc.string_is_ascii(unchecked).fill_null(True).to_numpy(zero_copy_only=False)
        fixed = [
            values[int(row)].as_py().decode(errors="replace") for row in np.flatnonzero(~ascii_only)
        ]
        plain = pc.if_else(pa.array(ascii_only), values, None).cast(pa.large_string())
        return pc.replace_with_mask(
            plain, pa.array(~ascii_only), pa.array(fixed, pa.large_string())
        )


def attributes(
    lists: pa.Array, known: AttributeKeys, prefix: str, take: np.ndarray | None = None
) -> dict[str, pl.Series]:
    """A column for each known key that occurs, and the ``attributes`` map of the kept ones.

    ``take`` spreads the rows (one per resource) to their spans. Of a repeated key the last wins,
    as in a dictionary.
    """
    items, owners = flat(lists)
    names = pc.struct_field(items, "key")
    key = pc.coalesce(
        pc.index_in(names, value_set=known.encoded),
        pc.if_else(_is_custom(names), pa.scalar(len(known.names), pa.int32()), None),
    )
    chosen = key.is_valid()
    key_of = key.filter(chosen).to_numpy(zero_copy_only=False)
    owner_of = owners[chosen.to_numpy(zero_copy_only=False)]
    values = _Values(pc.struct_field(items.filter(chosen), "value"), known.is_raw[key_of])

    columns: dict[str, pl.Series] = {}
    by_key = np.argsort(key_of, kind="stable")
    starts = np.searchsorted(key_of[by_key], np.arange(len(known.names) + 1))
    for index in np.flatnonzero(np.diff(starts)):
        if known.kinds[index] is not Kind.KEEP:
            positions = by_key[starts[index] : starts[index + 1]]
            row = np.full(len(lists), -1, np.int64)
            row[owner_of[positions]] = positions
            row = row if take is None else row[take]
            columns[prefix + known.names[index]] = values.column(known.kinds[index], row)
    kept = np.flatnonzero(known.is_kept[key_of])
    offsets = np.searchsorted(owner_of[kept], np.arange(len(lists) + 1))
    kept_names = _utf8(names.filter(chosen).take(pa.array(kept)))
    pairs = pa.StructArray.from_arrays(
        [
            pc.replace_substring_regex(kept_names, pattern=_CUSTOM_PATTERN, replacement=""),
            values.text.take(pa.array(kept)).fill_null(""),
        ],
        ["key", "value"],
    )
    columns["attributes"] = pl.Series(pa.LargeListArray.from_arrays(offsets, pairs), dtype=TEXT_MAP)
    return columns


_CUSTOM_PATTERN: Final = "^" + re.escape(CUSTOM.decode())


def _is_custom(names: pa.Array) -> pa.Array:
    lengths = pc.binary_length(names)
    return pc.and_(
        pc.starts_with(names, pattern=CUSTOM),
        pc.and_(pc.greater(lengths, len(CUSTOM)), pc.less_equal(lengths, CUSTOM_KEY_BYTES_MAX)),
    )


class _Values:
    """The values of the chosen attributes, each read as every kind, once for all columns."""

    def __init__(self, values: pa.Array, is_raw: np.ndarray) -> None:
        booleans = pc.struct_field(values, "bool_value")
        strings = pc.coalesce(pc.struct_field(values, "string_value"), _arrays(values))
        self.text = pc.coalesce(
            _utf8(_bounded(strings, is_raw)),
            pc.struct_field(values, "int_value").cast(pa.large_string()),
            pc.struct_field(values, "double_value").cast(pa.large_string()),
            booleans.cast(pa.large_string()),
        )
        numbers = pl.Series(self.text).cast(pl.Float64, strict=False).to_arrow()
        self._of_kind = {
            Kind.TEXT: self.text,
            Kind.RAW: self.text,
            Kind.NUMBER: numbers,
            Kind.COUNT: _counts(numbers, self.text.is_null(), booleans.is_valid()),
        }

    def column(self, kind: Kind, row: np.ndarray) -> pl.Series:
        """The values at the positions ``row`` (-1: absent) read as ``kind``."""
        return pl.Series(self._of_kind[kind].take(pa.array(row, mask=row < 0)))


def _arrays(values: pa.Array) -> pa.Array:
    if values.type.get_field_index("array_text") >= 0:
        return pc.struct_field(values, "array_text")
    encoded = pc.struct_field(values, "array_value")
    return encoded if encoded.null_count == len(encoded) else otlp_wire.array_text(encoded)


def _bounded(strings: pa.Array, is_raw: np.ndarray) -> pa.Array:
    """Text cut at its bound; raw usage beyond its own is dropped, since half of it is no JSON."""
    lengths = pc.binary_length(strings).fill_null(0).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) <= TEXT_BYTES_MAX:
        return strings
    cut = pc.if_else(pa.array(is_raw), strings, pc.binary_slice(strings, 0, TEXT_BYTES_MAX))
    return pc.if_else(pa.array(is_raw & (lengths > RAW_USAGE_BYTES_MAX)), None, cut)


def _counts(numbers: pa.Array, absent: pa.Array, is_boolean: pa.Array) -> pa.Array:
    """Whole numbers in 0..QUANTITY_MAX, -1 for anything else that was sent, null for nothing.

    A number sent as a string counts (some emitters write them so), and so does 7.0; 1.5, NaN, a
    boolean and 2**70 do not. Within the bound a double holds every whole number exactly.
    """
    value = numbers.fill_null(-1.0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        valid = (value >= 0) & (value <= QUANTITY_MAX) & (value == np.floor(value))
    valid &= ~is_boolean.to_numpy(zero_copy_only=False)
    count = np.where(valid, value, -1).astype(np.int64)
    return pa.array(count, mask=absent.to_numpy(zero_copy_only=False))
