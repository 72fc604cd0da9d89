"""The cost report: what was spent in a time range, on what, by whom, and what is not known.

Promises: every figure is what one SQL statement over the view ``calls`` says, money is Decimal
and ``None`` where it is not known. Never reads anything but views, and never turns unknown into 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final, Protocol

# A report is read by a person: what is beyond the dearest rows is summed up as "others".
ROWS_MAX: Final = 20


class Rows(Protocol):
    """The part of a clickhouse-connect result that is used."""

    @property
    def column_names(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def result_rows(self) -> Sequence[Sequence[Any]]:
        """Values, row by row."""


class Client(Protocol):
    """The part of a clickhouse-connect client that is used, over HTTP or embedded."""

    def query(self, query: str, *, parameters: dict[str, Any]) -> Rows:
        """Run one SELECT with typed parameters."""


@dataclass(frozen=True)
class Totals:
    """The whole time range."""

    calls: int
    failed_calls: int
    unpriced_calls: int
    cost_usd: Decimal | None  # None: no call of the range has a known cost
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    input_tokens: int  # includes cache reads and writes
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int  # includes reasoning
    reasoning_tokens: int


@dataclass(frozen=True)
class ClassTotal:
    """How much of the money is exact, bounded, estimated and so on."""

    cost_class: str
    calls: int
    cost_usd: Decimal | None


@dataclass(frozen=True)
class Group:
    """One row of a breakdown."""

    name: str  # empty: the calls did not say
    calls: int
    unpriced_calls: int
    cost_usd: Decimal | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    provider: str = ""  # only in the breakdown by model


@dataclass(frozen=True)
class Unpriced:
    """Calls of one model whose cost is not known, and why."""

    provider: str
    model: str
    reason: str
    calls: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Summary:
    """The answer: half-open time range, totals, breakdowns with the dearest first."""

    start: datetime
    end: datetime
    totals: Totals
    by_class: tuple[ClassTotal, ...]
    by_model: tuple[Group, ...]
    by_user: tuple[Group, ...]
    by_feature: tuple[Group, ...]
    by_customer: tuple[Group, ...]
    unpriced: tuple[Unpriced, ...]


def load(client: Client, *, start: datetime, end: datetime) -> Summary:
    """Ask the ledger for everything that started in ``[start, end)``.

    Raises:
        ValueError: a time has no zone, or the range is empty.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"the report needs times with a zone, got {start} and {end}: add +00:00")
    if start >= end:
        raise ValueError(f"the report's range is empty: it starts at {start} and ends at {end}")
    parameters = {"start": _instant(start), "end": _instant(end), "limit": ROWS_MAX}

    def rows(name: str) -> list[Mapping[str, Any]]:
        result = client.query(_sql(name), parameters=dict(parameters))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def groups(name: str) -> tuple[Group, ...]:
        return tuple(Group(**row) for row in rows(name))

    return Summary(
        start=start,
        end=end,
        totals=Totals(**rows("totals")[0]),
        by_class=tuple(ClassTotal(**row) for row in rows("by_class")),
        by_model=groups("by_model"),
        by_user=groups("by_user"),
        by_feature=groups("by_feature"),
        by_customer=groups("by_customer"),
        unpriced=tuple(Unpriced(**row) for row in rows("unpriced")),
    )


def _sql(name: str) -> str:
    return files("spanledger.reports").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def _instant(moment: datetime) -> str:
    # As text: clickhouse-connect would cut a datetime parameter to whole seconds.
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
