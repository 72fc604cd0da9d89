"""A block of kills on one directory under load, and the verdict on its ledger.

Promises: a kill is counted only when the process died of it. Never judges before everything that
was acknowledged had its chance to be stored.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from crash.killer import Victim
from crash.load import Load
from crash.oracle import Oracle, Verdict

_NAMED_S_MAX: Final = 60  # a named point that is not reached by then is not counted
_RANDOM_S_MAX: Final = 0.8
# How often a point may be passed before the fatal visit.
_VISITS_MAX: Final = {"mid rotate": 9, "mid migration": 4, "mid insert": 3, "after insert": 3}


def block(directory: Path, points: Sequence[str], seed: int, port: int = 0) -> dict[str, Any]:
    """Kill once at each point, or at random where it is called "random", then judge."""
    dice = random.Random(f"{points} {seed}")  # noqa: S311 - no secret
    oracle = Oracle(seed)
    done = 0
    with Victim(directory, "store.batch_wait_ms=20", port=port) as victim:
        addresses = victim.address["otlp.grpc"], victim.address["otlp.http"]
        with Load(oracle, *addresses, pause_s=0.005):
            for point in points:
                done += _one(victim, point, dice)
        victim.start().wait_answer("/readyz")
        victim.drain()
        verdict = victim.judge(oracle)
        conserved = victim.conserved()
    return {"seed": seed, "kills": done, "conserved": conserved, **told(verdict)}


def told(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON has it."""
    return {
        "sent": verdict.sent,
        "acknowledged": verdict.acknowledged,
        "lost": verdict.lost,
        "duplicate": verdict.duplicate,
        "phantom": verdict.phantom,
        "money_error_usd": str(verdict.money_error_usd),
        "examples": list(verdict.examples),
        "clean": verdict.clean,
    }


def _one(victim: Victim, point: str, dice: random.Random) -> bool:
    if point == "random":
        victim.start()
        # Half of them while the store is still being opened.
        victim.wait_answer(dice.choice(("/healthz", "/readyz")))
        time.sleep(dice.uniform(0, _RANDOM_S_MAX))
        was_alive = victim.alive
        victim.kill()
        return was_alive
    nth = dice.randint(1, _VISITS_MAX.get(point, 30))
    victim.start(point=point, nth=nth, seed=dice.randrange(1 << 30))
    died = victim.wait_dead(_NAMED_S_MAX)
    victim.kill()
    return died
