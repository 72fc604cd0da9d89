"""How an adapter talks: vectors in as JSON lines, answers out as JSON lines.

Promises: one answer for each vector, in order, whatever the library does with it. An answer is
``id``, ``outcome`` (``priced`` | ``refused`` | ``failed``), ``total`` (decimal text, or none),
``error`` (why not) and ``cpu_us``: CPU time of the library's own call, its arguments being ready.
Never rounds: a float is written with all of its digits.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

Vector = Mapping[str, Any]
# Takes no arguments, for only what it does is timed.
Work = Callable[[], Decimal | float | Mapping[str, Any] | None]
Prepare = Callable[[Vector], Work]

ERROR_CHARACTERS_MAX = 200


class Unsupported(Exception):  # noqa: N818 - it is an answer, not an error
    """The library has no way to take what the vector says, or says itself that it cannot price."""


def decimal_text(total: Decimal | float) -> str:
    """All digits of a number, without an exponent."""
    return format(total if isinstance(total, Decimal) else Decimal(repr(float(total))), "f")


def answer(vector: Vector, prepare: Prepare) -> dict[str, Any]:
    """Ask the library once."""
    said: dict[str, Any] = {"id": vector["id"], "total": None, "error": None, "cpu_us": None}
    try:
        work = prepare(vector)
        begin = time.thread_time_ns()
        given = work()
        said["cpu_us"] = (time.thread_time_ns() - begin) / 1_000
    except Unsupported as reason:
        return said | {"outcome": "refused", "error": str(reason)[:ERROR_CHARACTERS_MAX]}
    except Exception as error:  # noqa: BLE001 - whatever a library raises is its answer
        told = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
        return said | {"outcome": "failed", "error": told}
    if isinstance(given, Mapping):
        said |= given
        given = given["total"]
    if given is None:
        return said | {"outcome": "refused", "error": said["error"] or "no price"}
    return said | {"outcome": "priced", "total": decimal_text(given)}


def serve(prepare: Prepare) -> None:
    """Answer standard input on standard output until it ends."""
    # What a library prints must not become an answer.
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line), prepare)) + "\n")
    out.flush()
