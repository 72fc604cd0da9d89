"""What a proof found, for a person and for an exit code.

Promises: clean only if the oracle's verdict is, if the counters add up at the end, and if nothing
else that the proof looked at was wrong. Never judges before everything acknowledged had its chance
to be stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crash.killer import Victim
from crash.oracle import TOTALS_SQL, Oracle, Total, Verdict


@dataclass(frozen=True)
class Outcome:
    """The verdict on one ledger; ``remarks`` are the figures that a person wants beside it."""

    verdict: Verdict
    failures: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def clean(self) -> bool:
        return self.verdict.clean and not self.failures and self.verdict.acknowledged > 0

    def __str__(self) -> str:
        found = self.verdict
        sums = (
            f"{found.acknowledged} of {found.sent} spans acknowledged, {found.lost} lost,"
            f" {found.duplicate} duplicate, {found.phantom} phantom,"
            f" money error {found.money_error_usd} USD"
        )
        lines = [
            f"{'clean' if self.clean else 'NOT CLEAN'}: {sums}",
            *self.remarks,
            *(f"WRONG: {failure}" for failure in self.failures),
            *(f"WRONG: span {example}" for example in found.examples),
        ]
        return "\n  ".join(lines)


def judged(
    victim: Victim,
    oracle: Oracle,
    *,
    all_acknowledged: bool = False,
    failures: Sequence[str] = (),
    remarks: Sequence[str] = (),
    drain_s: float = 60,
) -> Outcome:
    """Wait until the journal is stored, then compare the ledger with the oracle.

    ``all_acknowledged``: whoever sent went on until it was, so the sums must be the oracle's too.
    """
    victim.drain(drain_s)
    wrong = list(failures)
    if not victim.conserved():
        wrong.append(f"the counters do not add up: {victim.figures()}")
    if all_acknowledged:
        wrong += _wrong_totals(victim, oracle)
    return Outcome(victim.judge(oracle), wrong, remarks)


def _wrong_totals(victim: Victim, oracle: Oracle) -> list[str]:
    found = {(row[0], row[1]): Total(*row[2:]) for row in victim.rows(TOTALS_SQL)}
    return [
        f"month {month}, {model}: {found.get((month, model))}, must be"
        f" {oracle.totals.get((month, model))}"
        for month, model in sorted(found.keys() | oracle.totals.keys())
        if found.get((month, model)) != oracle.totals.get((month, model))
    ]
