"""Verification over a real ledger: a sound one is sound, and whatever is tampered with is told.

One ledger with a tenant for each kind of tampering: the same calls, some settled, some priced anew,
all summed up, and those of the first day removed.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pytest
from doubles import charges_of
from ledgers import Ledger, as_of_now, settle
from pricing_calls import BOOK, book_with, call, priced

from spanledger.collector.price_keeper import keep
from spanledger.collector.pruner import prune
from spanledger.collector.repricer import Stretch as Repriced, restate
from spanledger.collector.roller import Roller
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.pricing import price
from spanledger.reports.export import ROWS_MAX
from spanledger.reports.verify import CHECKS, Verdict, extent, verify
from spanledger.reports.verify_sums import Stretch, Upkeep
from spanledger.store.client import READING

DAY = datetime(2026, 9, 21, tzinfo=UTC)  # of the capture
CONTRACT = {"name": "acme", "provider": "openai", "model": "*", "discount_percent": 10}
CHEAPER = book_with({"contracts": [CONTRACT]})
NOW_US = 1_900_000_000 * 10**6

PLAIN = "kind = 'charge' AND provider = 'gcp.gemini' AND cost_class = 'exact'"
BOUNDED = "kind = 'charge' AND provider = 'gcp.gemini' AND cost_class = 'bounded'"
GEMINI = "provider = 'gcp.gemini'"
MONEY = ("cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd")


class Tampering(NamedTuple):
    """What is done to which rows of a tenant, and which checks have to tell it."""

    table: str
    does: str
    rows: str
    told_by: set[str]


def more(*names: str) -> str:
    """Money that is larger by the smallest there is."""
    return ", ".join(f"{name} = {name} + toDecimal128('1e-18', 18)" for name in names)


def twice(*names: str) -> str:
    return ", ".join(f"{name} = {name} * 2" for name in names)


def lines(rate: str = "l.rate_usd", amount: str = "l.amount_usd", price: str = "l.price_id") -> str:
    """Every line with something else in it."""
    return f"lines = arrayMap(l -> (l.unit, l.quantity, {rate}, l.per, {amount}, {price}), lines)"


ONE_MORE = lines(amount="l.amount_usd + toDecimal128('1e-18', 18)")
ALL_TWICE = f"{lines('l.rate_usd * 2', 'l.amount_usd * 2')}, {twice(*MONEY)}"
TAMPERING: Mapping[str, Tampering] = {
    what: Tampering(table, does, rows, set(told_by.split()))
    for what, table, does, rows, told_by in [
        ("a cost", "entries", more(*MONEY[:3]), PLAIN, "lines recompute sums"),
        ("an amount", "entries", ONE_MORE, PLAIN, "lines recompute"),
        ("a rate and all of it", "entries", ALL_TWICE, PLAIN, "prices recompute sums"),
        ("a price", "entries", lines(price="'made/up'"), PLAIN, "prices recompute"),
        ("a list cost", "entries", more("list_cost_usd"), PLAIN, "prices recompute sums"),
        ("a bound", "entries", "cost_low_usd = cost_high_usd", BOUNDED, "lines recompute sums"),
        ("a count", "entries", "input_tokens = input_tokens + 1", PLAIN, "recompute sums"),
        ("a model", "entries", "response_model = 'gemini-2.5-flash'", PLAIN, "recompute"),
        (
            "why a call has no price",
            "entries",
            "unpriced_reason = ''",
            "cost_class = 'unpriced'",
            "lines recompute sums",
        ),
        (
            "the booking of a settlement",
            "entries",
            "DELETE",
            "reason = 'settled' AND leg = 2",
            "legs sums",
        ),
        ("what it took back", "entries", "DELETE", "reason = 'settled' AND leg = 1", "legs sums"),
        ("from whom", "entries", "user_id = 'eve'", "reason = 'settled' AND leg = 1", "legs sums"),
        ("a new price", "entries", "DELETE", "reason = 'repriced' AND leg = 2", "legs sums"),
        (
            "a reported cost taken back",
            "entries",
            "cost_reported_usd = 1",
            "reason = 'repriced' AND leg = 1",
            "legs",
        ),
        (
            "the charge of a corrected call",
            "entries",
            "DELETE",
            "kind = 'charge' AND provider = 'openai'",
            "legs sums",
        ),
        ("a sum by hour", "rollup_hourly", more("cost_usd"), GEMINI, "sums"),
        ("an hour", "rollup_hourly", "DELETE", f"{GEMINI} AND hour >= '2026-09-21'", "sums"),
        ("a sum by day", "rollup_daily", "output_tokens = output_tokens - 1", GEMINI, "sums"),
        ("a day of removed calls", "rollup_daily", "calls = 9", "day = '2026-09-20'", "sums"),
        ("a sum of a user", "rollup_users_daily", more("cost_usd"), "user_id = 'ada'", "sums"),
        ("a user", "rollup_users_daily", "DELETE", "user_id = 'ada'", "sums"),
        (
            "what a corrected call is now",
            "restated",
            more("cost_usd"),
            "calls > 0 AND provider = 'openai'",
            "sums",
        ),
    ]
}
LATE = DAY + timedelta(days=4)  # an hour of its own
TENANTS = {what: f"t{number:02}" for number, what in enumerate(["nothing", *TAMPERING])}


def delivered(tenant: str) -> pl.DataFrame:
    """What a tenant sent: observations of one call, and calls of every class."""
    at = DAY + timedelta(hours=12)
    usage = {"input_tokens": 90_000, "cache_read_tokens": 1_234, "output_tokens": 777}
    calls = [
        call("gcp.gemini", "gemini-2.5-pro", at, **usage),
        call("gcp.gemini", "gemini-2.5-pro", at, **usage, convention="assumed"),
        call("gcp.gemini", "nobody-knows", at, **usage),
        call("openai", "gpt-5", at + timedelta(hours=1), **usage, service_tier="flex"),
        call("groq", "whisper-large-v3", at, input_audio_seconds="12.345678901"),
        call("gcp.gemini", "gemini-2.5-pro", DAY - timedelta(hours=12), **usage),
    ]
    for number, row in enumerate(calls, 1):
        row |= {"trace_id": number.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
        row |= {"parent_span_id": bytes(8), "user_id": "ada", "scope_name": "one"}
    both = pl.concat([priced(*calls), charges_of("openllmetry-langchain-both")])
    return both.with_columns(tenant=pl.lit(tenant))


def late(number: int) -> pl.DataFrame:
    """A call in an hour that nobody else has calls in."""
    row = call("openai", "gpt-4o", LATE, input_tokens=number, tenant="late")
    row |= {"trace_id": number.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
    return priced(row | {"parent_span_id": bytes(8), "operation": "chat"})


def asker(ledger: Ledger) -> Any:
    session = ledger.store.open_session({**READING, "readonly": 2})

    def ask(text: str, parameters: Mapping[str, Any]) -> pa.Table:
        return session.run(lambda client: client.query_arrow(text, parameters=dict(parameters)))

    return ask


def roll(ledger: Ledger) -> None:
    roller = Roller(ledger.store)
    while roller.run():
        pass


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    made = Ledger(tmp_path_factory.mktemp("verified") / "ledger")
    keep(made.store, BOOK, time.time_ns())
    made.deliver(pl.concat([delivered(tenant) for tenant in TENANTS.values()]))
    made.deliver(late(1))
    settle(made.settler())
    keep(made.store, CHEAPER, time.time_ns())
    openai = Repriced(0, 4 * 10**18, providers=["openai"])
    restate(
        made.store,
        openai,
        lambda calls: price(calls, CHEAPER, known_at_ns=0),
        "p1-cheaper",
        time.time_ns(),
    )
    roll(made)
    prune(made.store, int(DAY.timestamp()) * 10**9)
    yield made
    made.store.close()


def verdict_on(
    ledger: Ledger, *tenants: str, book: PriceBook = BOOK, rows_max: int = ROWS_MAX
) -> Verdict:
    ask = asker(ledger)
    there = extent(ask)
    assert there is not None
    stretch = Stretch(*there, tenants, examples_max=1_000)
    upkeep = Upkeep.read(ask, NOW_US, 0)
    return verify(
        ask,
        stretch,
        upkeep,
        lambda calls: price(calls, book, known_at_ns=0),
        book.version,
        rows_max=rows_max,
    )


@pytest.fixture(scope="module")
def sound(ledger: Ledger) -> list[Verdict]:
    """Verdicts with two books, and in pieces that divide instants; nothing is tampered with yet."""
    alone = TENANTS["nothing"]
    return [
        verdict_on(ledger, book=CHEAPER),
        verdict_on(ledger, alone),
        verdict_on(ledger, alone, rows_max=4),
    ]


@pytest.fixture(scope="module")
def told(ledger: Ledger, sound: list[Verdict]) -> pl.DataFrame:
    """All that is found when every tenant but one was tampered with."""
    statements: dict[str, list[str]] = {}
    for what, tampering in TAMPERING.items():
        verb = tampering.does if tampering.does == "DELETE" else f"UPDATE {tampering.does}"
        mine = f"{verb} WHERE tenant = '{TENANTS[what]}' AND {tampering.rows}"
        statements.setdefault(tampering.table, []).append(mine)
    for table, commands in statements.items():
        sql = f"ALTER TABLE {table} {', '.join(commands)} SETTINGS mutations_sync = 2"
        ledger.store._upkeep.run(methodcaller("command", sql))
    verdict = verdict_on(ledger)
    assert not verdict.is_sound
    assert verdict.wrong.total() == verdict.examples().height
    return verdict.examples()


def test_what_was_settled_priced_anew_and_removed_is_sound(sound: list[Verdict]) -> None:
    for verdict in sound:
        assert verdict.examples().rows() == []
        assert verdict.is_sound
        assert all(verdict.looked_at[name] > 0 for name in CHECKS)
        assert verdict.told["other_book"] > 0
        assert verdict.told["before_prices"] == verdict.told["unsettled_spans"] == 0


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_told_by_the_checks_that_it_concerns(told: pl.DataFrame, what: str) -> None:
    found = told.filter(tenant=TENANTS[what])
    assert set(found["check"]) == TAMPERING[what].told_by
    assert found.filter(pl.col("booked") == pl.col("comes_out")).rows() == []
    assert found.filter((pl.col("why") == "") | (pl.col("entry") == "")).rows() == []


def test_pieces_that_divide_an_instant_divide_no_span(sound: list[Verdict]) -> None:
    _, whole, small = sound
    assert small.looked_at == whole.looked_at


def test_what_comes_in_between_two_questions_is_no_fault(ledger: Ledger) -> None:
    asked = asker(ledger)
    numbers = iter(range(2, 100))

    def ask(text: str, parameters: Mapping[str, Any]) -> pa.Table:
        if "sums" in text.split("\n", 1)[0]:
            ledger.deliver(late(next(numbers)))
        return asked(text, parameters)

    moment_ns = int(LATE.timestamp()) * 10**9
    stretch = Stretch(moment_ns, moment_ns + 3_600 * 10**9, tenants=["late"])
    upkeep = Upkeep.read(ask, NOW_US, 0)
    verdict = verify(ask, stretch, upkeep, as_of_now, BOOK.version)
    assert next(numbers) > 2
    assert verdict.is_sound
    assert verdict.looked_at["lines"] > 0


def test_what_was_left_alone_stays_sound(told: pl.DataFrame) -> None:
    assert TENANTS["nothing"] not in set(told["tenant"])
