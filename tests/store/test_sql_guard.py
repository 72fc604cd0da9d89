"""The guard: what may be asked of the ledger by anyone, and everything that may not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hostile_sql import HOSTILE
from hypothesis import given, settings, strategies as st

from spanledger.ledger.schema import ENTRIES
from spanledger.store.client import Store
from spanledger.store.session import Session
from spanledger.store.sql_guard import (
    TEXT_BYTES_MAX,
    Guard,
    Refused,
    Statement,
    allowed_functions,
)


class Asker:
    """Examines on a handle like that of the listener."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._guard = session.run(Guard)

    def examine(self, text: str, **parameters: Any) -> Statement:
        def examined(client: Client) -> Statement | Refused:
            try:
                return self._guard.examine(client, text, parameters)
            except Refused as refused:
                return refused  # returned, or every refusal would cost a new handle

        found = self._session.run(examined)
        if isinstance(found, Refused):
            raise found
        return found


@pytest.fixture(scope="module")
def asker(ledger: Store) -> Iterator[Asker]:
    session = ledger.open_session({"readonly": 1})
    yield Asker(session)
    session.close()


# --- what may be asked --------------------------------------------------------------------------

HARMLESS = [
    "SELECT model, sum(cost_usd) FROM calls GROUP BY model ORDER BY 2 DESC NULLS LAST LIMIT 3",
    "SELECT * FROM spanledger.calls WHERE start_time >= now() - INTERVAL 1 DAY",
    "SELECT count(*), count(DISTINCT user_id), sumIf(cost_usd, status = 'ok') FROM calls",
    """SELECT toStartOfHour(start_time) AS t, quantilesExactIf(0.5, 0.9)(duration_ms, 1) FROM calls
        GROUP BY t WITH ROLLUP HAVING count() > 0 ORDER BY t WITH FILL STEP toIntervalHour(1)""",
    "WITH top AS (SELECT user_id FROM calls GROUP BY 1) SELECT * FROM calls WHERE user_id IN top",
    "SELECT arrayMap(x -> upper(x), lines.unit), lines.amount_usd[1], attributes['a'] FROM calls",
    "SELECT sum(cost_usd) OVER (PARTITION BY model ORDER BY user_id ROWS 2 PRECEDING) FROM calls",
    "SELECT * EXCEPT (lines), COLUMNS('cost.*') FROM calls ARRAY JOIN lines AS line",
    "SELECT a.model FROM calls AS a LEFT JOIN calls AS b USING (trace_id) WHERE EXISTS(SELECT 1)",
    "SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 2",
    "SELECT CASE WHEN 1 THEN 'a' ELSE 'b' END, 1 ? 2 : 3, 'x'::String, DATE '2026-01-01', -1",
    "SELECT 'file(''/etc/passwd'') INTO OUTFILE', `model` FROM calls -- INTO OUTFILE",
    "SELECT name, value, readonly FROM system.settings LIMIT 10000",
    "SELECT name, engine, count(*) FROM system.tables GROUP BY ALL",
    "SELECT table_name FROM information_schema.tables",
    "SELECT minOrNull(cost_usd), sumIfOrDefault(cost_usd, 1), uniqArrayOrNull([1]) FROM calls",
    "SELECT version(), timezone(), currentUser()",
    "SELECT number FROM numbers(3) UNION ALL SELECT * FROM values('x UInt8', 1)",
    "SHOW TABLES",
    "SHOW TABLES FROM spanledger LIKE '%calls%' FORMAT JSON",
    "SHOW CREATE TABLE calls",
    "DESCRIBE TABLE calls",
    "DESC (SELECT 1)",
    "SELECT 1;",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_query_may_be_run_as_it_was_examined(asker: Asker, text: str) -> None:
    statement = asker.examine(text)
    assert "--" not in statement.sql
    assert asker.examine(statement.sql) == statement
    asker._session.run(lambda client: client.raw_query(statement.sql))


def test_every_column_of_the_ledger_may_be_named(asker: Asker) -> None:
    columns = ", ".join(ENTRIES)
    asker.examine(f"SELECT {columns} FROM entries ORDER BY ALL")  # noqa: S608 - our own names


def test_the_format_is_read_off(asker: Asker) -> None:
    assert asker.examine("select 1 format JSONEachRow").format == "JSONEachRow"
    assert asker.examine("select 1 format Null").format == "Null"
    assert asker.examine("select 'x FORMAT CSV'").format == ""


def test_parameters_are_values(asker: Asker) -> None:
    text = "SELECT count() FROM calls WHERE model = {model:String} LIMIT {n:UInt8}"
    assert asker.examine(text, model="file('/etc/passwd')", n=1).sql == text


# --- what may not -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_one_harmless_select_is_refused(
    asker: Asker, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outfile = tmp_path_factory.getbasetemp() / "outfile"
    with pytest.raises(Exception, match=r"^Code: (62|164|497|115)\."):
        asker.examine(text.replace("{outfile}", str(outfile)))
    assert not outfile.exists()


def test_nothing_of_it_was_run(asker: Asker, ledger: Store) -> None:
    held = ledger.query("health").to_pylist()[0]["stored_rows"]
    assert (held, asker.examine("SELECT 1").sql) == (3, "SELECT 1")


@pytest.mark.parametrize(
    "place", ["{t:Identifier}", "system.{ t : Identifier }", "{t:Identifier}.x"]
)
def test_a_parameter_cannot_be_a_name(asker: Asker, place: str) -> None:
    with pytest.raises(Refused, match="write the name itself"):
        asker.examine(f"SELECT 1 FROM {place}", t="users")  # noqa: S608 - that is the attack


def test_a_parameter_cannot_add_to_the_text(asker: Asker) -> None:
    hostile = "1) UNION ALL SELECT file('/etc/passwd') --"
    statement = asker.examine("SELECT {x:String}", x=hostile)
    assert statement.sql == "SELECT {x:String}"


def test_a_text_that_is_too_long_is_refused_before_it_is_parsed(asker: Asker) -> None:
    with pytest.raises(Refused, match="longer than"):
        asker.examine("SELECT " + "1, " * TEXT_BYTES_MAX)


def test_deep_nesting_is_an_error_and_not_a_crash(asker: Asker) -> None:
    with pytest.raises(Exception, match=r"Code: (62|167|306)"):
        asker.examine("SELECT " + "(" * 20_000 + "1" + ")" * 20_000)


pieces = st.sampled_from(
    """
    SELECT FROM calls system.tables file ('/etc/passwd') ( ) , * ; INTO OUTFILE '/x' FORMAT JSON
    SETTINGS readonly=0 APPLY arrayMap x -> `file` {p:Identifier} UNION ALL WITH AS a DESCRIBE SHOW
    TABLES WHERE EXPLAIN AST numbers(1) 1 'a' -- /* */ \n url remote IN system.users
    """.split(" ")  # noqa: SIM905 - a wall of quotes reads worse
)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=12).map(" ".join))
def test_whatever_is_made_of_the_pieces_no_file_is_named_by_what_may_run(text: str) -> None:
    # Without an engine: the reading of a canonical text, whose tree may hide things.
    guard = object.__new__(Guard)
    guard._functions = frozenset({"file", "arraymap"})
    guard._table_functions = frozenset({"url", "remote", "numbers"})
    guard._combinators = ["if"]
    try:
        guard._examine_words(text)
    except Refused:
        return
    bare = re.sub(r"'(?:\\.|[^'\\])*'", "''", text, flags=re.DOTALL)
    assert not re.search(r"(file|url|remote)`?\s*\(", bare)
    assert "OUTFILE" not in re.findall(r"\w+", bare)


# --- the list of functions ----------------------------------------------------------------------


def test_every_function_on_the_list_is_one(asker: Asker, ledger: Store) -> None:
    of_the_parser = {"exists", "grouping", "lambda", "untuple"}
    unknown = allowed_functions() - asker._guard._functions - of_the_parser
    assert unknown == set()


def test_no_function_of_a_dangerous_kind_is_on_the_list(ledger: Store) -> None:
    sql = """
        SELECT lower(name), lower(alias_to) FROM system.functions
        WHERE categories IN ('AI', 'Introspection', 'Dictionary', 'Embedded Dictionary',
            'Encryption', 'Machine Learning') OR origin != 'System'
            OR name IN ('file', 'sleep', 'sleepEachRow', 'getServerSetting', 'getSetting',
                'showCertificate', 'hostName', 'displayName', 'serverUUID', 'tcpPort',
                'filesystemAvailable', 'joinGet', 'getMacro', 'formatRow')
    """
    rows = ledger._writing.run(lambda client: client.query(sql).result_rows)
    dangerous = {name for name, _ in rows}
    assert {"aigenerate", "file", "dictget", "addresstoline"} <= dangerous
    assert dangerous & allowed_functions() == set()


def test_no_alias_on_the_list_leads_to_a_function_that_is_not(asker: Asker, ledger: Store) -> None:
    sql = "SELECT name, alias_to FROM system.functions WHERE alias_to != ''"
    rows = ledger._writing.run(lambda client: client.query(sql).result_rows)
    wrong = [
        (name, target)
        for name, target in rows
        if asker._guard._is_allowed(name) and not asker._guard._is_allowed(target)
    ]
    assert wrong == []
