"""Price files: what they say, which of their records holds, and what is told of a wrong one."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pricing_calls import BOOK, NOON, book_with, call, document, entry, nanoseconds, priced

from spanledger.ledger.catalog import PriceBook, ResolvedModel

MINE = ("acme-cloud", "acme-1")


def _record(**said: Any) -> dict[str, Any]:
    said = {"from_" if key == "from" else key: value for key, value in said.items()}
    return {"provider": MINE[0], "model": MINE[1], "rates": {"input_mtok": 1}} | {
        ("from" if key == "from_" else key): value for key, value in said.items()
    }


def _usd(book: PriceBook, at: datetime = NOON, tokens: int = 1_000_000, **said: Any) -> Any:
    return entry(*MINE, at, book=book, input_tokens=tokens, **said)["cost_usd"]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _faults(*prices: Any, **sections: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, fault.path))} {fault.wrong}"
        for fault in document({**({"prices": list(prices)} if prices else {}), **sections}).faults
    ]


# --- layers ---------------------------------------------------------------------------------------


def test_a_price_file_prices_a_model_that_nobody_knows() -> None:
    book = book_with({"prices": [_record()]})
    assert _usd(book) == 1
    assert entry(*MINE, input_tokens=1)["unpriced_reason"] == "unknown_provider"
    assert entry(MINE[0], "acme-2", book=book, input_tokens=1)["unpriced_reason"] == "unknown_model"


def test_a_user_s_rate_wins_unit_by_unit_and_leaves_the_rest() -> None:
    mine = {"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": 1}}
    row = entry(
        "openai",
        "gpt-4o-2024-08-06",
        book=book_with({"prices": [mine]}),
        input_tokens=1_000_000,
        output_tokens=1_000_000,
    )
    assert [line["amount_usd"] for line in row["lines"]] == [1, 10]
    ids = [line["price_id"].partition("/")[0] for line in row["lines"]]
    assert ids == ["user", "genai-prices"]


def test_the_user_wins_over_our_correction_and_that_over_the_bundled_price() -> None:
    sunday = _at("2026-11-22T02:00:00+00:00")
    asked = ("deepseek", "deepseek-v4-pro", sunday)
    assert entry(*asked, input_tokens=1_000_000)["cost_usd"] == Decimal("0.66")
    mine = {
        "provider": "deepseek",
        "model": "deepseek-v4-pro",
        "days": ["sun"],
        "rates": {"input_mtok": "0.5"},
    }
    book = book_with({"prices": [mine]})
    assert entry(*asked, book=book, input_tokens=1_000_000)["cost_usd"] == Decimal("0.5")


def test_a_fallback_prices_only_what_nothing_else_does() -> None:
    listed = [
        {"provider": "openai", "model": "gpt-4o-2024-08-06", "rates": {"input_mtok": 9}},
        {"provider": "openai", "model": "gpt-9", "rates": {"input_mtok": 9}},
    ]
    book = book_with({"fallback": True, "prices": listed})
    known = entry("openai", "gpt-4o-2024-08-06", book=book, input_tokens=1_000_000)
    assert (known["model"], known["cost_usd"]) == ("gpt-4o", Decimal("2.5"))
    assert entry("openai", "gpt-9", book=book, input_tokens=1_000_000)["cost_usd"] == 9


def test_a_model_of_the_user_s_own_has_the_prices_of_its_base_where_it_has_none() -> None:
    mine = {
        "provider": "openai",
        "model": "ft-support",
        "base": "gpt-4o",
        "names": ["support-*", "ft:gpt-4o-2024-08-06:acme:*"],
        "rates": {"input_mtok": 5},
    }
    book = book_with({"prices": [mine]})
    for name in ("ft-support", "support-v7", "ft:gpt-4o-2024-08-06:Acme:x"):
        row = entry("openai", name, book=book, input_tokens=1_000_000, output_tokens=1_000_000)
        assert (row["model"], row["cost_usd"]) == ("ft-support", 15)


def test_a_book_as_known_at_a_time_lacks_what_was_learned_later() -> None:
    late = _record(known_at="2026-11-01T00:00:00Z")
    documents = [document({"prices": [late]})]
    learned = nanoseconds(_at("2026-11-01T00:00:00+00:00"))
    for known_at_ns, cost in ((learned - 1, None), (learned, 1)):
        book = PriceBook.bundled(documents, known_at_ns=known_at_ns)
        assert _usd(book) == cost


# --- conditions -----------------------------------------------------------------------------------


def test_of_two_dated_records_the_later_holds_from_its_midnight_on() -> None:
    book = book_with(
        {"prices": [_record(), _record(**{"from": "2026-06-01"}, rates={"input_mtok": 2})]}
    )
    assert _usd(book, _at("2026-05-31T23:59:59.999999+00:00")) == 1
    assert _usd(book, _at("2026-06-01T00:00:00+00:00")) == 2


def test_dates_hours_days_holidays_and_the_zone_combine() -> None:
    peak = _record(
        **{"from": "2026-08-17", "until": "2026-12-01"},
        hours=["09:00-12:00", "22:00-02:00"],
        days=["mon-fri"],
        holidays=["2026-10-01"],
        time_zone="+08:00",
        rates={"input_mtok": 2},
    )
    book = book_with({"prices": [_record(), peak]})
    dear = [
        "2026-08-17T01:00Z",
        "2026-08-17T03:59Z",
        "2026-09-04T14:00Z",
        "2026-11-30T15:59Z",
        "2026-09-03T17:59Z",
    ]
    cheap = [
        "2026-08-14T02:00Z",
        "2026-08-17T00:59Z",
        "2026-08-17T04:00Z",
        "2026-09-05T02:00Z",
        "2026-10-01T02:00Z",
        "2026-11-30T16:00Z",
        "2026-09-04T16:00Z",
    ]
    assert [_usd(book, _at(at)) for at in dear] == [2] * len(dear)
    assert [_usd(book, _at(at)) for at in cheap] == [1] * len(cheap)


def test_hours_follow_the_daylight_saving_of_their_zone() -> None:
    night = _record(hours="00:00-06:00", time_zone="Europe/Berlin", rates={"input_mtok": "0.5"})
    book = book_with({"prices": [_record(), night]})
    half = Decimal("0.5")
    moments = {
        "2026-07-01T03:59Z": half,
        "2026-07-01T04:00Z": 1,
        "2026-01-01T04:59Z": half,
        "2026-01-01T05:00Z": 1,
    }
    rows = priced(*[call(*MINE, _at(at), input_tokens=1_000_000) for at in moments], book=book)
    assert rows.get_column("cost_usd").to_list() == list(moments.values())


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("> 200000", (200_001, 10**9), (1, 200_000)),
        (">= 200000", (200_000,), (199_999,)),
        ("(32000, 128000]", (32_001, 128_000), (32_000, 128_001)),
    ],
)
def test_a_range_of_input_says_which_end_is_in_it_and_rates_the_whole_call(
    text: str, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    ranged = _record(input_tokens=text, rates={"input_mtok": 2})
    book = book_with({"prices": [_record(), ranged]})
    for rate, counts in ((2, inside), (1, outside)):
        for tokens in counts:
            assert _usd(book, tokens=tokens) == Decimal(rate * tokens) / 10**6


def test_beyond_all_ranges_there_is_no_price() -> None:
    book = book_with({"prices": [_record(input_tokens="(0, 1000]")]})
    assert _usd(book, tokens=1_000) == Decimal("0.001")
    row = entry(*MINE, book=book, input_tokens=1_001)
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "no_rate_for_unit")


def test_a_part_without_a_rate_takes_that_of_its_whole_in_the_same_band() -> None:
    base = _record(rates={"input_mtok": 4, "cache_read_mtok": 1})
    high = _record(input_tokens="> 1000", rates={"input_mtok": 8})
    # The lower cached rate is of another record: per unit, the first that has a rate wins.
    book = book_with({"prices": [base, high]})
    assert _usd(book, tokens=2_000, cache_read_tokens=1_000) == Decimal("0.009")
    ranged = {**base, "input_tokens": "(0, 1000]"}
    book = book_with({"prices": [ranged, high]})
    assert _usd(book, tokens=2_000, cache_read_tokens=1_000) == Decimal("0.016")


def test_a_record_without_a_tier_is_the_standard_price_and_stands_in_for_others() -> None:
    book = book_with(
        {"prices": [_record(), _record(service_tier="batch", rates={"input_mtok": "0.5"})]}
    )
    assert _usd(book, service_tier="batch") == Decimal("0.5")
    assert _usd(book, service_tier="default") == 1
    row = entry(*MINE, book=book, input_tokens=1_000_000, service_tier="flex")
    assert (row["cost_usd"], row["cost_class"]) == (1, "estimated")
    every = book_with({"prices": [_record(service_tier="any")]})
    row = entry(*MINE, book=every, input_tokens=1_000_000, service_tier="flex")
    assert (row["cost_usd"], row["cost_class"]) == (1, "exact")


def test_a_tier_that_only_a_price_file_knows_is_a_tier() -> None:
    book = book_with(
        {"prices": [_record(), _record(service_tier="reserved", rates={"input_mtok": 3})]}
    )
    assert _usd(book, service_tier="Reserved") == 3


def test_a_region_multiplies_every_class_of_tokens_and_no_fee() -> None:
    usage: dict[str, Any] = {
        "input_tokens": 1_000_000,
        "cache_write_1h_tokens": 500_000,
        "output_tokens": 1_000_000,
        "web_searches": 1_000,
    }
    for region, factor in (("us", Decimal("1.1")), ("global", Decimal(1)), ("", Decimal(1))):
        row = entry("anthropic", "claude-sonnet-4-6", region=region, **usage)
        fee = Decimal(10)
        assert row["cost_usd"] == (Decimal("1.5") + Decimal(3) + Decimal(15)) * factor + fee


def test_factors_of_tier_and_region_multiply() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    row = entry(
        "anthropic",
        "claude-sonnet-4-6",
        at,
        region="us",
        service_tier="batch",
        input_tokens=1_000_000,
    )
    assert (row["cost_usd"], row["cost_class"]) == (Decimal("1.65"), "exact")


# --- units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "usage", "cost"),
    [
        ({"gpu_hours": "2.80"}, {"gpu_seconds": "7.5"}, "0.005833333333333333"),
        ({"input_audio_minutes": "0.06"}, {"input_audio_seconds": 330}, "0.33"),
        (
            {"audio_seconds": {"usd": "0.04", "per": 3600, "min": 10}},
            {"audio_seconds": 3},
            "0.000111111111111111",
        ),
        ({"output_mchars": 30}, {"output_characters": 5_000}, "0.15"),
        ({"images": 1, "images_4k": 2}, {"images_4k": 3, "images_1k": 1}, "7"),
        ({"images_8k": 5}, {"images_8k": 2}, "10"),
        ({"video_seconds": "0.1"}, {"video_seconds_720p": 10}, "1"),
        ({"ptu_hours": 1}, {"ptu_hours": 1_200}, "1200"),
        ({"gb_months": "0.02"}, {"gb_months": "1.5"}, "0.03"),
        (
            {"requests": "0.01"},
            {"input_tokens": 0, "gpu_seconds": 0, "web_searches": 0, "images": 0},
            "0.01",
        ),
        ({"input_ktok": "0.003"}, {"input_tokens": 1_000}, "0.003"),
        ({"widgets": 7}, {"widgets": 3}, "21"),
        ({"input_document_kpages": 4}, {"input_document_pages": 10}, "0.04"),
    ],
)
def test_any_unit_can_be_priced(rates: dict[str, Any], usage: dict[str, Any], cost: str) -> None:
    book = book_with({"prices": [_record(rates=rates)]})
    row = entry(*MINE, book=book, **usage)
    assert (row["cost_usd"], row["cost_class"]) == (Decimal(cost), "exact")


def test_what_the_account_may_use_for_nothing_bounds_the_call() -> None:
    free = _record(
        rates={"input_mtok": 1, "web_searches": "0.01"},
        free_allowance={"web_searches": "100 a day"},
    )
    book = book_with({"prices": [free]})
    row = entry(*MINE, book=book, input_tokens=1_000_000, web_searches=2)
    money = [row[name] for name in ("cost_low_usd", "cost_usd", "cost_high_usd")]
    assert (row["cost_class"], money) == ("bounded", [1, Decimal("1.02"), Decimal("1.02")])
    assert entry(*MINE, book=book, input_tokens=1_000_000)["cost_class"] == "exact"


# --- contracts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "cost"),
    [
        ({"discount_percent": 22}, "1.95"),
        ({"margin_percent": 10}, "2.75"),
        ({"rates": {"input_mtok": 2}}, "2"),
        ({"rates": {"input_mtok": 2}, "margin_percent": 50}, "3"),
        ({"discount_percent": 100}, "0"),
    ],
)
def test_a_contract_changes_the_cost_and_keeps_the_list_price(
    terms: dict[str, Any], cost: str
) -> None:
    book = book_with(
        {"contracts": [{"name": "c1", "provider": "openai", "model": "gpt-*", **terms}]}
    )
    row = entry("openai", "gpt-4o", book=book, input_tokens=1_000_000)
    assert (row["cost_usd"], row["list_cost_usd"]) == (Decimal(cost), Decimal("2.5"))
    (line,) = row["lines"]
    assert (line["amount_usd"], "contract/c1" in line["price_id"]) == (Decimal(cost), True)
    other = entry("anthropic", "claude-sonnet-4-6", book=book, input_tokens=1_000_000)
    assert other["cost_usd"] == other["list_cost_usd"] == 3


def test_a_contract_holds_in_its_time_and_the_first_of_two_wins() -> None:
    contracts = [
        {"name": "old", "provider": "openai", "until": "2026-06-01", "discount_percent": 50},
        {"name": "new", "discount_percent": 10},
    ]
    book = book_with({"contracts": contracts})
    for at, cost in (("2026-05-31T12:00Z", "1.25"), ("2026-06-01T00:00Z", "2.25")):
        row = entry("openai", "gpt-4o", _at(at), book=book, input_tokens=1_000_000)
        assert row["cost_usd"] == Decimal(cost)


def test_beside_a_contract_calls_without_one_keep_their_list_price() -> None:
    book = book_with({"contracts": [{"name": "c", "model": "gpt-4o", "discount_percent": 20}]})
    rows = priced(
        call("openai", "gpt-4o", input_tokens=1_000_000),
        call("openai", "gpt-4o-mini", input_tokens=1_000_000),
        call("openai", "acme-1", input_tokens=1),
        book=book,
    )
    money = rows.select("cost_usd", "list_cost_usd").rows()
    assert money == [(2, Decimal("2.5")), (Decimal("0.15"), Decimal("0.15")), (None, None)]


@pytest.mark.parametrize(
    "more",
    [
        {"multiply": {"web_searches": 1_000}},
        {"contract": {"name": "c", "margin_percent": 10_000}},
    ],
)
def test_a_product_that_money_has_no_room_for_is_no_price(more: dict[str, Any]) -> None:
    prices = [_record(rates={"web_searches": 1_000_000})]
    if "multiply" in more:
        prices.append({"provider": MINE[0], "model": MINE[1], "region": "x", **more})
    contracts = [more["contract"]] if "contract" in more else []
    book = book_with({"prices": prices, "contracts": contracts})
    row = entry(*MINE, book=book, region="x", web_searches=1)
    assert (row["cost_usd"], row["unpriced_reason"]) == (None, "no_rate_for_unit")


def test_nothing_wraps_at_the_caps_of_quantity_and_rate() -> None:
    least = "0." + "0" * 17 + "1"
    book = book_with({"prices": [_record(rates={"widgets": 1_000_000, "gadgets": least})]})
    calls = [
        call(*MINE, widgets=1_000),
        call(*MINE, gadgets=10**12),
        call(*MINE, widgets=1_000, gadgets=1),
        call(*MINE, widgets=10**12),
        call(*MINE, gadgets=10**12 + 1),
    ]
    rows = priced(*calls * 1_000, book=book)
    assert (
        rows.get_column("cost_usd").to_list()
        == [
            *(Decimal(10**9), Decimal(10) ** -6),
            *[None] * 3,
        ]
        * 1_000
    )
    assert set(rows.get_column("unpriced_reason")) == {"", "usage_invalid"}


# --- the book as a whole --------------------------------------------------------------------------


def test_every_line_s_price_id_stands_in_the_snapshot() -> None:
    files = {"prices": [_record()], "contracts": [{"name": "c", "discount_percent": 5}]}
    book = book_with(files)
    ids = {row.price_id for row in book.snapshot()}
    keys = [(row.price_id, row.model, row.unit) for row in book.snapshot()]
    assert len(set(keys)) == len(keys) > 8_000
    row = entry(*MINE, book=book, input_tokens=10)
    base, _, factor = row["lines"][0]["price_id"].partition(" *")
    assert {base, factor.partition(" ")[2]} <= ids


def test_the_version_changes_with_what_a_price_file_says_and_with_nothing_else() -> None:
    one, two = ({"prices": [_record(rates={"input_mtok": usd})]} for usd in (1, 2))
    assert book_with(one).version == book_with(one).version != book_with(two).version
    assert BOOK.version == PriceBook.bundled().version != book_with(one).version


@pytest.mark.parametrize(
    ("key", "one", "two"),
    [
        ("region", "eu", "us"),
        ("from", "2026-01-01", "2026-02-01"),
        ("holidays", ["2026-12-25"], ["2026-12-26"]),
    ],
)
def test_the_version_changes_with_a_condition_of_a_factor(key: str, one: Any, two: Any) -> None:
    factor = {"provider": "openai", "model": "gpt-4o", "multiply": {"tokens": 2}, "days": ["sun"]}
    books = (book_with({"prices": [{**factor, key: value}]}) for value in (one, one, two))
    first, same, other = (book.version for book in books)
    assert first == same != other


# --- what is wrong --------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_at_once_with_its_place() -> None:
    wrong = _record(
        tier="flex",
        **{"from": "2026-13-01"},
        hours="9-12",
        days=["someday"],
        time_zone="Mars",
        input_tokens="200000",
        rates={"inptu_mtok": 1, "output_mtok": -1},
    )
    told = _faults(wrong, {"model": "x"}, "text", contracts=[{"name": "c"}], alias={})
    starts = [
        "alias is no key",
        "prices.2 is no entry",
        "prices.0.tier is no key",
        "prices.0.input_tokens is no range",
        "prices.0.time_zone is no time zone",
        "prices.0.from is no date",
        "prices.0.hours has",
        "prices.0.days has",
        "prices.0.rates.inptu_mtok is no unit",
        "prices.0.rates.output_mtok is no price",
        "prices.1 has no provider",
        "prices.1 has no rates",
        "contracts.0 changes no price",
    ]
    assert all(any(each.startswith(start) for each in told) for start in starts), told
    assert len(told) == len(starts)


@pytest.mark.parametrize(
    ("rates", "warned"),
    [
        ({"input_ktok": "2.50"}, False),
        ({"input_ktok": 15}, True),
        ({"input_tokens": "2.50"}, True),
        ({"input_mtok": "0.0000025"}, True),
        ({"input_mtok": "2.50"}, False),
        ({"input_mtok": 0}, False),
        ({"gpu_hours": 28_000}, False),
    ],
)
def test_a_figure_for_another_number_of_tokens_is_warned_about(
    rates: dict[str, Any], *, warned: bool
) -> None:
    faults = document({"prices": [_record(rates=rates)]}).faults
    assert [fault.is_warning for fault in faults] == [True] * warned


def test_two_records_of_which_neither_is_narrower_or_later_are_told() -> None:
    twin = _record(rates={"input_mtok": 2})
    assert _faults(_record(), twin) == ["prices.1 prices the same as entry 0 at the same time"]
    apart: list[dict[str, Any]] = [
        {"from": "2026-06-01"},
        {"service_tier": "flex"},
        {"region": "us"},
        {"hours": "01:00-02:00"},
        {"input_tokens": "> 5"},
        {"rates": {"output_mtok": 1}},
        {"model": "acme-2"},
    ]
    for condition in apart:
        assert _faults(_record(), twin | condition) == []
    nights = [{"hours": "01:00-04:00"}, {"hours": "06:00-10:00"}]
    assert _faults(*(_record(**night) for night in nights)) == []


@pytest.mark.parametrize(
    "junk",
    [
        None,
        [],
        "text",
        5,
        {"prices": 5},
        {"contracts": {"a": 1}},
        {"aliases": ["x"]},
        {"aliases": {"azure": "x"}},
    ],
)
def test_junk_is_no_price_file(junk: Any) -> None:
    assert document(junk).errors


@pytest.mark.parametrize("usd", ["-1", "1000001", 1.5, True, None, "x", "0." + "0" * 18 + "1"])
def test_an_amount_that_money_has_no_room_for_is_refused(usd: Any) -> None:
    assert document({"prices": [_record(rates={"input_mtok": usd})]}).errors


# --- aliases --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("azure.ai.openai", "My-Deployment", "gpt-4o"),
        ("azure", "prod-eu-7", "gpt-4o-mini"),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123",
            "regional.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        ("openai", "house-model", "gpt-4o"),
        ("vllm", "house-model", "acme-1"),
    ],
)
def test_a_deployment_stands_for_the_model_that_the_user_says(
    provider: str, name: str, model: str
) -> None:
    aliases = {
        "azure": {"my-deployment": "gpt-4o", "prod-*": "gpt-4o-mini"},
        "aws.bedrock": {"abc123": "us.anthropic.claude-haiku-4-5-20251001-v1:0"},
        "vllm": {"house-model": "acme-1"},
        "*": {"house-model": "gpt-4o"},
    }
    mine = {"provider": "vllm", "model": "acme-1", "rates": {"gpu_hours": 2}}
    found = book_with({"aliases": aliases, "prices": [mine]}).resolve(provider, name, "")
    assert isinstance(found, ResolvedModel)
    assert found.model == model
