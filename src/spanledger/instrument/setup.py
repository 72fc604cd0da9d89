"""What ``instrument()`` does: provider, delivery, libraries, threads, in that order, once.

Promises: whatever fails is logged and leaves the app as it was.
Never replaces a tracer provider that the app has set up.
"""

import atexit
import logging
import os
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SpanExporter

from spanledger.instrument.delivery import (
    EXIT_WAIT_S,
    AttributeProcessor,
    CallProcessor,
    Outage,
    QuietExporter,
    install_hush,
)
from spanledger.instrument.libraries import activate
from spanledger.instrument.target import GRPC, Target, delivery_s, grpc_wanted, resolve
from spanledger.instrument.threads import carry_attributes

log = logging.getLogger("spanledger")

# The SDK's default is five seconds; a cost is worth seeing while it happens.
SCHEDULE_DELAY_MS: Final = 1_000.0
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
GRPC_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.grpc"

# Instrumentation is a fact about the process, so there is one of it.
_lock = threading.Lock()
_started: "Handle | None" = None


class Handle:
    """What ``instrument()`` returns; the app may ignore it."""

    def __init__(self, calls: CallProcessor | None) -> None:
        """Hold the processor; without one every method does nothing."""
        self._calls = calls

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Deliver what is queued; true if all of it arrived within the time."""
        try:
            return self._calls is None or self._calls.flush(timeout_s)
        except Exception:
            log.debug("spanledger: could not flush", exc_info=True)
            return False

    def shutdown(self, timeout_s: float = EXIT_WAIT_S) -> None:
        """Deliver what is queued and stop sending; done by itself when the process exits."""
        global _started  # noqa: PLW0603  so that a later instrument() starts anew
        try:
            if self._calls is not None:
                self._calls.shutdown(timeout_s)
        except Exception:
            log.debug("spanledger: could not shut down", exc_info=True)
        with _lock:
            if _started is self:
                _started = None


class Provider(Protocol):
    """What is asked of a tracer provider: the SDK's has it, and so have wrappers around it."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor behind the present ones."""


def start(
    *,
    endpoint: str | None,
    protocol: str | None,
    headers: Mapping[str, str] | None,
    service_name: str | None,
    environment: str | None,
) -> Handle:
    """Start observing, or return the handle of the first start."""
    global _started  # noqa: PLW0603  see its definition
    with _lock:
        if _started is not None:
            log.debug("spanledger: instrument() was called before; nothing changes")
            return _started
        _started = Handle(None)
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            log.debug("spanledger: OTEL_SDK_DISABLED is set; no call is recorded")
            return _started
        try:
            target = resolve(
                os.environ,
                endpoint=endpoint,
                protocol=protocol,
                headers=headers,
                grpc_installed=_grpc_installed(),
            )
            if target.protocol != GRPC and grpc_wanted(os.environ, protocol):
                log.warning(
                    "spanledger: gRPC is asked for but its exporter is not installed; sending to "
                    "%s over HTTP instead. Install it with: pip install 'spanledger[grpc]'",
                    target.url,
                )
            _started = _start(target, _resource_attributes(service_name, environment))
        except Exception:
            log.warning(
                "spanledger: could not start; the app runs on, its LLM calls are not recorded",
                exc_info=True,
            )
        return _started


def _start(target: Target, resource: Mapping[str, str]) -> Handle:
    provider, is_global = _provider(resource)
    provider.add_span_processor(AttributeProcessor())
    calls = None
    if not _delivers_already(provider, target):
        install_hush()
        outage = Outage(target.url)
        delay_ms = None if os.environ.get("OTEL_BSP_SCHEDULE_DELAY") else SCHEDULE_DELAY_MS
        calls = CallProcessor(QuietExporter(_exporter(target), outage), outage, delay_ms)
        provider.add_span_processor(calls)
        # Runs before the provider's own exit handler, whose wait is longer than ours.
        atexit.register(calls.shutdown)
    carry_attributes()
    libraries = activate(provider, provider_is_global=is_global)
    log.debug("spanledger: sending to %s; observing %s", target.url, ", ".join(libraries))
    return Handle(calls)


def _provider(resource: Mapping[str, str]) -> tuple[Any, bool]:
    """Return the provider to add to, and whether it is the global one."""
    present = trace.get_tracer_provider()
    if hasattr(present, "add_span_processor"):
        if resource:
            log.warning(
                "spanledger: %s given to instrument() is not used: the app has a tracer provider "
                "of its own, whose resource says it",
                " and ".join(resource),
            )
        return present, True
    ours = TracerProvider(
        resource=Resource.create(dict(resource)),
        # A ledger of every tenth call is no ledger, and neither is one that leaves out what a
        # caller upstream chose not to trace; only an explicit OTEL_TRACES_SAMPLER says otherwise.
        sampler=None if os.environ.get("OTEL_TRACES_SAMPLER") else sampling.ALWAYS_ON,
    )
    if isinstance(present, trace.ProxyTracerProvider):
        trace.set_tracer_provider(ours)
        return ours, True
    # Some other tracing library is the global provider and takes no processors: stay beside it.
    return ours, False


def _delivers_already(provider: Any, target: Target) -> bool:
    """Tell whether the app's own exporter sends to the same place: twice would be once too many."""
    group = getattr(provider, "_active_span_processor", None)
    for processor in getattr(group, "_span_processors", ()):
        exporter = getattr(processor, "span_exporter", None)
        # The exporter for gRPC keeps host and port only.
        if getattr(exporter, "_endpoint", None) in {target.url, target.url.partition("://")[2]}:
            return True
    return False


def _exporter(target: Target) -> SpanExporter:
    # With HTTP_PROXY set, even what goes to this very machine would be sent to the proxy.
    is_here = urlsplit(target.url).hostname in LOOPBACK
    headers = {name.lower(): value for name, value in (target.headers or {}).items()} or None
    if target.protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415  an optional extra
            trace_exporter as grpc,
        )

        # The exporter's annotation says text, gRPC takes this one as a number only.
        options: Any = (("grpc.enable_http_proxy", 0),) if is_here else None
        return grpc.OTLPSpanExporter(
            endpoint=target.url,
            headers=headers,
            timeout=delivery_s(os.environ),
            channel_options=options,
        )
    import requests  # noqa: PLC0415  the exporter over HTTP would load it here as well
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415  not needed with gRPC
        trace_exporter as http,
    )

    session = None
    if is_here:
        session = requests.Session()
        session.trust_env = False
    return http.OTLPSpanExporter(
        endpoint=target.url, headers=headers, timeout=delivery_s(os.environ), session=session
    )


def _grpc_installed() -> bool:
    try:
        return find_spec(GRPC_EXPORTER) is not None
    except ModuleNotFoundError:
        return False


def _resource_attributes(service_name: str | None, environment: str | None) -> dict[str, str]:
    named = {"service.name": service_name, "deployment.environment.name": environment}
    return {name: value for name, value in named.items() if value}
