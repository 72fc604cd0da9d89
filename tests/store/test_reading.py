"""What makes reading fast changes no answer: indexes and early filters, beside a plain model."""

import itertools
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
from engine import NOON, entries, entry
from hypothesis import given, settings

from spanledger.store.client import Store

Call = Mapping[str, Any]

NUMBERS = st.integers(1, 5)
# Deliveries of one span say different things here, unlike in life: an index or a filter that hid
# the delivery that counts would let another one answer.
FACTS = st.fixed_dictionaries(
    {
        "known_at": st.integers(0, 9).map(lambda seconds: NOON + timedelta(seconds=seconds)),
        "cost_usd": st.integers(0, 99).map(lambda cents: Decimal(cents) / 100),
        "conversation_id": st.sampled_from(["", "a", "b"]),
        "model": st.sampled_from(["gpt-5", "gpt-4o"]),
    }
)
INSERTS = st.lists(st.dictionaries(NUMBERS, FACTS, min_size=1), min_size=1, max_size=5)
# Restated calls with what they are now, or that they are none any more.
RESTATED = st.dictionaries(NUMBERS, st.tuples(FACTS, st.sampled_from([1, -1])), max_size=2)
CONDITIONS: list[tuple[str, Callable[[Call], bool]]] = [
    ("1", lambda _: True),
    (f"trace_id = '{3:032x}'", lambda call: call["span_id"] == _id(3)),
    (f"span_id != '{2:016x}'", lambda call: call["span_id"] != _id(2)),
    ("conversation_id = 'a'", lambda call: call["conversation_id"] == "a"),
    ("cost_usd < 0.5 AND model = 'gpt-5'", lambda c: c["cost_usd"] < 0.5 and c["model"] == "gpt-5"),
    ("start_time >= '2026-11-01 12:00:03'", lambda call: call["span_id"] >= _id(3)),
]
EVERYTHING = {"runs": [], "since_us": 0, "first_ns": 0, "last_ns": 4 * 10**18, "first_leg": 0}

_count = itertools.count()


@settings(max_examples=6, deadline=None)
@given(INSERTS, RESTATED)
def test_calls_are_first_deliveries_or_their_present_forms_whatever_is_asked(
    ledger: Store,
    inserts: list[dict[int, dict[str, Any]]],
    restated: dict[int, tuple[dict[str, Any], int]],
) -> None:
    tenant = f"tenant-{next(_count)}"
    calls: dict[int, Call] = {}
    for deliveries in inserts:
        rows = {number: charge(tenant, number, facts) for number, facts in deliveries.items()}
        ledger.insert(entries(*rows.values()))
        for number, row in rows.items():
            calls[number] = min(calls.get(number, row), row, key=lambda call: call["known_at"])
    for number, (facts, sign) in restated.items():
        leg = {"kind": "restatement", "run": "r", "leg": 2, "calls": sign}
        calls[number] = charge(tenant, number, facts) | leg
        ledger.insert(entries(dict(calls[number])))
    ledger.execute("derive_restated", EVERYTHING)
    for condition, holds in CONDITIONS:
        asked = f"SELECT span_id, cost_usd FROM calls WHERE tenant = '{tenant}' AND {condition}"  # noqa: S608
        want = [
            (call["span_id"].hex(), call["cost_usd"])
            for call in calls.values()
            if call["calls"] > 0 and holds(call)
        ]
        assert sorted(ask(ledger, asked)) == sorted(want), condition


def ask(ledger: Store, sql: str) -> Any:
    return ledger._reading.run(lambda client: client.query(sql).result_rows)


def charge(tenant: str, number: int, facts: dict[str, Any]) -> dict[str, Any]:
    start = NOON + timedelta(seconds=number)
    # No two deliveries are of one moment: either might win.
    known = facts["known_at"] + timedelta(microseconds=next(_count))
    return entry(number, tenant=tenant, start_time=start, **(facts | {"known_at": known}))


def _id(number: int) -> bytes:
    return number.to_bytes(8, "big")
