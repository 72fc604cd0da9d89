"""Hand spans to the collector behind the app's back: bounded, in the background, and quiet.

Promises: ending a span costs the app a queue append; spans wait in a bounded queue while the
collector is away; exit waits two seconds at most; of an outage the log says one sentence.
Never raises into the app, and never exports a span that is no LLM call: the app's database
statements and URLs are none of our business.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from spanledger.instrument.attributes import current

log = logging.getLogger("spanledger")

EXIT_WAIT_S: Final = 2.0
# A batch is tried for longer than that, but whoever waits for it gets an answer.
FLUSH_WAIT_S: Final = 10.0
# A flapping collector is still one sentence, not one for every failed batch.
WARN_AGAIN_AFTER_S: Final = 600.0

# Every known emitter in Python marks a model call, or what surrounds one, with one of these.
CALL_PREFIXES: Final = (
    "gen_ai.",
    "llm.",
    "openinference.",
    "traceloop.",
    "langfuse.",
    "langsmith.",
    "mlflow.",
    "ai.",
)

# What the SDK says of an unreachable collector, several lines for every batch: said to these.
NOISY_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",
)

_ours = threading.local()


class AttributeProcessor(SpanProcessor):
    """Copies the values of ``attribute()`` onto every span that starts."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Set what the span was not given by whoever started it: the closer word wins."""
        try:
            given = span.attributes or {}
            for name, value in current(parent_context).items():
                if name not in given:
                    span.set_attribute(name, value)
        except Exception:
            log.debug("spanledger: could not set attributes", exc_info=True)


class Outage:
    """Knows whether the collector is away, and says so once."""

    def __init__(self, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the address to name and, for tests, a clock in seconds."""
        self._where = where
        self._clock = clock
        self._lock = threading.Lock()
        self._silent_until_s = float("-inf")
        self.spans_lost = 0
        self._lost_before = 0

    def lost(self, spans: int, reason: str) -> None:
        """Count spans that will not arrive, and warn of the first in a while."""
        with self._lock:
            self.spans_lost += spans
            if self._clock() < self._silent_until_s:
                return
            self._silent_until_s = self._clock() + WARN_AGAIN_AFTER_S
        log.warning(
            "spanledger: cannot deliver to %s (%s). The app runs on; its LLM calls are missing "
            "from the ledger until the collector answers. Start one with `spanledger serve`, or "
            "name another address: spanledger.instrument(endpoint=...)",
            self._where,
            reason,
        )

    def over(self) -> None:
        """Note that the collector took a batch."""
        with self._lock:
            lost = self.spans_lost - self._lost_before
            self._lost_before = self.spans_lost
        if lost:
            log.info("spanledger: %s answers again; %d spans were lost", self._where, lost)


class QuietExporter(SpanExporter):
    """An exporter whose failures become one warning instead of a stream of them."""

    def __init__(self, exporter: SpanExporter, outage: Outage) -> None:
        """Wrap an OTLP exporter."""
        self._exporter = exporter
        self._outage = outage

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver a batch, with the exporter's own retries."""
        with hushed() as said:
            try:
                result = self._exporter.export(spans)
            except Exception as error:  # noqa: BLE001  whatever it is, the app runs on
                said.append(repr(error))
                result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._outage.over()
        else:
            self._outage.lost(len(spans), _reason(said))
        return result

    def shutdown(self) -> None:
        """Stop retrying."""
        with hushed():
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Do nothing: an exporter holds nothing back."""
        return self._exporter.force_flush(timeout_millis)


class CallProcessor(BatchSpanProcessor):
    """Queues the spans of LLM calls for a ``QuietExporter``."""

    def __init__(
        self, exporter: SpanExporter, outage: Outage, schedule_delay_ms: float | None = None
    ) -> None:
        """Start the background thread."""
        super().__init__(exporter, schedule_delay_millis=schedule_delay_ms)
        self._outage = outage
        self._flushing = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span if it tells of an LLM call."""
        try:
            if not is_call(span):
                return
            with hushed() as said:
                super().on_end(span)
            if said:  # all it ever warns of here is that it dropped a span
                self._outage.lost(1, "the queue is full")
        except Exception:
            log.debug("spanledger: could not queue a span", exc_info=True)

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Do as ``flush``; what the app's own provider calls, in some apps for each request."""
        asked_s = FLUSH_WAIT_S if timeout_millis is None else timeout_millis / 1_000
        return self.flush(min(asked_s, FLUSH_WAIT_S))

    def flush(self, timeout_s: float) -> bool:
        """Deliver what is queued; true if all of it arrived in time."""
        lost = self._outage.spans_lost
        stop_s = time.monotonic() + timeout_s
        # One at a time: an app that flushes again and again would fill itself with threads.
        if not self._flushing.acquire(timeout=timeout_s):
            return False
        # The SDK's flush takes no time limit, and an absent collector would hold it for minutes.
        worker = threading.Thread(target=self._flush, name="spanledger-flush", daemon=True)
        worker.start()
        worker.join(max(stop_s - time.monotonic(), 0))
        return not worker.is_alive() and self._outage.spans_lost == lost

    def _flush(self) -> None:
        try:
            super().force_flush()
        finally:
            self._flushing.release()

    def shutdown(self, timeout_s: float = EXIT_WAIT_S) -> None:
        """Deliver what is queued within a time limit, then stop."""
        # The public shutdown waits 30 s for a collector that may not be there.
        batch = self._batch_processor
        with hushed():
            batch.shutdown(timeout_millis=int(timeout_s * 1_000))
        undelivered = len(batch._queue)  # noqa: SLF001  there is no public way to ask
        if batch._worker_thread.is_alive():  # noqa: SLF001  likewise: it was still retrying
            self._outage.lost(undelivered + 1, "no answer before the process ended")


def is_call(span: ReadableSpan) -> bool:
    """Tell a span of an LLM call from the other spans of an app."""
    return any(name.startswith(CALL_PREFIXES) for name in span.attributes or ())


@contextmanager
def hushed() -> Iterator[list[str]]:
    """Collect what the SDK would log on this thread instead of logging it."""
    said: list[str] = []
    outer = getattr(_ours, "said", None)
    _ours.said = said
    try:
        yield said
    finally:
        _ours.said = outer


class Hush(logging.Filter):
    """Takes records of our own deliveries off the SDK's loggers; others' exporters still speak."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a record unless one of our own calls is under way on this thread."""
        said: list[str] | None = getattr(_ours, "said", None)
        if said is None:
            return True
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage())
        log.debug("spanledger: %s", record.getMessage())
        return False


def install_hush() -> None:
    """Put the filter on the SDK's loggers; once is enough."""
    for name in NOISY_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(present, Hush) for present in logger.filters):
            logger.addFilter(Hush())


def _reason(said: Sequence[str]) -> str:
    """Say why in a few words: the first thing the exporter said names the cause."""
    first = said[0] if said else "no reason given"
    for known in ("Connection refused", "Name or service not known", "timed out"):
        if known in first:
            return known.lower()
    return first[:200]
