"""The ledger on a ClickHouse server: the same store, and what a network does to it.

The server is a stand-in over the embedded engine in another process: no ClickHouse server of this
age is in Debian's archive.
"""

import base64
import itertools
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from clickhouse_server import StandIn, running
from engine import NOON, entries, entry, open_ledger
from sql_listener import Bounds
from starlette.testclient import TestClient

from spanledger.errors import StartupError
from spanledger.store.client import Store
from spanledger.store.errors import BadRows, StoreUnavailable
from spanledger.store.server import Server
from spanledger.store.sql_http import create_app

pytestmark = pytest.mark.slow

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("server") / "data") as started:
        yield started


@pytest.fixture
def server(stand_in: StandIn) -> Iterator[Server]:
    yield Server("127.0.0.1", stand_in.port, "writer", "s3cret:/ä")
    stand_in.fault(insert=0, refuse=0, version="")


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    opened = Store.open_server(server)
    yield opened
    opened.close()


def calls_of(store: Store, customer: str) -> tuple[int, Decimal | None]:
    sql = "SELECT count(), sum(cost_usd) FROM calls WHERE customer = {customer:String}"
    values = {"customer": customer}
    rows = store._reading.run(lambda client: client.query(sql, parameters=values).result_rows)
    return rows[0][0], rows[0][1]


def new(count: int, customer: str) -> list[dict[str, object]]:
    return [entry(next(_numbers), customer=customer) for _ in range(count)]


def test_it_is_the_same_store(store: Store) -> None:
    table = entries(*new(3, "same"))
    assert store.known(table).true_count == 0
    store.insert(table)
    assert store.known(table).true_count == 3
    assert calls_of(store, "same") == (3, Decimal("0.75"))
    assert store.spent_usd({"customer": "same"}, LONG_AGO) == Decimal("0.75")
    assert store.query("health").to_pylist()[0]["stored_rows"] >= 3
    assert store.ping()


def test_a_batch_whose_keys_fill_more_than_a_url_is_looked_up(store: Store) -> None:
    table = entries(*new(20_000, "large"))
    store.insert(table)
    assert store.known(table).true_count == 20_000


def test_a_ledger_is_opened_again_and_by_many(server: Server, store: Store) -> None:
    other = Store.open_server(server)
    table = entries(*new(5, "many"))
    for either in (store, other, store):
        either.insert(table)
    assert other.known(table).true_count == 5
    other.close()
    assert calls_of(store, "many") == (5, Decimal("1.25"))


def test_what_one_store_stops_is_its_own(server: Server, store: Store) -> None:
    other = Store.open_server(server)
    other.close()  # stops its reads
    assert calls_of(store, "nobody") == (0, None)


def test_an_insert_whose_answer_is_lost_adds_its_rows_once(stand_in: StandIn, store: Store) -> None:
    table = entries(*new(10, "lost"))
    stand_in.fault(insert=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="OperationalError"):
            store.insert(table)
    assert store.known(table).true_count == 10  # what the writer asks, so nothing counts twice
    store.insert(table)
    assert calls_of(store, "lost") == (10, Decimal("2.5"))


def test_rows_that_no_server_takes_are_told_from_a_server_in_trouble(
    stand_in: StandIn, store: Store
) -> None:
    with pytest.raises(BadRows):
        store.insert(entries(entry(next(_numbers), start_time=datetime(1999, 1, 1, tzinfo=UTC))))
    stand_in.fault(refuse=252)
    table = entries(*new(1, "trouble"))
    with pytest.raises(StoreUnavailable, match="code 252, the table has too many parts"):
        store.insert(table)
    with pytest.raises(StoreUnavailable):
        store.known(table)
    with pytest.raises(StoreUnavailable):
        store.query("health")
    assert not store.ping()
    stand_in.fault(refuse=0)
    store.insert(table)
    assert store.ping()


def test_a_server_that_is_away_is_told_as_such() -> None:
    nobody = Server("127.0.0.1", 9, "writer", "s3cret:/ä")
    with pytest.raises(StoreUnavailable, match=r"NewConnectionError|MaxRetryError") as away:
        Store.open_server(nobody)
    assert "s3cret" not in str(away.value) + repr(nobody) + str(nobody)


def test_a_wrong_password_is_told_as_such(server: Server) -> None:
    wrong = Server(server.host, server.port, "writer", "wrong")
    with pytest.raises(StoreUnavailable, match="does not accept user and password"):
        Store.open_server(wrong)


def test_an_old_server_is_refused_with_the_version_that_is_needed(
    stand_in: StandIn, server: Server
) -> None:
    stand_in.fault(version="24.8.14.39")
    with pytest.raises(StartupError, match=r"version 24\.8\.14\.39, too old") as old:
        Store.open_server(server)
    assert "26.3" in str(old.value)


def test_the_sql_listener_answers_over_a_server_and_guards_it(store: Store) -> None:
    store.insert(entries(*new(2, "listened"), entry(next(_numbers), customer="x")))
    app = create_app(store, Bounds())
    with TestClient(app) as http:
        asked = "SELECT sum(cost_usd) FROM calls WHERE customer = {c:String}"
        answer = http.get("/", params={"query": asked, "param_c": "listened"})
        assert answer.text == "0.5\n"
        for hostile in ("SELECT file('/etc/passwd')", "DROP TABLE entries", "SELECT 1; SELECT 2"):
            assert http.post("/", content=hostile).status_code in (400, 403)
        assert http.post("/", content="SELECT nope").status_code == 400
        assert http.post("/", content="SELECT 5").text == "5\n"


def test_times_are_in_utc_whatever_the_server_thinks(store: Store) -> None:
    store.insert(entries(entry(next(_numbers), customer="time", start_time=NOON)))
    rows = store._reading.run(
        lambda client: client.query_arrow(
            "SELECT toString(start_time) AS t, timezone() AS z FROM calls WHERE customer = 'time'"
        )
    ).to_pylist()
    assert rows == [{"t": "2026-11-01 12:00:00.000000000", "z": "UTC"}]


def test_an_embedded_ledger_is_copied_as_the_manual_says(
    server: Server, store: Store, tmp_path: Path
) -> None:
    embedded = open_ledger(tmp_path / "ledger")
    facts = {"customer": "moved", "attributes": [{"key": "a", "value": "b"}]}
    embedded.insert(entries(*(entry(next(_numbers), **facts) for _ in range(3))))
    days = "SELECT * FROM entries WHERE toDate(start_time) = '2026-11-01' FORMAT Arrow"
    with TestClient(create_app(embedded, Bounds())) as http:
        rows = http.post("/", content=days).content
    embedded.close()
    url = f"http://{server.host}:{server.port}/?query=INSERT+INTO+spanledger.entries+FORMAT+Arrow"
    login = base64.b64encode(f"{server.username}:{server.password}".encode()).decode()
    for _ in range(2):
        insert = urllib.request.Request(url, rows, {"Authorization": f"Basic {login}"})
        urllib.request.urlopen(insert, timeout=30).close()  # noqa: S310 - likewise loopback
    assert calls_of(store, "moved") == (3, Decimal("0.75"))


def test_a_data_directory_of_the_stand_in_may_be_taken_over(tmp_path: Path) -> None:
    with running(tmp_path / "data") as first:
        store = Store.open_server(Server("127.0.0.1", first.port))
        store.insert(entries(*new(4, "kept")))
        store.close()
    with running(tmp_path / "data") as second:
        store = Store.open_server(Server("127.0.0.1", second.port))
        assert calls_of(store, "kept") == (4, Decimal(1))
        store.close()
