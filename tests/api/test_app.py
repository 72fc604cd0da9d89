import re
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from spanledger.api.app import create_app
from spanledger.collector.metrics import Meters


@pytest.fixture
def waiting_for() -> list[str]:
    return []


@pytest.fixture
def client(waiting_for: list[str]) -> Iterator[TestClient]:
    meters = Meters(2_000)
    meters.received("grpc", 42)
    with TestClient(create_app(meters, lambda: waiting_for)) as client:
        yield client


def test_prometheus_gets_the_text_format_and_openmetrics_when_it_asks(client: TestClient) -> None:
    line = 'spanledger_items_received_total{transport="grpc"} 42.0'
    plain = client.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert line in plain.text
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    modern = client.get("/metrics", headers={"accept": accept})
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert line in modern.text
    assert modern.text.endswith("# EOF\n")
    assert list(text_string_to_metric_families(modern.text))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("accept", ["", "*/*", ",;=", "application/openmetrics-text; version=x"])
def test_an_odd_wish_for_a_format_still_gets_metrics(client: TestClient, accept: str) -> None:
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert "spanledger_items_received_total" in answer.text


def test_health_is_that_the_process_answers(client: TestClient, waiting_for: list[str]) -> None:
    waiting_for.append("store")
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_readiness_names_what_is_waited_for_and_follows_it(
    client: TestClient, waiting_for: list[str]
) -> None:
    assert client.get("/readyz").status_code == 200
    waiting_for += ["store", "journal"]
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "waiting_for": ["store", "journal"]}
    assert answer.headers["cache-control"] == "no-store"
    waiting_for.clear()
    assert client.get("/readyz").json() == {"ready": True}


def test_what_failed_since_is_told_and_keeps_nobody_from_sending() -> None:
    failed = ["store"]
    with TestClient(create_app(Meters(2_000), list, degraded=lambda: failed)) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"ready": True, "degraded": ["store"]}
        failed.clear()
        assert client.get("/readyz").json() == {"ready": True}


def test_the_page_links_to_what_is_there_and_to_no_other_host(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:href|src)="([^"]*)"', page.text)
    assert set(links) == {"/readyz", "/healthz", "/metrics"}
    for link in links:
        assert client.get(link).status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/metrics/../etc", "/x"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_nothing_can_be_changed(client: TestClient) -> None:
    assert client.post("/metrics").status_code == 405
    assert client.head("/healthz").status_code == 200
