"""Every captured span: is it a call, and is its usage the known truth?

``golden/dialects.json`` fixes, per capture, what every span is (a call that comes out exact, one
with a loss, one that failed, or no call and why) and, per loss and field, what comes out instead
of the truth, which flags say so, and the documented loss of the scope that explains it
(``docs/dialects.md`` lists them). The list may only shrink: a loss that disappears fails the test
until its line is removed. ``python tests/ledger/make_golden.py`` writes what comes out today.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from captures import NAMES, observed, spans_of
from hypothesis import given, settings, strategies as st

from spanledger.ledger.dialect_scopes import SCOPES
from spanledger.ledger.dialects import attribute_keys, normalise
from spanledger.ledger.otlp import Body, decode

GOLDEN = json.loads(Path(__file__).parents[1].joinpath("golden", "dialects.json").read_text())
KEYS = attribute_keys()
FATES = [fate for fixed in GOLDEN.values() for _, _, fate in fixed["spans"]]


@pytest.mark.parametrize("capture", NAMES)
def test_a_capture_comes_out_as_fixed(capture: str) -> None:
    fixed = GOLDEN[capture]
    found = observed(capture)
    assert found["spans"] == fixed["spans"]
    assert found["losses"] == [loss[:4] for loss in fixed["losses"]]


@pytest.mark.parametrize("capture", [name for name in NAMES if GOLDEN[name]["losses"]])
def test_every_loss_is_a_documented_one_of_its_scope(capture: str) -> None:
    scopes = {(span.case, span.name): span.scope for span in spans_of(capture)}
    for case, name, _, flags, reason in GOLDEN[capture]["losses"]:
        flag = {text: flag for flag, text in SCOPES[scopes[case, name]].losses}[reason]
        assert flag in flags or not flags, (case, name)


def test_every_loss_is_flagged_where_the_span_shows_it() -> None:
    unflagged = [
        (capture, loss[0])
        for capture, fixed in GOLDEN.items()
        for loss in fixed["losses"]
        if not loss[3]
    ]
    # The stream() helper looks like a call that was not streamed.
    assert unflagged == [("openllmetry-anthropic", "messages_stream_helper")]


def test_a_field_that_is_lost_has_the_flag_that_says_so() -> None:
    telling = {
        "uncached": {"usage_missing", "usage_estimated", "cache_unknown", "cache_write_unknown"},
        "cache_read": {"usage_missing", "usage_estimated", "cache_unknown"},
        "cache_write": {"usage_missing", "usage_estimated", "cache_unknown", "cache_write_unknown"},
        "output": {"usage_missing", "usage_estimated"},
    }
    for fixed in GOLDEN.values():
        for _, _, fields, flags, _ in fixed["losses"]:
            assert not flags or all(telling[field] & set(flags) for field in fields)


def test_the_number_of_exact_calls_never_falls() -> None:
    assert FATES.count("exact") >= 212
    assert FATES.count("loss") <= 71


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
