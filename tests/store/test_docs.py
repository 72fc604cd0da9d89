"""docs/sql.md says what is so: every column, and examples that answer."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from spanledger.store.client import Store
from spanledger.store.sql_http import create_app
from spanledger.store.sql_pool import Bounds

TEXT = Path(__file__).parents[2].joinpath("docs", "sql.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def http(ledger: Store, bounds: Bounds) -> Any:
    return TestClient(create_app(ledger, bounds))


def test_the_columns_are_described_as_they_are_and_in_their_order(http: TestClient) -> None:
    documented = re.findall(r"^\| `(\w+)` \| .+\. \|$", TEXT, re.MULTILINE)
    described = http.post("/?default_format=TSV", content="DESCRIBE TABLE calls").text
    assert documented == [line.split("\t")[0] for line in described.splitlines()]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("sql", EXAMPLES)
def test_an_example_answers_as_it_stands(http: TestClient, sql: str) -> None:
    answer = http.post("/?default_format=CSVWithNames&param_customer=acme", content=sql)
    assert answer.status_code == 200, answer.text
