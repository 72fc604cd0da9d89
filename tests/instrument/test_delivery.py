import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from spanledger.instrument.delivery import (
    CALL_PREFIXES,
    NOISY_LOGGERS,
    WARN_AGAIN_AFTER_S,
    CallProcessor,
    Outage,
    QuietExporter,
    install_hush,
)

CALL = {"gen_ai.operation.name": "chat"}


class FakeExporter(SpanExporter):
    """Delivers into a list, or does what ``trouble`` does."""

    def __init__(self, trouble: Callable[[], object] = lambda: None) -> None:
        self.trouble = trouble
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.trouble()
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


class Unreachable(SpanExporter):
    """Fails as the exporter over HTTP does when nobody listens: talkatively."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        logger = logging.getLogger(NOISY_LOGGERS[0])
        logger.warning("Transient error Connection refused for %d spans, retrying", len(spans))
        logger.error("Failed to export")
        return SpanExportResult.FAILURE


@pytest.fixture
def outage() -> Outage:
    return Outage("http://ledger:4318")


@pytest.fixture
def processor_of(outage: Outage) -> Iterator[Callable[[SpanExporter], CallProcessor]]:
    made: list[CallProcessor] = []

    def make(exporter: SpanExporter) -> CallProcessor:
        install_hush()
        made.append(CallProcessor(QuietExporter(exporter, outage), outage, 60_000))
        return made[-1]

    yield make
    for processor in made:
        processor.shutdown()
        join(processor)


def join(processor: CallProcessor) -> None:
    """Wait for the threads that delivered: what they log is of this test, not of the next one."""
    flushes = [thread for thread in threading.enumerate() if thread.name == "spanledger-flush"]
    for thread in (processor._batch_processor._worker_thread, *flushes):
        thread.join(60)
        assert not thread.is_alive()


def end_spans(processor: CallProcessor, *names: str, **attributes: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("app")
    for name in names:
        tracer.start_span(name, attributes=attributes).end()


def test_only_spans_of_llm_calls_leave_the_app(
    processor_of: Callable[[SpanExporter], CallProcessor],
) -> None:
    exporter = FakeExporter()
    processor = processor_of(exporter)
    end_spans(processor, "SELECT", **{"db.statement": "SELECT secret", "user.id": "ada"})
    for number, prefix in enumerate(CALL_PREFIXES):
        end_spans(processor, f"call {number}", **{prefix + "x": "y"})
    assert processor.flush(60)
    assert exporter.names == [f"call {number}" for number in range(len(CALL_PREFIXES))]


def test_an_outage_is_one_warning_that_says_where_why_and_what_to_do(
    processor_of: Callable[[SpanExporter], CallProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    processor = processor_of(Unreachable())
    for _ in range(3):
        end_spans(processor, "call", **CALL)
        assert not processor.flush(60)
    (warning,) = caplog.records
    assert warning.name == "spanledger"
    message = warning.getMessage()
    assert "http://ledger:4318 (connection refused)" in message
    assert "spanledger serve" in message


def test_other_exporters_keep_their_voice(caplog: pytest.LogCaptureFixture) -> None:
    install_hush()
    install_hush()
    for name in NOISY_LOGGERS:
        logging.getLogger(name).warning("my own backend is away")
    assert len(caplog.records) == len(NOISY_LOGGERS)


def test_an_exporter_that_raises_is_an_outage_and_nothing_more(
    processor_of: Callable[[SpanExporter], CallProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> None:
        raise MemoryError("no more")

    processor = processor_of(FakeExporter(explode))
    end_spans(processor, "call", **CALL)
    assert not processor.flush(60)
    assert "no more" in caplog.text


def test_a_full_queue_drops_spans_with_one_warning_and_never_blocks(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    install_hush()
    stuck, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        stuck.set()
        go_on.wait(60)

    processor = CallProcessor(QuietExporter(FakeExporter(hang), outage), outage, 1)
    end_spans(processor, "first", **CALL)
    assert stuck.wait(60)
    end_spans(processor, *["call"] * 3_000, **CALL)  # the queue holds 2,048
    assert outage.spans_lost > 0
    (warning,) = caplog.records
    assert "the queue is full" in warning.getMessage()
    go_on.set()
    processor.shutdown()
    join(processor)


def test_flush_and_shutdown_return_while_the_collector_still_hangs(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    delivered = threading.Event()

    def hang() -> None:
        go_on.wait(60)
        delivered.set()

    processor = CallProcessor(QuietExporter(FakeExporter(hang), outage), outage, 60_000)
    end_spans(processor, "call", **CALL)
    assert not processor.flush(0.01)
    end_spans(processor, "call", **CALL)
    processor.shutdown(timeout_s=0.01)
    assert not delivered.is_set()
    assert "before the process ended" in caplog.text
    go_on.set()
    join(processor)


def test_an_app_that_flushes_its_provider_waits_no_longer_than_it_asks_and_makes_one_thread(
    outage: Outage,
) -> None:
    go_on = threading.Event()
    processor = CallProcessor(
        QuietExporter(FakeExporter(lambda: go_on.wait(60)), outage), outage, 60_000
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for _ in range(5):
        provider.get_tracer("app").start_span("call", attributes=CALL).end()
        assert not provider.force_flush(10)
    threads = [thread for thread in threading.enumerate() if thread.name == "spanledger-flush"]
    assert len(threads) == 1
    go_on.set()
    assert provider.force_flush(60_000)
    processor.shutdown()
    join(processor)


def test_a_flush_is_true_when_everything_arrived(
    processor_of: Callable[[SpanExporter], CallProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    exporter = FakeExporter()
    processor = processor_of(exporter)
    end_spans(processor, "a", "b", **CALL)
    assert processor.flush(60)
    assert exporter.names == ["a", "b"]
    assert not caplog.records


def test_shutdown_delivers_what_is_queued_and_may_be_called_twice(
    processor_of: Callable[[SpanExporter], CallProcessor],
) -> None:
    exporter = FakeExporter()
    processor = processor_of(exporter)
    end_spans(processor, "a", **CALL)
    processor.shutdown()
    processor.shutdown()
    end_spans(processor, "too late", **CALL)
    assert exporter.names == ["a"]


def test_a_new_outage_is_told_again_after_a_while_and_its_end_at_info(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "spanledger")
    now_s = [0.0]
    outage = Outage("there", clock=lambda: now_s[0])
    outage.lost(2, "refused")
    outage.lost(3, "refused")
    outage.over()
    outage.over()
    outage.lost(1, "refused")  # flapping
    now_s[0] = WARN_AGAIN_AFTER_S
    outage.lost(1, "refused")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert "5 spans were lost" in caplog.records[1].getMessage()
