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


# What a person can do something about, in plain words.
_MEANING: Final = {
    159: "it took too long",
    241: "the engine has no memory for it",
    242: "the table is read-only now: a replica may have lost its Keeper",
    243: "the disk has no room",
    252: "the table has too many parts: merges cannot keep up",
    319: "the replicas did not all answer",
    497: "the user of store.dsn is not granted this",
    516: "the server does not accept user and password of store.dsn",
}


def unavailable(error: Exception) -> StoreUnavailable:
    """Name the error by type, code and cause; its text may quote rows."""
    code = getattr(error, "code", None)
    words = [type(error).__name__]
    if code:
        words.append(f"code {code}")
    elif error.__cause__ is not None:  # such as NewConnectionError: nobody listens there
        words.append(type(error.__cause__).__name__)
    if code in _MEANING:
        words.append(_MEANING[code])
    return StoreUnavailable(", ".join(words))
