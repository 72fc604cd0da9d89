"""Every file of the embedded ledger's parts damaged in turn, each time from a whole ledger.

Promises: the collector is stopped while its files are touched, and started as ever after that; a
damage is one file (a bit of its middle flipped, its half cut off, itself removed) or one part's
directory gone. Each time the ledger must be whole again before it is shown to anyone.

A directory that is gone without a trace is what only a machine's restart can leave behind, so that
damage comes together with one: the record of the last look is made to name another run of it.
"""

import json
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from crash.killer import Victim
from crash.oracle import Oracle, Verdict
from crash.outcome import Outcome, judged
from crash.wires import HttpWire
from otlp_requests import request

_BATCHES: Final = 3  # each is a part on either side of the month's end
_SPANS_A_BATCH: Final = 40
_PART: Final = re.compile(r"\d{6}_\d+_\d+_\d+")


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
    failures = []
    restored = 0
    with Victim(directory, "store.batch_wait_ms=0", port=port) as victim:
        verdict = _filled(victim, oracle).verdict
        victim.signal(signal.SIGTERM)
        assert victim.wait_dead()
        victim.data_dir.rename(whole)
        cases = list(_cases(whole))
        if at_most is not None:
            cases = random.Random(seed).sample(cases, at_most)  # noqa: S311 - no secret
        for case in cases:
            shutil.copytree(whole, victim.data_dir, symlinks=True)
            case.do(victim.data_dir)
            found, said = _after(victim, oracle)
            restored += bool(re.search(r"[1-9]\d* rows were restored", said))
            if not found.clean:
                failures.append(f"{case}: {found}")
                verdict = replace(found, acknowledged=verdict.acknowledged)
            shutil.rmtree(victim.data_dir)
    remarks = (
        f"{len(cases)} damages, {restored} of them mended from the journal, the others harmless",
    )
    return Outcome(verdict, failures, remarks)


def _filled(victim: Victim, oracle: Oracle) -> Outcome:
    """A ledger of a few parts, looked at once, and stopped."""
    assert victim.start().wait_open()
    wire = HttpWire(victim.address["otlp.http"])
    for _ in range(_BATCHES):
        spans = oracle.draw(_SPANS_A_BATCH)
        assert wire.export(request(spans).SerializeToString())
        oracle.acknowledge(spans)
        victim.drain()
    wire.close()
    return judged(victim, oracle, all_acknowledged=True)


def _after(victim: Victim, oracle: Oracle) -> tuple[Verdict, str]:
    """Start on what is there; the verdict and the log of this start."""
    before = len(victim.log.read_text())
    if victim.start().wait_open():
        victim.drain()
        verdict = victim.judge(oracle)
    else:
        verdict = Verdict(lost=len(oracle.acknowledged))
    victim.kill()
    return verdict, victim.log.read_text()[before:]


def _cases(data: Path) -> Iterator[Case]:
    """Every part and every file in one."""
    for part in sorted((data / "clickhouse" / "store").glob("*/*/*")):
        if _PART.fullmatch(part.name):
            yield Case(part.relative_to(data), "rmdir")
            for file in sorted(part.iterdir()):
                yield from (Case(file.relative_to(data), harm) for harm in HARMS)
