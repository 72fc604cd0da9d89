"""The fuzz program at a short level; `fuzz.py --seconds 600` is the long one."""

import fuzz


def test_mutated_requests_neither_raise_nor_take_long() -> None:
    assert fuzz.run(seed=11, count=150) == 150
