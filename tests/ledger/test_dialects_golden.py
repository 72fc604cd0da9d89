"""Every captured span: is it a call, and is its usage the known truth?

``golden/dialects.json`` fixes, per capture, why spans are no calls and, per call that is not exact,
what comes out and the documented loss that explains it. The list may only shrink: a loss that
disappears fails the test until its line is removed.
"""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from captures import NAMES, spans_of, truth_of, usage_of
from hypothesis import given, settings, strategies as st

from spanledger.ledger.dialects import attribute_keys, normalise
from spanledger.ledger.otlp import Body, decode

GOLDEN = json.loads(Path(__file__).parents[1].joinpath("golden", "dialects.json").read_text())
KEYS = attribute_keys()


def observed(capture: str) -> dict[str, Any]:
    """What the core makes of a capture, in the form of the golden file."""
    spans = spans_of(capture)
    result = normalise(
        decode([Body(span.body) for span in spans], KEYS, spans_max=10**4).spans, "acme"
    )
    assert result.rejects.height == 0
    losses, exact = [], 0
    for row in result.calls.sort("request").to_dicts():
        span = spans[row["request"]]
        usage = usage_of(row)
        if usage in truth_of(row, span.name):
            exact += 1
        elif not (row["status"] == "error" and row["usage_missing"]):
            flags = [name for name in ("usage_missing", "cache_unknown") if row[name]]
            losses.append([span.case, span.name, list(usage), flags])
    failed = result.calls.filter(result.calls["status"] == "error").height
    return {
        "exact": exact,
        "failed": failed,
        "not_calls": dict(sorted(result.not_calls.items())),
        "losses": losses,
    }


@pytest.mark.parametrize("capture", NAMES)
def test_a_capture_comes_out_as_fixed(capture: str) -> None:
    fixed = GOLDEN[capture]
    found = observed(capture)
    for part in ("exact", "failed", "not_calls"):
        assert found[part] == fixed[part], part
    assert found["losses"] == [loss[:4] for loss in fixed["losses"]]


def test_every_loss_names_its_documented_reason() -> None:
    reasons = [loss[4] for fixed in GOLDEN.values() for loss in fixed["losses"]]
    assert all(len(reason) > 10 for reason in reasons)


def test_the_number_of_exact_calls_never_falls() -> None:
    exact = sum(fixed["exact"] for fixed in GOLDEN.values())
    losses = Counter(capture for capture, fixed in GOLDEN.items() for _ in fixed["losses"])
    assert exact >= 193
    assert sum(losses.values()) <= 93


SOME = [
    span
    for name in (
        "strands-agents-experimental",
        "vercel-ai-sdk-v6",
        "openlit-google",
        "langfuse-sdk",
    )
    for span in spans_of(name)
]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(len(SOME))), st.lists(st.integers(1, len(SOME)), max_size=4))
def test_a_captured_span_is_the_same_in_any_batch(order: list[int], cuts: list[int]) -> None:
    def rows(spans: list[int]) -> dict[bytes, dict[str, Any]]:
        batch = decode([Body(SOME[i].body) for i in spans], KEYS, spans_max=10**4).spans
        calls = normalise(batch, "acme").calls.drop("request")
        return {row["span_id"]: row for row in calls.to_dicts()}

    together = rows(list(range(len(SOME))))
    edges = [0, *sorted(set(cuts)), len(order)]
    apart: dict[bytes, dict[str, Any]] = {}
    for start, end in pairwise(edges):
        part = rows(order[start:end] * 2)  # each span twice
        apart |= part
    assert apart == together
