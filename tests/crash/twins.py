"""Two collectors on one ledger, every span sent to both, either killed at any moment.

Promises: both write to one ledger over HTTP, and both are there to do its upkeep; senders go on
until both have acknowledged everything. Every fourth call is observed a second time, from inside,
so that there is something to settle. At the end every call is there once, and calls, tokens and
money by month and model are the oracle's in the calls, the entries and both rollups.
"""

import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from clickhouse_server import running
from crash.killer import Victim, until
from crash.oracle import Oracle, Total
from crash.outcome import Outcome, judged
from crash.wires import DEADLINE_S, GrpcWire, HttpWire, Wire
from otlp_requests import Span, request

_PATIENCE_S: Final = 300
_OPTIONS: Final = (
    "store.batch_wait_ms=20",
    "settlement.every_seconds=1",
    "settlement.lease_seconds=3",
)
_AGAIN_S: Final = 0.02
_SPANS_MAX: Final = 16  # of one request
_WAITING_MAX: Final = 500  # for a collector that is away; then nothing new is drawn
_MS: Final = 10**6

# What was drawn, as every way of asking must have it.
_VIEWS: Final = {
    "calls": ("start_time", "toInt64(count())"),
    "entries FINAL": ("start_time", "sum(calls)"),
    "costs_hourly": ("hour", "sum(calls)"),
    "costs_daily": ("day", "sum(calls)"),
}


def killed(
    directory: Path,
    seed: int,
    port: int = 0,
    *,
    seconds: float = 600,
    kills_min: int = 0,
    pause_s: float = 0.1,
) -> Outcome:
    """Kill one or the other, for so long and so many times; then judge."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    oracle = Oracle(seed)
    with running(directory / "server") as server, contextlib.ExitStack() as stack:
        options = (f"store.dsn='{server.dsn}'", *_OPTIONS)
        twins = [
            stack.enter_context(
                Victim(directory / name, *options, port=port + 4 * number if port else 0)
            )
            for number, name in enumerate(("one", "other"))
        ]
        for twin in twins:
            assert twin.start().wait_answer("/readyz", _PATIENCE_S)
        stop = time.monotonic() + seconds
        kills, of_owners = [0, 0], 0
        with Senders(oracle, twins, pause_s=pause_s) as senders:
            while time.monotonic() < stop or sum(kills) < kills_min:
                number = dice.randrange(2)
                time.sleep(dice.uniform(0, 2))
                of_owners += _owns(twins[number])
                twins[number].kill()
                kills[number] += 1
                time.sleep(dice.choice((0, 0, dice.uniform(0, 5))))
                twins[number].start()
                twins[number].wait_answer(dice.choice(("/healthz", "/readyz", "/readyz")))
        for twin in twins:
            assert twin.wait_answer("/readyz", _PATIENCE_S)
            twin.drain(_PATIENCE_S)
        wrong = _settled(twins, oracle)
        remarks = (
            f"{kills[0]} and {kills[1]} kills, {of_owners} of the one with the upkeep",
            f"{senders.inner} calls observed twice",
            *map(_last_life, twins),
        )
        outcome = judged(
            twins[0], oracle, all_acknowledged=True, failures=wrong, drain_s=_PATIENCE_S
        )
    return Outcome(outcome.verdict, outcome.failures, remarks)


class Senders:
    """Who sends every span to both collectors, until both have acknowledged it."""

    def __init__(
        self, oracle: Oracle, twins: Sequence[Victim], *, count: int = 3, pause_s: float
    ) -> None:
        self.inner = 0
        self._oracle = oracle
        self._twins = twins
        self._pause_s = pause_s
        self._failures: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        assert not self._failures, self._failures
        assert not any(thread.is_alive() for thread in self._threads)

    def _run(self, number: int) -> None:
        try:
            self._deliver(number)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the end
            self._failures.append(error)

    def _deliver(self, number: int) -> None:
        dice = random.Random(f"{self._oracle.seed} {number}")  # noqa: S311 - no secret
        wires: list[Wire] = [
            (GrpcWire(twin.address["otlp.grpc"]), HttpWire(twin.address["otlp.http"]))[
                (number + place) % 2
            ]
            for place, twin in enumerate(self._twins)
        ]
        waiting: list[list[Span]] = [[], []]
        stop_at = float("inf")
        while any(waiting) or not self._stop.is_set():
            if self._stop.is_set():
                stop_at = min(stop_at, time.monotonic() + _PATIENCE_S - 2 * DEADLINE_S)
                assert time.monotonic() < stop_at, "not acknowledged"
            elif max(map(len, waiting)) < _WAITING_MAX:
                fresh = self._draw(dice)
                for spans in waiting:
                    spans.extend(fresh)
            for wire, spans in zip(wires, waiting, strict=True):
                dice.shuffle(spans)
                batch = spans[:_SPANS_MAX]
                if batch and wire.export(_body(batch)):
                    del spans[: len(batch)]
                    self._oracle.acknowledge(span for span in batch if not span.parent_span_id)
            # At the end, who is not back yet is asked again soon.
            time.sleep(_AGAIN_S if self._stop.is_set() else self._pause_s)
        for wire in wires:
            wire.close()

    def _draw(self, dice: random.Random) -> list[Span]:
        spans = self._oracle.draw(dice.randint(1, _SPANS_MAX // 2))
        for span in spans:
            # Else two of the many calls with equal counts could be taken for one.
            span.attributes = {**span.attributes, "gen_ai.response.id": span.trace_id.hex()}
        inner = [
            dataclasses.replace(
                span,
                span_id=b"\xff" + span.span_id[1:],
                parent_span_id=span.span_id,
                start_ns=span.start_ns + _MS,
                duration_ns=span.duration_ns - 2 * _MS,
            )
            for span in spans
            if dice.random() < 0.25
        ]
        self.inner += len(inner)
        return spans + inner


def _body(spans: Sequence[Span]) -> bytes:
    message = request(span for span in spans if not span.parent_span_id)
    seen_inside = request((span for span in spans if span.parent_span_id), scope=("client", "1"))
    message.MergeFrom(seen_inside)
    return message.SerializeToString()


def _owns(twin: Victim) -> bool:
    return twin.figures().get("spanledger_upkeep_owner", 0) == 1


def _settled(twins: Sequence[Victim], oracle: Oracle) -> list[str]:
    """Wait until settlement and rollups have come to their end, and say what is wrong then."""
    wrong: list[str] = []

    def is_right() -> bool:
        wrong[:] = [line for view in _VIEWS for line in _wrong_sums(twins[1], oracle, view)]
        owners = sum(map(_owns, twins))
        wrong.extend([f"{owners} do the upkeep"] if owners != 1 else [])
        return not wrong

    until(is_right, _PATIENCE_S)
    if not twins[1].conserved():
        wrong.append(f"the counters do not add up: {twins[1].figures()}")
    return wrong


def _wrong_sums(twin: Victim, oracle: Oracle, view: str) -> list[str]:
    when, calls = _VIEWS[view]
    sql = (
        f"SELECT toMonth({when}) AS month, model, {calls} AS number, sum(input_tokens),"  # noqa: S608
        f" sum(output_tokens), sum(cost_usd) FROM {view} GROUP BY month, model"
    )
    found = {(row[0], row[1]): Total(*row[2:]) for row in twin.rows(sql)}
    return [
        f"{view}, month {kind[0]}, {kind[1]}: {found.get(kind)}, must be {oracle.totals.get(kind)}"
        for kind in sorted(found.keys() | oracle.totals.keys())
        if found.get(kind) != oracle.totals.get(kind)
    ]


def _last_life(twin: Victim) -> str:
    seen = twin.figures()
    received, stored, duplicate = (
        int(seen[f"spanledger_items_{name}_total"]) for name in ("received", "stored", "duplicate")
    )
    return f"last life: {received} received, {stored} stored, {duplicate} duplicate"
