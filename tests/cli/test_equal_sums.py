"""Every way of asking what was spent gives one answer, and the past keeps the answer it gave."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from engine import entries, entry, open_ledger
from hypothesis import HealthCheck, given, settings, strategies as st

from spanledger.cli.export import Request, run
from spanledger.collector.pruner import prune
from spanledger.collector.repricer import Stretch, restate
from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.ledger.schema import ENTRIES
from spanledger.ledger.settlement_merge import Price
from spanledger.store.client import READING, Store

OLD, NEW = (datetime(2026, month, 30, 22, 30, tzinfo=UTC) for month in (9, 10))
EVERYTHING = Stretch(0, 4 * 10**18)
_paths = itertools.count()

pytestmark = pytest.mark.slow


class Unmetered:
    def restated(self, legs: pl.DataFrame) -> None:
        """Nobody looks."""


def unneeded(book: str) -> Price:
    raise AssertionError(f"{book} is asked for a call that is not as one observer saw it")


class Ledger:
    """A ledger, its upkeep, and a clock that goes on by a minute at each step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = open_ledger(path / "ledger")
        self.reading = self.store.open_session(READING)
        self.now = datetime(2026, 11, 2, tzinfo=UTC)
        self.costs: dict[int, Decimal] = {}
        self.reported: dict[datetime, Any] = {}
        self.begin()

    def begin(self) -> None:
        """New jobs, as after a restart."""
        self.settler = Settler(self.store, unneeded, Unmetered(), clock_ns=self.clock)
        self.roller = Roller(self.store, clock_ns=self.clock)

    def clock(self) -> int:
        return int(self.now.timestamp()) * 10**9

    def ask(self, sql: str) -> Any:
        return self.reading.run(lambda client: client.query(sql).result_rows)

    def deliver(self, rows: list[dict[str, Any]], *, by_two: bool) -> None:
        """As one writer does, or as two that both do not see what the other one writes."""
        table = entries(*rows)
        new = table.filter(pc.invert(self.store.known(table)))
        for _ in range(1 + by_two):
            if new.num_rows:
                self.store.insert(new)

    def reprice(self, numbers: list[int], cost: Decimal) -> None:
        """Price everything anew, these calls at another price."""
        self.costs |= dict.fromkeys(numbers, cost)
        run = f"run at {self.now}"
        restate(self.store, EVERYTHING, self.prices, run, self.clock(), calls_max=15)

    def prices(self, calls: pl.DataFrame) -> pl.DataFrame:
        """What calls cost now, by their numbers."""
        found = [self.costs.get(number, _cost(number)) for number in calls["output_tokens"]]
        money = pl.Series(found, dtype=ENTRIES["cost_usd"])
        model = pl.when(pl.col("output_tokens") % 5 == 0).then(pl.lit("gpt-4.1"))
        charges = pl.DataFrame(entries(*(entry() for _ in found)))
        return charges.with_columns(
            *(money.alias(name) for name in ("cost_usd", "cost_low_usd", "cost_high_usd")),
            model=calls.select(model.otherwise(pl.lit("gpt-4o"))).to_series(),
        )

    def upkeep(self) -> None:
        for job in (self.settler.run, self.roller.run):
            while job():
                pass

    def report(self) -> None:
        """Write down what is said at this moment."""
        self.reported[self.now + timedelta(seconds=1)] = self.sums_by_model("calls", "count()")

    def sums_by_model(self, view: str, calls: str, where: str = "1") -> Any:
        return self.ask(
            f"SELECT model, toInt64({calls}) AS n, sum(cost_usd), sum(output_tokens)"  # noqa: S608
            f" FROM {view} WHERE {where} GROUP BY model HAVING n != 0 ORDER BY model"
        )

    def exported(self, view: str, since: datetime) -> Any:
        file = self.path / f"{view}.parquet"
        wanted = Request(view=view, output=str(file))
        run(
            replace(wanted, start=since, end=datetime(2027, 1, 1, tzinfo=UTC)),
            lambda text, values: self.reading.run(
                lambda client: client.query_arrow(text, parameters=dict(values))
            ),
        )
        rows = pl.read_parquet(file)
        number = pl.len() if view == "calls" else pl.col("calls").sum()
        sums = rows.group_by("model").agg(
            number.cast(pl.Int64).alias("n"),
            pl.col("cost_usd").sum(),
            pl.col("output_tokens").sum(),
        )
        return sums.filter(pl.col("n") != 0).sort("model").rows()


def _cost(number: int) -> Decimal:
    return Decimal(number) / 7


def observed(number: int, known_at: datetime) -> list[dict[str, Any]]:
    """A call by its number: those that three divides are seen by a gateway too."""
    facts: dict[str, Any] = {
        "start_time": (OLD if number % 2 else NEW) + timedelta(minutes=7 * number),
        "known_at": known_at,
        "model": ("gpt-4o", "gpt-4.1")[number % 5 == 0],
        "output_tokens": number,
        "cost_usd": _cost(number),
        "response_id": str(number),
        "response_model": "m",
    }
    rows = [entry(number, **facts, scope_name="client")]
    if number % 3 == 0:
        rows.append(entry(100_000 + number, **facts, scope_name="gateway", service="gateway"))
    return rows


NUMBERS = st.integers(1, 40)
STEPS: st.SearchStrategy[tuple[str, list[int], bool]] = st.one_of(
    st.tuples(st.just("deliver"), st.lists(NUMBERS, min_size=1, max_size=20), st.booleans()),
    st.tuples(st.just("upkeep"), st.just([]), st.booleans()),
    st.tuples(st.just("reprice"), st.lists(NUMBERS, min_size=1, max_size=20), st.booleans()),
    st.tuples(st.just("late"), st.lists(NUMBERS, min_size=1, max_size=5), st.booleans()),
)


@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=3, max_size=10))
def test_sums_are_equal_over_duplicated_settled_repriced_and_pruned_calls(
    tmp_path: Path, steps: list[tuple[str, list[int], bool]]
) -> None:
    ledger = Ledger(tmp_path / str(next(_paths)))
    try:
        for step, numbers, flag in steps:
            ledger.now += timedelta(minutes=1)
            if step == "reprice":
                ledger.reprice(numbers, Decimal(sum(numbers)) / 11)
            elif step == "upkeep":
                if flag:
                    ledger.begin()
                ledger.upkeep()
            else:
                # "late": the second observer's alone, whose twin comes later or not at all.
                rows = [observed(number, ledger.now) for number in numbers]
                chosen = [row for pair in rows for row in (pair[-1:] if step == "late" else pair)]
                ledger.deliver(chosen, by_two=flag)
            ledger.report()
        ledger.now += timedelta(minutes=1)
        ledger.upkeep()
        _agree(ledger)
        for moment, said in ledger.reported.items():
            then = f"calls_as_of(known_at = '{moment:%F %T}')"
            assert ledger.sums_by_model(then, "count()") == said
        _pruned(ledger)
    finally:
        ledger.store.close()


def _agree(ledger: Ledger, since: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
    day = f"'{since:%F}'"
    ways = {
        "calls": ledger.sums_by_model("calls", "count()", f"start_time >= {day}"),
        "entries": ledger.sums_by_model("entries FINAL", "sum(calls)", f"start_time >= {day}"),
        "hours": ledger.sums_by_model("costs_hourly", "sum(calls)", f"hour >= {day}"),
        "days": ledger.sums_by_model("costs_daily", "sum(calls)", f"day >= {day}"),
        "users": ledger.sums_by_model("users_daily", "sum(calls)", f"day >= {day}"),
        **{view: ledger.exported(view, since) for view in ("calls", "costs_hourly", "costs_daily")},
    }
    first = ways["calls"]
    assert {way: said for way, said in ways.items() if said != first} == {}
    spent = sum((row[2] for row in first), Decimal(0))
    assert ledger.store.spent_usd({}, since) == spent
    assert ledger.store.spent_usd({"user_id": ""}, since) == spent


def _pruned(ledger: Ledger) -> None:
    views = ("costs_hourly", "costs_daily")
    before = [ledger.sums_by_model(view, "sum(calls)") for view in views]
    midnight = NEW.replace(hour=0, minute=0)
    prune(ledger.store, int(midnight.timestamp()) * 10**9)
    for _ in range(2):
        assert [ledger.sums_by_model(view, "sum(calls)") for view in views] == before
        _agree(ledger, midnight)
        ledger.now += timedelta(hours=2)
        ledger.begin()
        ledger.upkeep()


def test_two_settlers_interleaved_at_every_step_book_each_call_once(tmp_path: Path) -> None:
    """Two owners for a moment: one waits at each of its accesses while the other works through."""
    ledger = Ledger(tmp_path)
    for stop_at in range(1, 40):
        numbers = [3 * (4 * stop_at + place) for place in range(4)]
        rows = [row for number in numbers for row in observed(number, ledger.now)]
        ledger.deliver(rows[:-1], by_two=True)
        halting: Any = Halting(ledger.store, stop_at, partial(_work_beside, ledger, rows[-1:]))
        first = Settler(halting, unneeded, Unmetered(), clock_ns=ledger.clock)
        while first.run():
            pass
        if halting.accesses < stop_at:
            ledger.deliver(rows[-1:], by_two=False)
        ledger.upkeep()
        assert ledger.ask("SELECT count() FROM calls") == [(4 * stop_at,)]
        if halting.accesses < stop_at:
            break
    assert halting.accesses < stop_at, "a pass has more steps than were tried"
    _agree(ledger)
    ledger.store.close()


def _work_beside(ledger: Ledger, late: list[dict[str, Any]]) -> None:
    """What another owner does, all of it, also with what comes only now."""
    ledger.deliver(late, by_two=False)
    ledger.begin()
    ledger.upkeep()


class Halting:
    """A store where something else happens right before an access, once."""

    sealed_before_ns = 0

    def __init__(self, store: Store, stop_at: int, meanwhile: Any) -> None:
        self._store = store
        self._stop_at = stop_at
        self._meanwhile = meanwhile
        self.accesses = 0

    def __getattr__(self, name: str) -> Any:
        def access(*arguments: Any) -> Any:
            self.accesses += 1
            if self.accesses == self._stop_at:
                self._meanwhile()
            return getattr(self._store, name)(*arguments)

        return access


def test_two_that_insert_a_span_at_once_have_it_once_at_its_first_cost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    early = ledger.now
    dear = {"cost_usd": Decimal(5)}
    later = [row | dear for row in observed(1, early + timedelta(seconds=1))]
    tables: list[pa.Table] = [entries(*later), entries(*observed(1, early))]
    assert not any(ledger.store.known(table).to_pylist() != [False] for table in tables)
    for table in tables:
        ledger.store.insert(table)
    ledger.upkeep()
    _agree(ledger)
    spent = ledger.store.spent_usd({}, OLD)
    ledger.store.close()
    assert spent == Decimal(observed(1, early)[0]["cost_usd"]).quantize(Decimal("1e-18"))
