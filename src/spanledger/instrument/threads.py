"""Carry ``attribute()`` values into the threads and thread-pool tasks started inside a block.

Promises: a thread sees the values of whoever started it, a pool's task those of whoever submitted
it, and a pool's worker never keeps the values of the first task that happened to need it.
Never touches a thread started outside such a block, and never carries anything else: spans keep
the parents they would have had.

Python before 3.14 starts a thread with an empty context, so the values would be lost without this.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from wrapt import wrap_function_wrapper

from spanledger.instrument.attributes import Attributes, current, without_attributes

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

_MARK: Final = "_spanledger_carries_attributes"


def carry_attributes() -> None:
    """Make threads and thread pools of this process carry the values; once is enough."""
    if getattr(threading.Thread, _MARK, False):
        return
    setattr(threading.Thread, _MARK, True)
    wrap_function_wrapper(threading.Thread, "start", _start)
    wrap_function_wrapper(ThreadPoolExecutor, "submit", _submit)


def _start(
    start: Callable[..., None], thread: threading.Thread, args: Arguments, kwargs: Keywords
) -> None:
    values = current()
    if values:
        # On the instance, not on the class: subclasses such as Timer have a run() of their own.
        run = Attributes(values)(thread.run)
        setattr(thread, "run", run)  # noqa: B010  mypy takes no assignment to a method
    start(*args, **kwargs)


def _submit(
    submit: Callable[..., Any], _pool: ThreadPoolExecutor, args: Arguments, kwargs: Keywords
) -> Any:
    values = current()
    if not values or not args:  # without a function to call, the pool says what is wrong
        return submit(*args, **kwargs)
    function, *rest = args
    # Submitting may start a worker, which lives on to serve other callers.
    with without_attributes():
        return submit(_task(function, values), *rest, **kwargs)


def _task(function: Callable[..., Any], values: dict[str, str]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with Attributes(values):
            return function(*args, **kwargs)

    return run
