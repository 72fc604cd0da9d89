"""The shipped Prometheus configuration and alert rules, judged by Prometheus's own tools."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

RULES = "deploy/prometheus/rules/spanledger.yml"
CONFIGS = ("deploy/prometheus/prometheus.yml", "deploy/prometheus/prometheus.compose.yml")

Tool = Callable[..., str]
Shipped = Callable[[str], Any]


def _rules(shipped: Shipped) -> Iterator[dict[str, Any]]:
    for group in shipped(RULES)["groups"]:
        yield from group["rules"]


def _alerts(shipped: Shipped) -> list[dict[str, Any]]:
    return [rule for rule in _rules(shipped) if "alert" in rule]


@pytest.mark.parametrize("config", CONFIGS)
def test_prometheus_accepts_its_configuration_with_the_rules(promtool: Tool, config: str) -> None:
    assert "rules found" in promtool("check", "config", config)


def test_compose_scrapes_the_same_as_the_machine_except_for_addresses(shipped: Shipped) -> None:
    machine, compose = (repr(shipped(config)) for config in CONFIGS)
    names = {"collector:8080": "127.0.0.1:8080", "alertmanager:9093": "127.0.0.1:9093"}
    for name, address in names.items():
        assert name in compose
        compose = compose.replace(name, address)
    assert compose == machine


@pytest.mark.slow  # a week of samples
def test_every_alert_fires_stays_silent_and_clears_as_its_unit_test_says(
    promtool: Tool, root: Path
) -> None:
    cases = sorted((root / "deploy/prometheus/tests").glob("*.yml"))
    assert "FAILED" not in promtool("test", "rules", *cases)


def test_every_alert_is_tested_for_firing_and_for_silence(shipped: Shipped, root: Path) -> None:
    fired: set[str] = set()
    silent: set[str] = set()
    for path in (root / "deploy/prometheus/tests").glob("*.yml"):
        for case in shipped(str(path.relative_to(root)))["tests"]:
            for check in case.get("alert_rule_test", ()):
                (fired if check["exp_alerts"] else silent).add(check["alertname"])
    names = {rule["alert"] for rule in _alerts(shipped)}
    assert fired == names
    assert silent >= names


def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do(shipped: Shipped) -> None:
    for rule in _alerts(shipped):
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert "for" in rule, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, rule["alert"]


def test_every_alert_has_a_chapter_in_the_runbook(shipped: Shipped, root: Path) -> None:
    text = (root / "docs/operations.md").read_text(encoding="utf-8")
    # How GitHub and MkDocs make an anchor of a heading of one word.
    anchors = {f"docs/operations.md#{name.lower()}" for name in re.findall(r"(?m)^#+ (\w+)$", text)}
    assert {rule["annotations"]["runbook"] for rule in _alerts(shipped)} <= anchors


def test_every_metric_and_label_of_the_rules_is_one_that_the_collector_exports(
    shipped: Shipped, metrics: Mapping[str, set[str]]
) -> None:
    for rule in _rules(shipped):
        text = " ".join((rule["expr"], *rule.get("annotations", {}).values()))
        for name, matchers in re.findall(r"(?<![\w:])((?:genai|spanledger)_\w+)(\{[^}]*\})?", text):
            assert name in metrics, f"{name} in {rule}"
            labels = set(re.findall(r"(\w+)=", matchers))
            assert labels <= {*metrics[name], "job", "instance"}, f"{name}{matchers} in {rule}"


def test_rules_select_the_job_that_is_scraped(shipped: Shipped) -> None:
    jobs = {job["job_name"] for job in shipped(CONFIGS[0])["scrape_configs"]}
    selected = set(re.findall(r'job="(\w+)"', " ".join(rule["expr"] for rule in _rules(shipped))))
    assert selected == jobs == {"spanledger"}
