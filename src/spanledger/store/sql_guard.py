"""Is this text one harmless SELECT? Decided by the engine's own parser, never by guessing at SQL.

Promises: what ``examine`` returns reads nothing but the ledger and a short list of system tables,
calls only functions of ``sql/functions.txt``, writes no file and changes no setting; it is the
canonical text that was examined, and that text must be run, not the caller's. Never runs the
query.

Why not just ``readonly=1``: measured on the engine (26.9), a handle with it still lets through
``INTO OUTFILE``, the function ``file('/etc/passwd')`` (also as ``arrayMap(file, ...)``, where it is
no call but a bare name), ``DESCRIBE TABLE file(...)`` and ``KILL QUERY``; and ``EXPLAIN AST`` runs
the second statement of a text that has two. Users with grants would be the engine's own answer, but
the embedded one keeps its only user and reads no user file. So, in this order:

1. ``formatQuerySingleLine``, with the text as a bound parameter, refuses several statements and
   gives one canonical line without comments.
2. ``EXPLAIN AST`` of that line shows its tree, with parameters filled in. Every node has to be of a
   known kind: a new engine's new syntax is refused. Functions and tables are compared with lists,
   names that could be functions too (``arrayMap(file, ...)``), and so are names of other databases
   (``x IN system.users`` shows a table as a mere name).
3. Where the tree is silent, the canonical text is read: ``SHOW`` has to match a pattern (the tree
   hides its WHERE), ``APPLY`` is refused by its node (the tree hides its function), and any word
   before a parenthesis that the engine knows as a function or table function has to be on a list.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import zip_longest
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

# Codes of ClickHouse, so that its clients show our refusals as they show its own.
SYNTAX_ERROR: Final = 62
READONLY: Final = 164
ACCESS_DENIED: Final = 497
TOO_LARGE: Final = 131
TOO_MANY_BYTES: Final = 396
UNKNOWN_FORMAT: Final = 73
AUTHENTICATION_FAILED: Final = 516

_NAMES: Final = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    READONLY: "READONLY",
    ACCESS_DENIED: "ACCESS_DENIED",
    TOO_LARGE: "TOO_LARGE_STRING_SIZE",
    TOO_MANY_BYTES: "TOO_MANY_ROWS_OR_BYTES",
    UNKNOWN_FORMAT: "UNKNOWN_FORMAT",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
}

# No person and no dashboard writes more; a tree of this text still takes single milliseconds.
TEXT_BYTES_MAX: Final = 64 * 1024

_NODES: Final = frozenset(
    """
    ArrayJoin Asterisk ColumnsExceptTransformer ColumnsListMatcher ColumnsRegexpMatcher
    ColumnsReplaceTransformer ColumnsReplaceTransformer::Replacement ColumnsTransformerList
    DescribeQuery ExpressionList Function Identifier InterpolateElement Literal OrderByElement
    QualifiedAsterisk QualifiedColumnsListMatcher QualifiedColumnsRegexpMatcher SampleRatio
    SelectIntersectExceptQuery SelectQuery SelectWithUnionQuery Subquery TableExpression
    TableIdentifier TableJoin TablesInSelectQuery TablesInSelectQueryElement WindowDefinition
    WindowListElement WithElement
    """.split()  # noqa: SIM905 - a wall of quotes reads worse
)
_STATEMENTS: Final = {"SelectWithUnionQuery", "SelectIntersectExceptQuery", "DescribeQuery"}
_ALL_COLUMNS: Final = frozenset(
    """
    Asterisk ColumnsListMatcher ColumnsRegexpMatcher QualifiedAsterisk QualifiedColumnsListMatcher
    QualifiedColumnsRegexpMatcher
    """.split()  # noqa: SIM905 - likewise
)

# The tree hides what follows WHERE, so these statements are known whole or not at all.
_WORD: Final = r"(?:\w+|`\w+`)"
_SHOW: Final = re.compile(
    rf"SHOW (?:DATABASES|(?:FULL )?TABLES(?: FROM {_WORD})?"
    rf"|(?:FULL )?COLUMNS FROM {_WORD}(?: FROM {_WORD})?"
    rf"|CREATE (?:TABLE|VIEW) (?:spanledger\.)?{_WORD})"
    r"(?: (?:NOT )?I?LIKE '(?:\\.|[^'\\])*')?(?: FORMAT (?P<format>\w+))?"
)

_OURS: Final = "spanledger"
_SYSTEM_TABLES: Final = {
    "system": frozenset(
        """
        aggregate_function_combinators columns data_type_families databases formats functions
        keywords numbers one settings table_engines table_functions tables time_zones
        """.split()  # noqa: SIM905 - likewise
    ),
    "information_schema": frozenset({"columns", "schemata", "tables", "views"}),
}
# These name directories of the machine: their columns have to be named, and not those.
_WITH_PATHS: Final = {"system.databases", "system.tables"}
_PATHS: Final = {"data_path", "data_paths", "metadata_path", "storage_policy"}

_TABLE_FUNCTIONS: Final = {
    "calls_as_of",  # a view of ours with a parameter
    "generate_series",
    "generateseries",
    "numbers",
    "sqlstandardvalues",
    "values",
}

_NODE: Final = re.compile(r"( *)(\S+)(?: (.*?))?(?: \(alias .*\))?(?: \(children \d+\))?")
_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*'|`((?:\\.|[^`\\])*)`|(\w+)|\s+|.", re.DOTALL)


class Refused(Exception):  # noqa: N818 - reads as what it is
    """The text will not be run; the message says why and, where it can, what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}. ({_NAMES[code]})")
        self.code = code


@dataclass(frozen=True, slots=True)
class Statement:
    """What may be run: the canonical text, without comments, and the format it asks for."""

    sql: str
    format: str  # "" where the text names none


@dataclass(frozen=True, slots=True)
class _Node:
    """A line of the tree."""

    kind: str
    name: str
    depth: int
    parent: str  # its kind
    function: str  # the name of the function that this is an argument of, or ""

    @property
    def is_format(self) -> bool:
        return self.depth == 1 and self.kind == "Identifier"


class Guard:
    """The examination, with what the engine says it has."""

    def __init__(self, client: Client) -> None:
        """Ask the engine for its functions, so that their names are known."""

        def names(table: str) -> frozenset[str]:
            rows = client.query(f"SELECT name FROM system.{table}").result_rows  # noqa: S608
            return frozenset(str(name).lower() for (name,) in rows)

        # The longest first, as the engine reads: `minOrNull` is `min` and OrNull.
        combinators = names("aggregate_function_combinators")
        self._combinators = sorted(combinators, key=len, reverse=True)
        self._functions = names("functions")
        self._table_functions = names("table_functions")

    def examine(self, client: Client, text: str, parameters: Mapping[str, Any]) -> Statement:
        """Say what may be run in the place of ``text``.

        Raises:
            Refused: it is not one harmless SELECT.
            ClickHouseError: a parameter is missing or cannot be read.
        """
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise Refused(TOO_LARGE, f"The query is longer than {TEXT_BYTES_MAX} bytes")
        sql = _canonical(client, text)
        if re.search(r"\{\s*\w+\s*:\s*Identifier\s*\}", _without_strings(sql)):
            raise Refused(ACCESS_DENIED, "Identifier parameters are off: write the name itself")
        if show := _SHOW.fullmatch(sql):
            return Statement(sql, show["format"] or "")
        tree = client.raw_query(f"EXPLAIN AST {sql}", parameters=dict(parameters) or None)
        nodes = _nodes(tree.decode())
        if nodes[0].kind not in _STATEMENTS:
            raise Refused(READONLY, "Only SELECT, SHOW and DESCRIBE are answered here")
        for node in nodes:
            self._examine_node(node)
        _examine_paths(nodes)
        self._examine_words(sql)
        return Statement(sql, next((node.name for node in nodes if node.is_format), ""))

    def _examine_node(self, node: "_Node") -> None:
        if node.kind not in _NODES:
            raise Refused(ACCESS_DENIED, f"{_spoken(node.kind)} is not available here")
        if node.depth == 1 and node.kind == "Literal":
            raise Refused(READONLY, "INTO OUTFILE is not available here")
        if node.kind == "Identifier" and not node.is_format:
            self._examine_name(node.name)
        elif node.kind == "TableIdentifier":
            _examine_table(node.name)
        elif node.kind == "Function":
            self._examine_function(node.name, of_table=node.parent == "TableExpression")

    def _examine_function(self, name: str, *, of_table: bool) -> None:
        if of_table and name.lower() not in _TABLE_FUNCTIONS:
            raise Refused(ACCESS_DENIED, f"Table function {name} is not available here")
        if not of_table and not self._is_allowed(name):
            raise Refused(ACCESS_DENIED, f"Function {name} is not available here")

    def _examine_name(self, name: str) -> None:
        database, _, rest = name.partition(".")
        if rest and database.lower() in _SYSTEM_TABLES:
            _examine_table(".".join(name.split(".")[:2]))
        # A bare function name stands for a lambda; a column of that name has to be qualified.
        if not rest and name.lower() in self._functions and not self._is_allowed(name):
            raise Refused(ACCESS_DENIED, f"Name {name} is a function's: qualify the column")

    def _examine_words(self, sql: str) -> None:
        tokens = [match for match in _TOKEN.finditer(sql) if not match[0].isspace()]
        for token, following in zip_longest(tokens, tokens[1:]):
            quoted, word = token[1], token[2]
            if quoted is not None and ("\\" in quoted or not quoted.isprintable()):
                raise Refused(ACCESS_DENIED, "Names with escapes or control characters are refused")
            if (word or "").upper() == "OUTFILE":
                raise Refused(READONLY, "INTO OUTFILE is not available here")
            if following is None or following[0] != "(":
                continue
            name = quoted or word or ""
            called = name.lower()
            known = called in self._functions or called in self._table_functions
            if known and called not in _TABLE_FUNCTIONS and not self._is_allowed(name):
                raise Refused(ACCESS_DENIED, f"Function {name} is not available here")

    def _is_allowed(self, name: str) -> bool:
        """On the list, as it is or without the combinators of an aggregate."""
        name = name.lower()
        allowed = allowed_functions()
        while name not in allowed:
            suffix = next((end for end in self._combinators if name.endswith(end)), "")
            if not suffix or name in self._functions:
                return False
            name = name.removesuffix(suffix)
        return True


@cache
def allowed_functions() -> frozenset[str]:
    """The names of ``sql/functions.txt``, in lower case."""
    text = files("spanledger.store").joinpath("sql", "functions.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(name.lower() for line in lines for name in line.split())


def _canonical(client: Client, text: str) -> str:
    try:
        rows = client.query(
            "SELECT formatQuerySingleLine({text:String})", parameters={"text": text}
        ).result_rows
    except ClickHouseError as error:
        # The engine repeats our own statement behind its words about the caller's.
        words = str(error).split(": In scope SELECT formatQuery")[0]
        words = words.removeprefix(f"Code: {SYNTAX_ERROR}. DB::Exception: ")
        raise Refused(SYNTAX_ERROR, words.rstrip(".")) from error
    return str(rows[0][0])


def _nodes(tree: str) -> Sequence[_Node]:
    nodes: list[_Node] = []
    above: list[_Node] = []  # from the root to the node before
    for line in tree.splitlines():
        parts = _NODE.fullmatch(line)
        depth = len(parts[1]) if parts else 0
        del above[depth:]
        parent = above[-1].kind if above else ""
        # A function's arguments are one list between it and them.
        function = above[-2].name if len(above) > 1 and above[-2].kind == "Function" else ""
        kind, name = (parts[2], parts[3] or "") if parts else ("", "")
        nodes.append(_Node(kind, name, depth, parent, function))
        above.append(nodes[-1])
    return nodes


def _examine_paths(nodes: Sequence[_Node]) -> None:
    """Some system tables name directories of the machine, in some of their columns."""
    names = {node.name for node in nodes if node.kind in {"Identifier", "TableIdentifier"}}
    tables = names & _WITH_PATHS
    if not tables:
        return
    columns = {part for name in names for part in name.split(".")}
    whole = any(node.kind in _ALL_COLUMNS and node.function != "count" for node in nodes)
    as_a_set = any(node.kind == "Identifier" and node.name in _WITH_PATHS for node in nodes)
    if columns & _PATHS or whole or as_a_set:
        raise Refused(
            ACCESS_DENIED,
            f"{min(tables)} shows paths of this machine: name its other columns, without *",
        )


def _without_strings(sql: str) -> str:
    return "".join("''" if match[0][0] == "'" else match[0] for match in _TOKEN.finditer(sql))


def _examine_table(name: str) -> None:
    database, _, table = name.rpartition(".")
    if database in ("", _OURS):
        return
    if table.lower() not in _SYSTEM_TABLES.get(database.lower(), ()):
        raise Refused(ACCESS_DENIED, f"Table {name} is not available here")


def _spoken(kind: str) -> str:
    """The part of SQL that a node stands for."""
    return {"Set": "SETTINGS", "ColumnsApplyTransformer": "APPLY"}.get(kind, kind or "That")
