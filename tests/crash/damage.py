"""Every file of the embedded ledger's parts damaged in turn, each time from a whole ledger.

Promises: the collector is stopped while its files are touched, and started as ever after that; a
damage is one file (a bit of its middle flipped, its half cut off, itself removed) or one part's
directory gone, of any table: entries, restated calls, sums by hour and day, prices, the upkeep's
moments, the log of migrations. A third of the calls was observed twice and settled; the month
before is sealed, of it only sums are left. Each time the ledger must be whole again before it is
shown to anyone, and stay so when the upkeep went over it: the calls, and what the views of sums
say. Prices must be whole after that.

A directory that is gone without a trace is what only a machine's restart can leave behind, so that
damage comes together with one: the record of the last look is made to name another run of it.
"""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from crash.killer import Victim, until
from crash.oracle import Oracle, Verdict
from crash.outcome import Outcome, judged
from crash.wires import HttpWire
from otlp_requests import Span, request

_BATCHES: Final = 3  # each is a part on either side of the month's end
_SPANS_A_BATCH: Final = 40
_PART: Final = re.compile(r"(\d{6}|all)_(\d+)_(\d+)_(\d+)(?:_(\d+))?")
_SEALED: Final = "2026-11-01"  # in the midst of the oracle's spans
# What was sealed may come back as the sums of whole days.
_BY_HOUR: Final = """
SELECT if(hour < '2026-11-01', toStartOfDay(hour), hour) AS at, model, sum(calls), sum(cost_usd),
    sum(input_tokens)
FROM costs_hourly GROUP BY ALL ORDER BY ALL
"""
_BY_DAY: Final = """
SELECT day, model, sum(calls), sum(cost_usd), sum(input_tokens)
FROM costs_daily GROUP BY ALL ORDER BY ALL
"""
_CALLS: Final = "SELECT trace_id, span_id, cost_usd FROM calls ORDER BY ALL"
_ROLLED: Final = """
SELECT max(moment) > now() - INTERVAL 2 HOUR FROM spanledger.upkeep WHERE name = 'rolled_until'
"""
_PRICES: Final = """
SELECT count(), sum(latest.2)
FROM (SELECT argMax((in_force, usd), learned_at) AS latest FROM spanledger.prices
    GROUP BY price_id, provider, model, unit)
WHERE latest.1
"""
_UPKEEP_S: Final = 60


def flip(file: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Leave the first half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


HARMS: Final[Mapping[str, Callable[[Path], None]]] = {"flip": flip, "cut": cut, "rm": Path.unlink}


@dataclass(frozen=True)
class Case:
    """One damage."""

    path: Path  # below the data directory
    harm: str

    def __str__(self) -> str:
        return f"{self.harm} {'/'.join(self.path.parts[-2:])}"

    def do(self, data: Path) -> None:
        """Damage what was copied there."""
        if self.harm != "rmdir":
            return HARMS[self.harm](data / self.path)
        shutil.rmtree(data / self.path)
        seen = data / "seen.json"
        seen.write_text(json.dumps({**json.loads(seen.read_text()), "boot_id": "another"}))
        return None


def each(directory: Path, seed: int, port: int = 0, *, at_most: int | None = None) -> Outcome:
    """Damage one file after another, or a sample of them; the first verdict that is not clean."""
    oracle = Oracle(seed)
    whole = directory / "whole"
    failures: list[str] = []
    prices: Sequence[Any] = []
    mended: Counter[str] = Counter()
    options = ("store.batch_wait_ms=0", "settlement.every_seconds=1")
    with Victim(directory, *options, port=port) as victim:
        outcome = _filled(victim, oracle)
        verdict, failures = outcome.verdict, list(outcome.failures)
        sums, prices = _sums(victim), victim.rows(_PRICES)
        victim.signal(signal.SIGTERM)
        assert victim.wait_dead()
        victim.data_dir.rename(whole)
        cases = list(_cases(whole))
        if at_most is not None:
            cases = random.Random(seed).sample(cases, at_most)  # noqa: S311 - no secret
        for case in cases:
            shutil.copytree(whole, victim.data_dir, symlinks=True)
            case.do(victim.data_dir)
            found, wrong, said = _after(victim, oracle, sums, prices)
            mended[_how(said)] += 1
            if not found.clean or wrong:
                failures.append(f"{case}: {found} {wrong}")
                verdict = replace(found, acknowledged=verdict.acknowledged)
            shutil.rmtree(victim.data_dir)
    remarks = (f"{len(cases)} damages: {', '.join(f'{n} {how}' for how, n in mended.items())}",)
    return Outcome(verdict, failures, remarks)


def _how(said: str) -> str:
    """What a start told of a damage."""
    if re.search(r"[1-9]\d* rows were restored", said):
        return "mended from the journal"
    told = ("is made again", "was taken out", "stand in its first hour", "made again of their")
    return "made again from the entries" if any(text in said for text in told) else "harmless"


def _filled(victim: Victim, oracle: Oracle) -> Outcome:
    """A ledger of a few parts, settled, summed up, half of it sealed, looked at once."""
    assert victim.start().wait_open()
    wire = HttpWire(victim.address["otlp.http"])
    for _ in range(_BATCHES):
        spans = oracle.draw(_SPANS_A_BATCH)
        twins = [_twin(span) for span in spans[::3]]
        assert wire.export(request(spans).SerializeToString())
        assert wire.export(request(twins, scope=("another.observer", "1")).SerializeToString())
        oracle.acknowledge(span for span in spans if span not in spans[::3])
        # Which of two observers gives a call its ids is not for this proof to say.
        for span, twin in zip(spans[::3], twins, strict=True):
            oracle.cost_of[twin.span_id.hex()] = oracle.cost_of[span.span_id.hex()]
        victim.drain()
    wire.close()
    victim.signal(signal.SIGTERM)
    assert victim.wait_dead()
    command = [sys.executable, "-m", "spanledger", "prune", "--before", _SEALED, "--data-dir"]
    subprocess.run([*command, str(victim.data_dir)], check=True, capture_output=True, timeout=120)
    assert victim.start().wait_open()
    left = {row[1] for row in victim.rows(_CALLS)}
    oracle.acknowledged &= left
    outcome = judged(victim, oracle)
    expected = _BATCHES * _SPANS_A_BATCH
    wrong = [
        f"{count} calls are summed up, must be {expected}"
        for by in _sums(victim)[:2]
        if (count := sum(row[2] for row in by)) != expected
    ]
    if not 0 < len(left) < expected:
        wrong.append(f"{len(left)} calls are left of {expected}")
    return replace(outcome, failures=[*outcome.failures, *wrong])


def _twin(span: Span) -> Span:
    """The same call as somebody inside of it saw it."""
    inner = int.from_bytes(span.span_id, "big") + (1 << 40)
    return replace(span, span_id=inner.to_bytes(8, "big"), parent_span_id=span.span_id)


def _sums(victim: Victim) -> list[Any]:
    return [victim.rows(sql) for sql in (_BY_HOUR, _BY_DAY, _CALLS)]


def _after(
    victim: Victim, oracle: Oracle, sums: list[Any], prices: Sequence[Any]
) -> tuple[Verdict, str, str]:
    """Start on what is there; the verdict, what else is wrong, and the log of this start."""
    before = len(victim.log.read_text())
    wrong = ""
    if victim.start().wait_open():
        if _sums(victim) != sums:
            wrong = "the views are not what they were"
        victim.drain()
        verdict = victim.judge(oracle)
        if not until(lambda: victim.rows(_ROLLED) == [(1,)], _UPKEEP_S):
            wrong += " the upkeep came to no end"
        elif _sums(victim) != sums:
            wrong += " the views are not what they were after the upkeep"
        elif not until(lambda: victim.rows(_PRICES) == prices, _UPKEEP_S):
            wrong += " the prices are not what they were after the upkeep"
    else:
        verdict = Verdict(lost=len(oracle.acknowledged))
    victim.kill()
    return verdict, wrong, victim.log.read_text()[before:]


def _cases(data: Path) -> Iterator[Case]:
    """Every part in use and every file in one."""
    parts = sorted((data / "clickhouse" / "store").glob("*/*/*"))
    for part in parts:
        if _PART.fullmatch(part.name) and not any(_covers(other, part) for other in parts):
            yield Case(part.relative_to(data), "rmdir")
            # What was pruned leaves a part without rows, whose data is an empty file.
            for file in sorted(file for file in part.iterdir() if file.stat().st_size):
                yield from (Case(file.relative_to(data), harm) for harm in HARMS)


def _covers(new: Path, old: Path) -> bool:
    """Whether a part was made of another, which is no longer in use then."""
    made, gone = _PART.fullmatch(new.name), _PART.fullmatch(old.name)
    if new == old or new.parent != old.parent or not made or not gone or made[1] != gone[1]:
        return False
    first, last, *age = (int(number or 0) for number in made.groups()[1:])
    least, most, *past = (int(number or 0) for number in gone.groups()[1:])
    return first <= least and most <= last and age > past
