"""The vectors themselves: their format, their arithmetic, and what spanledger makes of them."""

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from environments import ADAPTERS, OURS, requirements, version
from judge import PASSED, RULES, VECTORS, judge, load_vectors, quantised
from make_vectors import amount, text
from protocol import answer
from spanledger_adapter import prepare

CONFORMANCE = VECTORS.parent
EVERY_KEY = {
    *("id", "rule", "kind", "provider", "model", "requested_model", "at", "context", "usage"),
    *("lines", "expected_total_usd", "trap_total_usd", "cost_class", "low_usd", "high_usd"),
    *("unpriced_reason", "contested", "out_of_scope", "note", "source"),
}
OPTIONAL = {
    *("requested_model", "trap_total_usd", "cost_class", "low_usd", "high_usd"),
    *("unpriced_reason", "contested", "out_of_scope"),
}

# What spanledger does not get right yet. A vector that leaves this list leaves it for good; one
# that would have to be added is a defect.
NOT_YET: set[str] = set()


def all_vectors() -> list[dict[str, Any]]:
    """Those that are out of scope, too."""
    files = ("published.json", "made.json")
    return [vector for file in files for vector in json.loads((VECTORS / file).read_text())]


ALL = all_vectors()
ANSWERS = {vector["id"]: answer(vector, prepare) for vector in load_vectors()}


def ids(vector: Any) -> str:
    return str(vector["id"])


def test_every_vector_has_a_name_of_its_own() -> None:
    assert len({vector["id"] for vector in ALL}) == len(ALL)


def test_there_are_all_of_the_published_and_a_hundred_more() -> None:
    assert sum(vector["id"].startswith("v") for vector in ALL) == 42
    assert len(ALL) >= 142


def test_the_made_vectors_are_what_the_cases_make_and_genai_prices_agrees() -> None:
    made = subprocess.run(
        [sys.executable, CONFORMANCE / "make_vectors.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("vector", ALL, ids=ids)
def test_a_vector_has_the_documented_format(vector: dict[str, Any]) -> None:
    assert EVERY_KEY - OPTIONAL <= vector.keys() <= EVERY_KEY
    assert vector["rule"] in RULES
    assert datetime.fromisoformat(vector["at"]).tzinfo
    for quantity in vector["usage"].values():
        assert type(quantity) is int or text(Decimal(quantity)) == quantity
    for line in vector["lines"]:
        assert line.keys() == {"unit", "quantity", "rate_usd", "per"}
        assert format(Decimal(line["rate_usd"]), "f") == line["rate_usd"]
    needed = {"negative": "trap_total_usd", "unpriced": "unpriced_reason"}
    assert needed.get(vector["kind"], "id") in vector
    assert (vector["kind"] == "out_of_scope") == ("out_of_scope" in vector)


@pytest.mark.parametrize("vector", ALL, ids=ids)
def test_the_total_of_a_vector_is_the_sum_of_its_lines(vector: dict[str, Any]) -> None:
    if vector["kind"] == "unpriced":
        assert vector["expected_total_usd"] is None
        assert vector["lines"] == []
        return
    total = sum((amount(line) for line in vector["lines"]), Decimal(0))
    assert vector["expected_total_usd"] == text(total)
    assert vector.get("trap_total_usd") != vector["expected_total_usd"]


def test_what_spanledger_gets_wrong_is_what_is_known() -> None:
    verdicts = [judge("spanledger", vector, ANSWERS[vector["id"]]) for vector in load_vectors()]
    assert {v.vector["id"] for v in verdicts if v.kind not in PASSED} == NOT_YET
    assert not any(verdict.kind in {"noise", "failed"} for verdict in verdicts)


PASSING = [vector for vector in load_vectors() if vector["id"] not in NOT_YET]


@pytest.mark.parametrize("vector", PASSING, ids=ids)
def test_spanledger_gives_the_lines_the_class_and_the_bounds(vector: dict[str, Any]) -> None:
    given = ANSWERS[vector["id"]]
    if vector["kind"] == "unpriced":
        assert given["error"] == vector["unpriced_reason"]
        assert given["cost_class"] == "unpriced"
        return
    # By amount: a line is named by the unit that has a rate, which may be a whole of the one used.
    # A contract is a line of its own in the vector, and within each line of ours.
    made = sorted(Decimal(line["amount_usd"]) for line in given["lines"])
    if "percent_off" not in vector["context"]:
        assert [usd for usd in made if usd] == sorted(filter(None, map(amount, vector["lines"])))
    assert given["cost_class"] == vector.get("cost_class", "exact")
    for bound in ("low_usd", "high_usd"):
        assert Decimal(given[bound]) == quantised(
            Decimal(vector.get(bound, vector["expected_total_usd"]))
        )


def test_the_readme_tells_every_rule() -> None:
    told = (CONFORMANCE / "README.md").read_text()
    assert [rule for rule in RULES if f"\n| `{rule}` |" not in told] == []


def test_every_adapter_has_its_versions_pinned() -> None:
    for adapter in set(ADAPTERS) - {OURS}:
        pins = [line for line in requirements(adapter).read_text().splitlines() if line[0] != "#"]
        assert all("==" in pin for pin in pins)
        assert version(adapter)
        assert Path(CONFORMANCE / "adapters" / f"{adapter.replace('-', '_')}_adapter.py").exists()
