import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from typing import NoReturn

import pytest
from hypothesis import given, strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from spanledger.instrument import attribute
from spanledger.instrument.attributes import (
    NAMES_MAX,
    VALUE_BYTES_MAX,
    current,
    without_attributes,
)
from spanledger.instrument.delivery import AttributeProcessor
from spanledger.ledger.limits import TEXT_BYTES_MAX


@pytest.fixture
def tracer() -> trace.Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(AttributeProcessor())
    return provider.get_tracer("app")


def test_a_value_is_cut_where_the_collector_would_cut_it() -> None:
    assert VALUE_BYTES_MAX == TEXT_BYTES_MAX


def test_the_names_on_a_span_are_those_of_the_conventions_where_there_are_any(
    tracer: trace.Tracer,
) -> None:
    with attribute(
        user="u", customer="c", team="t", project="p", feature="f", conversation="v", shift="night"
    ):
        span = tracer.start_span("chat")
    assert dict(span.attributes) == {  # type: ignore[attr-defined]
        "user.id": "u",
        "spanledger.customer": "c",
        "spanledger.team": "t",
        "spanledger.project": "p",
        "spanledger.feature": "f",
        "gen_ai.conversation.id": "v",
        "spanledger.attribute.shift": "night",
    }


def test_blocks_nest_and_the_inner_one_wins() -> None:
    with attribute(user="ada", team="red"):
        with attribute(user="grace", feature="search"):
            assert current() == {
                "user.id": "grace",
                "spanledger.team": "red",
                "spanledger.feature": "search",
            }
        assert current() == {"user.id": "ada", "spanledger.team": "red"}
    assert current() == {}


def test_none_leaves_the_outer_value() -> None:
    with attribute(user="ada"), attribute(user=None, feature="search"):
        assert current()["user.id"] == "ada"


def test_an_exception_leaves_nothing_behind() -> None:
    with pytest.raises(LookupError), attribute(user="ada"):
        raise LookupError
    assert current() == {}


def test_one_object_may_be_entered_again_and_again() -> None:
    block = attribute(user="ada")
    with block:
        with block:
            assert current() == {"user.id": "ada"}
        assert current() == {"user.id": "ada"}
    assert current() == {}


@given(st.permutations(range(4)))
def test_blocks_may_end_in_any_order(order: list[int]) -> None:
    blocks = [attribute(**{f"name{number}": number}) for number in range(4)]
    for block in blocks:
        block.__enter__()
    open_blocks = set(range(4))
    for number in order:
        blocks[number].__exit__(None, None, None)
        open_blocks.remove(number)
        assert set(current()) == {f"spanledger.attribute.name{left}" for left in open_blocks}


def test_leaving_in_another_context_changes_nothing_there() -> None:
    block = attribute(user="ada")
    contextvars.copy_context().run(block.__enter__)
    with attribute(user="grace"):
        block.__exit__(None, None, None)
        assert current() == {"user.id": "grace"}


def test_a_span_of_its_own_inside_a_block_keeps_the_block(tracer: trace.Tracer) -> None:
    with attribute(user="ada"):
        with tracer.start_as_current_span("outer"):
            pass
        assert current() == {"user.id": "ada"}


def test_the_word_closest_to_the_span_wins(tracer: trace.Tracer) -> None:
    with attribute(user="ada", feature="search"):
        span = tracer.start_span("chat", attributes={"user.id": "grace"})
    assert dict(span.attributes) == {  # type: ignore[attr-defined]
        "user.id": "grace",
        "spanledger.feature": "search",
    }


def test_asyncio_tasks_see_the_block_they_were_made_in_and_not_each_other() -> None:
    async def task(user: str) -> dict[str, str]:
        with attribute(user=user):
            await asyncio.sleep(0)
            return current()

    async def main() -> list[dict[str, str]]:
        with attribute(feature="search"):
            return list(await asyncio.gather(task("ada"), task("grace")))

    assert asyncio.run(main()) == [
        {"spanledger.feature": "search", "user.id": "ada"},
        {"spanledger.feature": "search", "user.id": "grace"},
    ]


def test_it_decorates_functions() -> None:
    @attribute(feature="search")
    def search(term: str) -> tuple[str, dict[str, str]]:
        """Find."""
        return term, current()

    assert search("tyres") == ("tyres", {"spanledger.feature": "search"})
    assert (search.__name__, search.__doc__) == ("search", "Find.")
    assert current() == {}


def test_it_decorates_coroutine_functions_for_as_long_as_they_run() -> None:
    @attribute(feature="search")
    async def search() -> dict[str, str]:
        await asyncio.sleep(0)
        return current()

    assert asyncio.run(search()) == {"spanledger.feature": "search"}


def test_it_refuses_generators_because_their_caller_would_inherit_the_block() -> None:
    def items() -> Iterator[int]:
        yield 1

    async def async_items() -> AsyncIterator[int]:
        yield 1

    for function in (items, async_items):
        with pytest.raises(TypeError, match=r"cannot decorate the generator .*items.*use `with"):
            attribute(user="ada")(function)


@given(st.text(max_size=3 * VALUE_BYTES_MAX))
def test_any_text_becomes_at_most_1024_bytes_of_it(text: str) -> None:
    with attribute(user=text):
        kept = current()["user.id"]
    assert len(kept.encode()) <= VALUE_BYTES_MAX
    assert text.encode(errors="replace").decode().startswith(kept)


def test_a_value_is_never_cut_inside_a_character() -> None:
    with attribute(user="é" * VALUE_BYTES_MAX):
        assert current()["user.id"] == "é" * (VALUE_BYTES_MAX // 2)


def test_a_lone_surrogate_is_replaced() -> None:
    with attribute(user="a\ud800b"):
        assert current()["user.id"] == "a?b"


def test_values_that_are_no_text_are_written_as_text() -> None:
    with attribute(user=42, vip=True):
        assert current() == {"user.id": "42", "spanledger.attribute.vip": "True"}


def test_a_value_without_text_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def __str__(self) -> NoReturn:
            raise RuntimeError

    with attribute(user=Broken(), feature="search"):
        assert current() == {"spanledger.feature": "search"}
    assert "'user'" in caplog.text


def test_names_are_bounded_and_the_dimensions_of_the_ledger_stay() -> None:
    many = {f"name{number}": number for number in range(NAMES_MAX)}
    others = {f"other{number}": number for number in range(NAMES_MAX)}
    with attribute(**many), attribute(**others), attribute(user="ada", customer="acme"):
        assert len(current()) == NAMES_MAX
        assert current()["user.id"] == "ada"
        assert current()["spanledger.customer"] == "acme"


def test_too_many_names_at_once_are_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with attribute(**{f"name{number}": number for number in range(NAMES_MAX + 1)}):
        assert len(current()) == NAMES_MAX
    assert f"name{NAMES_MAX}" in caplog.text


def test_without_attributes_hides_them_for_a_while() -> None:
    with attribute(user="ada"):
        with without_attributes():
            assert current() == {}
        assert current() == {"user.id": "ada"}
