from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client

from spanledger.reports.summary import ClassTotal, Group, Summary, Totals, Unpriced, load

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def answer(ledger: Client) -> Summary:
    return load(ledger, start=NOON, end=NOON + timedelta(hours=1))


def test_totals_keep_every_digit_and_count_what_is_not_known(answer: Summary) -> None:
    assert answer.totals == Totals(
        calls=5,
        failed_calls=1,
        unpriced_calls=1,
        cost_usd=Decimal("1.000000000000000001"),
        cost_low_usd=Decimal("0.950000000000000001"),
        cost_high_usd=Decimal("1.150000000000000001"),
        input_tokens=400,
        cache_read_tokens=160,
        cache_write_tokens=20,
        output_tokens=40,
        reasoning_tokens=5,
    )


def test_classes_come_dearest_first_and_unpriced_has_no_money(answer: Summary) -> None:
    assert answer.by_class == (
        ClassTotal("bounded", 1, Decimal("0.75")),
        ClassTotal("exact", 3, Decimal("0.250000000000000001")),
        ClassTotal("unpriced", 1, None),
    )


def test_models_are_told_apart_by_who_is_paid(answer: Summary) -> None:
    assert [(group.provider, group.name, group.cost_usd) for group in answer.by_model] == [
        ("anthropic", "claude-sonnet-4-6", Decimal("0.75")),
        ("openai", "gpt-4o", Decimal("0.250000000000000001")),
        ("openai", "gpt-4o-mini", Decimal(0)),
        ("openai", "acme-llm-1", None),
    ]


def test_a_group_has_the_tokens_of_all_its_calls_and_the_cost_of_the_priced_ones(
    answer: Summary,
) -> None:
    assert answer.by_user[0] == Group(
        name="grace",
        calls=2,
        unpriced_calls=1,
        cost_usd=Decimal("0.75"),
        input_tokens=200,
        cache_read_tokens=80,
        cache_write_tokens=20,
        output_tokens=20,
        reasoning_tokens=5,
    )


def test_calls_that_name_no_user_are_a_group_too(answer: Summary) -> None:
    assert {group.name: group.calls for group in answer.by_user} == {"grace": 2, "ada": 2, "": 1}
    assert {group.name: group.calls for group in answer.by_feature} == {
        "chat": 2,
        "search": 2,
        "": 1,
    }
    assert {group.name: group.calls for group in answer.by_customer} == {"acme": 3, "": 2}


def test_unpriced_calls_say_why(answer: Summary) -> None:
    assert answer.unpriced == (Unpriced("openai", "acme-llm-1", "unknown_model", 1, 100, 10),)


def test_the_range_is_half_open_to_the_microsecond(ledger: Client) -> None:
    tick = timedelta(microseconds=1)
    assert load(ledger, start=NOON - tick, end=NOON).totals.calls == 1
    assert load(ledger, start=NOON - tick, end=NOON + tick).totals.calls == 6
    assert load(ledger, start=NOON + tick, end=NOON + timedelta(hours=1)).totals.calls == 0


def test_times_of_any_zone_are_understood(ledger: Client) -> None:
    start = NOON.astimezone(timezone(timedelta(hours=9)))
    assert load(ledger, start=start, end=start + timedelta(hours=1)).totals.calls == 5


def test_an_empty_range_of_the_ledger_has_no_cost_rather_than_zero(ledger: Client) -> None:
    answer = load(ledger, start=NOON + timedelta(days=1), end=NOON + timedelta(days=2))
    assert answer.totals.cost_usd is None
    assert (answer.by_model, answer.by_class, answer.unpriced) == ((), (), ())


def test_a_range_that_makes_no_sense_is_refused_with_both_ends(ledger: Client) -> None:
    with pytest.raises(ValueError, match=r"starts at 2026-11-01 12.*ends at 2026-11-01 12"):
        load(ledger, start=NOON, end=NOON)
    with pytest.raises(ValueError, match="with a zone"):
        load(ledger, start=NOON.replace(tzinfo=None), end=NOON)
