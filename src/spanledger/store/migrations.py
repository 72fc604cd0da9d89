"""Numbered changes of the schema, each applied once, in order.

Promises: a ledger is brought to the schema of this version, or left alone with a clear message; a
migration that was released is never edited (its digest is kept and compared). One that was cut
short is run again from its start, so every statement of one has to bear that. Views hold no data
and are made anew at every start. Never deletes a column or a row.

In a file, statements end with a semicolon at the end of a line; ``shape.py`` has the marks for what
is different on a cluster. A migration's digest is that of its text in a single engine.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from clickhouse_connect.driver.client import Client

from spanledger.errors import StartupError
from spanledger.store.shape import ALONE, Shape

DATABASE: Final = "spanledger"

_SQL: Final = files("spanledger.store").joinpath("sql")
_LOG: Final = """
CREATE TABLE IF NOT EXISTS spanledger.schema_migrations{on_cluster}
(
    number UInt32,
    name String,
    sha256 String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {replicated}MergeTree({everywhere schema_migrations})
ORDER BY number
"""
_DATABASE: Final = f"CREATE DATABASE IF NOT EXISTS {DATABASE}{{on_cluster}}"
_LOGGED: Final = """
INSERT INTO spanledger.schema_migrations (number, name, sha256)
SELECT {number:UInt32}, {name:String}, {sha256:String}
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``sql/``: ``NNN_name.sql``."""

    name: str
    text: str

    @property
    def number(self) -> int:
        return int(self.name.split("_")[0])

    @property
    def sha256(self) -> str:
        return hashlib.sha256(ALONE.render(self.text).encode()).hexdigest()

    def statements(self, shape: Shape) -> Iterator[str]:
        """What is to be run, in order."""
        for statement in re.split(r";[ \t]*\n", shape.render(self.text) + "\n"):
            if statement.strip():
                yield statement


def released() -> Sequence[Migration]:
    """The migrations of this version, in order."""
    return _scripts(*(entry.name for entry in _SQL.iterdir() if entry.name.endswith(".sql")))


def views() -> Sequence[Migration]:
    """The public views, each after those that it reads."""
    directory = _SQL.joinpath("views")
    waiting = {
        script.name.removesuffix(".sql"): script
        for script in _scripts(*(f"views/{entry.name}" for entry in directory.iterdir()))
    }
    ordered: list[Migration] = []
    while waiting:
        ready = [name for name, view in waiting.items() if not _reads(view) & waiting.keys()]
        if not ready:
            raise ValueError(f"the views {', '.join(waiting)} read each other in a circle")
        ordered += [waiting.pop(name) for name in ready]
    return ordered


def _reads(view: Migration) -> set[str]:
    """Names of the tables and views that a view reads."""
    read = re.findall(rf"(?:FROM|JOIN) {DATABASE}\.(\w+)", view.text)
    return set(read) - {view.name.removesuffix(".sql")}


def distributed() -> Sequence[Migration]:
    """The whole tables of a cluster, made anew at every start as they hold no data."""
    directory = _SQL.joinpath("cluster")
    return _scripts(*(f"cluster/{entry.name}" for entry in directory.iterdir()))


def query(name: str) -> str:
    """The text of ``sql/queries/<name>.sql``.

    Raises:
        ValueError: the name is no plain word (it must not lead out of the folder).
    """
    return _text("queries", name)


def statement(name: str) -> str:
    """The text of ``sql/statements/<name>.sql``: what writes; else as ``query``."""
    return _text("statements", name)


def _text(folder: str, name: str) -> str:
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"a query's name is a plain word, got {name!r}")
    return _SQL.joinpath(folder, f"{name}.sql").read_text(encoding="utf-8")


def migrate(
    client: Client,
    migrations: Sequence[Migration],
    views: Sequence[Migration],
    shape: Shape = ALONE,
) -> None:
    """Bring the ledger up to date.

    Raises:
        StartupError: a newer version wrote it, or a released migration was changed.
    """
    for text in (_DATABASE, _LOG):
        client.command(shape.render(text))
    applied = {
        int(number): str(digest)
        for number, digest in client.query(
            "SELECT number, sha256 FROM spanledger.schema_migrations"
        ).result_rows
    }
    known = {migration.number for migration in migrations}
    if newer := sorted(applied.keys() - known):
        raise StartupError(
            f"the ledger has schema version {newer[-1]}, this spanledger knows up to {max(known)}",
            hint="Install the version that wrote it, or a newer one",
        )
    for migration in migrations:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise StartupError(
                f"migration {migration.name} is not the one that made this ledger",
                hint="Put the released file back; a change of the schema is a new migration",
            )
        if migration.number not in applied:
            _run(client, migration, shape)
            client.command(
                _LOGGED,
                parameters={
                    "number": migration.number,
                    "name": migration.name,
                    "sha256": migration.sha256,
                },
            )
    for script in (*(distributed() if shape.cluster else ()), *views):
        _run(client, script, shape)


def _run(client: Client, script: Migration, shape: Shape) -> None:
    for statement in script.statements(shape):
        client.command(statement)


def _scripts(*names: str) -> Sequence[Migration]:
    return [
        Migration(name.split("/")[-1], _SQL.joinpath(name).read_text(encoding="utf-8"))
        for name in sorted(names)
    ]
