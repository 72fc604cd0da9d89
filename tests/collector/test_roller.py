"""Sums by hour and day: equal to the ledger at every moment, also when calls have gone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine import entries, entry, open_ledger
from hypothesis import HealthCheck, given, settings, strategies as st

from spanledger.collector.pruner import Pruner, prune
from spanledger.collector.roller import DAYS_MAX, HOURS_MAX, Roller
from spanledger.store.client import USERS_ROLLED_UNTIL, Store
from spanledger.store.errors import BadRows

START = datetime(2026, 10, 30, 22, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> int:
        return ns(self.now)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_ledger(tmp_path / "ledger")
    yield opened
    opened.close()


def ask(store: Store, sql: str) -> Any:
    return store._reading.run(lambda client: client.query(sql).result_rows)


def roll(roller: Roller) -> None:
    while roller.run():
        pass


def sums(store: Store, since: datetime = START) -> set[str]:
    """Calls and cost by each way of asking; one element if they agree."""
    found = set()
    day = f"'{since:%F}'"
    for view, calls, when in (
        ("calls", "count()", "start_time"),
        ("entries FINAL", "sum(calls)", "start_time"),
        ("costs_hourly", "sum(calls)", "hour"),
        ("costs_daily", "sum(calls)", "day"),
        ("users_daily", "sum(calls)", "day"),
    ):
        sql = f"SELECT {calls}, sum(cost_usd) FROM {view} WHERE {when} >= {day}"  # noqa: S608
        found.add(str(ask(store, sql)))
    return found


def call(number: int, at: datetime, **facts: Any) -> dict[str, Any]:
    return entry(number, start_time=at, known_at=at, **facts)


def test_an_hour_is_live_until_it_is_over_and_rolled_after(store: Store) -> None:
    clock = Clock(START + timedelta(minutes=10))
    roller = Roller(store, clock_ns=clock)
    store.insert(entries(call(1, START), call(2, START, customer="acme")))
    roll(roller)
    assert ask(store, "SELECT count() FROM rollup_hourly") == [(0,)]
    assert len(sums(store)) == 1
    clock.now += HOUR
    roll(roller)
    assert ask(store, "SELECT count(), sum(calls) FROM rollup_hourly") == [(2, 2)]
    assert len(sums(store)) == 1


def test_a_late_call_recomputes_its_hour_and_day(store: Store) -> None:
    clock = Clock(START + 26 * HOUR)
    roller = Roller(store, clock_ns=clock)
    store.insert(entries(call(1, START)))
    roll(roller)
    store.insert(entries(call(2, START), call(2, START), call(3, START - 20 * HOUR)))
    assert len(sums(store, START - 24 * HOUR)) == 2
    roll(roller)
    assert sums(store, START - 24 * HOUR) == {"[(3, Decimal('0.750000000000000000'))]"}


def test_what_an_hour_no_longer_has_is_gone_from_its_sums(store: Store) -> None:
    clock = Clock(START + 26 * HOUR)
    store.insert(entries(call(1, START, user_id="ada", customer="acme")))
    roll(Roller(store, clock_ns=clock))
    back = call(1, START, kind="restatement", run="r", leg=1, calls=-1, cost_usd=Decimal("-0.25"))
    store.insert(entries(back))
    everything = {
        "runs": ["r"],
        "since_us": 0,
        "first_ns": 0,
        "last_ns": 4 * 10**18,
        "first_leg": 0,
    }
    store.execute("derive_restated", everything)
    roll(Roller(store, clock_ns=clock))
    assert ask(store, "SELECT count() FROM costs_hourly") == [(0,)]
    assert ask(store, "SELECT count() FROM costs_daily") == [(0,)]
    assert ask(store, "SELECT count() FROM users_daily") == [(0,)]


def test_a_ledger_from_before_there_were_sums_of_users_gets_them_step_by_step(store: Store) -> None:
    days = [call(day, START - day * 24 * HOUR, user_id="ada") for day in range(2 * DAYS_MAX)]
    store.insert(entries(*days))
    clock = Clock(START + 2 * HOUR)
    roller = Roller(store, clock_ns=clock)
    roll(roller)
    store.keep_moment(USERS_ROLLED_UNTIL, 0)
    store.execute("forget_moments")
    store._upkeep.run(lambda client: client.command("TRUNCATE TABLE rollup_users_daily"))
    everything = [(2 * DAYS_MAX, Decimal("0.25") * 2 * DAYS_MAX)]
    for more, first_not_done in ((True, START - 3 * 24 * HOUR), (False, START + 24 * HOUR)):
        assert ask(store, "SELECT sum(calls), sum(cost_usd) FROM users_daily") == everything
        assert roller.run() is more
        until_ns = store.moment_ns(USERS_ROLLED_UNTIL)  # also another owner goes on from there
        assert until_ns == ns(first_not_done.replace(hour=0, minute=0))
    assert ask(store, "SELECT sum(calls), sum(cost_usd) FROM users") == everything
    rolled = ask(store, "SELECT count(), uniq(day) FROM rollup_users_daily")
    assert rolled == [(2 * DAYS_MAX, 2 * DAYS_MAX)]


def test_sums_of_users_go_with_their_calls(store: Store) -> None:
    month_ago = START - timedelta(days=40)
    store.insert(entries(call(1, month_ago, user_id="ada"), call(2, START, user_id="bob")))
    roll(Roller(store, clock_ns=Clock(START + 26 * HOUR)))
    assert ask(store, "SELECT user_id FROM rollup_users_daily ORDER BY ALL") == [("ada",), ("bob",)]
    prune(store, ns(START))
    assert ask(store, "SELECT user_id FROM rollup_users_daily") == [("bob",)]
    assert ask(store, "SELECT user_id, calls FROM users") == [("bob", 1)]


def test_a_pass_is_bounded(store: Store) -> None:
    hours = [call(number, START - number * HOUR) for number in range(1, 3 * HOURS_MAX)]
    store.insert(entries(*hours))
    roller = Roller(store, clock_ns=Clock(START))
    assert [roller.run() for _ in range(3)] == [True, True, False]
    assert len(sums(store, START - 100 * HOUR)) == 1


def test_a_clock_that_is_set_back_opens_no_hour_again(store: Store) -> None:
    store.insert(entries(call(1, START)))
    roll(Roller(store, clock_ns=Clock(START + 50 * HOUR)))
    store.insert(entries(call(2, START + HOUR)))
    roll(Roller(store, clock_ns=Clock(START)))
    assert len(sums(store)) == 1


def test_spend_is_the_same_from_sums_and_from_calls(store: Store) -> None:
    calls = [call(number, START + number * HOUR / 3, model="m") for number in range(12)]
    store.insert(entries(*calls))
    clock = Clock(START + 2 * HOUR)
    for since in (START, START + HOUR / 2, START + 5 * HOUR):
        live = store.spent_usd({}, since)
        roll(Roller(store, clock_ns=clock))
        assert store.spent_usd({}, since) == store.spent_usd({"user_id": ""}, since) == live
        clock.now += HOUR


def test_removing_calls_changes_no_sum_and_closes_their_time(store: Store) -> None:
    month_ago = START - timedelta(days=40)
    store.insert(entries(call(1, month_ago), call(2, month_ago, customer="acme"), call(3, START)))
    clock = Clock(START + 2 * HOUR)
    roll(Roller(store, clock_ns=clock))
    before = ask(store, "SELECT sum(calls), sum(cost_usd) FROM costs_daily")
    assert prune(store, ns(START)) == 2
    assert ask(store, "SELECT count() FROM calls") == [(1,)]
    assert ask(store, "SELECT sum(calls), sum(cost_usd) FROM costs_daily") == before
    assert ask(store, "SELECT sum(calls), sum(cost_usd) FROM costs_hourly") == before
    with pytest.raises(BadRows, match="too_old"):
        store.insert(entries(call(4, month_ago)))
    roll(Roller(store, clock_ns=clock))
    assert ask(store, "SELECT sum(calls), sum(cost_usd) FROM costs_daily") == before
    assert len(sums(store)) == 1
    assert prune(store, ns(START)) == 0


def test_a_collector_learns_of_a_seal_that_another_one_on_its_store_has_set(
    store: Store, tmp_path: Path
) -> None:
    month_ago = START - timedelta(days=40)
    clock = Clock(START + 2 * HOUR)
    other = open_ledger(tmp_path / "ledger")
    store.insert(entries(call(1, month_ago), call(2, START)))
    roll(Roller(store, clock_ns=clock))
    before = ask(store, "SELECT sum(calls), sum(cost_usd) FROM costs_daily")
    assert prune(store, ns(START)) == 1
    # It came just before the other one looked; its hour has lost its calls, not its sums.
    other.insert(entries(call(3, month_ago)))
    other.read_seal()
    roll(Roller(other, clock_ns=clock))
    assert ask(store, "SELECT sum(calls), sum(cost_usd) FROM costs_daily") == before
    with pytest.raises(BadRows, match="too_old"):
        other.insert(entries(call(4, month_ago)))
    other.close()


def test_nothing_is_removed_before_it_is_summed_up(store: Store) -> None:
    store.insert(entries(call(1, START)))
    with pytest.raises(ValueError, match="before it is in the sums"):
        prune(store, ns(START + 24 * HOUR))


def test_retention_removes_whole_months_after_their_time(store: Store) -> None:
    old, kept = START - timedelta(days=95), START - timedelta(days=70)
    store.insert(entries(call(1, old), call(2, kept), call(3, START)))
    clock = Clock(START + HOUR)
    roll(Roller(store, clock_ns=clock))
    pruner = Pruner(store, calls_days=60, sums_days=80, clock_ns=clock)
    assert not pruner.run()
    assert ask(store, "SELECT count() FROM calls") == [(2,)]
    assert ask(store, "SELECT sum(calls) FROM costs_daily") == [(2,)]
    assert len(sums(store, kept)) == 1


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_all_ways_of_asking_agree_whatever_comes_whenever(
    store: Store, data: st.DataObject
) -> None:
    tenant = f"t{data.draw(st.integers(0, 10**9))}"
    clock = Clock(START)
    roller = Roller(store, clock_ns=clock)
    moments = st.integers(0, 60).map(lambda minutes: START + timedelta(minutes=20 * minutes))
    batches = st.lists(st.tuples(st.integers(1, 30), moments), min_size=1, max_size=8)
    for batch in data.draw(st.lists(batches, min_size=1, max_size=4)):
        rows = [
            call(
                number,
                at,
                tenant=tenant,
                customer=str(number % 3),
                user_id=str(number % 4),
                cost_usd=Decimal(number) / 7,
            )
            if number % 5
            else call(number, at, tenant=tenant, cost_usd=None, cost_class="unpriced")
            for number, at in batch
        ]
        store.insert(entries(*rows))
        clock.now += data.draw(st.integers(0, 9)) * HOUR
        roll(roller)
        assert len(sums(store)) == 1
