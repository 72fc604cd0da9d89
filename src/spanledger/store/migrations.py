"""Numbered changes of the schema, each applied once, in order.

Promises: a database is brought to the schema of this version or left alone with a clear message; a
migration that was released is never edited (its digest is kept and compared). Views are made anew
at every start, because they hold no data.
"""

import hashlib
from importlib.resources import files
from typing import Final

from clickhouse_connect.driver.client import Client

from spanledger.errors import StartupError

DATABASE: Final = "spanledger"

_SQL: Final = files("spanledger.store").joinpath("sql")
_LOG: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    sha256 String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY number
"""


def migrations() -> dict[int, tuple[str, str]]:
    """Number -> file name and statement, in order."""
    found = sorted(
        (entry.name, entry.read_text()) for entry in _SQL.iterdir() if entry.name.endswith(".sql")
    )
    return {int(name.split("_")[0]): (name, statement) for name, statement in found}


def migrate(client: Client) -> None:
    """Bring the database of a client up to date.

    Raises:
        StartupError: a newer version wrote it, or a released migration was changed.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    client.database = DATABASE
    client.command(_LOG)
    applied: dict[int, str] = dict(client.query("SELECT number, sha256 FROM schema_migrations").result_rows)  # type: ignore[arg-type]
    known = migrations()
    if unknown := sorted(applied.keys() - known.keys()):
        raise StartupError(
            f"the ledger has schema version {unknown[-1]}, this spanledger knows {max(known)}",
            hint="Install the version that wrote it, or a newer one",
        )
    for number, (name, statement) in known.items():
        digest = hashlib.sha256(statement.encode()).hexdigest()
        if applied.get(number, digest) != digest:
            raise StartupError(
                f"migration {name} is not the one that made this ledger",
                hint="Restore the file; a change of the schema is a new migration",
            )
        if number not in applied:
            client.command(statement.rstrip().rstrip(";"))
            client.insert(
                "schema_migrations",
                [[number, name, digest]],
                column_names=["number", "name", "sha256"],
                settings={"async_insert": 0},
            )
    for entry in sorted(_SQL.joinpath("views").iterdir(), key=lambda entry: entry.name):
        client.command(entry.read_text().rstrip().rstrip(";"))
