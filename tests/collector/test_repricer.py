"""Repricing over a real ledger: new money for old calls, and nothing else."""

import random
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from doubles import BOOK, TRUE_CALLS, charges_of
from engine import NOON, entries, entry
from ledgers import Ledger, as_of_now, settle
from polars.testing import assert_frame_equal

from spanledger.collector.repricer import Stretch, pieces, restate
from spanledger.collector.roller import Roller
from spanledger.ledger.catalog import PriceBook, read_document
from spanledger.ledger.pricing import price
from spanledger.ledger.repricing import REPRICED
from spanledger.ledger.restatement import bookings, legs_from_arrow, reversals
from spanledger.ledger.schema import CALLS, ENTRIES
from spanledger.ledger.settlement_merge import Price
from spanledger.store.errors import StoreUnavailable

EVERYTHING = Stretch(0, 4 * 10**18)
LATER_NS = 1_900_000_000 * 10**9  # after all captures
OBSERVED = pl.concat([charges_of(capture) for capture in TRUE_CALLS])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger")
    yield opened
    opened.store.close()


@cache
def at_discount(percent: int) -> Price:
    """What everything costs at a discount from everybody."""
    contracts = [
        {"name": f"d{percent}-{who}", "provider": who, "model": "*", "discount_percent": percent}
        for who in OBSERVED["provider"].unique().sort()
    ]
    document = read_document({"contracts": contracts}, "user", BOOK.units)
    assert not document.errors, document.errors
    book = PriceBook.bundled([document])
    return lambda calls: price(calls, book, known_at_ns=0)


def priced(observed: pl.DataFrame, prices: Price, known_at_ns: int) -> pl.DataFrame:
    calls = observed.with_columns(request=pl.lit(0, pl.UInt32)).select(CALLS.names())
    known_at = pl.lit(known_at_ns).cast(pl.Datetime("ns", "UTC"))
    return prices(calls).with_columns(known_at=known_at)


def reprice(ledger: Ledger, prices: Price, run: str = "", stretch: Stretch = EVERYTHING) -> Any:
    now_ns = time.time_ns()
    return restate(ledger.store, stretch, prices, run or f"run {now_ns}", now_ns, calls_max=40)


def roll(ledger: Ledger) -> None:
    roller = Roller(ledger.store, clock_ns=lambda: LATER_NS)
    while roller.run():
        pass


def sums(ledger: Ledger, view: str = "calls") -> Any:
    calls = "sum(calls)" if view != "calls" and "as_of" not in view else "count()"
    return ledger.query(f"SELECT sum(cost_usd), {calls} FROM {view}")  # noqa: S608 - ours


def by_dimension(ledger: Ledger) -> dict[str, Any]:
    return {
        name: ledger.query(
            f"SELECT {name}, count(), sum(cost_usd), sum(list_cost_usd) FROM calls"  # noqa: S608
            f" GROUP BY {name} ORDER BY {name}"
        )
        for name in ("user_id", "customer", "model", "provider", "service", "cost_class")
    }


@pytest.mark.parametrize("seed", range(1))
def test_however_observations_and_prices_come_the_end_is_the_same(
    tmp_path: Path, seed: int
) -> None:
    """Delivered in any order, settled and priced anew in between; each moment stays as it was."""
    chance = random.Random(seed)  # noqa: S311 - a seed makes a failure repeatable
    ledger = Ledger(tmp_path / "mixed")
    order = [*range(OBSERVED.height), *(chance.randrange(OBSERVED.height) for _ in range(40))]
    chance.shuffle(order)
    settler = ledger.settler()
    told: dict[int, Any] = {}
    while order:
        size = chance.randint(1, 70)
        batch, order = order[:size], order[size:]
        rows = OBSERVED[batch].unique(maintain_order=True, subset=["trace_id", "span_id"])
        ledger.deliver(priced(rows, at_discount(chance.choice([0, 10])), time.time_ns()))
        if chance.random() < 0.5:
            settle(settler)
        if chance.random() < 0.5:
            reprice(ledger, at_discount(chance.choice([0, 10, 25])))
        told[time.time_ns()] = sums(ledger)
    ledger.reopen()
    settle(ledger.settler())
    reprice(ledger, at_discount(25))
    roll(ledger)
    views = ("calls", "entries FINAL", "costs_hourly", "costs_daily", "services")
    assert len({str(sums(ledger, view)) for view in views}) == 1
    for moment_ns, then in told.items():
        moment = f"fromUnixTimestamp64Nano(toInt64({moment_ns}), 'UTC')"
        assert sums(ledger, f"calls_as_of(known_at = {moment})") == then
    found = by_dimension(ledger)
    ledger.store.close()
    straight = Ledger(tmp_path / "straight")
    straight.deliver(priced(OBSERVED, at_discount(25), time.time_ns()))
    settle(straight.settler(lambda _: at_discount(25)))
    assert found == by_dimension(straight)
    assert sum(calls for _, calls, *_ in found["model"]) == sum(TRUE_CALLS.values())
    straight.store.close()


def test_the_changes_told_are_exactly_what_the_ledger_gained(ledger: Ledger) -> None:
    ledger.deliver(priced(OBSERVED, at_discount(0), time.time_ns()))
    ((before, _),) = sums(ledger)
    told = reprice(ledger, at_discount(10))
    ((after, calls),) = sums(ledger)
    assert told["change_usd"].sum() == after - before < 0
    assert told["new_usd"].sum() - told["old_usd"].sum() == after - before
    assert told["calls"].sum() == calls
    assert ledger.query("SELECT sum(cost_change_usd) FROM restatements") == [(after - before,)]


def test_a_second_run_adds_nothing(ledger: Ledger) -> None:
    ledger.deliver(priced(OBSERVED, at_discount(0), time.time_ns()))
    reprice(ledger, at_discount(10))
    entries_before = ledger.query("SELECT count() FROM entries")
    again = reprice(ledger, at_discount(10))
    assert again["changed"].sum() == 0
    assert ledger.query("SELECT count() FROM entries") == entries_before


def test_a_run_of_one_name_corrects_a_call_once(ledger: Ledger) -> None:
    ledger.deliver(priced(OBSERVED, at_discount(0), time.time_ns()))
    reprice(ledger, at_discount(10), run="november")
    before = sums(ledger)
    reprice(ledger, at_discount(25), run="november")
    assert sums(ledger) == before == sums(ledger, "entries FINAL")


def test_a_call_is_taken_back_as_it_was_and_booked_whole_at_its_new_cost(ledger: Ledger) -> None:
    facts: dict[str, Any] = {
        "usage": [{"key": "input_images", "value": Decimal(3)}],
        "attributes": [{"key": "env", "value": "x"}],
        "cost_reported_usd": Decimal("0.5"),
    }
    odd = pl.DataFrame(entries(entry(9, **facts)))
    now_ns = time.time_ns()
    before = pl.concat(
        [
            priced(OBSERVED, at_discount(0), now_ns),
            odd.select(pl.col(name).cast(dtype) for name, dtype in ENTRIES.items()),
        ]
    )
    ledger.deliver(before)
    restate(ledger.store, EVERYTHING, at_discount(10), "r", 1, calls_max=40)
    tenants = before["tenant"].unique().to_list()
    found = ledger.store.query(
        "entries_of_runs",
        {
            "runs": ["r"],
            "tenants": tenants,
            "first_ns": 0,
            "last_ns": 4 * 10**18,
        },
    )
    legs = legs_from_arrow(found).sort("trace_id", "span_id", "leg").select(ENTRIES.names())
    after = priced(before, at_discount(10), 1)
    corrected = legs.select("trace_id", "span_id").unique()
    assert corrected.height > before.height / 2  # the others cost nothing before and after
    moment = pl.lit("r"), REPRICED, pl.col("known_at").cast(pl.Int64) + 1
    booked = after.with_columns(before["known_at"])
    expected = pl.concat([reversals(before, *moment), bookings(booked, *moment)])
    expected = expected.join(corrected, on=["trace_id", "span_id"], how="semi")
    expected = expected.sort("trace_id", "span_id", "leg").select(ENTRIES.names())
    assert_frame_equal(legs, expected)


class Breaking:
    """A store that fails at the nth step of writing."""

    def __init__(self, ledger: Ledger, steps: int) -> None:
        self._store, self._left, self._lock = ledger.store, steps, Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _step(self) -> None:
        with self._lock:
            self._left -= 1
            left = self._left
        if left == 0:
            raise StoreUnavailable("gone")

    def restate_prices(self, prices: pa.Table, parameters: Any) -> None:
        self._step()
        self._store.restate_prices(prices, parameters)

    def execute(self, name: str, parameters: Any = None) -> None:
        self._step()
        self._store.execute(name, parameters)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_what_was_cut_short_is_finished_by_the_next(ledger: Ledger, step: int) -> None:
    ledger.deliver(priced(OBSERVED, at_discount(0), time.time_ns()))
    settle(ledger.settler())
    broken = Breaking(ledger, step)
    with pytest.raises(StoreUnavailable):
        restate(broken, EVERYTHING, at_discount(10), "a", time.time_ns(), calls_max=40)
    ledger.reopen()
    settle(ledger.settler())  # whoever opens a ledger settles first: what is there is shown
    reprice(ledger, at_discount(10))
    once = by_dimension(ledger)
    reprice(ledger, at_discount(0))
    reprice(ledger, at_discount(10))
    assert by_dimension(ledger) == once
    assert sums(ledger) == sums(ledger, "entries FINAL")


def test_a_call_that_had_no_price_gets_one_and_the_other_way_round(ledger: Ledger) -> None:
    unpriced: dict[str, Any] = {
        "request_model": "gpt-4o",
        "response_model": "gpt-4o",
        "unpriced_reason": "unknown_model",
        "cost_usd": None,
        "cost_low_usd": None,
        "cost_high_usd": None,
        "cost_class": "unpriced",
    }
    ledger.deliver(
        pl.DataFrame(
            entries(
                entry(1, **unpriced),
                entry(2, provider="openai", request_model="nobody-knows", cost_usd=Decimal(1)),
            )
        )
    )
    told = reprice(ledger, as_of_now)
    assert ledger.query("SELECT cost_usd, cost_class FROM calls ORDER BY span_id") == [
        (Decimal("0.00035"), "exact"),
        (None, "unpriced"),
    ]
    assert told.select("unpriced_before", "unpriced_after").sum().row(0) == (1, 1)


def test_only_the_calls_asked_for_are_priced_anew(ledger: Ledger) -> None:
    for number, (tenant, model) in enumerate([("a", "gpt-4o"), ("a", "gpt-5"), ("b", "gpt-4o")]):
        ledger.deliver(pl.DataFrame(entries(entry(number + 1, tenant=tenant, model=model))))
    noon_ns = int(NOON.timestamp()) * 10**9
    stretch = Stretch(noon_ns, noon_ns + 1, tenants=["a"], models=["gpt-4o"])
    assert reprice(ledger, as_of_now, stretch=stretch)["calls"].to_list() == [1]
    beside = Stretch(noon_ns + 1, noon_ns + 10**12)
    assert reprice(ledger, as_of_now, stretch=beside).height == 0


def test_what_is_sealed_is_refused(ledger: Ledger) -> None:
    ledger.store.seal(10**18)
    with pytest.raises(ValueError, match="seal"):
        reprice(ledger, as_of_now)


def test_pieces_cover_every_call_once_however_crowded_a_minute_is(ledger: Ledger) -> None:
    ledger.deliver(priced(OBSERVED, at_discount(0), time.time_ns()))
    found = list(pieces(ledger.store, EVERYTHING, calls_max=3))
    assert max(piece.parts for piece in found) > 1
    assert found[0].first_ns == EVERYTHING.first_ns
    assert found[-1].end_ns == EVERYTHING.end_ns
    edges = [piece for piece in found if piece.part == 0]
    assert all(one.end_ns == other.first_ns for one, other in pairwise(edges))
    told = restate(ledger.store, EVERYTHING, at_discount(10), "r", time.time_ns(), calls_max=3)
    assert told["calls"].sum() == OBSERVED.height
