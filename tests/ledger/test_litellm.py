"""LiteLLM's price list becomes a dated price file, and where it disagrees is told."""

import json
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, NOON, UNITS, nanoseconds

from spanledger.ledger.catalog import litellm, read_document
from spanledger.ledger.catalog.contested import contested

_EXCERPT = Path(__file__).parents[1] / "golden" / "litellm-excerpt.json"
RAW: dict[str, Any] = json.loads(_EXCERPT.read_text(), parse_float=Decimal)
DAY = "2026-11-22"


def _rates(data: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Decimal]]:
    keys = ("provider", "model", "service_tier", "input_tokens", "from", "until")
    return {
        tuple(entry[key] for key in keys if key in entry): entry["rates"]
        for entry in data["prices"]
    }


def test_every_price_that_we_know_is_read_with_every_digit() -> None:
    made = litellm.convert(RAW, None, DAY)
    assert _rates(made.data) == {
        ("openai", "gpt-4o-mini"): {
            "input_mtok": Decimal("0.15"),
            "output_mtok": Decimal("0.6"),
            "cache_read_mtok": Decimal("0.075"),
            "web_searches_kcount": 25,
        },
        ("openai", "gpt-4o-mini", "batch"): {"input_mtok": Decimal("0.075")},
        ("openai", "gpt-tiered"): {"input_mtok": 10},
        ("openai", "gpt-tiered", "> 272000"): {"input_mtok": 20},
        ("openai", "gpt-tiered", "priority", "> 272000"): {"input_mtok": 40},
        ("openai", "gpt-tiered", "> 200000"): {"cache_write_1h_mtok": 12},
        ("dashscope", "qwen-range", "(0, 256000]"): {"input_mtok": Decimal("0.05")},
        ("dashscope", "qwen-range", "(256000, 1000000]"): {"input_mtok": Decimal("0.25")},
        ("cohere", "rerank-v3.5"): {"rerank_searches_kcount": 2},
        ("fal_ai", "picture"): {"images": Decimal("0.08"), "images_4k": Decimal("0.16")},
        ("dashscope", "film"): {"video_seconds_720p": Decimal("0.082513")},
    }
    assert (made.added, made.changed, made.kept, made.skipped) == (11, 0, 0, 4)
    assert read_document(made.data, "user", UNITS).faults == ()


def test_what_changed_ends_that_day_and_goes_on_at_the_new_rate() -> None:
    first = litellm.convert(RAW, None, DAY).data
    later = deepcopy(RAW)
    later["rerank-v3.5"]["input_cost_per_query"] = Decimal("0.003")
    made = litellm.convert(later, deepcopy(first), "2026-12-24")
    rates = _rates(made.data)
    assert rates["cohere", "rerank-v3.5", "2026-12-24"] == {"rerank_searches_kcount": 3}
    until = [entry.get("until") for entry in made.data["prices"] if entry["model"] == "rerank-v3.5"]
    assert until == ["2026-12-24", None]
    assert (made.added, made.changed, made.kept) == (0, 1, 0)
    assert read_document(made.data, "user", UNITS).faults == ()


def test_a_retired_model_is_never_removed() -> None:
    first = litellm.convert(RAW, None, DAY).data
    made = litellm.convert({"gpt-4o-mini": RAW["gpt-4o-mini"]}, deepcopy(first), "2026-12-24")
    assert made.data == first
    assert made.kept == 9


def test_importing_the_same_again_changes_nothing() -> None:
    first = litellm.convert(RAW, None, DAY).data
    made = litellm.convert(RAW, deepcopy(first), "2026-12-24")
    assert (made.data, made.added, made.changed) == (first, 0, 0)


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "litellm_provider",
                    "mode",
                    "input_cost_per_token",
                    "tiered_pricing",
                    "range",
                    "source",
                    "output_cost_per_token_above_9999999999k_tokens",
                    "search_context_cost_per_query",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(entry=_JUNK, name=st.text(max_size=300))
def test_junk_is_left_out_and_what_is_written_is_a_price_file(entry: Any, name: str) -> None:
    made = litellm.convert({**RAW, name: entry}, None, DAY)
    faults = read_document(made.data, "user", UNITS).errors
    assert [fault for fault in faults if "mtok" not in str(fault.path)] == []


@pytest.mark.parametrize("raw", [None, [], {}, 5, {"a": 1}, {"a": {"litellm_provider": "x"}}])
def test_a_file_of_something_else_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"it is no mapping|has a price"):
        litellm.convert(raw, None, DAY)


@pytest.mark.parametrize("existing", [{}, {"prices": []}, {"fallback": True, "prices": [5]}])
def test_a_file_of_the_user_s_own_is_not_written_into(existing: Any) -> None:
    with pytest.raises(ValueError, match="the file to import into"):
        litellm.convert(RAW, existing, DAY)


def test_a_contested_price_is_listed_with_both_sources() -> None:
    document = read_document(litellm.convert(RAW, None, DAY).data, "user", UNITS)
    found = [*contested(BOOK, document, nanoseconds(NOON))]
    assert [(each.model, each.unit, each.book_usd, each.file_usd) for each in found] == [
        ("gpt-4o-mini", "web_searches", Decimal(10), Decimal(25))
    ]
    assert found[0].factor == Decimal("2.5")
    assert found[0].book_price_id == "genai-prices/openai/gpt-4o-mini/standard#web_searches_kcount"
