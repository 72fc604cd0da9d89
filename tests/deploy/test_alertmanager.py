"""The shipped Alertmanager configuration: valid, loopback only, and routed as operations expect."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CONFIG = "deploy/alertmanager/alertmanager.yml"

Tool = Callable[..., str]
Shipped = Callable[[str], Any]


def test_alertmanager_accepts_its_configuration(amtool: Tool) -> None:
    assert "SUCCESS" in amtool("check-config", CONFIG)


def test_the_mail_and_slack_examples_in_the_comments_are_accepted_too(
    amtool: Tool, root: Path, tmp_path: Path
) -> None:
    text = (root / CONFIG).read_text(encoding="utf-8")
    example = re.search(r"(?m)^  #\n((?:  #   .*\n)+)", text)
    assert example is not None
    lines = example[1].replace("  #   ", "    ")
    config = tmp_path / "alertmanager.yml"
    config.write_text(text.replace("  - name: critical\n", f"  - name: critical\n{lines}"))
    assert "SUCCESS" in amtool("check-config", config)
    assert "email_configs" in lines
    assert "slack_configs" in lines


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=BudgetExceeded", "severity=critical", "budget=acme"), "critical"),
        (("alertname=BudgetThresholdReached", "severity=warning", "budget=acme"), "warning"),
        (("alertname=SomethingOfYours",), "webhook"),
    ],
)
def test_an_alert_goes_to_the_receiver_of_its_severity(
    amtool: Tool, labels: tuple[str, ...], receiver: str
) -> None:
    said = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels)
    assert receiver in said.split()


def test_alerts_of_different_budgets_or_periods_are_different_messages(shipped: Shipped) -> None:
    assert {"alertname", "budget", "period"} <= set(shipped(CONFIG)["route"]["group_by"])


def test_every_alert_that_is_inhibited_or_inhibits_exists(shipped: Shipped) -> None:
    groups = shipped("deploy/prometheus/rules/spanledger.yml")["groups"]
    known = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    for rule in shipped(CONFIG)["inhibit_rules"]:
        matchers = " ".join(rule["source_matchers"] + rule["target_matchers"])
        named = set(re.findall(r"[A-Z]\w+", matchers))
        assert named
        assert named <= known


def test_nothing_leaves_the_machine_by_default(shipped: Shipped) -> None:
    for receiver in shipped(CONFIG)["receivers"]:
        assert set(receiver) == {"name", "webhook_configs"}
        for webhook in receiver["webhook_configs"]:
            assert urlsplit(webhook["url"]).hostname == "127.0.0.1"
