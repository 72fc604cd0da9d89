"""Many more requests than a collector can take, for long: what it cannot take it says at once.

Promises: every sender repeats a request until it is acknowledged, and the next one has new spans;
requests are of all sizes up to 2 MB. What is offered is a multiple of what is taken, and both are
told. The collector's memory is the most that it ever held, as the system counts it (VmHWM).
"""

import os
import threading
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Final, Self

from crash.box import box, is_possible
from crash.killer import Victim
from crash.oracle import Verdict
from crash.outcome import Outcome
from crash.storeless import resident_mib
from crash.wires import DEADLINE_S, GrpcWire, HttpWire, Wire
from otlp_requests import chat, request

SPANS_A_REQUEST: Final = (8_000, 4_000, 512, 1)
_COST_USD: Final = Decimal("0.02375")  # 1,500 x $2.50/1M + 2,000 x $10/1M
_TRACE: Final = b"one trace, 16 by"
_AGAIN_S: Final = 0.5
_SAMPLE: Final = 500
_SAMPLES: Final = 10  # of its memory
_DRAIN_S: Final = 1_800


def flood(
    directory: Path,
    seed: int,
    port: int = 0,
    *,
    seconds: float = 600,
    senders: int = 64,
    resident_mib_max: int = 1_024,
    is_boxed: bool | None = None,
) -> Outcome:
    """Offer all that so many senders can for so long, then hold the ledger against what it took.

    ``is_boxed``: allow the system to kill a collector that takes more; where it is possible.
    A request without an answer within 10 s is told, not judged: the senders share the machine.
    """
    with ExitStack() as stack:
        limit = None
        if is_possible() if is_boxed is None else is_boxed:
            limit = stack.enter_context(box(directory, resident_mib_max << 20))
        victim = stack.enter_context(Victim(directory, port=port))
        if limit:
            victim.serve(limit.prefix, limit.libraries)
        else:
            victim.serve()
        assert victim.wait_answer("/readyz"), victim.log.read_text()[-2_000:]
        resident = [resident_mib(victim.pid, "VmRSS")]
        with Flood(victim, seed, senders) as flood:
            for _ in range(_SAMPLES):
                time.sleep(seconds / _SAMPLES)
                resident.append(resident_mib(victim.pid, "VmRSS"))
        victim.drain(_DRAIN_S)
        wrong = [] if victim.conserved() else ["the counters do not add up"]
        peak_mib = resident_mib(victim.pid)
        if peak_mib > resident_mib_max:
            wrong.append(f"{peak_mib} MiB resident, allowed {resident_mib_max}")
        excess = flood.offered / max(flood.acknowledged, 1)
        remarks = [
            f"{senders} senders for {seconds:.0f} s; {flood.busy} requests told to wait",
            f"{flood.unanswered} requests without an answer in {DEADLINE_S} s",
            f"{flood.acknowledged / seconds:.0f} spans/s taken, {excess:.1f} times as many offered",
            f"resident {', '.join(map(str, resident))} MiB by tenths of the time; most {peak_mib}",
        ]
        if limit:
            remarks.append(
                f"in a box of {resident_mib_max} MiB: {limit.peak_mib} MiB charged at most with"
                f" what files it had in memory, {limit.unavoidable_mib} without at the end"
            )
        return Outcome(flood.verdict(victim), wrong, remarks)


class Flood:
    """The senders, and what they were told."""

    def __init__(self, victim: Victim, seed: int, senders: int) -> None:
        self.offered = self.acknowledged = self.busy = self.unanswered = 0
        self._failures: list[BaseException] = []
        self._victim = victim
        self._prefix = seed.to_bytes(2, "big")
        self._traces: dict[bytes, int] = {}  # acknowledged: trace -> spans
        self._bodies = {size: _body(size) for size in SPANS_A_REQUEST}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(senders)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S * 2)
        assert not self._failures, self._failures

    def verdict(self, victim: Victim) -> Verdict:
        """All sums, and the spans of some traces one by one."""
        ((calls, cost_usd),) = victim.rows("SELECT count(), sum(cost_usd) FROM calls")
        known = sorted(self._traces)
        some = known[:: max(len(known) // _SAMPLE, 1)]
        names = ", ".join(f"'{trace.hex()}'" for trace in some)
        rows = victim.rows(
            f"SELECT trace_id, count() FROM calls WHERE trace_id IN ({names}) GROUP BY trace_id"  # noqa: S608 - hexadecimal
        )
        found = {bytes.fromhex(trace): count for trace, count in rows}
        lost = sum(max(self._traces[trace] - found.get(trace, 0), 0) for trace in some)
        return Verdict(
            sent=self.offered,
            acknowledged=self.acknowledged,
            lost=max(lost, self.acknowledged - calls),
            duplicate=max(calls - self.acknowledged, 0),
            money_error_usd=abs(cost_usd - calls * _COST_USD),
        )

    def _send(self, number: int) -> None:
        wire: Wire = (
            GrpcWire(self._victim.address["otlp.grpc"])
            if number % 2
            else HttpWire(self._victim.address["otlp.http"])
        )
        try:
            size = SPANS_A_REQUEST[number // 2 % len(SPANS_A_REQUEST)]
            while not self._stop.is_set():
                self._deliver(wire, size)
        except BaseException as error:  # noqa: BLE001 - told when all have ended
            self._failures.append(error)
        finally:
            wire.close()

    def _deliver(self, wire: Wire, size: int) -> None:
        """Offer one request until it is acknowledged, also after the end: then all is known."""
        trace = self._prefix + os.urandom(14)
        body = self._bodies[size].replace(_TRACE, trace)
        while True:
            answer = wire.export(body)
            with self._lock:
                self.offered += size
                if answer:
                    self.acknowledged += size
                    self._traces[trace] = size
                    return
                self.busy += answer is False
                self.unanswered += answer is None
            self._stop.wait(_AGAIN_S)
            if self._stop.is_set():
                time.sleep(_AGAIN_S)


def _body(size: int) -> bytes:
    now_ns = time.time_ns()
    spans = [chat() for _ in range(size)]
    for number, span in enumerate(spans):
        span.trace_id = _TRACE
        span.span_id = (number + 1).to_bytes(8, "big")
        span.start_ns = now_ns - number
    return request(spans).SerializeToString()
