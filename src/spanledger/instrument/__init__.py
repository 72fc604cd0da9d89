"""The part that runs inside an app: one line to observe its LLM calls, one to say whose they are.

Promises: the app never fails, blocks or floods its log because of spanledger, whether a collector
answers or not, and exits at most two seconds later than without it.
Never records prompts or completions, and never imports more than OpenTelemetry.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spanledger.instrument.attributes import attribute

if TYPE_CHECKING:
    from spanledger.instrument.setup import Handle

__all__ = ["attribute", "instrument"]


def instrument(
    *,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    service_name: str | None = None,
    environment: str | None = None,
) -> "Handle":
    """Observe every LLM call of this process and send it to a collector.

    Activates the installed OpenTelemetry instrumentations for OpenAI, Anthropic, Google and AWS
    Bedrock. Uses the app's own tracer provider if it has one by now (so call this after setting
    one up), else sets up a global one. A second call changes nothing and returns the same handle.

    What is given here wins over the standard ``OTEL_*`` environment variables, and those win over
    the defaults; two of those are not OpenTelemetry's: spans go every second, and a batch is tried
    for 30 seconds, so that a collector's restart costs nothing (``OTEL_BSP_SCHEDULE_DELAY``,
    ``OTEL_EXPORTER_OTLP_TIMEOUT``). Nothing here raises: what cannot be done is logged, once, as a
    warning.

    Args:
        endpoint: base address of the collector; default ``http://127.0.0.1:4318``.
        protocol: ``http/protobuf`` (default) or ``grpc``, which needs ``spanledger[grpc]``.
        headers: sent with every export, for example an authorization header.
        service_name: ``service.name`` of this app.
        environment: ``deployment.environment.name``, for example ``production``.

    Returns:
        A handle to ``flush()`` or ``shutdown()``. Neither is needed: both happen at exit.
    """
    # The SDK, the exporter and the provider libraries load here, not on ``import spanledger``.
    from spanledger.instrument.setup import start  # noqa: PLC0415  see above

    return start(
        endpoint=endpoint,
        protocol=protocol,
        headers=headers,
        service_name=service_name,
        environment=environment,
    )
