import copy
import json
import pickle

import pytest
import yaml
from hypothesis import given, strategies as st
from pydantic import BaseModel, ValidationError

from spanledger.config import Address, Secret
from spanledger.config.values import WrongValueError

CANARY = "canary-3f9a"


class Holder(BaseModel):
    token: Secret


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4317", "127.0.0.1", 4317),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
        ("collector.example-1.internal:80", "collector.example-1.internal", 80),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":4317",
        "localhost",
        "localhost:",
        "localhost:65536",
        "localhost:99999999",
        "localhost:-1",
        "localhost:٣",  # a digit, though not one of ours
        "::1:4317",
        "[localhost]:1",
        "[127.0.0.1]:1",
        "1.2.3.400:1",
        "1.2.3:1",
        "a b:1",
        "-a:1",
        "http://localhost:1",
        "localhost:1\n",
        4317,
        None,
        ["localhost:1"],
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(WrongValueError) as caught:
        Address.parse(text)
    assert "127.0.0.1:4317" in caught.value.hint


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_makes_the_round_trip(ip: object, port: int) -> None:
    address = Address(str(ip), port)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("LocalHost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("example.com:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(text: str, loopback: bool) -> None:
    assert Address.parse(text).is_loopback is loopback


def test_addresses_collide_on_the_same_port_of_the_same_or_of_every_interface() -> None:
    here = Address.parse("127.0.0.1:80")
    assert here.collides(Address.parse("127.0.0.1:80"))
    assert here.collides(Address.parse("0.0.0.0:80"))
    assert not here.collides(Address.parse("127.0.0.2:80"))
    assert not here.collides(Address.parse("127.0.0.1:81"))


def test_two_free_ports_never_collide() -> None:
    assert not Address.parse("localhost:0").collides(Address.parse("localhost:0"))


@pytest.mark.parametrize(
    "render",
    [
        str,
        repr,
        format,
        lambda secret: f"{secret!s} {secret!r} {secret:>5}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - another way out
        lambda secret: "a" + secret + "b",
        lambda secret: "-".join(["", secret]),  # noqa: FLY002 - another way out
        json.dumps,
        lambda secret: json.dumps({"a": [secret]}),
        lambda secret: yaml.dump(str(secret)),
        lambda secret: repr(Holder(token=secret)),
        lambda secret: Holder(token=secret).model_dump_json(),
        lambda secret: str(Holder(token=secret).model_dump()),
        lambda secret: secret.encode().decode(),
        lambda secret: secret[:],
        lambda secret: str({"a": copy.deepcopy(secret)}),
    ],
)
def test_no_rendering_of_a_secret_shows_it(render: object) -> None:
    assert callable(render)
    text = render(Secret(CANARY))
    assert CANARY not in text
    assert "[REDACTED]" in text


def test_a_secret_is_revealed_on_request_only() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert copy.deepcopy(Secret(CANARY)).reveal() == CANARY


def test_secrets_are_compared_by_what_they_hide() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "[REDACTED]"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(Secret(CANARY))


def test_a_secret_is_read_from_text_only() -> None:
    assert Holder.model_validate({"token": CANARY}).token.reveal() == CANARY
    with pytest.raises(ValidationError):
        Holder.model_validate({"token": 5})
