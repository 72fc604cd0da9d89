"""Group commit: whatever arrived while the last group was being made durable is the next group.

Promises: an outcome of ``Accepted`` is given only after the entries of that request are on disk;
every request gets exactly one outcome; a bad request is refused alone, whatever shares its group;
what is admitted is bounded by bytes in flight. Never waits for the store, never drops in silence.

One thread decodes, normalises, prices and appends, so one pass and one fdatasync serve all requests
that wait, and a lone request waits for nobody.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import polars as pl
import pyarrow as pa

from spanledger.collector.journal import JournalBehind, JournalBroken, JournalFull
from spanledger.ledger import otlp_scan
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.dialects import Normalised
from spanledger.ledger.otlp import Body, decode
from spanledger.ledger.otlp_values import AttributeKeys
from spanledger.ledger.otlp_wire import Malformed
from spanledger.ledger.schema import entries_to_arrow

_log: Final = logging.getLogger(__name__)

# One group: large enough that the fixed cost of a pass vanishes (8,000 spans), small enough for an
# answer well within a client's deadline of 10 s. Working memory is about 50 times this: groups of
# 16 MiB took 350 MiB more and were not faster (measured with 64 senders of large requests).
GROUP_BYTES_MAX: Final = 4 * 1024 * 1024
GROUP_REQUESTS_MAX: Final = 2_048
# Items cost memory whatever their bytes: a kilobyte for each while a group is worked on.
GROUP_ITEMS_MAX: Final = 32_768


@dataclass(frozen=True)
class Accepted:
    """On disk. ``rejected`` counts the spans that were refused one by one, by reason."""

    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """The request will never be accepted as it is; retrying is of no use."""

    reason: str


@dataclass(frozen=True)
class Busy:
    """Not now; the same request may succeed in a moment."""

    reason: str


Outcome = Accepted | Refused | Busy
Answer = Callable[[Outcome], None]


@dataclass(frozen=True)
class Request:
    """A decompressed body, the wire it came by, and whom to tell; ``answer`` must not block."""

    body: Body
    transport: str  # "grpc" | "http"
    tenant: str  # of the sender's credential
    answer: Answer


@dataclass(frozen=True)
class Rules:
    """How bodies become entries; replaced as a whole when the configuration is reloaded."""

    keys: AttributeKeys  # the attributes to read
    normalise: Callable[[pl.DataFrame, Sequence[str]], Normalised]  # batch, tenant of each request
    price: Callable[[pl.DataFrame], pl.DataFrame]  # a CALLS frame to an ENTRIES frame
    book: PriceBook  # by which it prices


class Journal(Protocol):
    """What the commit needs of the journal."""

    def append(self, batch: pa.RecordBatch) -> object:
        """Make a batch durable."""


class Meters(Protocol):
    """What the commit tells the metrics; all counts are of delivered items."""

    def received(self, transport: str, items: int) -> None: ...
    def not_a_call(self, counts: Mapping[str, int]) -> None: ...
    def rejected(self, counts: Mapping[str, int]) -> None: ...


class Committer:
    """The commit thread and its bounded queue."""

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        meters: Meters,
        *,
        inflight_bytes_max: int,
        spans_max: int,
        on_broken: Callable[[str], None],
    ) -> None:
        """Wire the parts.

        Args:
            journal: where entries are made durable.
            rules: how bodies become entries.
            meters: told of every item.
            inflight_bytes_max: bytes of bodies admitted and not yet answered.
            spans_max: spans in one request.
            on_broken: hears that the disk failed and nothing can be acknowledged any more.
        """
        self._journal = journal
        self._rules = rules
        self._meters = meters
        self._inflight_bytes_max = inflight_bytes_max
        self._spans_max = spans_max
        self._on_broken = on_broken
        self._waiting: deque[tuple[Request, int]] = deque()  # with the number of its items
        self._inflight_bytes = 0
        self._full = ""  # why the journal took no record at the last try
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Admit a request; answer at once where too many bytes are in flight, or it never fits."""
        try:
            items = otlp_scan.items(request.body, items_max=self._spans_max)
        except Malformed as malformed:
            request.answer(Refused(str(malformed)))
            return
        except MemoryError:
            request.answer(Busy("memory"))
            return
        size = len(request.body.data)
        with self._changed:
            refusal = None
            if self._closed:
                refusal = Busy("shutting_down")
            elif self._inflight_bytes and self._inflight_bytes + size > self._inflight_bytes_max:
                refusal = Busy("inflight_bytes")
            else:
                self._inflight_bytes += size
                self._waiting.append((request, items))
                self._changed.notify()
        if refusal is not None:
            request.answer(refusal)

    def use(self, rules: Rules) -> None:
        """Take other rules, from the next group on."""
        self._rules = rules

    def close(self, timeout_s: float) -> None:
        """Take nothing more, commit what waits, stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while group := self._next_group():
            outcomes = self._commit(group)
            with self._changed:
                self._inflight_bytes -= sum(len(request.body.data) for request in group)
            for request, outcome in zip(group, outcomes, strict=True):
                request.answer(outcome)

    def _next_group(self) -> list[Request]:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            group: list[Request] = []
            size = items = 0
            while self._waiting and len(group) < GROUP_REQUESTS_MAX:
                request, more = self._waiting[0]
                size += len(request.body.data)
                items += more
                if group and (size > GROUP_BYTES_MAX or items > GROUP_ITEMS_MAX):
                    break
                group.append(request)
                self._waiting.popleft()
            return group

    def _commit(self, group: Sequence[Request]) -> list[Outcome]:
        try:
            return self._commit_together(group)
        except JournalFull as full:
            reason = "store_behind" if isinstance(full, JournalBehind) else "journal_full"
            if reason != self._full:  # every group would say the same, for hours
                _log.warning("asking senders to retry: %s", full)
            self._full = reason
            return [Busy(reason)] * len(group)
        except JournalBroken as broken:
            self._on_broken(str(broken))
            return [Busy("journal_broken")] * len(group)
        # A panic of the engine is no Exception. A defect must cost one request, not the thread.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - as said
            cause = type(error)
        # Out of the handler, because the error holds what the whole group had decoded until then.
        if len(group) > 1:
            return [outcome for request in group for outcome in self._commit([request])]
        # The text of an engine's error may quote the input: only its type is told.
        if issubclass(cause, MemoryError):
            _log.warning("no memory for a request of %d bytes", len(group[0].body.data))
            return [Busy("memory")]
        _log.error("cannot process a request: %s", cause.__name__)
        return [Refused("unprocessable")]

    def _commit_together(self, group: Sequence[Request]) -> list[Outcome]:
        rules = self._rules
        bodies = [request.body for request in group]
        decoded = decode(bodies, rules.keys, spans_max=self._spans_max)
        normalised = rules.normalise(decoded.spans, [request.tenant for request in group])
        if normalised.calls.height:
            self._journal.append(entries_to_arrow(rules.price(normalised.calls)))
            if self._full:
                self._full = ""
                _log.info("the journal takes records again")
        self._count(group, decoded.spans, normalised)
        rejected: dict[int, dict[str, int]] = {}
        for index, reason, spans in normalised.rejects.iter_rows():
            rejected.setdefault(index, {})[reason] = spans
        return [
            Refused(decoded.malformed[index])
            if index in decoded.malformed
            else Accepted(rejected.get(index, {}))
            for index in range(len(group))
        ]

    def _count(self, group: Sequence[Request], spans: pl.DataFrame, normalised: Normalised) -> None:
        by_transport: dict[str, int] = {}
        for index, items in spans.group_by("request").len().iter_rows():
            transport = group[index].transport
            by_transport[transport] = by_transport.get(transport, 0) + items
        for transport, items in by_transport.items():
            self._meters.received(transport, items)
        self._meters.not_a_call(normalised.not_calls)
        totals = normalised.rejects.group_by("reason").agg(pl.col("spans").sum())
        self._meters.rejected(dict(totals.iter_rows()))
