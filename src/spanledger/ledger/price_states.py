"""States of prices: what a ledger keeps of each book, so that any past cost can be explained.

Promises: one row for each price of a book, under the table's own column names; what is to be added
to the states that are there is the difference alone, so a book that says the same adds nothing, and
the latest states in force are always the last book. Never takes a state back.

When something was learned is no difference: a price file that is written anew with the same prices
has another time, and says the same.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

import polars as pl
import pyarrow as pa

from spanledger.ledger.catalog import PriceRow
from spanledger.ledger.limits import MONEY_SCALE
from spanledger.ledger.schema import MONEY, TIME, PolarsType

# What names a price within a book.
KEY: Final = ("price_id", "provider", "model", "unit")
# What is said of it.
_SAID: Final[dict[str, PolarsType]] = {
    "layer": pl.String,
    "usd": MONEY,
    "per": pl.UInt64,
    "factor": MONEY,
    "context": pl.String,
    "input_above": pl.Int64,
    "input_up_to": pl.Int64,
    "hours": pl.String,
    "valid_from": TIME,
    "valid_until": TIME,
    "reason": pl.String,
    "source": pl.String,
}
_NAMED: Final[dict[str, PolarsType]] = dict.fromkeys(KEY, pl.String)
_TYPES: Final = {**_NAMED, **_SAID, "known_at": TIME, "in_force": pl.Boolean()}
_BOOK: Final = pl.Schema(_TYPES)
STATES: Final = pl.Schema({**_TYPES, "book": pl.String, "learned_at": TIME})

_ARROW_TYPES: Final = {
    pl.String(): pa.string(),
    MONEY: pa.decimal128(MONEY.precision or 0, MONEY.scale),
    pl.UInt64(): pa.uint64(),
    pl.Int64(): pa.int64(),
    TIME: pa.timestamp("ns", "UTC"),
    pl.Boolean(): pa.bool_(),
}
STATES_ARROW: Final = pa.schema([(name, _ARROW_TYPES[dtype]) for name, dtype in STATES.items()])

# What the columns have room for; prices that hold "since the year 1" hold as long as anybody asks.
_TIMES_NS: Final = (-2_208_988_800 * 10**9, 9_214_646_400 * 10**9)  # 1900 to 2262
_COUNT_MAX: Final = 2**63 - 1
_PLACE: Final = Decimal(1).scaleb(-MONEY_SCALE)
_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


def states(book: Iterable[PriceRow]) -> pl.DataFrame:
    """The snapshot of a book as states in force, without book and moment.

    Where two rows have one key, the first one stands: it is the one that is charged.
    """
    rows = [
        (
            *map(_text, (row.price_id, row.provider, row.model, row.unit, row.layer)),
            row.usd,
            min(row.per, _COUNT_MAX),
            None if row.factor is None else _WIDE.quantize(row.factor, _PLACE),
            _text(row.context),
            min(row.input_above, _COUNT_MAX),
            None if row.input_up_to is None else min(row.input_up_to, _COUNT_MAX),
            _text(row.when),
            _time(row.valid_from_ns),
            _time(row.valid_until_ns),
            _text(row.reason),
            _text(row.source),
            _time(row.known_at_ns),
            True,
        )
        for row in book
    ]
    times = {name: pl.Int64 for name, dtype in _BOOK.items() if dtype == TIME}
    frame = pl.DataFrame(rows, schema={**_BOOK, **times}, orient="row").cast(_BOOK)
    return frame.unique(KEY, keep="first", maintain_order=True)


def differences(latest: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """What a book adds to the latest states: what came or changed, and what it has no more.

    Args:
        latest: the latest state of each price (``STATES``), in force or not.
        present: the book (``states``).
    """
    in_force = latest.filter(pl.col("in_force")).select(_BOOK.names())
    came = present.join(in_force, on=[*KEY, *_SAID], how="anti", nulls_equal=True)
    went = in_force.join(present, on=KEY, how="anti").with_columns(in_force=False)
    return pl.concat([came, went])


def stamped(found: pl.DataFrame, latest: pl.DataFrame, book: str, now_ns: int) -> pl.DataFrame:
    """Differences with the book that made them and the moment at which they were found.

    The moment is after all that are there: by a clock that was set back, the latest state would
    not be this one, and would be added again and again.
    """
    newest_ns = latest.get_column("learned_at").cast(pl.Int64).max()
    learned_ns = now_ns if newest_ns is None else max(now_ns, int(str(newest_ns)) + 1)
    return found.with_columns(
        book=pl.lit(book), learned_at=pl.lit(learned_ns, pl.Int64).cast(TIME)
    ).select(STATES.names())


def states_from_arrow(table: pa.Table) -> pl.DataFrame:
    """States as the store answered them."""
    return pl.DataFrame(table).select(STATES.names()).cast(STATES)


def states_to_arrow(found: pl.DataFrame) -> pa.Table:
    """States as the store takes them."""
    return found.to_arrow().cast(STATES_ARROW)


def _text(text: str) -> str:
    # A JSON file can say half of a surrogate pair, which no column can hold.
    return text.encode(errors="replace").decode()


def _time(moment_ns: int | None) -> int | None:
    least, most = _TIMES_NS
    return None if moment_ns is None else max(least, min(moment_ns, most))
