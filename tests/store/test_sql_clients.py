"""The real clients of ClickHouse, over a real socket: what they send is answered as they expect."""

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from http.client import HTTPResponse
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import clickhouse_connect
import pytest
import sqlalchemy
from clickhouse_connect import dbapi
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from engine import NOON
from sql_listener import Bounds, listening

from spanledger.store.client import Store


@pytest.fixture(scope="module")
def port(ledger: Store, bounds: Bounds) -> Iterator[int]:
    with listening(ledger, bounds) as port:
        yield port


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Client]:
    opened = clickhouse_connect.get_client(host="127.0.0.1", port=port)
    yield opened
    opened.close()


def test_clickhouse_connect_reads_rows_frames_and_streams(client: Client) -> None:
    cost = "SELECT cost_usd FROM calls WHERE cost_usd > {least:Decimal(38, 18)}"
    assert client.query(cost, parameters={"least": "0.1"}).result_rows == [(Decimal("0.25"),)]
    assert client.query_arrow("SELECT * FROM calls").num_rows == 3
    assert list(
        client.query_df("SELECT model, count() AS n FROM calls GROUP BY 1 ORDER BY 1").n
    ) == [
        2,
        1,
    ]
    with client.query_row_block_stream("SELECT number FROM numbers(150000)") as blocks:
        assert sum(len(block) for block in blocks) == 150_000
    assert client.command("SELECT count() FROM calls") == 3
    assert client.query("SELECT * FROM calls LIMIT 0").column_names[0] == "trace_id"
    assert client.ping()


def test_clickhouse_connect_may_send_parameters_too_long_for_a_url(client: Client) -> None:
    sql = "SELECT length({many:Array(UInt64)}), {text:String}"
    rows = client.query(sql, parameters={"many": list(range(20_000)), "text": "x\n'y"}).result_rows
    assert rows == [(20_000, "x\n'y")]


def test_clickhouse_connect_with_a_user_and_a_database_is_the_same(port: int) -> None:
    other = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, username="grafana", password="x", database="spanledger"
    )
    assert other.command("SELECT count() FROM calls") == 3
    other.close()


def test_clickhouse_connect_cannot_write(client: Client) -> None:
    with pytest.raises(DatabaseError, match="164"):
        client.insert("entries", [["charge"]], column_names=["kind"])
    with pytest.raises(DatabaseError, match="164"):
        client.command("TRUNCATE TABLE entries")
    assert client.command("SELECT count() FROM calls") == 3


def test_a_plain_http_client_gets_a_whole_answer(port: int) -> None:
    query = urlencode({"query": "SELECT number FROM numbers(100000)"})
    request = Request(f"http://127.0.0.1:{port}/?{query}")
    with urlopen(request) as answer:  # noqa: S310 - likewise
        assert isinstance(answer, HTTPResponse)
        assert len(answer.read().splitlines()) == 100_000


def test_sqlalchemy_reads_through_clickhouse_connects_dialect(port: int) -> None:
    engine = sqlalchemy.create_engine(f"clickhousedb://127.0.0.1:{port}/spanledger")
    with engine.connect() as connection:
        text = sqlalchemy.text("SELECT model, cost_usd FROM calls WHERE customer = :customer")
        rows = connection.execute(text, {"customer": "acme"}).fetchall()
        assert set(rows) == {("gpt-4o", Decimal("0.25")), ("gpt-4o", Decimal("1e-18"))}
        calls = sqlalchemy.Table("calls", sqlalchemy.MetaData(), autoload_with=connection)
        newest = sqlalchemy.select(sqlalchemy.func.max(calls.c.start_time))
        assert connection.execute(newest).scalar() == NOON.replace(tzinfo=None) + timedelta(1)
        assert "calls" in sqlalchemy.inspect(connection).get_table_names("spanledger")
    engine.dispose()


def test_the_python_database_api_reads(port: int) -> None:
    connection = dbapi.connect(host="127.0.0.1", port=port, database="spanledger")
    cursor = connection.cursor()
    cursor.execute("SELECT count() AS n, sum(cost_usd) FROM calls")
    assert cursor.fetchone() == (3, Decimal("0.250000000000000001"))
    assert [column[0] for column in cursor.description] == ["n", "sum(cost_usd)"]
    connection.close()


def test_a_query_whose_client_has_gone_away_is_stopped(ledger: Store) -> None:
    # Nothing but the stop can end it: the next query gets the only lane.
    patient = Bounds(query_seconds_max=3_600, concurrent_queries_max=1)
    endless = "/?query=SELECT+count()+FROM+numbers(1000000000000000)"
    with listening(ledger, patient) as port:
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.sendall(f"GET {endless} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            _wait_until_running(ledger)
        with urlopen(f"http://127.0.0.1:{port}/?query=SELECT+7") as answer:
            assert answer.read() == b"7\n"


def _wait_until_running(ledger: Store) -> None:
    running = (
        "SELECT count() FROM system.processes WHERE query LIKE 'SELECT count() FROM numbers(1%'"
    )
    looked = threading.Event()
    while not ledger._writing.run(lambda client: client.command(running)):
        looked.wait(0.02)
