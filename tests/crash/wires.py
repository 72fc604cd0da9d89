"""How a body of OTLP reaches a collector: over gRPC or HTTP, on a connection that is kept.

Promises: says acknowledged only after the answer was read. Never tries again by itself, so that
whoever asks can count what was refused and what was cut off.
"""

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final, Protocol, cast

import grpc

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
DEADLINE_S: Final = 30  # no answer in all this time is none; a busy machine may need some of it
# Refused, cut off, or too late: what became of the spans is not known, so they are sent again.
_UNKNOWN: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Wire(Protocol):
    """One sender's connection."""

    why: str  # nobody answered the last time that nobody did

    def export(self, body: bytes) -> bool | None:
        """True when acknowledged, False when asked to try again, None when nobody answered."""

    def close(self) -> None:
        """End the connection; the next export makes another."""


class GrpcWire:
    """A channel; ``ca`` is the authority of the listener's certificate, if it has one."""

    def __init__(self, address: str, ca: Path | None = None) -> None:
        self.why = ""
        self._address = address
        self._credentials = grpc.ssl_channel_credentials(ca.read_bytes()) if ca else None
        self._channel: grpc.Channel | None = None
        self._call: Any = None

    def export(self, body: bytes) -> bool | None:
        if self._channel is None:
            self._channel = self._open()
            self._call = self._channel.unary_unary(_METHOD)
        try:
            self._call(body, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() not in _UNKNOWN:
                raise
            trailers = dict(cast("Any", error).trailing_metadata() or ())
            self.why = f"gRPC: {cast('Any', error).details()}"
            return False if "google.rpc.retryinfo-bin" in trailers else None
        return True

    def _open(self) -> grpc.Channel:
        # Quick to come back: a channel's own pauses grow to minutes. What is called the least of
        # them is also how long a handshake may take. And channels of one process share connections
        # unless told not to; then closing one would not end its connection.
        options = [
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", DEADLINE_S * 1_000),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self._credentials is None:
            return grpc.insecure_channel(self._address, options=options)
        return grpc.secure_channel(self._address, self._credentials, options=options)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class HttpWire:
    """A keep-alive connection; ``ca`` is the authority of the listener's certificate."""

    def __init__(self, address: str, ca: Path | None = None) -> None:
        self.why = ""
        self._connection = (
            HTTPSConnection(
                address,
                timeout=DEADLINE_S,
                context=ssl.create_default_context(cafile=str(ca)),
            )
            if ca
            else HTTPConnection(address, timeout=DEADLINE_S)
        )

    def export(self, body: bytes) -> bool | None:
        headers = {"content-type": "application/x-protobuf"}
        try:
            self._connection.request("POST", "/v1/traces", body, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:  # nobody listens, or the answer was cut
            self.why = f"HTTP: {error!r}"
            self._connection.close()
            return None
        if answer.status not in {200, 503}:
            raise AssertionError(f"answered {answer.status}: {text!r}")
        return answer.status == 200

    def close(self) -> None:
        self._connection.close()
