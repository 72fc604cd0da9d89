"""What can go wrong between us and ClickHouse, as the writer has to treat it.

Promises: two kinds only, retry or put aside. Never carries a value of a row.
"""


class StoreUnavailable(Exception):  # noqa: N818 - a state, and what the writer does about it
    """The store cannot answer now; the same request may succeed later."""


class BadRows(Exception):  # noqa: N818 - reads as what it is
    """The store will never take these rows as they are."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
