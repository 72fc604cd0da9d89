"""Columns as text: for CSV, for JSON.

Promises: a decimal is written with every digit it has and no zeros behind; a time is UTC in ISO
8601, to the nanosecond where the column holds nanoseconds; a map is a JSON object, a list a JSON
array. Column-wise: no loop over rows. Money never becomes a float: in JSON it is a text.
"""

from typing import Any, Final

import polars as pl
import pyarrow as pa

# The fields of a map's entries.
_PAIR: Final = ["key", "value"]
_WHOLE_SECONDS: Final = "%Y-%m-%dT%H:%M:%SZ"
_NANOSECONDS: Final = "%Y-%m-%dT%H:%M:%S%.9fZ"


def frame_of(rows: pa.Table) -> pl.DataFrame:
    """An Arrow table as Polars can compute on it: maps are lists of key and value."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_map(field.type):
            pair = pa.struct(
                list(zip(_PAIR, (field.type.key_type, field.type.item_type), strict=True))
            )
            rows = rows.set_column(at, field.name, rows.column(at).cast(pa.list_(pair)))
    return pl.DataFrame(rows)


def csv_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column as CSV shows it; null stays null."""
    return frame.select(
        _shown(pl.col(name), dtype).alias(name) for name, dtype in frame.schema.items()
    )


def json_rows(frame: pl.DataFrame) -> pl.Series:
    """Every row as one JSON object."""
    parts: list[pl.Expr] = []
    for at, (name, dtype) in enumerate(frame.schema.items()):
        start = "{" if at == 0 else ","
        parts += [pl.lit(f'{start}"{name}":'), json(pl.col(name), dtype)]
    return frame.select(pl.concat_str(*parts, pl.lit("}")).alias("json")).get_column("json")


def json(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON text; null is ``null``."""
    if dtype == pl.Boolean or dtype.is_integer() or dtype.is_float():
        return value.cast(pl.String).fill_null("null")
    if isinstance(dtype, pl.List):
        return _json_list(value, dtype).fill_null("null")
    if isinstance(dtype, pl.Struct):
        return _json_struct(value, dtype)
    return _quoted(_shown(value, dtype))


def decimal_text(value: pl.Expr) -> pl.Expr:
    """A decimal column as the shortest text that is exact."""
    # A scale of 18 always shows the point, so only zeros behind it are taken away.
    return value.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")


def _shown(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Decimal):
        return decimal_text(value) if dtype.scale else value.cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        return value.dt.strftime(_NANOSECONDS if dtype.time_unit == "ns" else _WHOLE_SECONDS)
    if isinstance(dtype, pl.List | pl.Struct):
        return pl.when(value.is_not_null()).then(json(value, dtype))
    return value.cast(pl.String)


def _json_list(value: pl.Expr, dtype: pl.List) -> pl.Expr:
    inner = _whole(dtype.inner)
    element = pl.element()
    if isinstance(inner, pl.Struct) and [field.name for field in inner.fields] == _PAIR:
        key, item = (element.struct.field(name) for name in _PAIR)
        pair = _quoted(key) + ":" + json(item, _whole(inner.fields[1].dtype))
        return pl.lit("{") + value.list.eval(pair).list.join(",") + "}"
    return pl.lit("[") + value.list.eval(json(element, inner)).list.join(",") + "]"


def _json_struct(value: pl.Expr, dtype: pl.Struct) -> pl.Expr:
    parts: list[pl.Expr] = []
    for at, field in enumerate(dtype.fields):
        start = "{" if at == 0 else ","
        item = json(value.struct.field(field.name), _whole(field.dtype))
        parts += [pl.lit(f'{start}"{field.name}":'), item]
    return pl.concat_str(*parts, pl.lit("}"))


def _whole(dtype: Any) -> pl.DataType:
    # Polars lets a nested type be named by its class.
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _quoted(text: pl.Expr) -> pl.Expr:
    """Text as JSON writes it; null is ``null``."""
    one = pl.struct(text.alias("v")).struct.json_encode()
    return one.str.strip_prefix('{"v":').str.strip_suffix("}")
