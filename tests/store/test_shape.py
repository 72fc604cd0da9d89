"""The same files make the tables of one engine and those of a cluster.

No cluster is at hand: what is made for one is parsed by the engine, statement by statement, and
held against tests/golden/cluster.sql, but never run. ``python tests/store/test_shape.py`` writes
that file anew.
"""

import re
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError
from hypothesis import given, strategies as st

from spanledger.store import migrations
from spanledger.store.client import Store
from spanledger.store.migrations import distributed, released, views
from spanledger.store.shape import ALONE, Shape

GOLDEN = Path(__file__).parents[1] / "golden" / "cluster.sql"
CLUSTER = Shape("main")

# Of the files as they were released: what is applied by these is never applied again.
RELEASED = {
    "001_entries.sql": "475058d4dfe8b0665e49a1fe5d7455a6193ede689338d4d9b42e3b1ada14a836",
    "002_cache_write_unknown.sql": (
        "4aea9811667e95e8e244ffff6d9afe88a40d9df4022abddea981f524c6f97b6e"
    ),
}


def statements() -> list[str]:
    """Everything that is run when a cluster's ledger is opened, in order."""
    first = [CLUSTER.render(migrations._DATABASE), CLUSTER.render(migrations._LOG)]
    scripts = (*released(), *distributed(), *views())
    return first + [text for script in scripts for text in script.statements(CLUSTER)]


def text() -> str:
    return "\n;\n\n".join(statement.strip() for statement in statements()) + "\n;\n"


def head(statement: str) -> str:
    """Without comments."""
    return re.sub(r"--.*\n", "", statement).strip()


def test_in_one_engine_a_released_migration_is_what_it_was_to_the_byte() -> None:
    digests = {script.name: script.sha256 for script in released()}
    assert {name: digests[name] for name in RELEASED} == RELEASED


def test_in_one_engine_no_mark_is_left() -> None:
    for script in (*released(), *views()):
        rendered = ALONE.render(script.text)
        assert not re.search(r"\{\w+\}|_local|Replicated|ON CLUSTER|Distributed", rendered)


def test_what_is_made_on_a_cluster_is_what_was_read_and_agreed() -> None:
    assert text() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("statement", statements(), ids=lambda text: head(text)[:60])
def test_the_engine_understands_every_statement(ledger: Store, statement: str) -> None:
    def parse(parsed: str) -> bytes:
        return ledger._writing.run(lambda client: client.raw_query(f"EXPLAIN AST {parsed}"))

    assert parse(statement)
    with pytest.raises(ClickHouseError):
        parse(statement.replace("ON CLUSTER", "ON CLUTTER"))


@pytest.mark.parametrize("statement", statements(), ids=lambda text: head(text)[:60])
def test_every_change_is_made_on_every_server(statement: str) -> None:
    first = head(statement)
    assert re.match(r"(CREATE|ALTER) ", first)
    assert re.search(r"^[^(]*? ON CLUSTER 'main'", first), "mark it with {on_cluster}"
    if "MergeTree" in first:
        assert re.search(r"ENGINE = Replicated\w*MergeTree", first), "mark it with {replicated}"


def test_every_part_of_a_table_belongs_to_a_whole_one_and_every_other_is_everywhere() -> None:
    made = [head(statement) for statement in statements()]
    tables = {
        match[1]: statement
        for statement in made
        if (
            match := re.match(
                r"CREATE (?:OR REPLACE )?TABLE (?:IF NOT EXISTS )?\w+\.(\w+)", statement
            )
        )
    }
    for name, statement in tables.items():
        if name.endswith("_local"):
            assert "Distributed" in tables[name.removesuffix("_local")]
        elif "Distributed" in statement:
            assert f"{name}_local" in tables
        else:
            assert "'/clickhouse/spanledger/" in statement, f"{name}: {{local}} or {{everywhere}}"


def test_entries_are_sharded_by_trace_so_that_a_retry_meets_its_twin() -> None:
    (script,) = (script for script in distributed() if script.name == "entries.sql")
    assert "Distributed('main', spanledger, entries_local, sipHash64(trace_id))" in "".join(
        script.statements(CLUSTER)
    )


@pytest.mark.parametrize("wrong", ["{on_cluser}", "{everywhere}", "{local }", "{shard}"])
def test_a_mark_that_is_none_is_an_error(wrong: str) -> None:
    for shape in (ALONE, CLUSTER):
        with pytest.raises(ValueError, match="is no mark"):
            shape.render(f"CREATE TABLE a{wrong}")


def test_parameters_and_comments_are_no_marks() -> None:
    text = "SELECT {since:DateTime64(9, 'UTC')} -- {anything}\n"
    assert ALONE.render(text) == CLUSTER.render(text) == text


@given(st.text(max_size=70))
def test_a_clusters_name_cannot_add_to_a_statement(name: str) -> None:
    try:
        shape = Shape(name)
    except ValueError:
        return
    assert re.fullmatch(r"|( ON CLUSTER '[\w-]+')", shape.render("{on_cluster}"))


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
