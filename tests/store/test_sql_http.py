"""The SQL listener: what ClickHouse's clients send is understood, and one query cannot hurt."""

import gzip
import json
import queue
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from engine import entries, entry
from sql_listener import Bounds
from starlette.testclient import TestClient

from spanledger.store.client import Store
from spanledger.store.sql_http import create_app
from spanledger.store.sql_pool import FORMATS


@pytest.fixture(scope="module")
def http(ledger: Store, bounds: Bounds) -> Iterator[TestClient]:
    with TestClient(create_app(ledger, bounds)) as client:
        yield client


# Nothing but a stop ends it.
ENDLESS = "SELECT count() FROM numbers(1000000000000000)"
ITS_OWN = f"WHERE startsWith(query, '{ENDLESS}')"
PATIENT = Bounds(query_seconds_max=3_600, concurrent_queries_max=1)


class Endless:
    """A query that runs, on a thread of its own, until ``stop``."""

    def __init__(self, http: TestClient, ledger: Store) -> None:
        self._probe = ledger.open_session({}, "probe")
        self._thread = threading.Thread(target=lambda: ask(http, ENDLESS))
        self._thread.start()
        while not self.running():
            assert self._thread.is_alive()

    def running(self) -> bool:
        return self._command(f"SELECT count() FROM system.processes {ITS_OWN}") > 0  # noqa: S608 - a constant

    def stop(self) -> None:
        while self._thread.is_alive():
            self._command(f"KILL QUERY {ITS_OWN}")
            self._thread.join(0.1)

    def _command(self, sql: str) -> int:
        told = self._probe.run(lambda client: client.command(sql))
        return told if isinstance(told, int) else 0


def ask(http: TestClient, sql: str, **more: Any) -> Any:
    return http.get("/", params={"query": sql, **more})


# --- over HTTP ----------------------------------------------------------------------------------


def test_a_query_in_the_url_is_answered_as_curl_would_have_it(http: TestClient) -> None:
    answer = http.get("/?query=SELECT+model,sum(cost_usd)+FROM+calls+GROUP+BY+model+FORMAT+JSON")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.headers["x-clickhouse-format"] == "JSON"
    data = {row["model"]: row["sum(cost_usd)"] for row in answer.json()["data"]}
    # Money is text in JSON: as a number, most readers would make it a float.
    assert data == {"gpt-4o": "0.250000000000000001", "gpt-99": None}


def test_a_query_in_the_body_is_the_same(http: TestClient) -> None:
    assert http.post("/", content="SELECT count() FROM calls").text == "3\n"
    assert http.post("/?query=SELECT+1", content="").text == "1\n"
    assert http.post("/?query=SELECT", content="count() FROM calls").text == "3\n"


@pytest.mark.parametrize("how", ["in the text", "parameter", "header"])
def test_the_format_may_be_asked_for_in_three_ways(http: TestClient, how: str) -> None:
    text = "SELECT 1 AS x" + (" FORMAT CSVWithNames" if how == "in the text" else "")
    params = {"default_format": "CSVWithNames"} if how == "parameter" else {}
    headers = {"X-ClickHouse-Format": "CSVWithNames"} if how == "header" else {}
    answer = http.post("/", content=text, params=params, headers=headers)
    assert answer.text == '"x"\n1\n'
    assert answer.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize("name", ["Protobuf", "Template", "Nope", "CSV'; DROP TABLE entries", ""])
def test_a_format_that_is_not_on_the_list_is_refused(http: TestClient, name: str) -> None:
    answer = http.get("/", params={"query": "SELECT 1", "default_format": name})
    assert answer.status_code == (400 if name else 200)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_on_the_list_is_one_of_the_engines(http: TestClient, name: str) -> None:
    answer = ask(http, f"SELECT 'x' AS x FORMAT {name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-clickhouse-format"] == name
    assert answer.headers["content-type"] == FORMATS[name]


def test_parameters_are_typed_values(http: TestClient) -> None:
    text = "SELECT {s:String}, {n:UInt64} + 1, {a:Array(String)}, {d:Decimal(38, 18)}"
    hostile = r"a\tb\' OR 1"
    answer = ask(http, text, param_s=hostile, param_n="7", param_a="['x', 'y']", param_d="1e-18")
    assert answer.text == "a\\tb\\' OR 1\t8\t['x','y']\t0.000000000000000001\n"
    assert ask(http, "SELECT {s:String}").status_code == 400


def test_headers_are_those_of_clickhouse(http: TestClient) -> None:
    headers = ask(http, "SELECT 1", query_id="my-query").headers
    assert headers["x-clickhouse-query-id"] == "my-query"
    assert headers["x-clickhouse-timezone"] == "UTC"
    assert json.loads(headers["x-clickhouse-summary"])["result_bytes"] == "2"
    forged = ask(http, "SELECT 1", query_id="a\r\nSet-Cookie: b").headers["x-clickhouse-query-id"]
    assert "Cookie" not in forged


@pytest.mark.parametrize(
    ("sql", "status", "code", "words"),
    [
        ("SELECT nope FROM calls", 400, "47", "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nope", 404, "60", "UNKNOWN_TABLE"),
        ("SELEC 1", 400, "62", "SYNTAX_ERROR"),
        ("SELECT file('/etc/passwd')", 403, "497", "Function file is not available here"),
        ("DROP TABLE entries", 403, "164", "Only SELECT, SHOW and DESCRIBE"),
        ("SELECT number FROM numbers(1000000)", 400, "396", "Limit for result exceeded"),
        ("SELECT number FROM numbers(9) FORMAT Npy", 400, "73", "UNKNOWN_FORMAT"),
        ("SELECT groupArray(number) FROM numbers(1000000000)", 500, "241", "MEMORY_LIMIT"),
        ("SELECT count() FROM numbers(1000000000000)", 408, "159", "TIMEOUT_EXCEEDED"),
    ],
)
def test_an_error_has_clickhouses_code_and_words(
    http: TestClient, sql: str, status: int, code: str, words: str
) -> None:
    answer = ask(http, sql)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (status, code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert words in answer.text
    assert "formatQuerySingleLine" not in answer.text


def test_an_error_is_not_followed_by_the_rows_of_the_query_that_failed(http: TestClient) -> None:
    for _ in range(4):
        assert ask(http, "SELECT number FROM numbers(1000000)").status_code == 400
        assert ask(http, "SELECT 5").text == "5\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 1000) FROM numbers(100000)",  # a constant takes no room until written
        "SELECT CAST(1, 'Enum8(\\'{name}\\' = 1)') FROM numbers(100000)",
        "SELECT 1 AS {name} FROM numbers(100000) FORMAT JSONEachRow",  # names in every row
        "SELECT repeat('x', 1000000) FROM numbers(200000)",  # 200 GB
    ],
)
def test_an_answer_that_grows_in_the_writing_is_bounded_all_the_same(
    http: TestClient, sql: str
) -> None:
    answer = ask(http, sql.replace("{name}", "x" * 1_000))
    assert answer.headers["x-clickhouse-exception-code"] in ("396", "241")


def test_bodies_may_be_deflated_both_ways(http: TestClient) -> None:
    body = zlib.compress(b"SELECT repeat('x', 10000)")
    answer = http.post(
        "/?enable_http_compression=1",
        content=body,
        headers={"Content-Encoding": "deflate", "Accept-Encoding": "deflate"},
    )
    assert answer.headers["content-encoding"] == "deflate"
    assert answer.text == "x" * 10_000 + "\n"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_bodies_may_be_compressed_both_ways(http: TestClient, encoding: str) -> None:
    body = pa.compress(b"SELECT repeat('x', 10000)", codec=encoding, asbytes=True)
    answer = http.post("/", content=body, headers={"Content-Encoding": encoding})
    assert answer.content == b"x" * 10_000 + b"\n"
    assert "content-encoding" not in answer.headers
    with http.stream(
        "GET",
        "/?enable_http_compression=1&query=SELECT+repeat('x',10000)",
        headers={"Accept-Encoding": f"br;q=0, {encoding}"},
    ) as stream:
        raw = b"".join(stream.iter_raw())
    assert stream.headers["content-encoding"] == encoding
    assert pa.input_stream(pa.BufferReader(raw), compression=encoding).read() == answer.content


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"SELECT 1 -- " + b"x" * 2**20, {}, 413),
        (gzip.compress(b"SELECT 1 -- " + b"x" * 2**26), {"Content-Encoding": "gzip"}, 413),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"SELECT 1")[:-9], {"Content-Encoding": "gzip"}, 400),
        (zlib.compress(b"SELECT 1 -- " + b"x" * 2**26), {"Content-Encoding": "deflate"}, 413),
        (zlib.compress(b"SELECT 1")[:-5], {"Content-Encoding": "deflate"}, 400),
        (b"SELECT 1", {"Content-Encoding": "snappy"}, 415),
        (b"SELECT '\xff'", {}, 400),
        (b"\x00", {}, 400),
    ],
)
def test_a_broken_or_huge_request_is_refused(
    http: TestClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert http.post("/", content=body, headers=headers).status_code == status


@pytest.mark.parametrize("name", ["compress", "decompress"])
def test_the_native_framing_is_refused_by_name(http: TestClient, name: str) -> None:
    answer = ask(http, "SELECT 1", **{name: "1"})
    assert answer.status_code == 400
    assert name in answer.text


def test_nothing_asked_is_answered_ok_as_clickhouse_does(http: TestClient) -> None:
    assert [http.get(path).text for path in ("/", "/ping", "/replicas_status")] == ["Ok.\n"] * 3
    assert http.get("/play").status_code == 404
    assert http.delete("/").status_code == 405


@pytest.mark.parametrize("database", ["", "default", "spanledger"])
def test_the_database_is_ours_whatever_it_is_called(http: TestClient, database: str) -> None:
    assert ask(http, "SELECT count() FROM calls", database=database).text == "3\n"


def test_another_database_does_not_exist(http: TestClient) -> None:
    answer = ask(http, "SELECT * FROM users", database="system")
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (404, "81")


def test_settings_sessions_and_users_of_a_client_change_nothing(http: TestClient) -> None:
    more = {"readonly": "0", "max_result_rows": "0", "session_id": "s", "user": "root", "role": "x"}
    assert ask(http, "SELECT number FROM numbers(1000000)", **more).status_code == 400
    assert ask(http, "DROP TABLE entries", **more).status_code == 403


def test_when_there_is_no_room_the_answer_is_try_again(ledger: Store) -> None:
    with TestClient(create_app(ledger, PATIENT)) as http:
        endless = Endless(http, ledger)
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting = [
            threading.Thread(target=lambda: answers.put(ask(http, "SELECT 1"))) for _ in range(19)
        ]
        for thread in waiting:
            thread.start()
        # Sixteen may wait for the lane. The rest are told at once.
        refused = [answers.get() for _ in range(3)]
        assert [answer.status_code for answer in refused] == [503] * 3
        assert all("TOO_MANY_SIMULTANEOUS_QUERIES" in answer.text for answer in refused)
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        endless.stop()
        for thread in waiting:
            thread.join()
        assert [answers.get().status_code for _ in range(16)] == [200] * 16


def test_ingestion_goes_on_while_a_heavy_query_runs(ledger: Store) -> None:
    with TestClient(create_app(ledger, PATIENT)) as http:
        endless = Endless(http, ledger)
        ledger.insert(entries(entry(1)))  # a twin: the calls stay the same
        assert endless.running()
        endless.stop()
