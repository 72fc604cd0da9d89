"""Raw senders, over gRPC and HTTP, that retry until they are acknowledged.

Promises: a span is marked acknowledged only after the answer was read; what was not is sent again,
re-batched with others, and some of what was acknowledged is delivered once more. Never gives up
before it is told to stop.
"""

import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final, Self, cast

import grpc
from crash.oracle import Oracle
from otlp_requests import Span, request

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DEADLINE_S: Final = 10
_AGAIN_S: Final = 0.02
# Refused, cut off, or too late: what became of the spans is not known, so they are sent again.
_UNKNOWN: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
_KEPT: Final = 64


@dataclass
class Load:
    """Senders against one collector's addresses, which stay the same over its restarts."""

    oracle: Oracle
    grpc_address: str
    http_address: str
    senders: int = 4
    spans_max: int = 16
    pause_s: float = 0.0
    answers_s: list[float] = field(default_factory=list)  # how long acknowledgements took
    failures: list[BaseException] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)  # and answers to try again

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(number,), daemon=True)
            for number in range(self.senders)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_DEADLINE_S * 2)
        # A sender that died in silence would make every verdict look better than it is.
        assert not self.failures, self.failures

    def _send(self, number: int) -> None:
        try:
            self._deliver(number)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the end
            self.failures.append(error)

    def _deliver(self, number: int) -> None:
        dice = random.Random(self.oracle.seed * 1_000 + number)  # noqa: S311 - no secret
        wire: _Grpc | _Http = (_Grpc if number % 2 else _Http)(
            self.grpc_address if number % 2 else self.http_address
        )
        unacknowledged: list[Span] = []
        delivered: deque[Span] = deque(maxlen=_KEPT)
        while not self._stop.is_set():
            fresh = self.oracle.draw(dice.randint(1, self.spans_max))
            again = dice.sample(list(delivered), min(len(delivered), dice.choice((0, 0, 3))))
            unacknowledged += fresh
            dice.shuffle(unacknowledged)
            batch = unacknowledged[: self.spans_max * 2] + again
            started = time.monotonic()
            taken = wire.export(request(batch).SerializeToString())
            elapsed = time.monotonic() - started
            if taken is None:
                self._stop.wait(_AGAIN_S)
            elif not taken:
                self.refusals_s.append(elapsed)
                self._stop.wait(_AGAIN_S)
            else:
                self.answers_s.append(elapsed)
                self.oracle.acknowledge(batch)
                del unacknowledged[: self.spans_max * 2]
                delivered.extend(batch)
                if self.pause_s:
                    self._stop.wait(self.pause_s)
        wire.close()


class _Grpc:
    def __init__(self, address: str) -> None:
        # Quick to come back: a channel's own pauses grow to minutes.
        options = [("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
        options += [("grpc.initial_reconnect_backoff_ms", 50)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._call: Any = self._channel.unary_unary(_METHOD)

    def export(self, body: bytes) -> bool | None:
        """True when acknowledged, False when asked to try again, None when nobody answered."""
        try:
            self._call(body, timeout=_DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() not in _UNKNOWN:
                raise
            trailers = dict(cast("Any", error).trailing_metadata() or ())
            return False if "google.rpc.retryinfo-bin" in trailers else None
        return True

    def close(self) -> None:
        self._channel.close()


class _Http:
    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/v1/traces"

    def export(self, body: bytes) -> bool | None:
        asked = urllib.request.Request(self._url, body, {"content-type": "application/x-protobuf"})  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(asked, timeout=_DEADLINE_S) as answer:  # noqa: S310 - same
                answer.read()
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return False
        except (OSError, HTTPException):  # nobody listens, or the answer was cut
            return None
        return True

    def close(self) -> None:
        """Nothing is kept open."""
