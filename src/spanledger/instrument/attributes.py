"""Whose call is it: business attributes that every span started inside a ``with`` block carries.

Promises: inner blocks win over outer ones, nothing leaks out of a block (not even when blocks end
out of order, or in another task), and neither entering, leaving nor a strange value ever raises.
Never reads or keeps what a call said.

The values live in the OpenTelemetry context, so they follow ``await`` and asyncio tasks by
themselves; ``threads.py`` carries them into threads.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar, cast

from opentelemetry import context
from opentelemetry.context import Context

log = logging.getLogger("spanledger")

# Names with a meaning in the OpenTelemetry conventions use it, so that other tools see them too.
SPAN_ATTRIBUTES: Final = {
    "user": "user.id",
    "conversation": "gen_ai.conversation.id",
    "customer": "spanledger.customer",
    "team": "spanledger.team",
    "project": "spanledger.project",
    "feature": "spanledger.feature",
}
OTHER_PREFIX: Final = "spanledger.attribute."

# The collector cuts there too: long enough for any id, too short for a prompt to hide in.
VALUE_BYTES_MAX: Final = 1_024
# A span holds 128 attributes by default and then forgets its oldest: the model and its usage.
NAMES_MAX: Final = 32

_KEY: Final = context.create_key("spanledger-attributes")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class _Block:
    """One entered ``with`` block; compared by identity, as the same values may be entered twice."""

    scope: "Attributes"
    values: Mapping[str, str]


class Attributes:
    """What ``attribute()`` returns: a context manager, also a decorator for functions."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Keep the span attributes that this block sets."""
        self._values = values

    def __enter__(self) -> None:
        """Add this block's values for everything started from here on in this context."""
        _set((*_blocks(None), _Block(self, self._values)))

    def __exit__(self, *_: object) -> None:
        """Take away what this block added.

        Not by resetting the context to what it was: a generator that ends elsewhere, or blocks
        that overlap, would then bring back or wipe out what belongs to others.
        """
        blocks = _blocks(None)
        mine = [block for block in blocks if block.scope is self]
        if mine:
            _set(tuple(block for block in blocks if block is not mine[-1]))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Run every call of ``function`` inside this block.

        Raises:
            TypeError: it is a generator function, whose block would also cover, between two items,
                the code that iterates over it. Put the ``with`` block around the calls inside.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"attribute() cannot decorate the generator {name}: use `with attribute(...)` "
                "around the calls inside it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: P.args, **kwargs: P.kwargs) -> object:
                with self:
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", run_async)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return run


def attribute(
    *,
    user: object = None,
    customer: object = None,
    team: object = None,
    project: object = None,
    feature: object = None,
    conversation: object = None,
    **more: object,
) -> Attributes:
    """Say whose the calls inside a ``with`` block are.

    For example::

        with spanledger.attribute(user="ada", feature="search", customer="acme"):
            client.chat.completions.create(...)

    Blocks nest and the inner one wins; ``None`` leaves the outer value. Any other name becomes the
    attribute ``spanledger.attribute.<name>``. Holds for asyncio tasks, threads and thread pools
    used inside (``multiprocessing.pool.ThreadPool`` hands work over by a queue: submit
    ``contextvars.copy_context().run`` there).
    """
    named = {
        "user": user,
        "customer": customer,
        "team": team,
        "project": project,
        "feature": feature,
        "conversation": conversation,
    }
    values: dict[str, str] = {}
    for name, value in {**named, **more}.items():
        if value is None:
            continue
        if len(values) == NAMES_MAX:
            log.warning(
                "spanledger.attribute(): only %d names are kept, %r is not", NAMES_MAX, name
            )
            continue
        try:
            text = str(value)
        except Exception:  # noqa: BLE001  a broken __str__ is no reason to fail the app
            log.warning("spanledger.attribute(): the value of %r has no text; left out", name)
            continue
        key = SPAN_ATTRIBUTES.get(name, OTHER_PREFIX + name)
        values[key] = text.encode(errors="replace")[:VALUE_BYTES_MAX].decode(errors="ignore")
    return Attributes(values)


def current(within: Context | None = None) -> dict[str, str]:
    """Return the span attributes that hold in a context, by default in the current one."""
    merged: dict[str, str] = {}
    for block in _blocks(within):
        merged.update(block.values)
    if len(merged) > NAMES_MAX:  # many nested blocks: the dimensions of the ledger stay
        merged = dict(sorted(merged.items(), key=_is_other)[:NAMES_MAX])
    return merged


@contextmanager
def without_attributes() -> Iterator[None]:
    """Run a ``with`` block as if no ``attribute()`` were around it."""
    blocks = _blocks(None)
    _set(())
    try:
        yield
    finally:
        _set(blocks)


def _is_other(item: tuple[str, str]) -> bool:
    return item[0].startswith(OTHER_PREFIX)


def _blocks(within: Context | None) -> tuple[_Block, ...]:
    return cast("tuple[_Block, ...]", context.get_value(_KEY, within) or ())


def _set(blocks: tuple[_Block, ...]) -> None:
    # Not paired with a detach: leaving is a change of this one key, made wherever the block ends.
    context.attach(context.set_value(_KEY, blocks))
