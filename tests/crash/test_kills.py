"""Killed anywhere, nothing acknowledged is lost or doubled. ``make chaos`` does it for hours."""

from decimal import Decimal
from pathlib import Path

import pytest
from crash import kills
from crash.faulted import POINTS
from crash.oracle import Oracle


@pytest.mark.slow
def test_a_kill_at_each_named_point_and_at_random_leaves_an_exact_ledger(tmp_path: Path) -> None:
    result = kills.block(tmp_path, [*POINTS, "random"], seed=1)
    assert result["kills"] == len(POINTS) + 1
    assert result["acknowledged"] > 0
    assert result["clean"], result
    assert result["conserved"]


def test_the_oracle_sees_what_is_lost_doubled_invented_or_wrong() -> None:
    oracle = Oracle(seed=1)
    spans = oracle.draw(4)
    oracle.acknowledge(spans)
    good = [(span_id, 1, cost) for span_id, cost in oracle.cost_of.items()]
    assert oracle.judge(good).clean
    lost = oracle.judge(good[1:])
    assert (lost.lost, lost.clean) == (1, False)
    assert oracle.judge([*good, ("ff" * 8, 1, Decimal(0))]).phantom == 1
    first, rest = good[0], good[1:]
    doubled = oracle.judge([(first[0], 2, first[2] * 2), *rest])
    assert (doubled.duplicate, doubled.money_error_usd) == (1, first[2])
    wrong = oracle.judge([(first[0], 1, first[2] + Decimal("1E-18")), *rest])
    assert wrong.money_error_usd == Decimal("1E-18")
    assert not wrong.clean


def test_what_was_sent_and_not_acknowledged_may_be_there_or_not() -> None:
    oracle = Oracle(seed=2)
    oracle.draw(2)
    assert oracle.judge([]).clean
    assert oracle.judge([(span_id, 1, cost) for span_id, cost in oracle.cost_of.items()]).clean
