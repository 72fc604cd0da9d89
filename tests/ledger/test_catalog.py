"""The price book: which model a name means, at which rates, when."""

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from spanledger.ledger.catalog import Model, PriceBook, Rate, Unit
from spanledger.ledger.limits import RATE_USD_MAX

BUNDLED = PriceBook.bundled()


def resolved(provider: str, request_model: str = "", response_model: str = "") -> str:
    found = BUNDLED.resolve(provider, request_model, response_model)
    return found if isinstance(found, str) else f"{found.provider.id}/{found.id}"


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("openai", "GPT-4o", "openai/gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("gcp.gemini", "gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("", "gpt-4o", "openai/gpt-4o"),
        ("langchain", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("x_ai", "grok-4", "x-ai/grok-4-0709"),
        ("azure.ai.openai", "gpt-4o", "azure/gpt-4o"),
    ],
)
def test_a_name_means_the_model_of_its_payer(provider: str, name: str, model: str) -> None:
    assert resolved(provider, name) == model


@pytest.mark.parametrize("prefix", ["", "us.", "eu.", "apac.", "global."])
def test_a_bedrock_profile_means_its_model(prefix: str) -> None:
    name = "anthropic.claude-3-haiku-20240307-v1:0"
    profile = f"{prefix}{name}"
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{profile}"
    plain = resolved("aws.bedrock", name)
    assert plain.startswith("aws/")
    assert resolved("aws.bedrock", profile).startswith("aws/")
    assert resolved("aws.bedrock", arn) == resolved("aws.bedrock", profile)


def test_the_response_knows_better_than_the_request() -> None:
    assert resolved("openai", "my-deployment", "gpt-4o-mini") == "openai/gpt-4o-mini"
    assert resolved("openai", "gpt-4o-mini", "who-knows") == "openai/gpt-4o-mini"


def test_a_known_payer_is_not_asked_for_another_ones_price() -> None:
    assert resolved("openai", "claude-sonnet-4-5") == "unknown_model"
    assert resolved("openai", "") == "unknown_model"
    assert resolved("", "who-knows") == "unknown_provider"


# --- a book of our own ----------------------------------------------------------------------------

UNITS = {
    "input_mtok": Unit("input_tokens", 10**6, frozenset({("family", "tokens")})),
    "cache_read_mtok": Unit(
        "cache_read_tokens", 10**6, frozenset({("family", "tokens"), ("token_type", "cache_read")})
    ),
}


def book(prices: Any, variants: Any = None) -> tuple[PriceBook, Model]:
    info = ModelInfo("m", ClauseEquals("m"), prices=prices, price_variants=variants)
    made = PriceBook([Provider("p", "P", "", models=[info])], UNITS, "test")
    model = made.resolve("p", "m", "")
    assert isinstance(model, Model)
    return made, model


def usd(made: tuple[PriceBook, Model], at: datetime, tier: str = "", tokens: int = 0) -> Decimal:
    card = made[0].card(made[1], tier, round(at.timestamp()) * 10**9)
    return card.tier(tokens)[-1].usd


def flat(price: str) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(price))


def test_a_dated_price_holds_from_midnight_utc_of_its_date() -> None:
    prices = [
        ConditionalPrice(prices=flat("1")),
        ConditionalPrice(
            StartDateConstraint(datetime(2026, 3, 1, tzinfo=UTC).date()), prices=flat("2")
        ),
    ]
    made = book(prices)
    assert usd(made, datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)) == 1
    assert usd(made, datetime(2026, 3, 1, tzinfo=UTC)) == 2


def test_a_daily_window_is_half_open_and_may_cross_midnight() -> None:
    window = TimeOfDateConstraint(time(22, tzinfo=UTC), time(6, 30, tzinfo=UTC))
    made = book([ConditionalPrice(prices=flat("4")), ConditionalPrice(window, prices=flat("1"))])
    hours = {(21, 59): 4, (22, 0): 1, (0, 0): 1, (6, 29): 1, (6, 30): 4}
    for (hour, minute), expected in hours.items():
        assert usd(made, datetime(2026, 3, 1, hour, minute, tzinfo=UTC)) == expected


def test_a_context_tier_begins_above_its_boundary_and_rates_the_whole_call() -> None:
    tiered = TieredPrices(Decimal(1), [Tier(100, Decimal(2)), Tier(200, Decimal(3))])
    made = book(ModelPrice(input_mtok=tiered, cache_read_mtok=Decimal("0.1")))
    at = datetime(2026, 3, 1, tzinfo=UTC)
    tokens = {0: 1, 100: 1, 101: 2, 200: 2, 201: 3}
    for count, expected in tokens.items():
        assert usd(made, at, tokens=count) == expected
        card = made[0].card(made[1], "", 0)
        assert card.tier(count)[0].usd == Decimal("0.1")


def test_a_service_tier_selects_its_variant_and_leaves_the_other_prices() -> None:
    variants = [PriceVariant({"service_tier": "flex"}, flat("0.5"))]
    made = book(ModelPrice(input_mtok=Decimal(1), cache_read_mtok=Decimal("0.1")), variants)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert [usd(made, at, tier) for tier in ("", "flex", "auto", "junk")] == [
        1,
        Decimal("0.5"),
        1,
        1,
    ]
    card = made[0].card(made[1], "flex", 0)
    assert [rate.usd for rate in card.tiers[0]] == [Decimal("0.1"), Decimal("0.5")]
    assert card.tiers[0][1].price_id == "genai-prices/p/m/flex0#input_mtok"


def test_cards_of_one_period_are_made_once() -> None:
    made, model = book(flat("1"))
    assert made.card(model, "", 5) is made.card(model, "", 10**18)


@pytest.mark.parametrize("usd_value", ["-1", str(RATE_USD_MAX + 1)])
def test_a_rate_out_of_bounds_is_no_price(usd_value: str) -> None:
    with pytest.raises(ValueError, match="is no price"):
        Rate(Unit("x", 1, frozenset()), Decimal(usd_value), "book/x")
