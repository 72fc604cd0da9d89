"""The store: what goes in comes out, once, and errors say whether to try again."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError
from engine import NOON, entries, entry, open_ledger
from hypothesis import HealthCheck, given, settings, strategies as st

from spanledger.errors import StartupError
from spanledger.ledger.schema import ENTRIES, ENTRIES_ARROW
from spanledger.store.client import Store
from spanledger.store.errors import BadRows, StoreUnavailable


def rows(store: Store, sql: str) -> Any:
    return store._writing.run(lambda client: client.query(sql).result_rows)


def calls(store: Store, columns: str = "span_id, cost_usd, known_at") -> Any:
    sql = f"SELECT {columns} FROM calls ORDER BY span_id, start_time"  # noqa: S608 - ours
    return rows(store, sql)


# --- what is stored -----------------------------------------------------------------------------


def test_the_table_has_exactly_the_columns_of_an_entry(store: Store) -> None:
    assert [name for name, *_ in rows(store, "DESCRIBE TABLE entries")] == [
        *ENTRIES_ARROW.names,
        "version",
        "settled_into",
        "stored_at",
    ]
    assert rows(store, "SELECT * FROM entries LIMIT 0") == []


def test_an_entry_comes_back_to_the_last_digit(store: Store) -> None:
    full = entry(
        7,
        parent_span_id=b"\x01\xff" * 4,
        start_time=NOON,
        attributes=[{"key": "server.address", "value": "api.openai.com"}],
        usage=[{"key": "requests", "value": Decimal("1.000000000000000001")}],
        cost_usd=Decimal("999999999.999999999999999999"),
        time_to_first_token_ms=12.5,
        lines=[
            {
                "unit": "input_tokens",
                "quantity": Decimal(100),
                "rate_usd": Decimal("2.5"),
                "per": 1_000_000,
                "amount_usd": Decimal("0.00025"),
                "price_id": "openai/gpt-4o",
            }
        ],
    )
    put = entries(full, entry(8))
    store.insert(put)
    columns = ", ".join(ENTRIES_ARROW.names)
    sql = f"SELECT {columns} FROM entries ORDER BY span_id"  # noqa: S608 - our own names
    got = store._writing.run(lambda client: client.query_arrow(sql))
    assert got.cast(ENTRIES_ARROW).to_pylist() == put.to_pylist()


def test_an_insert_with_other_columns_is_a_defect_and_says_so(store: Store) -> None:
    with pytest.raises(ValueError, match="make ENTRIES_ARROW"):
        store.insert(entries(entry()).drop_columns(["model"]))


def test_entries_of_more_months_than_one_insert_may_touch_are_all_stored(store: Store) -> None:
    months = [datetime(2020 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(150)]
    store.insert(entries(*(entry(n, start_time=start) for n, start in enumerate(months))))
    assert rows(store, "SELECT count(), uniqExact(toYYYYMM(start_time)) FROM calls") == [(150, 150)]


def test_lines_and_maps_can_be_asked_by_name(store: Store) -> None:
    line = {"unit": "input_tokens", "amount_usd": Decimal("0.1"), "per": 1, "price_id": ""}
    line |= {"quantity": Decimal(1), "rate_usd": Decimal("0.1")}
    store.insert(entries(entry(lines=[line], attributes=[{"key": "a", "value": "b"}])))
    assert calls(store, "lines.unit, lines.amount_usd, attributes['a']") == [
        (["input_tokens"], [Decimal("0.1")], "b")
    ]


# --- once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("separately", [True, False])
@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("late_first", [True, False])
def test_of_two_deliveries_the_one_that_was_known_first_stays(
    store: Store, separately: bool, merged: bool, late_first: bool
) -> None:
    early = entry(1, cost_usd=Decimal(1), known_at=NOON)
    late = entry(1, cost_usd=Decimal(2), known_at=NOON + timedelta(microseconds=1))
    deliveries = [late, early] if late_first else [early, late]
    if separately:
        for delivery in deliveries:
            store.insert(entries(delivery))
    else:
        store.insert(entries(*deliveries))
    if merged:
        store._writing.run(lambda client: client.command("OPTIMIZE TABLE entries FINAL"))
    assert calls(store) == [("0000000000000001", Decimal(1), NOON.replace(tzinfo=None))]


def test_a_delivery_to_another_tenant_is_another_call(store: Store) -> None:
    store.insert(entries(entry(1), entry(1, tenant="other"), entry(1, kind="restatement")))
    assert calls(store, "tenant") == [("default",), ("other",)]


def test_what_was_inserted_is_known_and_nothing_else_is(store: Store) -> None:
    assert store.known(entries(entry(1), entry(2))).to_pylist() == [False, False]
    store.insert(entries(entry(1), entry(2)))
    asked = [
        entry(1),
        entry(2, cost_usd=Decimal(9), known_at=NOON + timedelta(days=1)),  # a retry, re-priced
        entry(3),
        entry(1, tenant="other"),
        entry(1, kind="restatement", run="r1"),
        entry(1, leg=1),
        entry(1, span_id=bytes(8)),
        entry(1, trace_id=bytes(16)),
        entry(1, start_time=NOON + timedelta(microseconds=1)),
    ]
    assert store.known(entries(*asked)).to_pylist() == [True, True, *[False] * 7]


def test_the_second_of_two_twins_in_one_batch_is_known(store: Store) -> None:
    assert store.known(entries(entry(1), entry(2), entry(1))).to_pylist() == [False, False, True]


def test_an_empty_batch_has_nothing_known(store: Store) -> None:
    assert store.known(entries()).to_pylist() == []


def test_a_slice_of_a_batch_is_asked_for_its_own_rows(store: Store) -> None:
    batch = entries(*(entry(number) for number in range(10)))
    store.insert(batch.slice(4, 2))
    assert store.known(batch.slice(3, 4)).to_pylist() == [False, True, True, False]


moments = st.integers(0, 40).map(lambda step: NOON + timedelta(minutes=37 * step**3))
deliveries = st.lists(st.tuples(st.integers(0, 3), moments, st.sampled_from("ab")), max_size=40)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(deliveries, max_size=4))
def test_known_is_what_the_ledger_holds_however_batched(
    store: Store, batches: list[list[tuple[int, datetime, str]]]
) -> None:
    store._writing.run(lambda client: client.command("TRUNCATE TABLE entries"))
    held: set[tuple[int, datetime, str]] = set()
    for batch in batches:
        expected = []
        for key in batch:
            expected.append(key in held)
            held.add(key)
        table = entries(*(entry(n, start_time=at, tenant=tenant) for n, at, tenant in batch))
        known = store.known(table)
        assert known.to_pylist() == expected
        store.insert(table.filter(pa.array([not one for one in expected], pa.bool_())))
    assert rows(store, "SELECT count() FROM entries") == [(len(held),)]


# --- trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        ({"start_time": datetime(2019, 12, 31, tzinfo=UTC)}, "out_of_bounds"),
        ({"start_time": datetime(2100, 1, 1, tzinfo=UTC)}, "out_of_bounds"),
        ({"cost_usd": Decimal("1000000000.1")}, "out_of_bounds"),
    ],
)
def test_a_poison_row_is_told_from_an_outage_and_quotes_nothing(
    store: Store, poison: dict[str, Any], reason: str
) -> None:
    canary = "canary-7f3a"
    with pytest.raises(BadRows) as caught:
        store.insert(entries(entry(1), entry(2, user_id=canary, **poison)))
    assert caught.value.reason == reason
    assert canary not in str(caught.value)
    assert rows(store, "SELECT count() FROM entries") == [(0,)]  # none of the batch


def test_a_missing_value_is_an_error_and_never_a_quiet_zero(store: Store) -> None:
    columns = [ENTRIES_ARROW.field(name) for name in ENTRIES_ARROW.names]
    batch = entries(entry(1))
    nulls = [pa.nulls(1, f.type) if f.name == "calls" else batch[f.name] for f in columns]
    with pytest.raises(BadRows):
        store.insert(pa.Table.from_arrays(nulls, schema=ENTRIES_ARROW))


def test_an_outage_is_unavailable_and_ends_by_itself(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the driver puts the file it hands to the engine: full or gone, and back again.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(StoreUnavailable, match="FileNotFoundError"):
        store.insert(entries(entry(1)))
    monkeypatch.undo()
    store.insert(entries(entry(1)))
    assert len(calls(store)) == 1


def test_a_store_that_does_not_answer_at_start_is_unavailable() -> None:
    def refuse(*_: Any) -> Client:
        raise OperationalError("connection refused to user:secret@host")

    with pytest.raises(StoreUnavailable) as caught:
        Store(refuse)
    assert "secret" not in str(caught.value)


def test_a_second_ledger_in_one_process_is_refused_with_a_clear_sentence(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(StartupError, match=r"cannot open the ledger in .*second.*use another"):
        Store.open_embedded(tmp_path / "second")
    assert store.ping()


def test_ledgers_can_be_opened_one_after_another_and_keep_what_they_hold(tmp_path: Path) -> None:
    for name in ("a", "b", "a", "b"):
        store = Store.open_embedded(tmp_path / name)
        store.insert(entries(entry(1)))
        assert len(calls(store)) == 1
        store.close()


def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = open_ledger(tmp_path / "ledger")
    store.close()
    store.close()
    assert not store.ping()
    for attempt in (
        lambda: store.insert(entries(entry())),
        lambda: store.known(entries(entry())),
        lambda: store.query("health"),
    ):
        with pytest.raises(StoreUnavailable, match="closed"):
            attempt()


def test_closing_ends_a_query_that_would_run_for_hours(tmp_path: Path) -> None:
    store = open_ledger(tmp_path / "ledger")
    session = store.open_session({"readonly": 1})
    running = threading.Event()
    ended: list[BaseException] = []

    def ask(client: Client) -> None:
        running.set()
        client.query("SELECT count() FROM numbers(1000000000000000)")

    def read() -> None:
        try:
            session.run(ask)
        except Exception as error:  # noqa: BLE001 - whatever ended it
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    running.wait()
    store.close()
    thread.join()
    assert len(ended) == 1


def test_a_handle_that_has_seen_an_error_answers_the_next_query_alone(store: Store) -> None:
    session = store.open_session({"max_result_rows": 10_000})
    too_many = "SELECT number FROM numbers(1000000)"
    with pytest.raises(Exception, match="TOO_MANY_ROWS_OR_BYTES"):
        session.run(lambda client: client.raw_query(too_many))
    assert session.run(lambda client: client.raw_query("SELECT 5")) == b"5\n"


def test_threads_may_insert_and_read_side_by_side(store: Store) -> None:
    failures: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for number in range(10):
                store.insert(entries(entry(offset * 100 + number)))
                assert store.spent_usd({}, NOON) > 0
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.spent_usd({}, NOON) == Decimal("0.25") * 40


def test_the_builder_of_these_tests_makes_whole_entries() -> None:
    assert pl.DataFrame([entry()], schema=ENTRIES).schema == ENTRIES
