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


@pytest.mark.parametrize(
    ("key", "guard"),
    [
        ("sql.listen", "sql.users=[{name: grafana, password: s3cret}]"),
        ("web.listen", "auth.tokens=[{name: a, token: abcdef0123456789, may: [read]}]"),
        ("otlp.grpc.listen", "auth.tokens=[{name: a, token: abcdef0123456789}]"),
        ("otlp.http.listen", "auth.tokens=[{name: a, token: abcdef0123456789}]"),
    ],
)
def test_a_listener_for_everyone_has_to_ask_who_is_there(wrong: Any, key: str, guard: str) -> None:
    (problem,) = wrong(f"{key}=0.0.0.0:9999")
    assert (problem.key, problem.value) == (key, "0.0.0.0:9999")
    assert "asks nobody who they are" in problem.wrong
    assert "--insecure" in problem.hint
    for way in (guard, "insecure=true"):
        load(None, [f"{key}=0.0.0.0:9999", way], environ={})


def test_a_ca_for_senders_guards_what_they_send_to() -> None:
    files = "tls={cert_file: a.pem, key_file: b.pem, client_ca_file: c.pem}"
    load(None, ["otlp.grpc.listen=0.0.0.0:9999", files], environ={})


@pytest.mark.parametrize("half", ["cert_file: a", "key_file: a", "client_ca_file: a"])
def test_half_a_certificate_is_refused(wrong: Any, half: str) -> None:
    (problem,) = wrong(f"tls={{{half}}}")
    assert problem.key in {"tls.cert_file", "tls.key_file"}


@pytest.mark.parametrize(
    "token", ["short", "with a space in it", "t\u00f6ken-t\u00f6ken-t\u00f6ken"]
)
def test_what_is_no_token_is_refused_and_not_shown(wrong: Any, token: str) -> None:
    (problem,) = wrong(f"auth.tokens=[{{name: a, token: {token}}}]")
    assert problem.key == "auth.tokens[0].token"
    assert token not in str(problem)


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
