"""Queries of strangers, run one a lane: examined, bounded, read-only.

Promises: a query is run only as ``sql_guard`` allows it, on a handle whose bounds were set before
``readonly=1`` closed it to every change; an answer is whole or an error. Never touches the handles
that write, and holds as many queries as there are lanes.

Trap: the engine bounds an answer in its own columns, not in what it is written as, and its memory
bound does not see the written text at all (a 554 MB answer grew the process by 2.5 GB). Formats
that repeat the column names in every row multiply most, so those have tighter bounds.
"""

import os
import queue
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from clickhouse_connect.driver.client import Client

from spanledger.store.client import READING, Store
from spanledger.store.session import Session, Settings
from spanledger.store.sql_guard import TOO_LARGE, Guard, Refused, Statement

_TEXT: Final = "text/plain; charset=UTF-8"
_TSV: Final = "text/tab-separated-values; charset=UTF-8"
_CSV: Final = "text/csv; charset=UTF-8"
_JSON: Final = "application/json; charset=UTF-8"
_ROWS: Final = "application/x-ndjson; charset=UTF-8"
_BYTES: Final = "application/octet-stream"

# Formats need no schema file and write nothing but the answer; any other is refused.
FORMATS: Final = {
    **dict.fromkeys(("Arrow", "ArrowStream", "Avro", "BSONEachRow", "MsgPack", "Native"), _BYTES),
    **dict.fromkeys(("ORC", "Parquet", "RowBinary", "RowBinaryWithNames"), _BYTES),
    "RowBinaryWithNamesAndTypes": _BYTES,
    **dict.fromkeys(("CSV", "CSVWithNames", "CSVWithNamesAndTypes"), _CSV),
    **dict.fromkeys(("TSV", "TSVRaw", "TSVWithNames", "TSVWithNamesAndTypes"), _TSV),
    **dict.fromkeys(("TabSeparated", "TabSeparatedRaw", "TabSeparatedWithNames"), _TSV),
    "TabSeparatedWithNamesAndTypes": _TSV,
    **dict.fromkeys(("JSON", "JSONStrings", "JSONCompact", "JSONCompactStrings"), _JSON),
    **dict.fromkeys(("JSONColumns", "JSONColumnsWithMetadata", "JSONCompactColumns"), _JSON),
    **dict.fromkeys(("JSONEachRow", "JSONStringsEachRow", "JSONLines", "NDJSON", "JSONL"), _ROWS),
    **dict.fromkeys(("JSONCompactEachRow", "JSONCompactStringsEachRow"), _ROWS),
    **dict.fromkeys(("JSONCompactEachRowWithNames", "PrettyJSONEachRow"), _ROWS),
    "JSONCompactEachRowWithNamesAndTypes": _ROWS,
    "XML": "application/xml; charset=UTF-8",
    **dict.fromkeys(("Markdown", "Null", "Pretty", "PrettyCompact", "PrettySpace"), _TEXT),
    **dict.fromkeys(("PrettyNoEscapes", "PrettyCompactNoEscapes", "RawBLOB"), _TEXT),
    **dict.fromkeys(("TSKV", "Values", "Vertical"), _TEXT),
}
DEFAULT_FORMAT: Final = "TabSeparated"

# These write every column's name in every row: names x rows is what has to be bounded, to 100 MB.
_WORDY: Final = frozenset(
    {"JSON", "JSONStrings", "JSONEachRow", "JSONStringsEachRow", "JSONLines", "NDJSON", "JSONL"}
    | {"BSONEachRow", "PrettyJSONEachRow", "XML", "TSKV", "Vertical"}
)
_WORDY_ROWS_MAX: Final = 50_000
_WORDY_NAMES_BYTES_MAX: Final = 2_048
_WORDY_RESULT_BYTES_MAX: Final = 16 * 1024 * 1024


class Bounds(Protocol):
    """What an operator sets for the SQL interface."""

    @property
    def query_seconds_max(self) -> int: ...
    @property
    def result_rows_max(self) -> int: ...
    @property
    def result_bytes_max(self) -> int: ...
    @property
    def memory_bytes_max(self) -> int: ...
    @property
    def concurrent_queries_max(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """The text of a query parameter as HTTP brings it, already in the engine's own writing."""

    text: str

    def __str__(self) -> str:
        # clickhouse-connect escapes a str once more; of any other object it takes this.
        return self.text


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole result."""

    body: bytes
    format: str

    @property
    def content_type(self) -> str:
        return FORMATS[self.format]


@dataclass(frozen=True, slots=True)
class _Lane:
    """Two handles that one query at a time may use."""

    plain: Session
    wordy: Session


class SqlPool:
    """As many lanes as queries may run at a time; ``Store.close`` closes their handles."""

    def __init__(self, store: Store, bounds: Bounds) -> None:
        plain = _settings(bounds)
        wordy = plain | {
            "max_result_rows": min(_WORDY_ROWS_MAX, bounds.result_rows_max),
            "max_result_bytes": min(_WORDY_RESULT_BYTES_MAX, bounds.result_bytes_max),
        }
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for _ in range(bounds.concurrent_queries_max):
            # readonly last: it forbids every setting after it.
            self._lanes.put(
                _Lane(
                    store.open_session({**plain, "readonly": 1}),
                    store.open_session({**wordy, "readonly": 1}),
                )
            )
        self._guard: Guard | None = None

    def answer(self, text: str, parameters: Mapping[str, str], default_format: str) -> Answer:
        """Run one query; waits for a lane.

        Raises:
            Refused: it may not be run.
            ClickHouseError: the engine could not run it.
            StoreUnavailable: the store is closed.
        """
        bound = {name: Parameter(value) for name, value in parameters.items()}
        lane = self._lanes.get()
        try:
            statement = _or_raise(
                lane.plain.run(lambda client: self._examined(client, text, bound))
            )
            chosen = _known_format(statement.format or default_format or DEFAULT_FORMAT)
            session = lane.wordy if chosen in _WORDY else lane.plain
            if chosen in _WORDY:
                _or_raise(session.run(lambda client: _short_names(client, statement, bound)))
            appended = None if statement.format else chosen
            body = session.run(
                lambda client: client.raw_query(
                    statement.sql, parameters=dict(bound) or None, fmt=appended
                )
            )
        finally:
            self._lanes.put(lane)
        return Answer(body, chosen)

    def _examined(
        self, client: Client, text: str, parameters: Mapping[str, Parameter]
    ) -> Statement | Refused:
        if self._guard is None:
            self._guard = Guard(client)
        try:
            return self._guard.examine(client, text, parameters)
        except Refused as refused:
            if refused.__cause__ is not None:
                raise  # the engine failed, so the handle has to go
            return refused


def _settings(bounds: Bounds) -> dict[str, str | int]:
    settings: Settings = {
        **READING,
        "max_execution_time": bounds.query_seconds_max,
        "timeout_overflow_mode": "throw",
        "max_memory_usage": bounds.memory_bytes_max,
        "max_result_rows": bounds.result_rows_max,
        "max_result_bytes": bounds.result_bytes_max,
        # Ingestion keeps a core: one query takes half of them at most.
        "max_threads": max(1, (os.cpu_count() or 1) // 2),
        # As a bare number most readers of JSON would make money a float.
        "output_format_json_quote_decimals": 1,
        "allow_introspection_functions": 0,
        "allow_ddl": 0,
    }
    return dict(settings)


def _or_raise(examined: "Statement | Refused | None") -> Statement:
    if isinstance(examined, Refused):
        raise examined
    return examined or Statement("", "")


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise Refused(TOO_LARGE, f"Format {name} is not available here")
    return name


def _short_names(
    client: Client, statement: Statement, parameters: Mapping[str, Parameter]
) -> Refused | None:
    """Refuse an answer whose column names alone would fill the memory, repeated in every row."""
    if not statement.sql.startswith(("SELECT", "WITH", "(")):
        return None
    select = re.sub(r" FORMAT `?\w+`?$", "", statement.sql)
    columns = client.query(
        f"DESCRIBE TABLE ({select})", parameters=dict(parameters) or None
    ).result_rows
    names_bytes = sum(len(str(column[0]).encode()) for column in columns)
    if names_bytes > _WORDY_NAMES_BYTES_MAX:
        return Refused(
            TOO_LARGE,
            f"The column names take {names_bytes} bytes a row, over {_WORDY_NAMES_BYTES_MAX}: "
            "name the columns shorter (AS), or use a format that names them once (CSVWithNames)",
        )
    return None
