"""The demo as a newcomer runs it, and its oracle, which must notice the smallest difference."""

import importlib.util
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_check", DEMO / "check.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def line(**facts: Any) -> str:
    """One line of the provider's record: a call of $0.0251 unless said otherwise."""
    call: dict[str, Any] = {
        "at": "2026-11-01T12:00:00+00:00",
        "provider": "openai",
        "path": "/v1/chat/completions",
        "model": "gpt-4o-2024-08-06",
        "status": 200,
        "usage": {
            "prompt_tokens": 10_000,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
    return json.dumps(call | facts)


@pytest.mark.slow
def test_one_run_of_the_demo_agrees_with_the_provider_to_the_last_digit() -> None:
    run = subprocess.run(
        [sys.executable, str(DEMO / "run.py"), "--once"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "the ledger equals the provider's own record to the last digit" in run.stdout
    assert "acme-llm-1" in run.stdout
    assert "unknown model" in run.stdout
    assert "of which 100 % exact" in run.stdout
    assert run.stderr == ""


def test_the_oracle_prices_cached_tokens_refusals_and_unknown_models(check: ModuleType) -> None:
    cached = {
        "prompt_tokens": 10_000,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 4_000},
    }
    sums = check.expected(
        [
            line(),
            line(usage=cached),
            line(usage=None, status=429),
            line(model="acme-llm-1"),
        ]
    )
    assert sums["gpt-4o-2024-08-06"] == check.Sums(2, 0, 0, Decimal("0.0251") + Decimal("0.0201"))
    assert sums[""] == check.Sums(1, 1, 0, Decimal(0))
    assert sums["acme-llm-1"] == check.Sums(1, 0, 1, Decimal(0))


def test_the_oracle_tells_lifetimes_of_anthropic_cache_writes_apart(check: ModuleType) -> None:
    usage = {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 2_000_000,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 1_000_000,
            "ephemeral_1h_input_tokens": 1_000_000,
        },
    }
    claude = line(
        provider="anthropic", path="/v1/messages", model="claude-haiku-4-5-20251001", usage=usage
    )
    (sums,) = check.expected([claude]).values()
    assert sums.cost_usd == Decimal("1.25") + Decimal(2)


def test_an_equal_ledger_has_no_differences(check: ModuleType) -> None:
    assert check.differences(check.expected([line()]), check.expected([line()])) == []


def test_the_last_digit_is_a_difference_and_is_named(check: ModuleType) -> None:
    ledger = check.expected([line()])
    ledger["gpt-4o-2024-08-06"].cost_usd += Decimal("1e-18")
    whole, model = check.differences(check.expected([line()]), ledger)
    assert whole.startswith("all models: cost_usd is 0.025100000000000001 in the ledger")
    assert whole.endswith("a difference of 1E-18")
    assert model.startswith("gpt-4o-2024-08-06: cost_usd")


def test_a_lost_call_is_a_difference_even_if_it_cost_nothing(check: ModuleType) -> None:
    provider = check.expected([line(), line(usage=None, status=500)])
    found = check.differences(provider, check.expected([line()]))
    assert "all models: calls is 1 in the ledger and 2 by the provider's record" in found[0]


def test_money_under_the_wrong_model_is_a_difference_though_the_total_agrees(
    check: ModuleType,
) -> None:
    ledger = check.expected([line(model="gpt-4o")])
    assert {
        found.split(":")[0] for found in check.differences(check.expected([line()]), ledger)
    } == {
        "gpt-4o",
        "gpt-4o-2024-08-06",
    }
