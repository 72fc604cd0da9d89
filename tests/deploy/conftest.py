"""What the tests of the shipped configuration share: the real tools, and the contract's metrics."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]

_CALL: Final = ("tenant", "service", "environment", "provider", "model")
_BUDGET: Final = ("budget", "period")

# Every metric that rules and dashboards may name, with its labels; a test compares it with the
# collector's own registry. Names as they are scraped: a histogram is its _bucket, _sum, _count.
METRICS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "genai_cost_usd_total": (*_CALL, "cost_class"),
        "genai_tokens_total": (*_CALL, "token_type"),
        "genai_calls_total": (*_CALL, "operation", "status"),
        "genai_unpriced_calls_total": (*_CALL, "reason"),
        "genai_spend_usd": ("window",),
        "genai_budget_limit_usd": _BUDGET,
        "genai_budget_spent_usd": _BUDGET,
        "genai_budget_used_ratio": _BUDGET,
        "genai_budget_alert_ratio": _BUDGET,
        "spanledger_items_received_total": ("transport",),
        "spanledger_items_stored_total": (),
        "spanledger_items_pending": (),
        "spanledger_items_duplicate_total": (),
        "spanledger_items_not_a_call_total": ("reason",),
        "spanledger_items_rejected_total": ("reason",),
        "spanledger_items_dead_total": ("reason",),
        "spanledger_requests_total": ("transport", "outcome"),
        "spanledger_ack_duration_seconds_bucket": ("le",),
        "spanledger_ack_duration_seconds_sum": (),
        "spanledger_ack_duration_seconds_count": (),
        "spanledger_journal_bytes": (),
        "spanledger_writer_lag_seconds": (),
        "spanledger_store_up": (),
        "spanledger_ledger_refresh_timestamp_seconds": (),
        "spanledger_build_info": ("version",),
    }
)

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
def metrics() -> Mapping[str, tuple[str, ...]]:
    return METRICS


@pytest.fixture(scope="session")
def shipped() -> Callable[[str], Any]:
    """Parse a YAML file of the repository, by its path."""

    def load(path: str) -> Any:
        return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))

    return load
