"""What the estimator answers a person: words, data, refusals, guesses."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_UP, Decimal, Inexact, Rounded, localcontext
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pricing_calls import BOOK, NOON, book_with

import spanledger
from spanledger.ledger.estimate import (
    Estimate,
    estimate,
    estimate_text,
    nearest_models,
    tokens_of_text,
    tokens_of_words,
)
from spanledger.ledger.limits import QUANTITY_MAX


def of(model: str, **said: Any) -> Estimate:
    return estimate(model=model, **{"at": NOON, "book": BOOK, **said})


# --- words ----------------------------------------------------------------------------------------


def test_a_charge_reads_as_a_sentence() -> None:
    answer = of("gpt-4o", input_tokens=1_500, output_tokens=2_000)
    assert answer.words == (
        "1,500 input tokens × $2.50/1M = $0.003750",
        "2,000 output tokens × $10.00/1M = $0.020000",
    )
    assert str(answer).splitlines()[2:] == ["total $0.023750 (exact)"]


@pytest.mark.parametrize(
    ("model", "said", "words"),
    [
        ("gpt-4o", {"searches": 1}, "1 web search × $10.00/1K = $0.010000"),
        ("gpt-4o", {"input_tokens": 1}, "1 input token × $2.50/1M = $0.0000025"),
        ("whisper-1", {"seconds": 330}, "330 seconds of audio × $0.36/hour = $0.033000"),
        ("whisper-1", {"seconds": 1}, "1 second of audio × $0.36/hour = $0.000100"),
        ("tts-1-hd", {"characters": 5_000}, "5,000 characters × $30.00/1M = $0.150000"),
        ("mistral-ocr-latest", {"pages": 10}, "10 pages × $4.00/1K = $0.040000"),
        (
            "groq/whisper-large-v3",
            {"audio_seconds": 3.5},
            "10 seconds of input audio × $0.111/hour = $0.000308333333333333",
        ),
    ],
)
def test_every_unit_has_words(model: str, said: dict[str, Any], words: str) -> None:
    assert of(model, **said).words == (words,)


def test_what_is_left_of_a_whole_beside_its_parts_is_called_so() -> None:
    cached = of("gpt-4o", input_tokens=10, cache_read_tokens=8)
    assert cached.words[0].startswith("2 uncached input tokens")
    spoken = of("gpt-4o-realtime-preview", input_tokens=10, input_audio_tokens=8)
    assert spoken.words[0].startswith("2 other input tokens")


def test_bounds_are_told_with_what_is_not_known() -> None:
    answer = of("claude-sonnet-4-5", input_tokens=6_000, cache_write_tokens=6_000)
    assert answer.total_words == "total $0.022500, between $0.022500 and $0.036000 (bounded)"
    assert str(answer).splitlines()[-1].startswith("note: the lifetime of cache writes")


def test_a_tier_without_a_price_of_its_own_is_told() -> None:
    answer = of("gpt-4o", input_tokens=1, service_tier="ultrafast")
    assert answer.cost_class == "estimated"
    assert "note: ultrafast has no price of its own" in str(answer)


def test_a_tier_that_nobody_knows_is_told_too() -> None:
    answer = of("gpt-4o", input_tokens=1, service_tier="bacth")
    assert answer.notes == ("bacth is no service tier that has a price: the standard rates",)
    assert of("gpt-4o", input_tokens=1, service_tier="default").notes == ()


def test_a_minimum_that_is_charged_is_told() -> None:
    short, long = (of("groq/whisper-large-v3", seconds=count) for count in (3.5, 11))
    assert short.notes == ("at least 10 seconds of input audio are charged for",)
    assert long.notes == ()


def test_a_contract_is_told_with_the_list_price() -> None:
    contract = {"name": "ours", "provider": "openai", "model": "*", "discount_percent": "22"}
    book = book_with({"contracts": [contract]})
    answer = of("gpt-4o", input_tokens=10_000, book=book)
    assert answer.total_words == "total $0.019500, list price $0.025000 (exact)"
    assert answer.to_dict()["list_cost_usd"] == "0.025"


def test_data_keeps_every_digit_as_text_and_the_same_keys_in_any_case() -> None:
    priced, unpriced = (of(model, input_tokens=3).to_dict() for model in ("gpt-4o", "acme-1"))
    assert list(priced) == list(unpriced)
    assert json.loads(json.dumps(priced)) == priced
    assert (priced["cost_usd"], priced["at"]) == ("0.0000075", "2026-11-20T12:00:00Z")
    assert priced["lines"][0]["quantity"] == "3"
    assert (unpriced["cost_usd"], unpriced["lines"]) == (None, [])


# --- what has no price, and why -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "said", "reason", "why"),
    [
        ("gpt-4o", {}, "no_usage", "nothing was used"),
        ("gtp-4o", {"input_tokens": 1}, "unknown_provider", "nobody is known to sell gtp-4o"),
        ("", {"input_tokens": 1}, "unknown_provider", "the name of the model is empty"),
        (
            "acme",
            {"input_tokens": 1, "provider": "openai"},
            "unknown_model",
            "acme is no model of openai",
        ),
        (
            "llama3",
            {"input_tokens": 1, "provider": "ollama"},
            "unknown_provider",
            "ollama has no prices",
        ),
        (
            "gpt-4o",
            {"input_tokens": 5, "cache_read_tokens": 6},
            "usage_invalid",
            "cache_read_tokens (6) is more than input_tokens (5)",
        ),
        (
            "claude-sonnet-4-5",
            {"input_tokens": 9, "cache_read_tokens": 8, "cache_write_tokens": 8},
            "usage_invalid",
            "cache_read_tokens and cache_write_tokens together are more than input_tokens",
        ),
        (
            "gpt-4o",
            {"searches": QUANTITY_MAX},
            "usage_invalid",
            "no single call costs more than $1,000,000,000",
        ),
        ("gpt-4o", {"characters": 5}, "no_rate_for_unit", "has no price for input_characters"),
        ("gpt-4o", {"input_audio_minutes": 1}, "no_rate_for_unit", "give input_audio_tokens"),
    ],
)
def test_what_has_no_price_says_why(
    model: str, said: dict[str, Any], reason: str, why: str
) -> None:
    answer = of(model, **said)
    assert (answer.cost_class, answer.unpriced_reason) == ("unpriced", reason)
    assert (answer.cost_usd, answer.lines) == (None, ())
    assert str(answer).startswith(f"unpriced ({reason.replace('_', ' ')})\nnote: ")
    assert why in str(answer)


def test_nothing_said_is_unpriced_but_a_zero_that_is_said_is_known() -> None:
    assert of("gpt-4o").cost_usd is None
    assert of("gpt-4o", input_tokens=None, usage={}).cost_usd is None
    assert of("gpt-4o", input_tokens=0).cost_usd == 0


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"input_tokens": -1}, "input_tokens = -1: a count is between 0 and"),
        ({"input_tokens": 2**70}, "a count is between 0 and 1,000,000,000,000"),
        ({"input_tokens": 1 << 16_609_640}, "a number of 16609641 bits"),
        ({"input_tokens": True}, "input_tokens = True: a count is a number"),
        ({"input_tokens": "many"}, "input_tokens = many: a count is a number"),
        ({"input_tokens": float("nan")}, "a count is finite"),
        ({"seconds": Decimal("Infinity")}, "seconds = Infinity: a count is finite"),
        ({"seconds": Decimal("1e999999")}, "seconds = 1E\\+999999: a count is between"),
        ({"input_tokens": 1.5}, "input_tokens = 1.5: tokens are whole numbers"),
        ({"input_audio_minutes": -1}, "input_audio_minutes = -1"),
        ({"input_token": 1}, "input_token is no unit .* Did you mean input_tokens"),
        ({"web_serches": 1}, "Did you mean web_searches"),
        ({"usage": {"": 1}}, "Units are such as input_tokens"),
        ({"usage": {7: 1}}, "7 is no unit"),
        ({"searches": 1, "web_searches": 1}, "web_searches is given twice"),
        ({"input_tokens": 1, "usage": {"input_tokens": 1}}, "input_tokens is given twice"),
        ({"requests": 3}, "requests = 3: an estimate is of one call"),
    ],
)
def test_what_is_no_count_of_anything_is_refused_with_what_to_write(
    said: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong) as told:
        of("gpt-4o", **said)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("said", [{"model": None}, {"provider": 1}, {"at": "today"}])
def test_a_name_that_is_no_text_and_a_moment_that_is_none_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(said))):
        estimate(**{"model": "gpt-4o", "book": BOOK, **said})


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=9),
    st.binary(max_size=9),
)


@settings(max_examples=150, deadline=None)
@given(
    model=st.one_of(st.text(max_size=300), st.sampled_from(["gpt-4o", "x" * 10**6, "\ud800"])),
    provider=st.text(max_size=300),
    tier=st.text(max_size=20),
    usage=st.dictionaries(
        st.one_of(st.text(max_size=9), st.sampled_from(["input_tokens", "seconds"])), _JUNK
    ),
)
def test_junk_is_answered_or_refused_in_few_words(
    model: str, provider: str, tier: str, usage: dict[str, Any]
) -> None:
    try:
        answer = of(model, provider=provider, service_tier=tier, usage=usage)
    except ValueError as error:
        assert len(str(error)) < 300  # noqa: PT017 - most examples are refused, and may be
        return
    assert (answer.cost_usd is None) == (answer.cost_class == "unpriced")
    assert len(str(answer)) < 1_000
    assert len(json.dumps(answer.to_dict())) < 10_000


def test_the_callers_decimal_context_has_no_part_in_it() -> None:
    said: dict[str, Any] = {"seconds": Decimal("330.123456789"), "service_tier": "x"}
    plain = of("whisper-1", **said)
    with localcontext(prec=2, rounding=ROUND_UP) as context:
        context.traps[Inexact] = context.traps[Rounded] = True
        assert of("whisper-1", **said) == plain
        assert of("gpt-realtime", output_audio_minutes=Decimal("7.25")).cost_usd is not None
        assert str(plain).startswith(
            "330.123456789 seconds of audio × $0.36/hour = $0.0330123456789"
        )


# --- when -----------------------------------------------------------------------------------------


def test_the_prices_are_those_of_the_instant_in_any_zone() -> None:
    shanghai = timezone(timedelta(hours=8))
    at = datetime(2026, 11, 20, 10, tzinfo=shanghai)
    answers = [
        of("deepseek-chat", provider="deepseek", input_tokens=10**6, at=moment)
        for moment in (at, at.astimezone(UTC), at.astimezone(UTC).replace(tzinfo=None))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].at == at


def test_without_an_instant_the_prices_are_those_of_now() -> None:
    before = datetime.now(UTC)
    answer = estimate(model="gpt-4o", input_tokens=1, book=BOOK)
    assert before <= answer.at + timedelta(microseconds=1)
    assert answer.at <= datetime.now(UTC)


# --- guesses --------------------------------------------------------------------------------------


def test_text_is_taken_for_a_token_every_four_characters() -> None:
    assert [tokens_of_text("x" * count) for count in (0, 1, 4, 5, 4_000)] == [0, 1, 1, 2, 1_000]
    assert [tokens_of_words(count) for count in (0, 1, 10, 75)] == [0, 2, 13, 98]


def test_the_estimate_of_a_prompt_is_an_estimate_and_says_how_it_was_measured() -> None:
    prompt = "a word or two " * 100
    answer = estimate_text(model="gpt-4o", prompt=prompt, expected_output_tokens=500, book=BOOK)
    assert answer.cost_usd == (350 * Decimal("2.5") + 500 * Decimal(10)) / 10**6
    assert answer.cost_class == "estimated"
    assert answer.notes == (
        "a text of 1,400 characters taken for 350 tokens (about 4 characters a token)",
    )
    assert "word" not in repr(answer)


def test_minutes_are_seconds_where_the_model_is_sold_by_time() -> None:
    assert of("whisper-1", input_audio_minutes=5.5).cost_usd == Decimal("0.033")
    assert of("whisper-1", input_audio_minutes=5.5).cost_class == "exact"
    assert of("gpt-live-1", output_audio_minutes=1).cost_usd is not None


def test_minutes_of_a_realtime_model_are_tokens_beside_those_of_text() -> None:
    said: dict[str, Any] = {"input_tokens": 10_000, "output_tokens": 15_000}
    answer = of(
        "gpt-4o-realtime-preview", **said, input_audio_minutes=5.5, output_audio_minutes=7.2
    )
    tokens: dict[str, Any] = {
        "input_tokens": 13_300,
        "input_audio_tokens": 3_300,
        "output_tokens": 23_640,
        "output_audio_tokens": 8_640,
    }
    assert answer.lines == of("gpt-4o-realtime-preview", **tokens).lines
    assert answer.cost_class == "estimated"
    assert all("developers.openai.com" in note for note in answer.notes)


def test_minutes_for_gemini_are_known_for_what_it_hears_only() -> None:
    heard = of("gemini-2.5-flash", input_audio_minutes=1)
    assert heard.words[0].startswith("1,920 input audio tokens")
    assert of("gemini-2.5-flash", output_audio_minutes=1).unpriced_reason == "no_rate_for_unit"


def test_models_of_like_names_are_found_and_those_of_the_provider_first() -> None:
    assert nearest_models("gtp-4o", BOOK)[0] == ("openai", "gpt-4o")
    assert {who for who, _ in nearest_models("gpt-4o", BOOK, provider="azure")} <= {"azure"}
    assert nearest_models("gpt-4o", BOOK, provider="acme")[0] == ("openai", "gpt-4o")
    assert nearest_models("zzzzzzzz", BOOK) == []
    assert nearest_models("x" * 10**6, BOOK) == []


# --- light ----------------------------------------------------------------------------------------


def test_an_estimate_loads_nothing_heavy_and_an_import_not_even_prices() -> None:
    script = """
import json, sys
import spanledger
imported = list(sys.modules)
answer = spanledger.estimate(model="gpt-4o", input_tokens=1500, output_tokens=2000)
spanledger.estimate_text(model="gpt-4o", prompt="hello", expected_output_tokens=5)
print(json.dumps([imported, list(sys.modules), str(answer.cost_usd.normalize())]))"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    imported, estimated, cost = json.loads(done.stdout)
    heavy = {"polars", "pyarrow", "numpy", "yaml", "pandas", "chdb", "fastapi", "typer", "rich"}
    heavy |= {"clickhouse_connect", "grpc", "google.protobuf", "opentelemetry.sdk"}
    assert not heavy & set(estimated)
    assert not {"genai_prices", "spanledger.ledger"} & set(imported)
    assert cost == "0.02375"


def test_the_package_offers_the_estimator_by_name() -> None:
    assert spanledger.estimate is estimate
    assert spanledger.Estimate is Estimate
    with pytest.raises(AttributeError, match="no attribute 'estimat'"):
        _ = spanledger.estimat  # type: ignore[attr-defined]
