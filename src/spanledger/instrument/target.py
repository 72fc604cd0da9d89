"""Where to send: what the caller said, over the ``OTEL_*`` variables, over the defaults.

Promises: the same answer for the same arguments and environment. Never opens a connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"

# The address, not "localhost": that may mean ::1 first, where the collector does not listen.
DEFAULT_ENDPOINT: Final = {HTTP: "http://127.0.0.1:4318", GRPC: "http://127.0.0.1:4317"}
TRACES_PATH: Final = "/v1/traces"

# How long a batch is tried for. In the exporters' own 10 s, their growing pauses leave no try after
# the fifth second: some collectors' restarts of 5 s cost a batch (measured: 2 of 24; in 30 s none).
DELIVERY_S: Final = 30.0
_TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")


@dataclass(frozen=True)
class Target:
    """One collector: ``url`` is complete, with the path of the traces signal over HTTP."""

    protocol: str
    url: str
    headers: Mapping[str, str] | None  # beyond those of the environment


def resolve(
    environment: Mapping[str, str],
    *,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    grpc_installed: bool = False,
) -> Target:
    """Choose the collector to send to.

    Args:
        environment: the process environment.
        endpoint: the caller's base address.
        protocol: the caller's protocol.
        headers: the caller's headers.
        grpc_installed: whether there is an exporter for gRPC; without it HTTP is used.
    """
    chosen = GRPC if grpc_installed and grpc_wanted(environment, protocol) else HTTP
    base = endpoint or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or DEFAULT_ENDPOINT[chosen]
    url = _with_path(base, chosen)
    if endpoint is None and (signal_url := environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        url = signal_url  # by the OpenTelemetry specification complete, and used as it is
    return Target(chosen, url, headers)


def grpc_wanted(environment: Mapping[str, str], protocol: str | None) -> bool:
    """Tell whether the caller, or else the environment, asks for gRPC."""
    wanted = (
        protocol
        or environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or HTTP
    )
    return wanted.strip().lower() == GRPC


def delivery_s(environment: Mapping[str, str]) -> float | None:
    """How long to try to deliver a batch; None where the environment says it to the exporter."""
    return None if any(environment.get(name) for name in _TIMEOUTS) else DELIVERY_S


def _with_path(base: str, protocol: str) -> str:
    url = base if "://" in base else f"http://{base}"
    if protocol == GRPC or urlsplit(url).path.endswith(TRACES_PATH):
        return url
    return url.rstrip("/") + TRACES_PATH
