"""The one place that wires: configuration in, a running collector out.

Promises: spans are taken and acknowledged before the store is open (it takes a second); it is ready
when the store is open, looked at for damage, written to and served over SQL, and no longer from the
moment it is told to stop. SIGTERM or SIGINT stop taking, finish what was taken, and exit 0 within
10 s; what the store has not taken by then is in the journal. A failed disk ends the process,
because nothing can be acknowledged. Holds no rule of decoding, pricing or storing.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from spanledger.api.app import create_app as create_web_app
from spanledger.collector import receiver_grpc, receiver_http
from spanledger.collector.books import Books
from spanledger.collector.budgets import spend_windows, statuses
from spanledger.collector.commit import Committer
from spanledger.collector.connections import bounded, connections_each
from spanledger.collector.journal import Journal
from spanledger.collector.lease import Lease
from spanledger.collector.listeners import HttpServer, bind, bind_grpc
from spanledger.collector.memory import bound_waste
from spanledger.collector.metrics import JOURNAL, Meters
from spanledger.collector.opening import dead_letters, open_journal, open_the_store
from spanledger.collector.price_keeper import PriceKeeper
from spanledger.collector.pruner import Pruner
from spanledger.collector.repair import repair
from spanledger.collector.roller import Roller
from spanledger.collector.settings import certificates, gate, needs_restart, rules, taken_over
from spanledger.collector.settler import Settler
from spanledger.collector.upkeep import Job, Upkeep
from spanledger.collector.writer import Writer
from spanledger.config import Address, Config
from spanledger.errors import SpanledgerError
from spanledger.store.client import Store
from spanledger.store.errors import StoreUnavailable
from spanledger.store.sql_http import create_app as create_sql_app

_log: Final = logging.getLogger(__name__)

# Of the 10 s in which a stop must end: senders, then the group under way, then the writer, and who
# reads metrics last.
_GRACE_S: Final = 3.0
_COMMIT_S: Final = 2.0
_DRAIN_S: Final = 3.0
_LAST_WORD_S: Final = 1.0
_LISTENERS: Final = 4  # OTLP/gRPC, OTLP/HTTP, SQL, web
# A repair that failed is begun again: with less than all of it, figures would be too small.
_REPAIR_AGAIN_S: Final = (1.0, 3.0)
# How soon a server that was away at start is noticed.
_OPEN_AGAIN_S: Final = 2.0

EXIT_OK: Final = 0
EXIT_DISK_FAILED: Final = 74  # EX_IOERR of sysexits.h


def serve(config: Config, load: Callable[[], Config]) -> int:
    """Run the collector until it is told to stop; returns the exit code.

    Args:
        config: what to begin with.
        load: reads the configuration anew, at SIGHUP.

    Raises:
        StartupError: a port is taken, or another process owns the data directory.
    """
    return asyncio.run(Service(config, load).run())


class Service:
    """A collector: its parts, in the order in which they start; they end in the other."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config] | None = None,
        open_store: Callable[[Config], Store] | None = None,
        open_journal: Callable[..., Journal] = Journal.open,
    ) -> None:
        """``open_store`` and ``open_journal`` are where tests put faults."""
        self._config = config
        self._load = load or (lambda: config)
        self._gate = gate(config)
        self._certificates = certificates(config)
        self._open_store = open_store or open_the_store
        self._make_journal = open_journal
        self._meters = Meters(config.metrics.series_max)
        self._sql = Deferred("the store is being opened")
        self._books = Books(config.data_dir / "books")
        self._rules = rules(config, self._books, self._sealed_before_ns)
        self._asked = asyncio.Event()  # to stop
        self._at_work = False
        self._store: Store | None = None
        self._writer: Writer | None = None
        self._upkeep: Upkeep | None = None
        self._exit_code = EXIT_OK

    async def run(self) -> int:
        """Start, serve until asked to stop, drain; returns the exit code."""
        bound_waste()
        loop = asyncio.get_running_loop()

        def disk_failed(cause: str) -> None:
            _log.critical("the disk of the journal failed, stopping: %s", cause)
            self._exit_code = EXIT_DISK_FAILED
            loop.call_soon_threadsafe(self._asked.set)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked.set)
        with open_journal(self._config, self._make_journal) as journal:
            self._meters.received(JOURNAL, journal.pending_rows)
            self._books.save()
            committer = self._committer(journal, disk_failed)
            loop.add_signal_handler(
                signal.SIGHUP, lambda: loop.create_task(self._reload(committer))
            )
            # The price book is half a million objects that live for ever; walked again and again
            # by the garbage collector, they took a third of all CPU time under load (measured).
            gc.collect()
            gc.freeze()
            async with self._listening(committer) as stop_taking:
                committer.start()
                ledger = asyncio.create_task(self._keep_ledger(journal))
                await _first_of(self._asked, ledger)
                _log.info("stopping: finishing what was taken")
                await stop_taking()
                await asyncio.to_thread(committer.close, _COMMIT_S)
                await ledger  # a reading under way ends before its store is closed
                await asyncio.to_thread(self._close_store)
        return self._exit_code

    def _committer(self, journal: Journal, on_broken: Callable[[str], None]) -> Committer:
        return Committer(
            journal,
            self._rules,
            self._meters,
            inflight_bytes_max=self._config.otlp.inflight_bytes_max,
            spans_max=self._config.otlp.spans_max,
            on_broken=on_broken,
        )

    async def _reload(self, committer: Committer) -> None:
        """Take a changed configuration into use; one that is wrong leaves all as it was."""
        try:
            config = await asyncio.to_thread(self._load)
            new_rules = await asyncio.to_thread(rules, config, self._books, self._sealed_before_ns)
            await asyncio.to_thread(self._books.save)
        except SpanledgerError as error:
            _log.error("the configuration in use stays, the new one is wrong: %s", error)
            self._meters.config_loaded(successful=False)
            return
        waiting = needs_restart(self._config, config)
        if waiting:
            _log.warning("these take effect at the next start: %s", ", ".join(waiting))
        self._gate = gate(config)
        self._rules = new_rules
        committer.use(new_rules)
        self._config = taken_over(self._config, config)
        renewed = self._certificates.renew() if self._certificates else None
        self._meters.config_loaded(successful=renewed is not False)
        _log.info("the configuration was read anew")

    @contextlib.asynccontextmanager
    async def _listening(
        self, committer: Committer
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Bind everything, then start everything; yields what lets senders finish and closes.

        The web listener stays to the end: who asks during the drain is told of it.
        """
        config = self._config
        bytes_max = config.otlp.body_bytes_max
        connections_max = connections_each(_LISTENERS)
        grpc_server = receiver_grpc.create_server(
            committer.submit,
            self._meters,
            self._writer_tenant,
            body_bytes_max=bytes_max,
            connections_max=connections_max,
        )
        http_app = receiver_http.create_app(
            committer.submit, self._meters, self._writer_tenant, body_bytes_max=bytes_max
        )
        web_app = create_web_app(self._meters, self._not_ready, self._may_read, self._degraded)
        tls = self._certificates
        addresses = {
            "OTLP/gRPC": bind_grpc(
                grpc_server,
                "otlp.grpc.listen",
                config.otlp.grpc.listen,
                tls.for_grpc() if tls else None,
            )
        }
        servers = []
        with contextlib.ExitStack() as bound:
            secured = tls.for_http if tls else None
            for name, key, address, app, context in (
                (
                    "OTLP/HTTP",
                    "otlp.http.listen",
                    config.otlp.http.listen,
                    http_app,
                    tls.for_otlp_http if tls else None,
                ),
                ("SQL", "sql.listen", config.sql.listen, self._sql, secured),
                ("web", "web.listen", config.web.listen, web_app, secured),
            ):
                held = bound.enter_context(bind(key, address))
                servers.append(HttpServer(app, held, context, bounded(connections_max)))
                addresses[name] = servers[-1].address
            bound.pop_all()
        await grpc_server.start()
        for server in servers:
            server.start()
        _announce(addresses, config)
        *taking, web = servers

        async def stop_taking() -> None:
            stops = [server.stop(_GRACE_S) for server in taking]
            await asyncio.gather(grpc_server.stop(_GRACE_S), *stops)

        try:
            yield stop_taking
        finally:
            await stop_taking()
            await web.stop(_LAST_WORD_S)

    async def _keep_ledger(self, journal: Journal) -> None:
        """Open the store while senders are served, start the writer, keep the gauges fresh."""
        config, asked = self._config, self._asked
        store = await self._opened()
        if store is None:
            return
        self._store = store
        self._writer = Writer(
            journal,
            store,
            self._meters,
            dead_letters(config),
            batch_rows_max=config.store.batch_rows_max,
            batch_wait_ms=config.store.batch_wait_ms,
        )
        self._meters.watch(
            journal_bytes=lambda: journal.bytes,
            lag_seconds=self._writer.lag_seconds,
        )
        await asyncio.to_thread(self._repair, journal, store, asked.is_set)
        self._writer.start()
        users = {user.name: user.password.reveal() for user in config.sql.users}
        self._sql.serve(create_sql_app(store, config.sql, users))
        self._upkeep = self._start_upkeep(store)
        self._meters.store_up(up=True)
        self._at_work = True
        _log.info("ready: the ledger is open")
        while not asked.is_set():
            await asyncio.to_thread(self._refresh, store)
            if self._certificates is not None:
                # In the loop, where handshakes begin: one that began in the midst of another
                # thread's renewal would find the new certificate without its key.
                self._certificates.renew()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), config.metrics.refresh_seconds)

    async def _opened(self) -> Store | None:
        """Open the store as soon as it answers; None if asked to stop before that."""
        while not self._asked.is_set():
            try:
                return await asyncio.to_thread(self._open_store, self._config)
            except StoreUnavailable as error:
                self._meters.store_up(up=False)
                _log.warning("cannot open the ledger, calls wait in the journal: %s", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), _OPEN_AGAIN_S)
        return None

    def _repair(self, journal: Journal, store: Store, stopping: Callable[[], bool]) -> None:
        if self._config.store.dsn is not None:
            return  # a server keeps and mends its own files
        for pause_s in (*_REPAIR_AGAIN_S, None):
            try:
                repair(
                    journal,
                    store,
                    self._meters,
                    self._config.data_dir / "seen.json",
                    batch_rows_max=self._config.store.batch_rows_max,
                    stopping=stopping,
                )
            except StoreUnavailable as error:
                _log.warning("the ledger could not be looked at for damage: %s", error)
                if pause_s is None:
                    _log.error("the ledger is shown unmended, calls and sums may be missing in it")
                elif not stopping():
                    time.sleep(pause_s)
            else:
                return

    def _start_upkeep(self, store: Store) -> Upkeep:
        """What is done to the ledger after the commit, in this order: rollups follow settlement."""
        config = self._config

        def jobs() -> Sequence[Job]:
            store.read_seal()
            settler = Settler(store, self._books.prices_of, self._meters)
            pruner = Pruner(store, config.retention.calls_days, config.retention.sums_days)
            keeper = PriceKeeper(store, lambda: self._rules.book)
            return [settler.run, Roller(store).run, pruner.run, keeper.run]

        # An embedded ledger has one process; a server may serve several collectors.
        lease = Lease(store, config.settlement.lease_seconds) if config.store.dsn else None
        upkeep = Upkeep(jobs, config.settlement.every_seconds, lease)
        self._meters.watch(upkeep_owner=lambda: upkeep.is_owner)
        upkeep.start()
        return upkeep

    def _refresh(self, store: Store) -> None:
        """Read the gauges from the ledger; what cannot be read now keeps its old value and time."""
        now = datetime.now(UTC)

        def spent(dimensions: Mapping[str, str], since: datetime) -> Decimal:
            return store.spent_usd(dimensions, since)

        try:
            store.read_seal()
            windows = {name: spent({}, start) for name, start in spend_windows(now).items()}
            budgets = statuses(self._config.budgets, now, spent)
        except StoreUnavailable as unavailable:
            _log.warning("cannot read the gauges from the ledger: %s", unavailable)
            # Without new calls the writer asks for nothing, and would notice nothing.
            self._meters.store_up(up=store.ping(), to="reader")
        else:
            self._meters.store_up(up=True, to="reader")
            self._meters.refresh(windows, budgets, now.timestamp())

    def _writer_tenant(self, authorization: str | None) -> str | None:
        return self._gate.tenant(authorization, "write")

    def _may_read(self, authorization: str | None) -> bool:
        return self._gate.tenant(authorization, "read") is not None

    def _sealed_before_ns(self) -> int:
        return self._store.sealed_before_ns if self._store is not None else 0

    def _not_ready(self) -> Sequence[str]:
        if self._asked.is_set():
            return ("stopping",)
        return () if self._at_work else ("store",)

    def _degraded(self) -> Sequence[str]:
        return () if self._meters.store_is_up else ("store",)

    def _close_store(self) -> None:
        if self._writer is not None and not self._writer.close(_DRAIN_S):
            _log.warning("the rest of the journal goes to the store at the next start")
        if self._upkeep is not None:
            self._upkeep.close()
        if self._store is not None:
            self._store.close()


class Deferred:
    """An ASGI application that is there before what it serves is."""

    def __init__(self, why: str) -> None:
        self._app: ASGIApp = PlainTextResponse(f"not ready: {why}\n", status_code=503)

    def serve(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _first_of(asked: asyncio.Event, ledger: asyncio.Task[None]) -> None:
    """Wait until the service is asked to stop, or its ledger cannot be kept."""
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({waiting, ledger}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if ledger.done():
        ledger.result()  # raises what ended it


def _announce(addresses: Mapping[str, Address], config: Config) -> None:
    """Say on stdout where everything listens; the log goes to stderr."""
    lines = [f"  {name:<10} {address}" for name, address in addresses.items()]
    text = "\n".join(["spanledger is listening", *lines, f"  {'data':<10} {config.data_dir}"])
    print(text, flush=True)  # noqa: T201 - for the person who started it
