"""A budget is exceeded, and somebody is told: real spans, collector, Prometheus, Alertmanager.

What is shipped is used as shipped: rules, grouping, inhibition. Only addresses and waiting times
are rewritten. Nothing leaves the loopback interface.
"""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import pytest
import yaml
from otlp_requests import chat, request
from ports import free_port

ROOT: Final = Path(__file__).parents[2]
# Every wait below takes a second or two; this is for a machine busy with other things.
PATIENCE_S: Final = 60.0

# A month, not a day: a test that runs across its period's end would look for yesterday's money.
BUDGETS: Final = (
    {"name": "acme", "filter": {"customer": "acme"}, "period": "month", "alert_at": 0.8},
    {"name": "other", "filter": {"customer": "other"}, "period": "month", "alert_at": 0.8},
)
CALLS: Final = 4
# gpt-4o: 2.50 USD per million tokens in, 10.00 out.
COST_USD: Final = CALLS * (1_500 * Decimal("2.50") + 2_000 * Decimal("10.00")) / 1_000_000

pytestmark = pytest.mark.slow
T = TypeVar("T")

# A proxy of the environment must not be asked for loopback addresses.
_http: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _ask(url: str, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/x-protobuf"} if body else {}
    question = urllib.request.Request(url, body, headers)  # noqa: S310  # always http to loopback
    with _http.open(question, timeout=60) as answer:
        data: bytes = answer.read()
    return data


def _until(what: str, look: Callable[[], T | None]) -> T:
    """Ask until there is an answer: none of the programs has an event to wait for."""
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        pause.wait(0.1)
    pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}")


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        how = f"{name} is not installed: apt-get install {package}"
        if os.geteuid() == 0:
            # `make test` installs it as root, so its absence is a fault and no circumstance.
            pytest.fail(how)
        pytest.skip(f"{how} (as root, `make test` does it)")
    return path


def _free_address() -> str:
    return f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def _running(command: list[str], log: Path, ready_url: str) -> Iterator[None]:
    """Run a program until the block ends; it is ready when the block begins."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def ready() -> bool | None:
        if process.poll() is not None:
            pytest.fail(
                f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-4_000:]}"
            )
        try:
            _ask(ready_url)
        except OSError:
            return None
        return True

    try:
        _until(f"{ready_url}; its log ends with\n{log.read_text()[-4_000:]}", ready)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)


@dataclass
class Webhook:
    """What Alertmanager delivers, alert by alert."""

    address: str
    delivered: list[dict[str, Any]] = field(default_factory=list)
    news: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)

    def wait_for(self, alertname: str, status: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                alert = self.news.get(timeout=left)
                if (alert["labels"]["alertname"], alert["status"]) == (alertname, status):
                    return alert
        pytest.fail(f"waited {PATIENCE_S:.0f} s for {alertname} {status}: {self.delivered}")


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in message["alerts"]:
                hook.delivered.append({**alert, "path": self.path})
                hook.news.put(hook.delivered[-1])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
    hook = Webhook(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hook
    server.shutdown()
    thread.join(timeout=60)
    server.server_close()


class Collector:
    """`spanledger serve` on ports and a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.otlp, self.web, self.sql = _free_address(), _free_address(), _free_address()
        self._grpc = _free_address()

    @contextlib.contextmanager
    def serving(self, limit_usd: Decimal) -> Iterator[None]:
        budgets = [{**budget, "limit_usd": str(limit_usd)} for budget in BUDGETS]
        config = self._directory / "config.yaml"
        config.write_text(
            yaml.safe_dump({"budgets": budgets, "metrics": {"refresh_seconds": 1}}),
            encoding="utf-8",
        )
        command = [
            sys.executable,
            "-m",
            "spanledger",
            "serve",
            f"--config={config}",
            f"--data-dir={self._directory / 'data'}",
            f"--set=otlp.grpc.listen={self._grpc}",
            f"--set=otlp.http.listen={self.otlp}",
            f"--set=web.listen={self.web}",
            f"--set=sql.listen={self.sql}",
        ]
        log = self._directory / "collector.log"
        with _running(command, log, f"http://{self.web}/readyz"):
            yield

    def send_acme_calls(self) -> None:
        """Return when the calls are acknowledged."""
        spans = [chat(spanledger__customer="acme") for _ in range(CALLS)]
        _ask(f"http://{self.otlp}/v1/traces", request(spans).SerializeToString())

    def spent(self, customer: str) -> Decimal:
        sql = f"SELECT sum(cost_usd) FROM calls WHERE customer = '{customer}'"  # noqa: S608  # a constant
        return Decimal(_ask(f"http://{self.sql}/?query={quote(sql)}").decode().strip())


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


@pytest.fixture
def alertmanager(tmp_path: Path, webhook: Webhook) -> Iterator[str]:
    program = _program("prometheus-alertmanager", "prometheus-alertmanager")
    config = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    # A hundredth of the waiting, in the same proportions: critical still before warning.
    routes = (config["route"], *config["route"]["routes"])
    waits = {"10s": "100ms", "1m": "600ms", "5m": "1s"}
    for route in routes:
        for key in ("group_wait", "group_interval"):
            if key in route:
                route[key] = waits[route[key]]
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = hook["url"].replace("127.0.0.1:9095", webhook.address)
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    address = _free_address()
    command = [
        program,
        f"--config.file={file}",
        f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with _running(command, tmp_path / "alertmanager.log", f"http://{address}/-/ready"):
        yield address


@pytest.fixture
def prometheus(tmp_path: Path, collector: Collector, alertmanager: str) -> Iterator[str]:
    program = _program("prometheus", "prometheus")
    shipped = ROOT / "deploy/prometheus"
    rules = yaml.safe_load((shipped / "rules/spanledger.yml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "0s"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/spanledger.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    text = (shipped / "prometheus.yml").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:8080", collector.web).replace("127.0.0.1:9093", alertmanager)
    text = text.replace("_interval: 15s", "_interval: 1s")
    file = tmp_path / "prometheus.yml"
    file.write_text(text, encoding="utf-8")
    address = _free_address()
    command = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path / 'prometheus'}",
        f"--web.listen-address={address}",
    ]
    with _running(command, tmp_path / "prometheus.log", f"http://{address}/-/ready"):
        yield address


def _api(prometheus: str, path: str) -> Any:
    return json.loads(_ask(f"http://{prometheus}/api/v1/{path}"))["data"]


def _scraped(prometheus: str) -> dict[str, Any] | None:
    # None at all for its first seconds: Prometheus discovers even static targets late.
    for target in _api(prometheus, "targets")["activeTargets"]:
        if target["health"] == "up":
            return dict(target)
    return None


def _result(prometheus: str, path: str) -> list[Any] | None:
    return list(_api(prometheus, path)["result"]) or None


def _inhibited(alertmanager: str) -> dict[str, Any] | None:
    """Return the threshold's alert once Alertmanager holds it back."""
    for alert in json.loads(_ask(f"http://{alertmanager}/api/v2/alerts")):
        named = alert["labels"]["alertname"] == "BudgetThresholdReached"
        if named and alert["status"]["state"] == "suppressed":
            return dict(alert)
    return None


def test_an_exceeded_budget_reaches_the_webhook_with_the_ledgers_figures_and_clears_when_raised(
    collector: Collector, prometheus: str, alertmanager: str, webhook: Webhook
) -> None:
    with collector.serving(limit_usd=Decimal("0.05")):
        _until("the collector to be scraped", lambda: _scraped(prometheus))
        collector.send_acme_calls()

        alert = webhook.wait_for("BudgetExceeded", "firing")
        spent_usd = collector.spent("acme")
        assert spent_usd == COST_USD
        assert alert["path"] == "/alerts/critical"
        assert alert["labels"] == {
            "alertname": "BudgetExceeded",
            "severity": "critical",
            "job": "spanledger",
            "budget": "acme",
            "period": "month",
        }
        assert (
            f"Spent {spent_usd:.2f} USD of 0.05 USD this month."
            in (alert["annotations"]["description"])
        )
        # Both are true, one is said; and a budget that nobody touched is not spoken of.
        held_back = _until("the inhibition", lambda: _inhibited(alertmanager))
        assert held_back["labels"]["budget"] == "acme"
        told = {alert["labels"].get("budget") for alert in webhook.delivered}
        assert "other" not in told

        _check_what_prometheus_has(prometheus, spent_usd)

    with collector.serving(limit_usd=Decimal(50)):
        cleared = webhook.wait_for("BudgetExceeded", "resolved")
        assert cleared["labels"]["budget"] == "acme"
        assert collector.spent("acme") == COST_USD


def _check_what_prometheus_has(prometheus: str, spent_usd: Decimal) -> None:
    names = set(_api(prometheus, "label/__name__/values"))
    # Those that exist from the first call on; the others are born with their first label.
    assert names >= {
        "genai_cost_usd_total",
        "genai_tokens_total",
        "genai_calls_total",
        "genai_spend_usd",
        "genai_budget_limit_usd",
        "genai_budget_spent_usd",
        "genai_budget_used_ratio",
        "genai_budget_alert_ratio",
        "spanledger_items_received_total",
        "spanledger_items_stored_total",
        "spanledger_items_pending",
        "spanledger_requests_total",
        "spanledger_ack_duration_seconds_bucket",
        "spanledger_journal_bytes",
        "spanledger_writer_lag_seconds",
        "spanledger_store_up",
        "spanledger_ledger_refresh_timestamp_seconds",
        "spanledger_build_info",
    }
    # The counter and the gauge are not written at the same instant: the next scrape has both.
    for expr in ('genai_budget_spent_usd{budget="acme"}', "sum(genai_cost_usd_total)"):
        path = f"query?query={quote(f'{expr} == {float(spent_usd)}')}"
        _until(f"{expr} to be {spent_usd}", partial(_result, prometheus, path))
    for group in _api(prometheus, "rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
