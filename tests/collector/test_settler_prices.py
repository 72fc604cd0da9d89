"""What a settled call costs follows from what was recorded, never from when it was settled."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ledgers import Ledger, settle
from recorded import OBSERVED, Prices, Truth, insert, reported

from spanledger.collector.present import LATEST_NS
from spanledger.collector.repricer import Stretch, restate

BEGIN_NS = 1_800_000_000 * 10**9
HALFWAY = datetime(2026, 9, 21, 18, 40, tzinfo=UTC)  # half of the captured calls began later


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    opened = Ledger(tmp_path_factory.mktemp("prices") / "ledger")
    yield opened
    opened.store.close()


def batches(chance: random.Random, numbers: list[int], repeats: int) -> Iterator[list[int]]:
    """In any order, split anywhere, some of them again."""
    order = [*numbers, *chance.choices(numbers, k=repeats)]
    chance.shuffle(order)
    while order:
        size = chance.randint(1, 40)
        yield list(dict.fromkeys(order[:size]))
        order = order[size:]


@pytest.mark.parametrize("seed", range(2))
def test_any_order_split_repetition_restart_and_reload_of_prices_costs_what_was_recorded_first(
    ledger: Ledger, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes a failure repeatable
    tenant = f"reloaded-{seed}"
    clock_ns = count(BEGIN_NS, step=10**9)
    prices = Prices(tmp_path / "data")
    truth = Truth(prices)
    settler = ledger.settler(prices.books.prices_of, clock_ns=clock_ns.__next__)
    everything = list(range(OBSERVED.height))
    for turn, numbers in enumerate(batches(chance, everything, repeats=40)):
        charges = prices.record(numbers, tenant, next(clock_ns))
        truth.recorded(charges)
        ledger.deliver(charges)
        if chance.random() < 0.6:
            prices.use(chance.choice([0, 10, 30, 60]))
        if chance.random() < 0.4:
            settle(settler)
        if turn == 3:
            ledger.reopen()
            prices.restart()
            settler = ledger.settler(prices.books.prices_of, clock_ns=clock_ns.__next__)
    settle(settler)
    assert reported(ledger.query, tenant) == truth.totals()


@pytest.mark.parametrize("seed", [1, 11])
def test_two_collectors_that_reload_apart_and_write_late_agree_on_what_was_recorded_first(
    ledger: Ledger, tmp_path: Path, seed: int
) -> None:
    """An earlier record may come after the later one was settled; the settler has both's books."""
    chance = random.Random(seed)  # noqa: S311 - likewise
    tenant = f"two-{seed}"
    clock_ns = count(BEGIN_NS, step=10**9)
    prices = Prices(tmp_path / "data")
    truth = Truth(prices)
    settler = ledger.settler(prices.books.prices_of, clock_ns=clock_ns.__next__)
    waiting: list[Any] = []
    everything = list(range(OBSERVED.height))
    for numbers in batches(chance, everything, repeats=OBSERVED.height):
        prices.use(chance.choice([0, 20, 40]))
        waiting.append(prices.record(numbers, tenant, next(clock_ns)))
        truth.recorded(waiting[-1])
        while waiting and chance.random() < 0.6:
            insert(ledger.store, waiting.pop(chance.randrange(len(waiting))))
        if chance.random() < 0.5:
            settle(settler)
    for charges in waiting:
        insert(ledger.store, charges)
    settle(settler)
    assert reported(ledger.query, tenant) == truth.totals()


@pytest.mark.parametrize("times", [1, 2])
def test_a_correction_of_prices_holds_for_an_earlier_record_that_comes_after_it(
    ledger: Ledger, tmp_path: Path, times: int
) -> None:
    """Two collectors recorded each call at prices of their own; the first is slow to write."""
    tenant = f"corrected-{times}"
    prices = Prices(tmp_path / "data")
    settler = ledger.settler(prices.books.prices_of)
    known_at_ns = BEGIN_NS - 1
    lone = OBSERVED.filter(response_id="")["number"].to_list()[:9]
    for percent in [60, 40][:times]:
        prices.use(percent)
        insert(ledger.store, prices.record(lone, tenant, known_at_ns))
        settle(settler)
        prices.use(percent - 10)
        now_ns = BEGIN_NS + 10**9 * (100 - percent)
        stretch = Stretch(0, LATEST_NS, tenants=[tenant])
        now = prices.books.prices_of(prices.book.version)
        restate(ledger.store, stretch, now, f"to {percent}", now_ns)
        known_at_ns -= 10**9
    corrected = costs(ledger, tenant)
    prices.use(20)
    earliest = prices.record(lone, tenant, known_at_ns)
    insert(ledger.store, earliest)
    for _ in range(2):
        settle(settler)
        assert costs(ledger, tenant) == costs(ledger, tenant, "entries FINAL") == corrected
        settler = ledger.settler(prices.books.prices_of)
    before = ledger.query(f"SELECT count() FROM entries FINAL WHERE tenant = '{tenant}'")  # noqa: S608
    insert(ledger.store, earliest)
    settle(settler)
    sql = f"SELECT count() FROM entries FINAL WHERE tenant = '{tenant}'"  # noqa: S608
    assert ledger.query(sql) == before


def costs(ledger: Ledger, tenant: str, view: str = "calls") -> Any:
    sums = "sum(cost_usd), sum(list_cost_usd), sum(output_tokens)"
    return ledger.query(f"SELECT {sums} FROM {view} WHERE tenant = '{tenant}'")  # noqa: S608


def test_prices_from_a_date_on_cost_the_same_whenever_they_are_loaded(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Before the first call they concern: who loads them in time has one truth in all orders."""
    start = OBSERVED["start_time"]
    before = [number for number in range(OBSERVED.height) if start[number] < HALFWAY]
    after = [number for number in range(OBSERVED.height) if start[number] >= HALFWAY]
    assert min(len(before), len(after)) > OBSERVED.height // 4
    told = []
    for seed in range(3):
        chance = random.Random(seed)  # noqa: S311 - likewise
        tenant = f"dated-{seed}"
        clock_ns = count(BEGIN_NS, step=10**9)
        prices = Prices(tmp_path / str(seed))
        settler = ledger.settler(prices.books.prices_of, clock_ns=clock_ns.__next__)
        orders = [*batches(chance, before, 20), *batches(chance, [*before, *after], 20)]
        reload_at = chance.randrange(3)
        for turn, numbers in enumerate(orders):
            if turn == reload_at:
                prices.use(30, since=HALFWAY)
            ledger.deliver(prices.record(numbers, tenant, next(clock_ns)))
            if chance.random() < 0.3:
                settle(settler)
        settle(settler)
        told.append(reported(ledger.query, tenant))
    truth = Truth(prices)
    truth.recorded(prices.record(list(range(OBSERVED.height)), "t", BEGIN_NS))
    assert told == [truth.totals()] * 3
