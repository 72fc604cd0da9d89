"""What is wrong with a user, a server or a cluster is told, and never their passwords."""

from typing import Any

import pytest

from spanledger.config import load
from spanledger.errors import ConfigError, Problem


@pytest.fixture
def wrong() -> Any:
    def wrong(override: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(None, [override], environ={})
        return list(caught.value.errors)

    return wrong


def test_a_sql_listener_for_everyone_has_to_say_who_may_ask(wrong: Any) -> None:
    (problem,) = wrong("sql.listen=0.0.0.0:8123")
    assert (problem.key, problem.value) == ("sql.listen", "0.0.0.0:8123")
    assert "sql.users is empty" in problem.wrong


def test_two_users_of_one_name_are_refused_and_no_password_is_shown(wrong: Any) -> None:
    problems = wrong("sql.users=[{name: a, password: x1y2}, {name: a, password: [x1y2]}]")
    assert {problem.key for problem in problems} == {"sql.users[1].name", "sql.users[1].password"}
    assert "x1y2" not in str(problems)


def test_a_server_is_read_and_its_password_is_never_shown() -> None:
    dsn = load(
        None,
        ["store.dsn=${env:DSN}"],
        environ={"DSN": "clickhouses://ada:p%40ss@db.example/spanledger?ca_cert=/etc/ca.pem"},
    ).store.dsn
    assert dsn is not None
    assert (dsn.host, dsn.port, dsn.username, dsn.secure) == ("db.example", 8443, "ada", True)
    assert (dsn.password.reveal(), dsn.ca_cert) == ("p@ss", "/etc/ca.pem")
    assert "p@ss" not in f"{dsn} {dsn!r}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clickhouse://a:s3cret@", "is not of the form"),
        ("postgres://a:s3cret@db", "is not of the form"),
        ("clickhouse://a:s3cret@db:x", "no URL"),
        ("clickhouse://a:s3cret@db/other", "another database"),
        ("clickhouse://a:s3cret@db?secure=1", "an option other than"),
        ("db:8123", "is not of the form"),
    ],
)
def test_a_wrong_server_is_told_without_its_password(wrong: Any, text: str, words: str) -> None:
    (problem,) = wrong(f"store.dsn='{text}'")
    assert problem.key == "store.dsn"
    assert words in problem.wrong
    assert "s3cret" not in str(problem)


def test_a_cluster_needs_a_server(wrong: Any) -> None:
    (problem,) = wrong("store.cluster=main")
    assert (problem.key, problem.value) == ("store.cluster", "main")
