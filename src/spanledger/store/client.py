"""The store: insert entries, say which are known, run named queries.

Promises: one code path over clickhouse-connect, embedded or server; every setting that matters is
pinned, because the engine's defaults changed twice in 2026; an error is ``BadRows`` or
``StoreUnavailable`` and quotes no value. Any thread may call anything: writing and reading have a
session each, so a slow read does not hold up an insert. Never updates or deletes an entry.

Measured on 2 cores, embedded: opening takes 1.4 s in a fresh process and 0.1 s after that; an
insert of 10,000 entries takes 3.5 to 5 us an entry, one of a few entries 15 ms. Leaving duplicates
within one insert to FINAL (``optimize_on_insert=0``) is what saves the other 10 us an entry.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spanledger.errors import StartupError
from spanledger.ledger.restatement import LEGS_ARROW
from spanledger.ledger.schema import ENTRIES_ARROW
from spanledger.store import seal
from spanledger.store.damage import Damage, Part, detach, examine, make_readable
from spanledger.store.errors import BadRows, StoreUnavailable, of_insert, unavailable
from spanledger.store.handed import run_handed
from spanledger.store.known import known
from spanledger.store.migrations import DATABASE, migrate, query, released, statement, views
from spanledger.store.partitions import PARTITIONS_MAX, within_partitions
from spanledger.store.server import Server
from spanledger.store.session import Connect, Session, Settings, bindable, embedded
from spanledger.store.shape import ALONE, Shape

_MIB: Final = 1024 * 1024

_WRITE: Final[Settings] = {
    "async_insert": 0,  # an insert that returned is in the table
    "insert_deduplicate": 0,  # the key decides what is a duplicate, not the block's hash
    "optimize_on_insert": 0,  # FINAL and merges resolve duplicates; here it costs 3x the insert
    "input_format_null_as_default": 0,  # a missing value is an error, never a quiet 0 or ""
    "max_partitions_per_insert_block": PARTITIONS_MAX,
}
# Also of the SQL interface, so that both see the same ledger at the same speed.
READING: Final[Settings] = {
    "do_not_merge_across_partitions_select_final": 1,  # twins share a month: it is in their key
    "use_skip_indexes_if_final": 1,  # finds one trace in 10 M calls in 30 ms instead of seconds
    "use_skip_indexes_if_final_exact_mode": 1,
    # Conditions on the key (twins share it) are looked at before the other 50 columns are read.
    "optimize_move_to_prewhere_if_final": 1,
    "distributed_product_mode": "local",  # on a cluster, what `calls` joins lies on the same shard
    # Of calls and what was restated, the latter is kept in memory, never the calls: by its guess
    # the engine chose calls for some stretches of time, which the SQL interface had to refuse.
    "query_plan_join_swap_table": "false",
    "enable_join_runtime_filters": 0,  # a filter on the key of `calls` costs more than it saves
    # The views name their columns, so nothing is left to remove; to look for it is a quarter of the
    # time of planning, and what is read is the same to the byte (measured for views and look-ups).
    "query_plan_remove_unused_columns": 0,
    "result_overflow_mode": "throw",  # never a part of an answer
}
# What takes long must not hold up inserts; it reads the ledger as the views do.
_UPKEEP: Final[Settings] = {**_WRITE, **READING}
# The two legs of a call are to be in one block, which is there as a whole or not at all.
_RESTATE: Final[Settings] = {
    **_UPKEEP,
    "max_insert_threads": 1,
    "min_insert_block_size_rows": 100_000_000,
    "min_insert_block_size_bytes": 0,
}
_READ: Final[Settings] = {
    **READING,
    "max_execution_time": 30,
    "max_memory_usage": 512 * _MIB,
    "max_result_rows": 1_000_000,
    "readonly": 2,
}

# Whoever reads has a readonly handle; asked again until the read has noticed. A server has other
# stores' queries too, so each session carries the name of its store.
_STOP_READS: Final = (
    "KILL QUERY WHERE Settings['readonly'] != ''"
    " AND startsWith(Settings['log_comment'], {name:String}) ASYNC"
)
_PATIENCE_S: Final = 0.2

# The columns of `calls` that a sum can be narrowed by; parameters of queries/spend.sql.
DIMENSIONS: Final = (
    "tenant",
    "service",
    "environment",
    "provider",
    "model",
    "user_id",
    "customer",
    "team",
    "project",
    "feature",
    "conversation_id",
    "agent",
    "workflow",
    "api_key_alias",
)
# Before this moment the ledger takes nothing more: its single calls may be removed.
_SEALED: Final = "sealed_before"
# Hours before this moment are read from their sums, all others are summed from calls.
ROLLED_UNTIL: Final = "rolled_until"
# The same of days of users.
USERS_ROLLED_UNTIL: Final = "users_rolled_until"
# Of high cardinality: only the calls know them.
_NOT_ROLLED_UP: Final = frozenset({"user_id", "conversation_id"})


class Store:
    """An open ledger."""

    def __init__(
        self, connect: Connect, shape: Shape = ALONE, *, directory: Path | None = None
    ) -> None:
        """``connect`` opens a client with the given settings; ``open_embedded`` has the usual one.

        ``directory`` is where the engine of this process has its files, which nobody else mends.

        Raises:
            StartupError: another version's schema.
            StoreUnavailable: the engine does not answer.
        """
        self._connect = connect
        self._shape = shape
        self._directory = directory
        self._seal_file = directory and directory.with_name(f"{directory.name}.seal")
        self._name = f"spanledger {uuid.uuid4()}"
        self._sessions: list[Session] = []
        self._stopping = Session(lambda: self._connect({}, None))
        self._writing = self.open_session(_WRITE)
        self._upkeep = self.open_session(_UPKEEP)
        self._restating = self.open_session(_RESTATE)
        self._reading = self.open_session(_READ)
        try:
            self._prepare()
            self.sealed_before_ns = self._sealed()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open_embedded(cls, path: Path) -> Self:
        """Open or make the ledger in a directory, with the engine inside this process.

        Raises:
            StartupError: another version's schema, or the engine cannot have the directory.
        """
        path.mkdir(parents=True, exist_ok=True)
        try:
            return cls(embedded(path), directory=path)
        except StoreUnavailable as error:
            raise StartupError(
                f"the engine cannot open the ledger in {path} ({error})",
                hint="Another process may have it open; stop that one, or use another directory",
            ) from error

    @classmethod
    def open_server(cls, server: Server, cluster: str = "") -> Self:
        """Open or make the ledger on a ClickHouse server, or on the whole cluster of this name.

        Raises:
            StartupError: another version's schema, or the server is too old.
            StoreUnavailable: it does not answer; try again.
        """
        server.check()
        return cls(server.connector(), Shape(cluster))

    def _prepare(self) -> None:
        # The database may not exist yet, so this handle is none of ours.
        session = Session(lambda: self._connect({}, None))
        try:
            if self._directory is not None:
                session.run(make_readable)
            session.run(lambda client: migrate(client, released(), views(), self._shape))
            # Ours are opened before this one is closed: with its last handle the engine ends.
            for ours in self._sessions:
                ours.run(lambda client: client.command("SELECT 1"))
        except ClickHouseError as error:
            raise unavailable(error) from error
        finally:
            session.close()

    def _sealed(self) -> int:
        """The seal, from wherever it is left; sums that it protects are read from their tables."""
        kept_ns = self.moment_ns(_SEALED) or 0
        saved_ns = seal.load(self._seal_file) if self._seal_file else kept_ns
        sealed_ns = max(kept_ns, saved_ns)
        if self._seal_file and saved_ns < sealed_ns:
            seal.save(self._seal_file, sealed_ns)
        if kept_ns < sealed_ns:
            self.keep_moment(_SEALED, sealed_ns)
        if (self.moment_ns(ROLLED_UNTIL) or 0) < sealed_ns:
            self.keep_moment(ROLLED_UNTIL, sealed_ns)
        return sealed_ns

    def open_session(self, settings: Settings, name: str = "") -> Session:
        """Make another session in our database, with its own settings; ``close`` ends it too.

        ``name`` is for ``stop_reads``.
        """
        # First: ``readonly`` forbids every setting after it.
        named = {"log_comment": f"{self._name} {name}", **settings}
        session = Session(lambda: self._connect(named, DATABASE))
        self._sessions.append(session)
        return session

    def stop_reads(self, name: str = "") -> None:
        """Ask the queries of read-only sessions to end: of one by its name, or of all."""
        of = {"name": f"{self._name} {name}"}
        with suppress(ClickHouseError, StoreUnavailable):
            self._stopping.run(lambda client: client.command(_STOP_READS, parameters=of))

    def insert(self, entries: pa.Table) -> None:
        """Add entries (``ENTRIES_ARROW``); they are in the ledger when this returns.

        Raises:
            ValueError: other columns than the schema's (a defect upstream).
            BadRows: at least one row will never be taken.
            StoreUnavailable: try again; what was written before is found by ``known``.
        """
        if not entries.schema.equals(ENTRIES_ARROW):
            raise ValueError(f"entries have the columns {entries.schema.names}: make ENTRIES_ARROW")
        if entries.num_rows and pc.min(entries["start_time"]).value < self.sealed_before_ns:
            raise BadRows("too_old")
        for part in within_partitions(entries):
            self._insert(part)

    def _insert(self, part: pa.Table) -> None:
        self._add(self._writing, lambda client: client.insert_arrow("entries", part))

    def _add(self, session: Session, insert: Callable[[Client], object]) -> None:
        try:
            session.run(insert)
        except ClickHouseError as error:
            raise of_insert(error) from error
        except OSError as error:  # the engine is handed a file in the directory for such files
            raise unavailable(error) from error

    def restate(self, legs: pa.Table) -> pa.Table:
        """Add the legs of corrections (``LEGS_ARROW``) that are not there yet; returns those.

        ``derive_restated`` has to follow, also after an error.

        Raises:
            ValueError, BadRows, StoreUnavailable: as ``insert``.
        """
        if not legs.schema.equals(LEGS_ARROW):
            raise ValueError(f"legs have the columns {legs.schema.names}: make LEGS_ARROW")
        new = legs.filter(pc.invert(self.known(legs)))
        for part in within_partitions(new) if new.num_rows else ():
            self._insert(part)
        return new

    def restate_prices(self, prices: pa.Table, parameters: Mapping[str, Any]) -> None:
        """Correct calls by what they cost now (``PRICES_ARROW``); ``derive_restated`` follows.

        Raises:
            BadRows, StoreUnavailable: as ``insert``.
        """
        text = self._shape.render(statement("restate_prices"))
        run = partial(run_handed, is_embedded=self._directory is not None)
        self._add(self._restating, lambda client: run(client, text, prices, parameters))

    def add_prices(self, prices: pa.Table) -> None:
        """Add states of prices (``STATES_ARROW``).

        Raises:
            StoreUnavailable: they may be there or not; the same rows may be added again.
        """
        try:
            self._upkeep.run(lambda client: client.insert_arrow("prices", prices))
        except (ClickHouseError, OSError) as error:
            raise unavailable(error) from error

    def known(self, entries: pa.Table) -> pa.BooleanArray:
        """Say for each row whether the ledger, or an earlier row, has an entry with its key.

        Raises:
            StoreUnavailable: the engine cannot answer.
        """
        try:
            return known(self._writing, entries)
        except ClickHouseError as error:
            raise unavailable(error) from error

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run ``sql/queries/<name>.sql`` with its typed parameters; times need a zone.

        Raises:
            StoreUnavailable: the engine cannot answer.
        """
        text = query(name)
        values = {key: bindable(value) for key, value in (parameters or {}).items()}
        try:
            return self._reading.run(lambda client: client.query_arrow(text, parameters=values))
        except (ClickHouseError, pa.ArrowException) as error:
            raise unavailable(error) from error

    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run ``sql/statements/<name>.sql``, which writes; else as ``query``.

        Raises:
            StoreUnavailable: it may be done or not; every statement may be run again.
        """
        text = self._shape.render(statement(name))
        values = {key: bindable(value) for key, value in (parameters or {}).items()}
        try:
            self._upkeep.run(lambda client: client.command(text, parameters=values))
        except ClickHouseError as error:
            raise unavailable(error) from error

    def moment_ns(self, name: str) -> int | None:
        """Tell a moment that the upkeep kept under a name, ns since the epoch; None if none."""
        found = self.query("moment", {"name": name}).column("moment_ns")
        return int(found[0].as_py()) if len(found) else None

    def keep_moment(self, name: str, moment_ns: int) -> None:
        """Keep a moment under a name, also over a restart."""
        self.execute("keep_moment", {"name": name, "moment_ns": moment_ns})

    def read_seal(self) -> None:
        """See how far another collector on this store has sealed it; the seal never goes back.

        Raises:
            StoreUnavailable: the engine cannot answer.
        """
        self.sealed_before_ns = max(self.sealed_before_ns, self.moment_ns(_SEALED) or 0)

    def seal(self, before_ns: int) -> None:
        """Take nothing more that started before a moment; the seal never goes back."""
        if before_ns > self.sealed_before_ns:
            if self._seal_file:
                seal.save(self._seal_file, before_ns)
            self.keep_moment(_SEALED, before_ns)
            self.sealed_before_ns = before_ns

    def spent_usd(self, dimensions: Mapping[str, str], since: datetime) -> Decimal:
        """The cost of all calls that started at or after an instant; unpriced ones add nothing.

        Args:
            dimensions: column -> value, of ``DIMENSIONS``; an empty value means "did not say".
            since: with its zone.

        Raises:
            ValueError: a dimension that is none.
            StoreUnavailable: the engine cannot answer.
        """
        if unknown := sorted(dimensions.keys() - set(DIMENSIONS)):
            raise ValueError(f"no dimension {unknown[0]!r}: use one of {', '.join(DIMENSIONS)}")
        parameters = {**dict.fromkeys(DIMENSIONS), **dimensions, "since": since}
        by = "spend" if dimensions.keys() & _NOT_ROLLED_UP else "spend_rolled"
        spent = self.query(by, parameters).column("spent_usd")[0].as_py()
        return Decimal(spent)

    def damage(self, seconds_max: float, stopping: Callable[[], bool]) -> Damage:
        """Look for parts that the disk has lost or changed; see ``store.damage``.

        Raises:
            StoreUnavailable: the engine cannot answer.
        """
        return examine(self._writing, seconds_max, stopping)

    def detach(self, parts: Sequence[Part]) -> None:
        """Take damaged parts out of the ledger; their files stay.

        Raises:
            StoreUnavailable: the engine cannot answer.
        """
        detach(self._writing, parts)

    def ping(self) -> bool:
        """Say whether the store answers."""
        try:
            return bool(self._reading.run(lambda client: client.command("SELECT 1")) == 1)
        except (ClickHouseError, StoreUnavailable):
            return False

    def close(self) -> None:
        """Stop reads under way, wait for an insert under way, end every session and the engine."""
        for session in self._sessions:
            while not session.close(timeout_s=_PATIENCE_S):
                self.stop_reads()
        self._stopping.close()
