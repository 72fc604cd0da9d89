"""The fuzz program at a short level; `--seconds 600` and `--exhaustive` are the long ones."""

import fuzz


def test_mutated_requests_neither_raise_nor_take_long() -> None:
    assert fuzz.run(seed=11, count=150) == 150


def test_a_cut_request_and_one_with_a_flipped_bit_neither_raise_nor_lose_an_item() -> None:
    assert fuzz.exhaust(step=401) > 100
