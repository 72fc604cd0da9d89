"""Raw senders, over gRPC and HTTP, that retry until they are acknowledged.

Promises: a span is marked acknowledged only after the answer was read; what was not is sent again,
re-batched with others, and some of what was acknowledged is delivered once more. Never gives up
before it is told to stop.
"""

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from crash.oracle import Oracle
from crash.wires import DEADLINE_S, GrpcWire, HttpWire, Wire
from otlp_requests import Span, request

_AGAIN_S: Final = 0.02
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
    ca: Path | None = None  # of the listeners' certificate
    # After so many, every other pair of senders makes another connection; 0: never.
    requests_a_connection: int = 0
    answers_s: list[float] = field(default_factory=list)  # how long acknowledgements took
    failures: list[BaseException] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)  # and answers to try again
    unanswered: list[str] = field(default_factory=list)  # why: refused, cut off, too late

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
            thread.join(DEADLINE_S * 2)
        # A sender that died in silence would make every verdict look better than it is.
        assert not self.failures, self.failures

    def _send(self, number: int) -> None:
        try:
            self._deliver(number)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the end
            self.failures.append(error)

    def _deliver(self, number: int) -> None:
        dice = random.Random(self.oracle.seed * 1_000 + number)  # noqa: S311 - no secret
        wire: Wire = (
            GrpcWire(self.grpc_address, self.ca)
            if number % 2
            else HttpWire(self.http_address, self.ca)
        )
        requests = 0
        kept = not self.requests_a_connection or number % 4 < 2
        unacknowledged: list[Span] = []
        delivered: deque[Span] = deque(maxlen=_KEPT)
        while not self._stop.is_set():
            fresh = self.oracle.draw(dice.randint(1, self.spans_max))
            again = dice.sample(list(delivered), min(len(delivered), dice.choice((0, 0, 3))))
            unacknowledged += fresh
            dice.shuffle(unacknowledged)
            batch = unacknowledged[: self.spans_max * 2] + again
            requests += 1
            if not kept and requests % self.requests_a_connection == 0:
                wire.close()
            started = time.monotonic()
            taken = wire.export(request(batch).SerializeToString())
            elapsed = time.monotonic() - started
            if taken is None:
                self.unanswered.append(wire.why)
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
