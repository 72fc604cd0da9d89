"""The standard OpenTelemetry SDK as the client of a collector that is away for a while.

Promises: spans are made by the SDK's tracer, batched and exported by its own processor and
exporters, over gRPC and HTTP at once; each is in the oracle's record before it is ended, and counts
as acknowledged, because no application does more than end its spans. So whatever the SDK gives up
is lost here.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from crash.killer import Victim
from crash.oracle import Oracle
from crash.outcome import Outcome, judged
from crash.proxy import Proxy
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_SPANS_A_SECOND: Final = 100
_AROUND_S: Final = 2.0  # calls before the first outage and after each
_FLUSH_MS: Final = 60_000
# How long an exporter tries to deliver a batch: OTEL_EXPORTER_OTLP_TIMEOUT. By default it is 10 s;
# the growing pauses between tries may take what is left of them after 5 s of outage: the SDK then
# gave up a batch in 2 of 24 outages (of 4 s: in none of 12).
EXPORTER_S: Final = 30
EXPORTER_S_DEFAULT: Final = 10


def outage(
    directory: Path,
    seed: int,
    port: int = 0,
    *,
    killed: bool = False,
    away_s: float = 5.0,
    times: int = 3,
    around_s: float = _AROUND_S,
    exporter_s: float = EXPORTER_S,
) -> Outcome:
    """Refuse connections for so long, so many times; ask for every span that was made."""
    oracle = Oracle(seed)
    longest_s, flushed = 0.0, True
    with ExitStack() as ended:
        victim = ended.enter_context(Victim(directory, port=port))
        assert victim.start().wait_answer("/readyz")
        proxies = [
            ended.enter_context(Proxy(victim.address[key], port and port + 4 + number))
            for number, key in enumerate(("otlp.grpc", "otlp.http"))
        ]
        with _providers(proxies, exporter_s) as providers:
            _call(providers, oracle, around_s)
            for _ in range(times):
                began = time.monotonic()
                for proxy in proxies:
                    proxy.cut()
                if killed:
                    victim.kill()
                    victim.start()
                _call(providers, oracle, away_s)
                assert victim.wait_answer()
                for proxy in proxies:
                    proxy.mend()
                longest_s = max(longest_s, time.monotonic() - began)
                _call(providers, oracle, around_s)
                # Its last try comes 7 s after the first: an outage that begins before that would
                # be one longer outage to the SDK, and longer than it bridges.
                flushed &= all(provider.force_flush(_FLUSH_MS) for provider in providers)
        failures = () if flushed else ("the SDK could not flush",)
        remark = f"away {times} times, at most {longest_s:.1f} s{', killed' if killed else ''}"
        return judged(victim, oracle, failures=failures, remarks=(remark,))


@contextmanager
def _providers(proxies: Sequence[Proxy], exporter_s: float) -> Iterator[list[TracerProvider]]:
    # It logs each attempt as an error; what it loses is counted by the oracle.
    log = logging.getLogger("opentelemetry")
    level = log.level
    log.setLevel(logging.CRITICAL)
    over_grpc, over_http = (proxy.address for proxy in proxies)
    exporters = (
        GrpcExporter(f"http://{over_grpc}", insecure=True, timeout=exporter_s),
        HttpExporter(f"http://{over_http}/v1/traces", timeout=exporter_s),
    )
    providers = []
    for exporter in exporters:
        providers.append(TracerProvider(shutdown_on_exit=False))
        providers[-1].add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=200))
    try:
        yield providers
    finally:
        for provider in providers:
            provider.shutdown()
        log.setLevel(level)


def _call(providers: Sequence[TracerProvider], oracle: Oracle, seconds: float) -> None:
    """Make calls at an even pace."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for provider in providers:
            tracer = provider.get_tracer("opentelemetry.instrumentation.genai.openai", "1.3b0")
            use = oracle.use()
            drawn = use.span()
            span = tracer.start_span("chat", attributes=drawn.attributes, start_time=drawn.start_ns)
            span_id = f"{span.get_span_context().span_id:016x}"
            oracle.write(span_id, drawn.start_ns, use)
            oracle.acknowledge_ids([span_id])
            span.end()
        time.sleep(len(providers) / _SPANS_A_SECOND)
