"""What can go wrong between us and ClickHouse, as the writer has to treat it.

Promises: two kinds only, retry or put aside. Never carries a value of a row: the engine's own
messages quote them, so only its code is kept.
"""

from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, DataError


class StoreUnavailable(Exception):  # noqa: N818 - a state, and what the writer does about it
    """The store cannot answer now; the same request may succeed later."""


class BadRows(Exception):  # noqa: N818 - reads as what it is
    """The store will never take these rows as they are."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# Codes of ClickHouse that speak of the rows: the same rows fail again, whenever. Everything else
# is retried for ever, because a good row put aside is worse than a late one.
_OF_THE_ROWS: Final = {
    6: "cannot_parse",
    26: "cannot_parse",
    27: "cannot_parse",
    38: "cannot_parse",
    41: "cannot_parse",
    53: "wrong_type",
    69: "out_of_range",
    70: "wrong_type",
    72: "cannot_parse",
    117: "cannot_parse",
    128: "too_large",
    131: "too_large",
    321: "out_of_range",
    349: "null_where_none_may_be",
    407: "out_of_range",
    469: "out_of_bounds",
}


def of_insert(error: ClickHouseError) -> BadRows | StoreUnavailable:
    """Say what an error of an insert means for the rows."""
    reason = _OF_THE_ROWS.get(getattr(error, "code", None) or 0)
    if reason is not None:
        return BadRows(reason)
    if isinstance(error, DataError):
        return BadRows("cannot_be_encoded")
    return unavailable(error)


def unavailable(error: Exception) -> StoreUnavailable:
    """Name the error by type and code; its text may quote rows."""
    code = getattr(error, "code", None)
    return StoreUnavailable(f"{type(error).__name__}{f', code {code}' if code else ''}")
