"""Names to models, models to rates: the same as genai-prices, and bounded."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from pricing_calls import BOOK, NOON, names

from spanledger.ledger.catalog import PriceBook, Rate, ResolvedModel


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9


def _found(provider: str, name: str) -> tuple[str, str] | str:
    found = BOOK.resolve(provider, name, "")
    return found if isinstance(found, str) else (found.provider, found.model)


def _usd(model: ResolvedModel, tier: str, at: datetime, unit: str = "input_tokens") -> Decimal:
    rates = BOOK.card(model, tier, _ns(at)).bands[0]
    return next(rate.usd for rate in rates if rate.usage_key == unit)


def _model(provider: str, name: str) -> ResolvedModel:
    found = BOOK.resolve(provider, name, "")
    assert isinstance(found, ResolvedModel)
    return found


@pytest.mark.parametrize("with_provider", [True, False])
def test_every_name_in_the_data_means_what_genai_prices_says(*, with_provider: bool) -> None:
    oracle = DataSnapshot(providers=providers, from_auto_update=False)
    compared = 0
    for provider, name in names():
        asked = provider.id if with_provider else None
        try:
            payer, info = oracle.find_provider_model(name, None, asked, None)
        except LookupError:
            continue  # genai-prices knows none; ours may
        assert _found(asked or "", name) == (payer.id, info.id), (asked, name)
        compared += 1
    assert compared > 1_000


@pytest.mark.parametrize(
    ("provider", "name", "seller", "model"),
    [
        ("openai", "GPT-4o", "openai", "gpt-4o"),
        ("OpenAI", "gpt-4o-2024-08-06", "openai", "gpt-4o"),
        ("openai.chat", "gpt-4o", "openai", "gpt-4o"),
        ("azure.ai.openai", "gpt-4o", "azure", "gpt-4o"),
        ("az.ai.openai", "gpt-4o", "azure", "gpt-4o"),
        ("azure-openai.chat", "gpt-4o", "azure", "gpt-4o"),
        ("x_ai", "grok-4", "x-ai", "grok-4-0709"),
        ("mistral_ai", "mistral-ocr-latest", "mistral", "mistral-ocr-latest"),
        ("moonshot_ai", "kimi-k2", "moonshotai", "kimi-k2"),
        ("gcp.gemini", "models/gemini-2.5-pro", "google", "gemini-2.5-pro"),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", "google", "claude-sonnet-4-5"),
        ("openai", "ft:gpt-4o-2024-08-06:acme::x", "openai", "ft:gpt-4o"),
        ("", "ft:gpt-4o-2024-08-06:acme::x", "openai", "ft:gpt-4o"),
        ("togetherai", "Qwen/Qwen3.5-9B", "together", "Qwen/Qwen3.5-9B"),
        ("", "anthropic/claude-sonnet-4", "anthropic", "claude-sonnet-4-0"),
        ("litellm", "azure/gpt-4o", "azure", "gpt-4o"),
        ("langchain", "gpt-4o", "openai", "gpt-4o"),
    ],
)
def test_names_of_the_wild_find_their_seller(
    provider: str, name: str, seller: str, model: str
) -> None:
    assert _found(provider, name) == (seller, model)


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("openai", "FT:GPT-4o-mini-2024-07-18:Acme:bot:AbC", "ft:gpt-4o-mini"),
        ("openai", "ft:gpt-3.5-turbo-0125:acme::x", "ft:gpt-3.5-turbo-"),
        ("openai", "O3-2025-04-16", "o3"),
        ("anthropic", "claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("anthropic", " Claude-Sonnet-4-5 ", "claude-sonnet-4-5"),
        ("gcp.vertex_ai", "claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("gcp.vertex_ai", "gemini-2.5-pro@default", "gemini-2.5-pro"),
        (
            "gcp.gemini",
            "projects/p/locations/l/publishers/google/models/gemini-2.5-flash",
            "gemini-2.5-flash",
        ),
        ("openrouter", "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("openrouter", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("mistral_ai", "mistral-nemo:free", "mistral-nemo:free"),
    ],
)
def test_suffixes_prefixes_and_case_do_not_hide_a_model(
    provider: str, name: str, model: str
) -> None:
    found = _found(provider, name)
    assert not isinstance(found, str), found
    assert found[1] == model


def test_the_free_offer_of_a_router_is_another_model_than_the_paid_one() -> None:
    free = [model for model in BOOK.models() if model.model.endswith(":free")]
    assert free
    for model in free:
        if _found(model.provider, model.model) == (model.provider, model.model):
            assert BOOK.card(model, "", _ns(NOON)).is_free, model.model


_HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize("provider", ["aws.bedrock", "anthropic", ""])
@pytest.mark.parametrize(
    ("name", "price"),
    [
        (_HAIKU, "regional"),
        (f"us.{_HAIKU}", "regional"),
        (f"eu.{_HAIKU}", "regional"),
        (f"ca.{_HAIKU}", "regional"),
        (f"global.{_HAIKU}", "global"),
        (f"arn:aws:bedrock:us-east-1:1:inference-profile/global.{_HAIKU}", "global"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{_HAIKU}", "regional"),
    ],
)
def test_a_bedrock_id_is_billed_by_bedrock_at_its_own_scope(
    provider: str, name: str, price: str
) -> None:
    assert _found(provider, name) == ("aws", f"{price}.{_HAIKU}")


def test_a_global_profile_without_a_price_takes_no_regional_one() -> None:
    assert _found("aws.bedrock", "global.openai.gpt-5.5") == "unknown_model"


@pytest.mark.parametrize("runtime", ["ollama", "vllm", "lm_studio", "ibm.watsonx.ai"])
def test_a_payer_without_prices_takes_none_of_somebody_else(runtime: str) -> None:
    assert _found(runtime, "mistral-large") == "unknown_provider"
    assert _found(runtime, "deepseek-chat") == "unknown_provider"


def test_the_response_is_asked_before_the_request() -> None:
    found = BOOK.resolve("openai", "gpt-4o", "gpt-4o-mini")
    assert isinstance(found, ResolvedModel)
    assert found.model == "gpt-4o-mini"
    deployment = BOOK.resolve("azure.ai.openai", "my-deployment", "gpt-4o")
    assert isinstance(deployment, ResolvedModel)


def test_a_flood_of_names_is_not_remembered() -> None:
    book = PriceBook.bundled()
    for number in range(10_000):
        assert book.resolve("", f"junk-{number}", "") == "unknown_provider"
    remembered = book._remembered.cache_info()
    assert remembered.currsize == remembered.maxsize
    assert len(book._models) < 2_500
    assert book._cards == {}
    assert not any(
        "junk" in str(key) for key in DataSnapshot(providers, from_auto_update=False)._lookup_cache
    )


def test_a_dated_price_begins_at_midnight_utc() -> None:
    model = _model("openai", "o3")
    assert _usd(model, "", datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC)) == 10
    assert _usd(model, "", datetime(2025, 6, 10, tzinfo=UTC)) == 2


def test_a_daily_window_is_half_open() -> None:
    model = _model("deepseek", "deepseek-v4-pro")
    clock = {(0, 59): "0.66", (1, 0): "1.32", (3, 59): "1.32", (4, 0): "0.66"}
    for (hour, minute), usd in clock.items():
        assert _usd(model, "", datetime(2026, 11, 20, hour, minute, tzinfo=UTC)) == Decimal(usd)


def test_a_tier_overrides_what_it_names_and_leaves_the_rest() -> None:
    model = _model("openai", "gpt-4o")
    assert _usd(model, "BATCH", NOON) == Decimal("1.25")
    assert _usd(model, "batch", NOON, "web_searches") == 10
    assert BOOK.card(model, "ultrafast", _ns(NOON)).is_standin
    # Azure sells OpenAI's model at OpenAI's standard price, not at its offers.
    lent = _model("azure", "gpt-4o")
    assert _usd(lent, "batch", NOON) == Decimal("2.5")


def test_price_ids_are_unique_and_tell_what_they_are() -> None:
    ids = [
        rate.price_id
        for model in BOOK.models()
        for record in model.entry.records()
        for steps in record.rates.values()
        for rate in steps
    ]
    assert len(ids) == len(set(ids)) > 5_000
    told = {
        "genai-prices/openai/gpt-4o/standard#input_mtok",
        "genai-prices/openai/gpt-4o/processing=batch@2026-10-14#input_mtok",
        "genai-prices/openai/gpt-5.4/standard#input_mtok>272000",
        "genai-prices/openai/o3/standard@2025-06-10#input_mtok",
        "genai-prices/deepseek/deepseek-v4-pro/standard@01:00-04:00Z#input_mtok",
    }
    assert told <= set(ids)


def test_the_version_names_release_and_data() -> None:
    release, _, digest = BOOK.version.partition("+")
    assert release.startswith("genai-prices-0.")
    assert len(digest) == 8
    assert PriceBook.bundled().version == BOOK.version


@pytest.mark.parametrize("usd", ["-1", "1000001", "NaN", "Infinity", "1E-19"])
def test_a_rate_without_room_in_the_arithmetic_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match="must be between 0 and"):
        Rate("input_tokens", 1, Decimal(usd), "mine/openai/x#input_mtok")


def _heavy() -> Iterator[str]:
    yield from ("polars", "pyarrow", "numpy", "genai_prices")


def test_importing_the_catalog_loads_nothing_heavy() -> None:
    code = "import sys, spanledger.ledger.catalog; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(_heavy()) & set(loaded)
