"""Every captured span and log record: is it a call, and is its usage the known truth?

``golden/dialects.json`` fixes, per capture, what every span is (a call that comes out exact, one
with a loss, one that failed, or no call and why) and, per loss and field, what comes out instead
of the truth, which flags say so, and the documented loss of the scope that explains it
(``docs/dialects.md`` lists them). The list may only shrink: a loss that disappears fails the test
until its line is removed. ``python tests/ledger/make_golden.py`` writes what comes out today.
"""

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from captures import NAMES, observed, spans_of
from hypothesis import given, settings, strategies as st

from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.dialect_scopes import SCOPES
from spanledger.ledger.dialects import attribute_keys, normalise
from spanledger.ledger.otlp import decode
from spanledger.ledger.pricing import price

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
    assert FATES.count("exact") >= 215
    assert FATES.count("loss") <= 69


ALL = [span for name in NAMES for span in spans_of(name)]
BOOK = PriceBook.bundled()


def charges(spans: list[int]) -> dict[tuple[bytes, bytes], dict[str, Any]]:
    """The entries of some captured spans in one batch, by trace and span id."""
    batch = decode([ALL[index].body for index in spans], KEYS, spans_max=10**4).spans
    entries = price(normalise(batch, "acme").calls, BOOK, known_at_ns=1)
    return {(row["trace_id"], row["span_id"]): row for row in entries.to_dicts()}


@pytest.fixture(scope="module")
def together() -> dict[tuple[bytes, bytes], dict[str, Any]]:
    return charges(list(range(len(ALL))))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 40))
def test_a_captured_span_is_charged_the_same_in_any_batch_order_and_repetition(
    together: dict[tuple[bytes, bytes], dict[str, Any]], seed: int, batches: int
) -> None:
    random = Random(seed)  # noqa: S311 - an order, no secret
    order = [index for index in range(len(ALL)) for _ in range(random.choice((1, 1, 1, 3)))]
    random.shuffle(order)
    edges = sorted({0, len(order), *(random.randrange(len(order)) for _ in range(batches))})
    for start, end in pairwise(edges):
        apart = charges(order[start:end])
        assert apart == {key: together[key] for key in apart}
