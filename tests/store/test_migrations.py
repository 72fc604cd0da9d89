"""The schema: each change once, and never a ledger that this version does not understand."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from spanledger.errors import StartupError
from spanledger.store.migrations import Migration, migrate, released, views
from spanledger.store.session import embedded

FIRST = Migration("001_first.sql", "CREATE TABLE IF NOT EXISTS spanledger.a (x UInt8) ENGINE = Log")
SECOND = Migration(
    "002_second.sql",
    "-- a note; with a semicolon\n"
    "CREATE TABLE IF NOT EXISTS spanledger.b (x UInt8) ENGINE = Log;\n"
    "CREATE TABLE IF NOT EXISTS spanledger.c (x UInt8) ENGINE = Log;\n",
)
VIEW = Migration("v.sql", "CREATE OR REPLACE VIEW spanledger.v AS SELECT x FROM spanledger.a")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    opened = embedded(tmp_path / "ledger")({}, None)
    yield opened
    opened.close()


def tables(client: Client) -> Any:
    sql = "SELECT name FROM system.tables WHERE database = 'spanledger' ORDER BY name"
    return [name for (name,) in client.query(sql).result_rows]


def applied(client: Client) -> Any:
    sql = "SELECT number, name FROM spanledger.schema_migrations ORDER BY number"
    return client.query(sql).result_rows


def test_a_new_ledger_gets_every_migration_in_order(client: Client) -> None:
    migrate(client, [FIRST, SECOND], [VIEW])
    assert tables(client) == ["a", "b", "c", "schema_migrations", "v"]
    assert applied(client) == [(1, "001_first.sql"), (2, "002_second.sql")]


def test_an_older_ledger_gets_what_it_lacks_and_keeps_what_it_holds(client: Client) -> None:
    migrate(client, [FIRST], [])
    client.command("INSERT INTO spanledger.a VALUES (7)")
    migrate(client, [FIRST, SECOND], [VIEW])
    assert client.command("SELECT x FROM spanledger.v") == 7
    assert applied(client) == [(1, "001_first.sql"), (2, "002_second.sql")]


def test_nothing_is_applied_twice(client: Client) -> None:
    for _ in range(3):
        migrate(client, [FIRST, SECOND], [VIEW])
    assert applied(client) == [(1, "001_first.sql"), (2, "002_second.sql")]


def test_a_migration_that_was_cut_short_is_finished(client: Client) -> None:
    broken = Migration(SECOND.name, SECOND.text + "DROP TABLE spanledger.nothing;\n")
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        migrate(client, [FIRST, broken], [])
    assert applied(client) == [(1, "001_first.sql")]
    migrate(client, [FIRST, SECOND], [])
    assert applied(client) == [(1, "001_first.sql"), (2, "002_second.sql")]


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(client: Client) -> None:
    migrate(client, [FIRST, SECOND], [])
    with pytest.raises(StartupError, match=r"schema version 2, .*knows up to 1.*Install"):
        migrate(client, [FIRST], [VIEW])
    assert "v" not in tables(client)


def test_a_released_migration_that_was_edited_is_refused(client: Client) -> None:
    migrate(client, [FIRST], [])
    edited = Migration(FIRST.name, FIRST.text.replace("UInt8", "UInt16"))
    with pytest.raises(StartupError, match=r"001_first\.sql is not the one"):
        migrate(client, [edited, SECOND], [])
    assert tables(client) == ["a", "schema_migrations"]


def test_a_view_follows_its_file(client: Client) -> None:
    migrate(client, [FIRST], [VIEW])
    migrate(client, [FIRST], [Migration(VIEW.name, VIEW.text.replace("SELECT x", "SELECT 5 AS y"))])
    assert [name for name, *_ in client.query("DESCRIBE spanledger.v").result_rows] == ["y"]


def test_the_released_files_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in released()] == [*range(1, len(released()) + 1)]


def test_a_view_comes_after_those_that_it_reads() -> None:
    names = [view.name.removesuffix(".sql") for view in views()]
    assert {"calls", "costs_hourly", "costs_daily"} < set(names)
    for place, view in enumerate(views()):
        later = [name for name in names[place + 1 :] if f" spanledger.{name} " in view.text]
        assert not later


@pytest.mark.parametrize("version", [migration.number for migration in released()])
def test_a_ledger_of_any_version_is_brought_up_to_date_with_its_calls(
    client: Client, version: int
) -> None:
    migrate(client, released()[:version], [])
    columns = "kind, tenant, trace_id, span_id, start_time, known_at, calls, cost_usd"
    values = "'charge', 't', 'sixteen bytes id', '8 bytes.', '2026-11-01', '2026-11-02', 1, 0.25"
    client.command(f"INSERT INTO spanledger.entries ({columns}) VALUES ({values})")  # noqa: S608
    migrate(client, released(), views())
    seen = client.query("SELECT region, cost_usd FROM spanledger.calls").result_rows
    assert seen == [("", Decimal("0.25"))]
    for table in ("prices", "price_changes"):
        assert client.command(f"SELECT count() FROM spanledger.{table}") == 0  # noqa: S608
    stored = client.command("SELECT stored_at FROM spanledger.entries")
    assert client.command("SELECT stored_at FROM spanledger.entries") == stored


def test_what_is_restated_has_the_columns_of_an_entry_in_their_order(client: Client) -> None:
    migrate(client, released(), [])

    def columns(table: str) -> list[str]:
        described = client.query(f"DESCRIBE spanledger.{table}").result_rows
        return [row[0] for row in described if row[2] != "MATERIALIZED"]

    entries = [name for name in columns("entries") if name != "stored_at"]
    assert columns("restated") == [*entries, "state"]
