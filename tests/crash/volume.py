"""Many more deliveries than spans: in any order and company, over both wires, over restarts.

Promises: each span is delivered and acknowledged the given number of times, also when its collector
was killed in between; which spans share a request, and when, is drawn anew for every delivery. The
spans were encoded once and requests are put together from bytes, so the sender is not what is
measured.
"""

import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from crash.killer import Victim, until
from crash.oracle import Oracle
from crash.outcome import Outcome, judged
from crash.wires import GrpcWire, HttpWire, Wire
from otlp_requests import Span, request

SPANS_A_REQUEST: Final = (1, 7, 100, 512, 1_500)
_SENDERS: Final = 4
_AGAIN_S: Final = 0.03
_PATIENCE_S: Final = 3_600
# Of the length that they have in production, or nearly: these are not what is looked at here.
_SEGMENT_BYTES_MAX: Final = 4_000_000


def deliver(
    directory: Path,
    seed: int,
    port: int = 0,
    *,
    spans: int = 200_000,
    times: int = 5,
    restarts: int = 8,
    spans_a_request: Sequence[int] = SPANS_A_REQUEST,
) -> Outcome:
    """Deliver each span so many times; every second restart is a ``kill -9``."""
    oracle = Oracle(seed)
    drawn = oracle.draw(spans)
    with Victim(directory, port=port) as victim:
        assert victim.start(segment_bytes_max=_SEGMENT_BYTES_MAX).wait_answer()
        started = time.monotonic()
        with Deliveries(victim, oracle, drawn, times, spans_a_request) as under_way:
            for number in range(restarts):
                share = (number + 1) / (restarts + 1)
                assert under_way.reached(share)
                victim.signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
                assert victim.wait_dead()
                assert victim.start(segment_bytes_max=_SEGMENT_BYTES_MAX).wait_answer()
            assert under_way.reached(1)
        seconds = time.monotonic() - started
        remark = (
            f"{under_way.done} deliveries of {spans} spans in {under_way.requests} requests and"
            f" {seconds:.0f} s, {restarts} restarts ({restarts // 2} by kill -9)"
        )
        return judged(victim, oracle, all_acknowledged=True, remarks=(remark,), drain_s=600)


class Deliveries:
    """All of them, drawn at the start, and the threads that make them."""

    def __init__(
        self,
        victim: Victim,
        oracle: Oracle,
        drawn: Sequence[Span],
        times: int,
        spans_a_request: Sequence[int],
    ) -> None:
        dice = random.Random(f"deliveries {oracle.seed}")  # noqa: S311 - no secret
        order = [number for number in range(len(drawn)) for _ in range(times)]
        dice.shuffle(order)
        self._batches = []
        while order:
            size = dice.choice(spans_a_request)
            self._batches.append(order[-size:])
            del order[-size:]
        self.requests = len(self._batches)
        self._wanted = len(drawn) * times
        self.done = 0
        self._oracle = oracle
        self._ids = [span.span_id.hex() for span in drawn]
        self._pieces = Pieces(drawn)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        grpc_address, http_address = victim.address["otlp.grpc"], victim.address["otlp.http"]
        wires = [
            GrpcWire(grpc_address) if number % 2 else HttpWire(http_address)
            for number in range(_SENDERS)
        ]
        self._threads = [threading.Thread(target=self._run, args=(wire,)) for wire in wires]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures

    def reached(self, share: float) -> bool:
        """Wait until this share of the deliveries is acknowledged; False if a sender failed."""
        until(lambda: bool(self._failures) or self.done >= share * self._wanted, _PATIENCE_S)
        return self.done >= share * self._wanted

    def _run(self, wire: Wire) -> None:
        try:
            while batch := self._next():
                body = self._pieces.body(batch)
                while not wire.export(body):
                    if self._stop.wait(_AGAIN_S):
                        return
                self._oracle.acknowledge_ids(self._ids[number] for number in batch)
                with self._lock:
                    self.done += len(batch)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the end
            self._failures.append(error)
        finally:
            wire.close()

    def _next(self) -> Sequence[int]:
        with self._lock:
            return self._batches.pop() if self._batches else ()


class Pieces:
    """Spans encoded once, put together to requests by copying bytes."""

    def __init__(self, spans: Sequence[Span]) -> None:
        message = request(spans)
        (scope_spans,) = message.resource_spans[0].scope_spans
        self._spans = [_field(2, span.SerializeToString()) for span in scope_spans.spans]
        self._scope = _field(1, scope_spans.scope.SerializeToString())
        self._resource = _field(1, message.resource_spans[0].resource.SerializeToString())

    def body(self, numbers: Sequence[int]) -> bytes:
        """A request with the spans of these numbers."""
        scope_spans = self._scope + b"".join(self._spans[number] for number in numbers)
        return _field(1, self._resource + _field(2, scope_spans))


def _field(number: int, content: bytes) -> bytes:
    """Frame a length-delimited field of protobuf."""
    rest, length = len(content), bytearray()
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes([number << 3 | 2]) + bytes(length) + content
