"""Ready means that every part does its work, and no longer than that."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash.killer import Victim, until
from otlp_requests import chat, request

pytestmark = pytest.mark.slow


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    with Victim(tmp_path) as made:
        yield made


def answer(url: str, body: bytes | None = None) -> tuple[int, str]:
    headers = {"content-type": "application/x-protobuf"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as got:  # noqa: S310 - loopback
            return got.status, got.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError:  # it does not listen, or no longer
        return 0, ""


def readiness(victim: Victim) -> Any:
    return json.loads(answer(f"http://{victim.address['web']}/readyz")[1] or "null")


def send(victim: Victim) -> int:
    body = request([chat()]).SerializeToString()
    return answer(f"http://{victim.address['otlp.http']}/v1/traces", body)[0]


def test_it_is_ready_when_the_ledger_is_looked_at_and_served_not_when_it_is_open(
    victim: Victim,
) -> None:
    victim.switch("repair", on=True)
    victim.start()
    assert victim.held("repair")  # the store is open by now
    assert readiness(victim) == {"ready": False, "waiting_for": ["store"]}
    assert send(victim) == 200
    sql = f"http://{victim.address['sql']}/?query=SELECT+1"
    assert answer(sql)[0] == 503
    victim.switch("repair", on=False)
    assert until(lambda: readiness(victim) == {"ready": True}, 60)
    assert answer(sql) == (200, "1\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_not_ready_while_it_drains(victim: Victim, number: int) -> None:
    assert victim.start().wait_answer("/readyz")
    victim.switch("insert", on=True)
    answers = [send(victim)]
    assert victim.held("insert")
    victim.signal(number)
    stopping = {"ready": False, "waiting_for": ["stopping"]}
    assert until(lambda: readiness(victim) == stopping, 60)
    while answers[-1]:  # the other listeners close
        answers.append(send(victim))
    victim.switch("insert", on=False)
    assert victim.wait_dead()
    assert victim.start().wait_answer("/readyz")
    victim.drain()
    assert victim.rows("SELECT count() FROM calls") == [(answers.count(200),)]
