"""What Grafana's ClickHouse data source and the Go driver beneath it send, and how they read.

The texts are those that the data source writes (4.20) for this ledger; the answers are read as the
driver reads them (2.47): the first block in the form of its own revision, the others in the form of
the revision that the first one told.
"""

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from engine import NOON
from native_block import DRIVER_REVISION, columns
from sql_listener import Bounds
from starlette.testclient import TestClient

from spanledger.store.client import Store
from spanledger.store.sql_http import create_app
from spanledger.store.sql_native import QUERY, hello, is_hello


@pytest.fixture(scope="module")
def http(ledger: Store, bounds: Bounds) -> Iterator[TestClient]:
    with TestClient(create_app(ledger, bounds, {"grafana": "s3cret"})) as client:
        yield client


def send(http: TestClient, sql: str, **settings: str) -> Any:
    """As the driver does: settings and format in the URL, the text in the body, a basic login."""
    params = {
        "database": "spanledger",
        "default_format": "Native",
        "client_protocol_version": str(DRIVER_REVISION),
        "max_execution_time": "30",
        **settings,
    }
    return http.post(
        "/",
        params=params,
        content=sql,
        headers={"Accept-Encoding": "gzip", "User-Agent": "grafana/13 clickhouse-go/2.47"},
        auth=("grafana", "s3cret"),
    )


def read(http: TestClient, sql: str) -> Mapping[str, Sequence[Any]]:
    answer = send(http, sql)
    assert answer.status_code == 200, answer.text
    return columns(answer.content, revision(http))


def revision(http: TestClient) -> int:
    told = columns(send(http, QUERY).content, DRIVER_REVISION)["revision()"][0]
    assert isinstance(told, int)
    return told


def test_the_drivers_first_block_is_in_the_form_of_its_own_revision(http: TestClient) -> None:
    answer = send(http, QUERY)
    found = columns(answer.content, DRIVER_REVISION)
    version = found["version()"][0]
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", version)
    assert found == {
        "displayName()": ["spanledger"],
        "version()": [version],
        "revision()": [0],
        "timezone()": ["UTC"],
    }
    assert answer.headers["x-clickhouse-format"] == "Native"


def test_the_first_block_is_in_the_form_of_the_client_whatever_its_revision() -> None:
    for client_revision in (0, 1, 54_453, 54_454, DRIVER_REVISION):
        found = columns(hello(client_revision, version="26.9.2.1"), client_revision)
        assert found["version()"] == ["26.9.2.1"]


def test_only_the_drivers_own_text_is_its_first_query() -> None:
    assert is_hello(f"  {QUERY};\n")
    assert is_hello(QUERY.replace(" ", "\n"))
    assert not is_hello(QUERY + ", 1")
    assert not is_hello("SELECT version()")


def test_the_host_is_not_told_by_any_other_text(http: TestClient) -> None:
    for text in ("SELECT displayName()", "SELECT hostName()", QUERY + " FORMAT CSV"):
        assert send(http, text).status_code == 403


def test_the_data_sources_test_of_the_connection_passes(http: TestClient) -> None:
    assert read(http, "SELECT 1") == {"1": [1]}
    assert list(read(http, "SELECT version()")) == ["version()"]


def test_every_column_of_calls_is_read_to_the_last_digit(http: TestClient) -> None:
    found = read(http, "SELECT * FROM calls ORDER BY trace_id")
    assert found["cost_usd"] == [Decimal("0.25"), Decimal("1e-18"), None]
    assert found["model"] == ["gpt-4o", "gpt-4o", "gpt-99"]
    assert found["start_time"] == [NOON, NOON + timedelta(1), NOON]
    assert found["usage_missing"] == [False] * 3
    assert found["attributes"] == [{}] * 3
    assert found["lines"] == [[]] * 3


def test_nested_columns_with_dictionaries_are_read(http: TestClient) -> None:
    sql = """
        SELECT map(toLowCardinality('a'), 'b') AS m, [toLowCardinality('x'), 'y'] AS a,
            [(toLowCardinality('unit'), toDecimal128('0.5', 18))] AS t,
            CAST('z', 'LowCardinality(Nullable(String))') AS n, toDateTime(0, 'UTC') AS d
        FROM numbers(2)
    """
    found = read(http, sql)
    assert found["m"] == [{"a": "b"}] * 2
    assert found["a"] == [["x", "y"]] * 2
    assert found["t"] == [[("unit", Decimal("0.5"))]] * 2
    assert found["n"] == ["z", "z"]


def test_an_answer_without_rows_is_empty_as_the_driver_takes_it(http: TestClient) -> None:
    answer = send(http, "SELECT model FROM calls WHERE 0")
    assert (answer.content, answer.headers["content-length"]) == (b"", "0")


def test_an_answer_of_many_blocks_is_read_whole(http: TestClient) -> None:
    found = read(http, "SELECT number, toString(number) AS text FROM numbers(150000)")
    assert found["number"] == list(range(150_000))
    assert found["text"][-1] == "149999"


def test_an_error_is_one_that_the_driver_can_name(http: TestClient) -> None:
    answer = send(http, "SELECT nope FROM calls")
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (400, "47")
    assert re.match(r"Code: 47\. DB::Exception: .*\(UNKNOWN_IDENTIFIER\)", answer.text, re.DOTALL)


def test_the_driver_may_ask_for_compression(http: TestClient) -> None:
    long = "SELECT repeat('x', 10000) AS x"
    with http.stream(
        "POST",
        "/?default_format=Native&enable_http_compression=1",
        content=long,
        headers={"Accept-Encoding": "gzip", "X-ClickHouse-User": "grafana"}
        | {"X-ClickHouse-Key": "s3cret"},
    ) as stream:
        raw = b"".join(stream.iter_raw())
    assert columns(gzip.decompress(raw), 0) == {"x": ["x" * 10_000]}


# The query builder, the variable editor, the filters and the completion of its editor.
BUILDER = [
    "SHOW DATABASES",
    'SHOW TABLES FROM "spanledger"',
    "SHOW TABLES",
    'DESC TABLE "spanledger"."calls"',
    'DESC TABLE "calls"',
    "SELECT name FROM system.databases ORDER BY name",
    "SELECT name FROM system.tables WHERE database = 'spanledger' ORDER BY name",
    "SELECT name FROM system.tables ORDER BY name",
    """SELECT name FROM system.columns WHERE database = 'spanledger' AND table = 'calls'
        ORDER BY name""",
    "SELECT name, type, table FROM system.columns",
    "SELECT name, type, table FROM system.columns WHERE table = 'calls'",
    "SELECT name, type, table FROM system.columns WHERE database IN ('spanledger')",
    """
      SELECT
        name, is_aggregate, case_insensitive, alias_to, origin, description,
        syntax, arguments, returned_value, examples, categories
      FROM system.functions
      LIMIT 10000
    """,
    """SELECT DISTINCT "model" FROM "spanledger"."calls" WHERE "model" IS NOT NULL LIMIT 1000""",
    """SELECT DISTINCT "model" AS value FROM "spanledger"."calls" WHERE "model" IS NOT NULL
        ORDER BY value LIMIT 1000""",
    """SELECT DISTINCT "attributes"['a'] AS value FROM "spanledger"."calls"
        WHERE mapContains("attributes", 'a') ORDER BY value LIMIT 1000""",
    """SELECT DISTINCT arrayJoin(mapKeys("attributes")) as keys
        FROM (SELECT "attributes" FROM "spanledger"."calls" LIMIT 1000) LIMIT 1000""",
    """SELECT DISTINCT arrayJoin(mapKeys("attributes")) as keys FROM "spanledger"."calls"
        WHERE "start_time" >= now() - INTERVAL 6 HOUR LIMIT 1000""",
]
# Its builder's queries with their macros filled in, as they reach the listener.
MACROS = [
    """SELECT start_time as "time", sum(cost_usd) as cost FROM "spanledger"."calls"
        WHERE ( start_time >= toDateTime(1793448000) AND start_time <= toDateTime(1793620800) )
        GROUP BY time ORDER BY time ASC LIMIT 1000""",
    """SELECT toStartOfInterval(toDateTime(start_time), INTERVAL 60 second) AS time, model,
        sum(cost_usd) FROM calls WHERE start_time >= fromUnixTimestamp64Milli(1793448000000)
        AND start_time <= fromUnixTimestamp64Milli(1793620800000) GROUP BY time, model""",
    """SELECT toStartOfInterval(toDateTime64(start_time, 3), INTERVAL 500 millisecond) AS time,
        count(*) as n FROM calls WHERE start_time >= toDate('2026-11-01')
        AND start_time <= toDate('2026-11-03') GROUP BY time ORDER BY n DESC LIMIT 10""",
    """SELECT "trace_id" as traceID, "service" as serviceName, "operation" as operationName,
        "start_time" as startTime, multiply("duration_ms", 0.001) as duration
        FROM "spanledger"."calls" ORDER BY start_time DESC LIMIT 1000""",
    """SELECT "trace_id" as traceID, "span_id" as spanID, "parent_span_id" as parentSpanID,
        multiply(toUnixTimestamp64Nano("start_time"), 0.000001) as startTime,
        arrayMap(key -> map('key', key, 'value',"attributes"[key]), mapKeys("attributes")) as tags,
        if("status" IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) as statusCode
        FROM "spanledger"."calls" WHERE traceID = '00000000000000000000000000000001'""",
    """SELECT a.model, count(*) AS n FROM "spanledger"."calls" AS a
        WHERE ( a.customer NOT IN ('x','y') ) AND ( a.model LIKE '%gpt%' )
        AND ( a.cost_usd IS NOT NULL ) GROUP BY a.model""",
]


@pytest.mark.parametrize("sql", BUILDER)
def test_the_query_builder_finds_what_it_looks_for(http: TestClient, sql: str) -> None:
    found = read(http, sql)
    assert list(found) or "attributes" in sql  # the calls have none
    assert "/" not in "".join(str(value) for value in found.get("name", ()))


@pytest.mark.parametrize("sql", MACROS)
def test_what_the_builder_writes_is_answered(http: TestClient, sql: str) -> None:
    assert all(len(values) for values in read(http, sql).values())


def test_ad_hoc_filters_are_refused_by_name(http: TestClient) -> None:
    answer = send(
        http,
        "SELECT model FROM calls settings additional_table_filters="
        "{'calls' : ' model = \\'gpt-4o\\' '}",
    )
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "164")
    assert "Cannot modify 'additional_table_filters' setting in readonly mode" in answer.text
