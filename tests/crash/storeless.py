"""The store on another machine is away for long, in several ways, and then cuts answers off.

Promises: senders go on all the while; the server behind the front is the real engine over HTTP and
knows nothing of the faults. Time is scaled: what an hour of 60 minutes would be lasts a minute,
which is long enough for the writer's pauses to have grown to their longest.
"""

import statistics
import time
from pathlib import Path
from typing import Final

from clickhouse_server import running
from crash.front import Fault, Front
from crash.killer import Victim, until
from crash.load import Load
from crash.oracle import Oracle
from crash.outcome import Outcome, judged

_AWAY: Final = (Fault.REFUSE, Fault.HANG, Fault.ERROR)
_PATIENCE_S: Final = 300
_RESIDENT_MIB_MAX: Final = 1_024  # what is promised of a collector in all circumstances


def away(
    directory: Path,
    seed: int,
    port: int = 0,
    *,
    seconds: float = 60,
    cuts: int = 200,
    spans_max: int = 16,
) -> Outcome:
    """Have the store away for so long, then have so many of its answers to inserts cut off."""
    oracle = Oracle(seed)
    with running(directory / "server") as server, Front(server.port) as front:
        dsn = server.dsn.replace(f":{server.port}", f":{front.port}")
        with Victim(directory, f"store.dsn='{dsn}'", "store.batch_wait_ms=20", port=port) as victim:
            assert victim.start().wait_answer("/readyz")
            addresses = victim.address["otlp.grpc"], victim.address["otlp.http"]
            with Load(oracle, *addresses, spans_max=spans_max, pause_s=0.005) as senders:
                assert until(lambda: len(senders.answers_s) > 20, _PATIENCE_S)
                for fault in _AWAY:
                    _lasts(front, fault, seconds / len(_AWAY), senders)
                waiting = victim.figures()["spanledger_items_pending"]
                front.cut_inserts(cuts)
                front.fail(Fault.NONE)
                assert until(lambda: not front.cuts_left, _PATIENCE_S), front.cuts_left
            ended = time.monotonic()
            outcome = judged(victim, oracle, failures=_wrong(victim, senders), drain_s=_PATIENCE_S)
            drained_s = time.monotonic() - ended
            slow_s = statistics.quantiles(senders.answers_s, n=100)
            p50_ms, p99_ms = slow_s[49] * 1e3, slow_s[98] * 1e3
            remarks = (
                f"away {seconds:.0f} s; {waiting:.0f} spans waited, {drained_s:.0f} s to drain",
                f"requests {', '.join(f'{fault.value}: {n}' for fault, n in front.met.items())}",
                f"acknowledged in {p50_ms:.0f} ms (p50), {p99_ms:.0f} ms (p99)",
                f"{resident_mib(victim.pid)} MiB resident at most",
            )
    return Outcome(outcome.verdict, outcome.failures, remarks)


def _lasts(front: Front, fault: Fault, seconds: float, senders: Load) -> None:
    """Put a fault in force so long, at least until it was met and senders were answered."""
    front.fail(fault)
    met, answered = front.met[fault], len(senders.answers_s)
    time.sleep(seconds)
    assert until(
        lambda: front.met[fault] > met and len(senders.answers_s) > answered + 20, _PATIENCE_S
    ), fault


def _wrong(victim: Victim, senders: Load) -> list[str]:
    wrong = []
    if senders.refusals_s or senders.unanswered:
        wrong.append(
            f"{len(senders.refusals_s)} refused, {len(senders.unanswered)} unanswered:"
            f" {senders.unanswered[:5]}"
        )
    if (resident := resident_mib(victim.pid)) > _RESIDENT_MIB_MAX:
        wrong.append(f"{resident} MiB resident, allowed {_RESIDENT_MIB_MAX}")
    return wrong


def resident_mib(pid: int, figure: str = "VmHWM") -> int:
    """What a process holds in RAM (VmRSS), or the most that it ever held, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) // 1024
    return 0
