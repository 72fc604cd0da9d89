"""What ``make chaos`` proves at length, in seconds: the same code with smaller numbers."""

from pathlib import Path

import pytest
from crash import volume
from crash.levels import LEVELS

DOCUMENT = Path(__file__).parents[2] / "docs" / "proofs.md"


def test_every_level_is_documented() -> None:
    assert [name for name in LEVELS if f"| `{name}` |" not in DOCUMENT.read_text()] == []


@pytest.mark.slow
def test_spans_delivered_again_and_again_in_other_company_are_counted_once(tmp_path: Path) -> None:
    outcome = volume.deliver(
        tmp_path, 1, spans=1_000, times=4, restarts=2, spans_a_request=(1, 7, 40)
    )
    assert outcome.clean, outcome
    assert outcome.verdict.acknowledged == 1_000
