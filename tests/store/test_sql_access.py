"""Who may ask the SQL listener."""

import base64
from collections.abc import Iterator, Mapping

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from sql_listener import Bounds, listening
from starlette.testclient import TestClient

from spanledger.store.client import Store
from spanledger.store.sql_access import Access
from spanledger.store.sql_guard import Refused
from spanledger.store.sql_http import create_app

USERS = {"grafana": "s3cret:with a colon", "default": "", "ada": "pass\u00f6rd"}
DOOR = Access(USERS)


def basic(name: str, password: str) -> dict[str, str]:
    return {
        "authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode(),
        "host": "ledger.example",
    }


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (basic("grafana", "s3cret:with a colon"), {}),
        (basic("ada", "pass\u00f6rd"), {}),
        ({"x-clickhouse-user": "grafana", "x-clickhouse-key": "s3cret:with a colon"}, {}),
        ({}, {"user": "grafana", "password": "s3cret:with a colon"}),
        ({"host": "127.0.0.1:8123"}, {}),
        ({"host": "localhost"}, {"user": "default"}),
        ({"host": "localhost", "authorization": "Basic Og=="}, {}),
    ],
)
def test_a_user_with_the_right_password_may_ask(
    headers: Mapping[str, str], fields: Mapping[str, str]
) -> None:
    DOOR.check(headers, fields)


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (basic("grafana", ""), {}),
        (basic("grafana", "s3cret"), {}),
        (basic("GRAFANA", "s3cret:with a colon"), {}),
        (basic("nobody", ""), {}),
        (basic("nobody", "\0"), {}),
        ({"authorization": "Basic ***"}, {}),
        ({"authorization": "Basic /w=="}, {}),
        ({"x-clickhouse-user": "grafana"}, {"password": "s3cret:with a colon"}),
        ({"x-clickhouse-key": "s3cret:with a colon"}, {}),
        ({}, {"user": "grafana"}),
        ({}, {"user": ""}),
    ],
)
def test_anyone_else_is_refused_and_told_nothing(
    headers: Mapping[str, str], fields: Mapping[str, str]
) -> None:
    with pytest.raises(Refused, match=r"^Code: 516\..*\(AUTHENTICATION_FAILED\)$") as refused:
        DOOR.check({"host": "localhost", **headers}, fields)
    assert "s3cret" not in str(refused.value)


def test_without_a_password_for_everyone_there_is_no_way_in_without_one() -> None:
    with pytest.raises(Refused):
        Access({"grafana": "x"}).check({"host": "localhost"}, {})


HERE = ["localhost", "localhost:8123", "127.0.0.1", "127.0.0.1:8123", "[::1]:8123", "10.1.2.3:80"]
HERE += ["collector:8123", "LOCALHOST", "a.localhost:1", "localhost."]


@pytest.mark.parametrize("host", HERE)
@pytest.mark.parametrize("users", [{}, {"default": ""}])
def test_whoever_needs_no_password_names_this_machine(users: Mapping[str, str], host: str) -> None:
    Access(users).check({"host": host}, {})
    Access(users).check({"host": host, "origin": f"http://{host}"}, {})


FOREIGN = [
    {"host": "evil.example"},
    {"host": "evil.example:8123"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "localhost@evil.example"},
    {"host": ""},
    {"host": "[evil.example]"},
    {"host": "."},
    {},
    {"host": "127.0.0.1", "origin": "https://evil.example"},
    {"host": "127.0.0.1", "origin": "null"},
    {"host": "127.0.0.1", "sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("users", [{}, {"default": ""}])
def test_a_page_of_another_site_cannot_ask_without_a_password(
    users: Mapping[str, str], headers: Mapping[str, str]
) -> None:
    with pytest.raises(Refused, match="no page of another site"):
        Access(users).check(headers, {})


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def http(ledger: Store, bounds: Bounds) -> Iterator[TestClient]:
    with TestClient(create_app(ledger, bounds, {"grafana": "s3cret"})) as client:
        yield client


def test_a_browser_is_asked_for_a_password_and_a_program_told_that_its_own_is_wrong(
    http: TestClient,
) -> None:
    unasked = http.get("/?query=SELECT+1")
    assert (unasked.status_code, unasked.headers["x-clickhouse-exception-code"]) == (401, "516")
    assert unasked.headers["www-authenticate"].startswith("Basic ")
    wrong = http.get("/?query=SELECT+1", headers={"X-ClickHouse-User": "grafana"})
    assert wrong.status_code == 403
    assert "www-authenticate" not in wrong.headers
    assert http.get("/?query=SELECT+1&user=grafana&password=s3cret").text == "1\n"


def test_the_health_check_needs_no_password(http: TestClient) -> None:
    assert http.get("/ping").text == "Ok.\n"
    assert http.get("/").status_code == 401


def test_a_page_whose_name_was_made_to_point_here_reads_nothing(
    ledger: Store, bounds: Bounds
) -> None:
    with TestClient(create_app(ledger, bounds)) as open_to_all:
        answer = open_to_all.get("/?query=SELECT+1", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "497")


def test_clickhouse_connect_gives_its_password(ledger: Store, bounds: Bounds) -> None:
    with listening(ledger, bounds, {"grafana": "s3cret"}) as port:
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=port, username="grafana", password="s3cret"
        )
        assert client.command("SELECT count() FROM calls") == 3
        client.close()
        with pytest.raises(DatabaseError, match="516"):
            clickhouse_connect.get_client(
                host="127.0.0.1", port=port, username="grafana", password="x"
            )
