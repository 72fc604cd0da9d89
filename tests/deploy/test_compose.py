"""compose.yaml, Dockerfile and Grafana's provisioning, read and checked property by property.

No container engine is needed, and none is tried: what these tests cannot know is whether the
images run.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from spanledger.config import load

COMPOSE: Final = "deploy/compose.yaml"
SERVICES: Final = ("collector", "prometheus", "alertmanager", "grafana")
PROVISIONING: Final = "deploy/grafana/provisioning"

Shipped = Callable[[str], Any]
Service = dict[str, Any]


@pytest.fixture
def compose(shipped: Shipped) -> Any:
    return shipped(COMPOSE)


def test_the_house_is_collector_prometheus_alertmanager_and_grafana(compose: Any) -> None:
    assert set(compose["services"]) == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_published_on_loopback_only(compose: Any, name: str) -> None:
    ports = compose["services"][name]["ports"]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "network_mode" not in compose["services"][name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_keeps_its_data_and_gains_no_rights(
    compose: Any, name: str
) -> None:
    service: Service = compose["services"][name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    named = {volume.split(":")[0] for volume in service["volumes"]} & set(compose["volumes"])
    assert len(named) == 1


@pytest.mark.parametrize("name", SERVICES)
def test_every_mounted_file_exists_and_is_read_only(compose: Any, name: str, root: Path) -> None:
    for volume in compose["services"][name]["volumes"]:
        source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
        if source not in compose["volumes"]:
            assert (root / "deploy" / source).exists(), volume
            assert volume.endswith(":ro"), volume


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_images_of_others_are_pinned_to_a_version(compose: Any, name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", compose["services"][name]["image"])


def test_the_collector_is_given_options_that_it_has_and_listens_where_ports_lead(
    compose: Any, root: Path
) -> None:
    service = compose["services"]["collector"]
    options = [word.partition("=") for word in service["command"][1:]]
    settings = [value for option, _, value in options if option == "--set"]
    assert ("--insecure", "", "") in options
    config = load(root / "config.yaml", [*settings, "insecure=true"], environ={})
    inside = {
        str(address)
        for address in (
            config.otlp.grpc.listen,
            config.otlp.http.listen,
            config.web.listen,
            config.sql.listen,
        )
    }
    assert inside == {"0.0.0.0:" + port.split(":")[2] for port in service["ports"]}


def test_the_collector_may_drain_before_it_is_killed(compose: Any) -> None:
    # It exits within 10 s of SIGTERM.
    assert int(compose["services"]["collector"]["stop_grace_period"].removesuffix("s")) > 10


def test_grafana_has_no_default_password_and_no_anonymous_access(compose: Any, root: Path) -> None:
    environment = compose["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_ADMIN_PASSWORD:?")
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    for file in (root / "deploy/grafana").rglob("*.yml"):
        assert "password" not in file.read_text(encoding="utf-8").lower()


def test_grafana_is_told_where_both_data_sources_are(compose: Any, shipped: Shipped) -> None:
    environment = compose["services"]["grafana"]["environment"]
    sources = shipped(f"{PROVISIONING}/datasources/spanledger.yml")["datasources"]
    assert {source["type"] for source in sources} == {"prometheus", "grafana-clickhouse-datasource"}
    for variable in re.findall(r"\$(\w+)", repr(sources)):
        assert variable in environment
    assert "grafana-clickhouse-datasource@" in environment["GF_PLUGINS_PREINSTALL_SYNC"]


def test_grafana_finds_the_dashboards_where_they_are_mounted(
    compose: Any, shipped: Shipped
) -> None:
    (provider,) = shipped(f"{PROVISIONING}/dashboards/spanledger.yml")["providers"]
    mounts = [volume.split(":") for volume in compose["services"]["grafana"]["volumes"]]
    assert ["../dashboards", provider["options"]["path"], "ro"] in mounts


def test_the_image_copies_what_exists_and_runs_without_root(root: Path) -> None:
    text = (root / "deploy/Dockerfile").read_text(encoding="utf-8")
    copied = [
        word
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", text)
        for word in line.split()[:-1]
    ]
    allowed = (root / "deploy/Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for name in copied:
        assert (root / name).exists(), name
        assert f"!{name}" in allowed, name
    assert re.search(r"(?m)^USER [1-9]\d*$", text)
    assert 'ENTRYPOINT ["/opt/spanledger/bin/spanledger"]' in text
