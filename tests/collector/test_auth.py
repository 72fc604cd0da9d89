"""Tokens: who gets in, and as whom."""

import pytest

from spanledger.collector.auth import Gate, Grant

WRITER = Grant("w" * 32, "shop", frozenset({"write"}))
READER = Grant("r" * 32, "ops", frozenset({"read"}))
BOTH = Grant("b" * 32, "all", frozenset({"read", "write"}))


def test_without_tokens_everybody_is_the_tenant_of_the_configuration() -> None:
    gate = Gate([], "default")
    assert gate.tenant(None, "write") == gate.tenant("Bearer whatever", "read") == "default"


def test_a_token_stands_for_its_tenant_and_for_what_it_may() -> None:
    gate = Gate(iter([WRITER, READER, BOTH]), "default")
    assert gate.tenant("Bearer " + "w" * 32, "write") == "shop"
    assert gate.tenant("Bearer " + "w" * 32, "read") is None
    assert gate.tenant("Bearer " + "r" * 32, "write") is None
    assert gate.tenant("bearer  " + "b" * 32 + " ", "read") == "all"


def test_tokens_that_may_only_write_leave_reading_open() -> None:
    assert Gate([WRITER], "default").tenant(None, "read") == "default"


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "w" * 32,
        "Basic " + "w" * 32,
        "Bearer " + "w" * 31,
        "Bearer " + "w" * 33,
        "Bearer " + "W" * 32,
        "Bearer " + "w" * 5_000_000,
        "Bearer \udcff",
    ],
)
def test_nobody_else_gets_in(shown: str | None) -> None:
    assert Gate([WRITER], "default").tenant(shown, "write") is None


def test_a_gate_does_not_show_its_tokens() -> None:
    assert "w" * 32 not in repr(vars(Gate([WRITER], "default")))
