import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from spanledger.config import Config, load, warnings
from spanledger.config.model import fields
from spanledger.config.sections import Column, Dimension
from spanledger.ledger.dialect_fields import FIELDS
from spanledger.store.client import DIMENSIONS

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def test_the_shipped_file_says_what_the_code_does_without_one() -> None:
    assert load(SHIPPED, environ={}) == load(None, environ={}) == Config()


def test_every_default_stands_written_in_the_shipped_file() -> None:
    def leaves(value: object, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        if not isinstance(value, dict) or not value:  # an empty mapping is a default of its own
            return {above}
        return {leaf for key, inner in value.items() for leaf in leaves(inner, (*above, key))}

    written = leaves(yaml.safe_load(SHIPPED.read_text()))
    in_lists = {("auth", "tokens"), ("budgets",), ("sql", "users")}
    known = {path for path, field in fields() if field.description and path[:-1] not in in_lists}
    assert written == known


def test_the_example_of_a_budget_in_the_shipped_file_names_every_key_and_is_valid(
    tmp_path: Path,
) -> None:
    text = SHIPPED.read_text()
    example = re.search(r"^# budgets:\n(?:#   .*\n)+", text, re.MULTILINE)
    assert example
    file = tmp_path / "config.yaml"
    file.write_text(re.sub(r"^# ", "", example[0], flags=re.MULTILINE))
    (budget,) = load(file, environ={}).budgets
    assert budget.limit_usd == Decimal(200)
    assert set(yaml.safe_load(file.read_text())["budgets"][0]) == set(type(budget).model_fields)


def test_each_key_of_the_shipped_file_has_a_comment_above_it() -> None:
    lines = SHIPPED.read_text().splitlines()
    bare = [
        line
        for above, line in pairwise(lines)
        if re.match(r" *(- )?[a-z_]+: \S", line) and not above.lstrip().startswith("# ")
    ]
    assert bare == []


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().otlp.spans_max = 5


def test_the_defaults_need_no_second_look() -> None:
    assert warnings(Config()) == ()


def test_a_listener_that_others_can_reach_is_warned_about() -> None:
    open_to_others = ["otlp.grpc.listen=0.0.0.0:4317", "sql.listen=[::]:1"]
    grpc, sql = warnings(load(None, [*open_to_others, "insecure=true"], environ={}))
    assert "otlp.grpc.listen = 0.0.0.0:4317" in grpc
    assert "write to" in grpc
    assert "sql.listen = [::]:1" in sql
    assert "read the ledger" in sql


def test_a_password_in_the_clear_is_warned_about() -> None:
    asked = ["sql.listen=0.0.0.0:8123", "sql.users=[{name: grafana, password: secret}]"]
    (warning,) = warnings(load(None, asked, environ={}))
    assert "in the clear" in warning
    files = "tls={cert_file: a.pem, key_file: b.pem}"
    assert warnings(load(None, [*asked, files], environ={})) == ()


def test_the_example_of_a_user_in_the_shipped_file_names_every_key_and_is_valid(
    tmp_path: Path,
) -> None:
    example = re.search(r"^  # users:\n(?:  #   .*\n)+", SHIPPED.read_text(), re.MULTILINE)
    assert example
    file = tmp_path / "config.yaml"
    file.write_text("sql:\n" + re.sub(r"^  # ", "  ", example[0], flags=re.MULTILINE))
    (user,) = load(file, environ={"SPANLEDGER_SQL_PASSWORD": "secret"}).sql.users
    assert (user.name, user.password.reveal()) == ("grafana", "secret")
    assert "secret" not in repr(user)


def test_budgets_filter_by_what_the_store_can_and_columns_are_facts_that_are_read() -> None:
    assert set(get_args(Dimension)) <= set(DIMENSIONS)
    assert set(get_args(Column)) <= set(FIELDS)
