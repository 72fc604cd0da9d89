"""What an answer is worth."""

from decimal import Decimal
from typing import Any

import pytest
from judge import Kind, judge
from protocol import Unsupported, Vector, Work, answer

VECTOR: dict[str, Any] = {
    "id": "x",
    "rule": "chat",
    "expected_total_usd": "0.02",
    "trap_total_usd": "0.04",
    "contested": [{"total_usd": "0.025", "by": "another list"}],
}


def verdict(vector: dict[str, Any], **said: Any) -> tuple[Kind, str]:
    made = judge("library", vector, {"outcome": "priced", "total": None, "error": None, **said})
    return made.kind, made.told


@pytest.mark.parametrize(
    ("total", "kind", "told"),
    [
        ("0.020000000000000000", "exact", ""),
        ("0.0200000000000000004", "exact", ""),  # the nineteenth place is rounded away
        ("0.020000000000000004", "noise", ""),
        ("0.0200001", "wrong", ""),
        ("0.04", "wrong", "the trap"),
        ("0.025", "contested", "another list"),
        ("0", "wrong", ""),
    ],
)
def test_a_figure_is_compared_with_the_expected_one(total: str, kind: Kind, told: str) -> None:
    assert verdict(VECTOR, total=total) == (kind, told)


def test_no_answer_is_no_wrong_answer() -> None:
    assert verdict(VECTOR, outcome="refused", error="no unit") == ("refused", "no unit")
    assert verdict(VECTOR, outcome="failed", error="boom") == ("failed", "boom")


def test_where_nothing_can_be_known_refusing_is_right_and_zero_is_wrong() -> None:
    unknown = VECTOR | {"expected_total_usd": None}
    assert verdict(unknown, outcome="refused", error="no model")[0] == "exact"
    assert verdict(unknown, total="0")[0] == "wrong"


def test_a_library_that_raises_or_refuses_or_returns_a_float_is_answered_for() -> None:
    def refuses(_: Vector) -> Work:
        raise Unsupported("no unit")

    def raises(_: Vector) -> Work:
        return lambda: Decimal(1) / 0

    assert answer(VECTOR, refuses)["outcome"] == "refused"
    assert answer(VECTOR, raises)["error"].startswith("DivisionByZero")
    given = answer(VECTOR, lambda _: lambda: 1e-7)
    assert (given["outcome"], given["total"]) == ("priced", "0.0000001")
    assert given["cpu_us"] >= 0
