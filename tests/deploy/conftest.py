"""What the tests of the shipped configuration share: the real tools, and what is exported."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from spanledger.collector.metrics import Meters

ROOT: Final = Path(__file__).parents[2]

Tool = Callable[..., str]


def _tool(name: str, package: str) -> Tool:
    path = shutil.which(name)
    if path is None:
        how = f"{name} is not installed: apt-get install {package}"
        if os.geteuid() == 0:
            # `make test` installs it as root, so its absence is a fault and no circumstance.
            pytest.fail(how)
        pytest.skip(f"{how} (as root, `make test` does it)")

    def run(*arguments: object, cwd: Path = ROOT) -> str:
        done = subprocess.run(
            [path, *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))}\n{said}"
        return said

    return run


@pytest.fixture(scope="session")
def promtool() -> Tool:
    """Run promtool; the test fails with its words unless it succeeds."""
    return _tool("promtool", "prometheus")


@pytest.fixture(scope="session")
def amtool() -> Tool:
    """Run amtool; the test fails with its words unless it succeeds."""
    return _tool("amtool", "prometheus-alertmanager")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def metrics() -> Mapping[str, set[str]]:
    """Every metric that a collector exports, as it is scraped, with its labels."""
    exported: dict[str, set[str]] = {}
    for family in Meters(series_max=100).registry.collect():
        labels = set(getattr(family, "_labelnames", ())).union(*(s.labels for s in family.samples))
        names: tuple[str, ...]
        match family.type:
            case "counter":
                names = (f"{family.name}_total",)
            case "histogram":
                names = tuple(f"{family.name}_{part}" for part in ("bucket", "sum", "count"))
            case "info":
                names = (f"{family.name}_info",)
            case _:
                names = (family.name,)
        exported.update(dict.fromkeys(names, labels))
    return exported


@pytest.fixture(scope="session")
def shipped() -> Callable[[str], Any]:
    """Parse a YAML file of the repository, by its path."""

    def load(path: str) -> Any:
        return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))

    return load
