"""Queries of strangers, run one a lane: examined, bounded, read-only.

Promises: a query is run only as ``sql_guard`` allows it, on a handle whose bounds were set before
``readonly=1`` closed it to every change; an answer is whole or an error. Never touches the handles
that write, and holds as many queries as there are lanes.

Trap: ``max_result_bytes`` counts the engine's own columns, in which a constant or an enumeration
takes next to nothing however long it is when written (100 MB passed a bound of 8). The written text
counts against the query's memory, measured: so that is the hard bound, and the length is compared
once more before an answer leaves.

All lanes together may take ``concurrent_queries_max`` times ``memory_bytes_max``: 384 MiB unless
set.
Measured on a collector that had stored 20,000 spans (0.63 GiB): after queries that failed for want
of memory, two at a time, 0.9 GiB; after answers of 61 MB that were refused when they were written,
1.2 GiB. Of usual questions on 1 M calls all find room in 192 MiB, some none in 128, if grouping and
sorting go to disk from a quarter of it on.
"""

import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from clickhouse_connect.driver.client import Client

from spanledger.store.client import READING, Store
from spanledger.store.session import Session, Settings
from spanledger.store.sql_guard import TOO_MANY_BYTES, UNKNOWN_FORMAT, Guard, Refused

# Formats that need no schema file and write nothing but the answer; any other is refused.
_FORMATS: Final = {
    "application/json; charset=UTF-8": """
        JSON JSONColumns JSONColumnsWithMetadata JSONCompact JSONCompactColumns JSONCompactStrings
        JSONStrings
    """,
    "application/octet-stream": """
        Arrow ArrowStream Avro BSONEachRow MsgPack Native ORC Parquet RowBinary RowBinaryWithNames
        RowBinaryWithNamesAndTypes
    """,
    "application/x-ndjson; charset=UTF-8": """
        JSONCompactEachRow JSONCompactEachRowWithNames JSONCompactEachRowWithNamesAndTypes
        JSONCompactStringsEachRow JSONEachRow JSONL JSONLines JSONStringsEachRow NDJSON
        PrettyJSONEachRow
    """,
    "application/xml; charset=UTF-8": "XML",
    "text/csv; charset=UTF-8": "CSV CSVWithNames CSVWithNamesAndTypes",
    "text/plain; charset=UTF-8": """
        Markdown Null Pretty PrettyCompact PrettyCompactNoEscapes PrettyNoEscapes PrettySpace
        RawBLOB TSKV Values Vertical
    """,
    "text/tab-separated-values; charset=UTF-8": """
        TSV TSVRaw TSVWithNames TSVWithNamesAndTypes TabSeparated TabSeparatedRaw
        TabSeparatedWithNames TabSeparatedWithNamesAndTypes
    """,
}
FORMATS: Final = {
    name: content_type for content_type, names in _FORMATS.items() for name in names.split()
}
DEFAULT_FORMAT: Final = "TabSeparated"


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


class Stopped(Exception):  # noqa: N818 - reads as what it is
    """Whoever asked has gone away."""


class Ticket:
    """Where one query is: in no lane yet, in one, or through."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # a lane is not handed on while its query is being stopped
        self.lane = ""
        self.stopped = False

    def enter(self, lane: str) -> None:
        with self.lock:
            if self.stopped:
                raise Stopped
            self.lane = lane

    def leave(self) -> None:
        with self.lock:
            self.lane = ""


class SqlPool:
    """As many lanes as queries may run at a time; ``Store.close`` closes their handles."""

    def __init__(self, store: Store, bounds: Bounds) -> None:
        self._store = store
        self._bytes_max = bounds.result_bytes_max
        self._lanes: queue.SimpleQueue[tuple[str, Session]] = queue.SimpleQueue()
        for number in range(bounds.concurrent_queries_max):
            name = f"sql {number:02}"  # no name begins with another
            self._lanes.put((name, store.open_session(_settings(bounds), name)))
        self._guard: Guard | None = None

    def version(self) -> str:
        """The engine's version; waits for a lane.

        Raises:
            ClickHouseError: the engine could not say.
            StoreUnavailable: the store is closed.
        """
        lane = self._lanes.get()
        try:
            return lane[1].run(lambda client: str(client.command("SELECT version()")))
        finally:
            self._lanes.put(lane)

    def answer(
        self, text: str, parameters: Mapping[str, str], default_format: str, ticket: Ticket
    ) -> Answer:
        """Run one query; waits for a lane.

        Raises:
            Refused: it may not be run.
            Stopped: ``stop`` came before it began.
            ClickHouseError: the engine could not run it, or was stopped.
            StoreUnavailable: the store is closed.
        """
        bound = {name: Parameter(value) for name, value in parameters.items()}
        lane = self._lanes.get()
        try:
            name, session = lane
            ticket.enter(name)
            try:
                answer = session.run(
                    lambda client: self._answered(client, text, bound, default_format)
                )
            finally:
                ticket.leave()
        finally:
            self._lanes.put(lane)
        if isinstance(answer, Refused):
            raise answer
        if len(answer.body) > self._bytes_max:
            raise Refused(
                TOO_MANY_BYTES,
                f"Limit for result exceeded, max bytes: {self._bytes_max}, written bytes: "
                f"{len(answer.body)}: ask for fewer rows or columns, or another format",
            )
        return answer

    def stop(self, ticket: Ticket) -> None:
        """Stop the ticket's query, if it is under way; to be repeated until it has ended."""
        with ticket.lock:
            ticket.stopped = True
            if ticket.lane:
                self._store.stop_reads(ticket.lane)

    def _answered(
        self,
        client: Client,
        text: str,
        parameters: Mapping[str, Parameter],
        default_format: str,
    ) -> Answer | Refused:
        if self._guard is None:
            self._guard = Guard(client)
        try:
            statement = self._guard.examine(client, text, parameters)
            chosen = _known_format(statement.format or default_format or DEFAULT_FORMAT)
        except Refused as refused:
            if refused.__cause__ is not None:
                raise  # the engine failed, so the handle has to go
            return refused
        appended = None if statement.format else chosen
        body = client.raw_query(statement.sql, parameters=dict(parameters) or None, fmt=appended)
        return Answer(body, chosen)


def _settings(bounds: Bounds) -> Settings:
    return {
        **READING,
        "max_execution_time": bounds.query_seconds_max,
        "timeout_overflow_mode": "throw",
        "max_memory_usage": bounds.memory_bytes_max,
        "max_bytes_before_external_group_by": bounds.memory_bytes_max // 4,
        "max_bytes_before_external_sort": bounds.memory_bytes_max // 4,
        "max_result_rows": bounds.result_rows_max,
        "max_result_bytes": bounds.result_bytes_max,
        # Ingestion keeps a core: one query takes half of them at most.
        "max_threads": max(1, (os.cpu_count() or 1) // 2),
        # As a bare number most readers of JSON would make money a float.
        "output_format_json_quote_decimals": 1,
        "allow_introspection_functions": 0,
        "allow_ddl": 0,
        "readonly": 1,  # last: it forbids every setting after it
    }


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise Refused(UNKNOWN_FORMAT, f"Format {name} is not available here")
    return name
