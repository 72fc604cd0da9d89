"""Known entries: what is read of the ledger for the question."""

from itertools import pairwise
from typing import Any

import numpy as np
from engine import NOON, entries, entry
from hypothesis import given, strategies as st

from spanledger.store.client import Store
from spanledger.store.known import _SPREAD, _mixed, _stretches

HOUR_NS = 3_600 * 10**9


def stretches(*times_ns: int) -> Any:
    return _stretches(np.array(times_ns, np.int64))


def test_times_close_together_are_one_stretch() -> None:
    assert stretches(5, 3, 4) == [(3, 5)]


def test_a_lone_time_is_a_stretch_of_itself() -> None:
    assert stretches(7) == [(7, 7)]


def test_one_old_span_does_not_make_all_between_the_stretch() -> None:
    now = 1_000_000 * HOUR_NS
    assert stretches(now + 1, 0, now) == [(0, 0), (now, now + 1)]


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=200))
def test_the_stretches_are_few_in_order_apart_and_hold_every_time(times_ns: list[int]) -> None:
    found = stretches(*times_ns)
    assert 1 <= len(found) <= 16
    assert all(first <= last for first, last in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))
    assert all(any(first <= at <= last for first, last in found) for at in times_ns)


def test_the_number_made_of_the_ids_is_the_engines_own(store: Store) -> None:
    wide = entries(
        entry(trace_id=b"\xff" * 16, span_id=b"\xfe" * 8),
        entry(trace_id=bytes(range(16)), span_id=bytes(range(8))),
        entry(trace_id=bytes(16), span_id=bytes(8), start_time=NOON),
    )
    store.insert(wide)
    sql = f"""
        SELECT reinterpretAsUInt64(span_id) * {_SPREAD} + reinterpretAsUInt64(trace_id)
        FROM entries ORDER BY 1
    """  # noqa: S608 - our own constant
    stored = store._writing.run(lambda client: client.query(sql).result_rows)
    assert [number for (number,) in stored] == sorted(_mixed(wide).tolist())
