"""Which parts of the ledger the disk has lost or changed.

Promises: tells of every part that the engine set aside at start, and of every active one whose
files do not match their checksums, as far as the time allows: first what is made of the entries,
which is small, then the entries, newest first, because a power loss takes what was written last. A
part is taken out by detaching it, so its files stay. Never repairs: what was in a part of the
entries is in the journal, and what is made of entries can be made again.

Why ask at all (measured on engine 26.9): with a ``data.bin`` of length zero, as a power loss leaves
it, the table opens without an error and its rows are silently gone; a flipped bit is seen by
``CHECK TABLE`` and by whoever happens to read it. A part whose whole directory is gone is seen by
neither, which is why the caller also looks for a restart of the machine.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spanledger.store.errors import unavailable
from spanledger.store.session import Session

_log: Final = logging.getLogger(__name__)

ENTRIES: Final = "entries"
_SET_ASIDE: Final = """
SELECT table, name FROM system.detached_parts
WHERE database = 'spanledger' AND startsWith(reason, 'broken')
ORDER BY table, name
"""
_ACTIVE: Final = """
SELECT table, name FROM system.parts
WHERE active AND database = 'spanledger'
ORDER BY table = 'entries', table, modification_time DESC, name DESC
"""
# What opening a ledger reads: with a damaged part of these it could not be opened at all. Without
# the part it can: a migration may be run again, and a moment that is missing counts as never.
_READ_AT_OPENING: Final = ("schema_migrations", "upkeep")
# Tables and their parts, as they are called here.
_NAME: Final = re.compile(r"\w+")
_PART: Final = re.compile(r"(?:broken-on-start_)?(\w+?)_\d+_\d+_\d+(_\d+)?")


class Part(NamedTuple):
    """A part of a table of the ledger."""

    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.table}/{self.name}"

    @property
    def month(self) -> int:
        """Of what it holds, as 202611; 0 where its table is not kept by months."""
        named = _PART.search(self.name)
        return int(named[1]) if named and named[1].isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with the ledger's files."""

    set_aside: Sequence[Part]  # parts that the engine would not open, among them earlier starts'
    active: Sequence[Part]  # parts in use that are not what was written
    unchecked: int  # parts for which there was no time
    empty: bool  # no entries at all


def examine(
    session: Session,
    seconds_max: float,
    stopping: Callable[[], bool],
    clock_s: Callable[[], float] = time.monotonic,
) -> Damage:
    """Look at every part in turn; begin none after ``seconds_max`` or when stopping.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    stop_s = clock_s() + seconds_max
    try:
        set_aside = session.run(lambda client: _parts(client, _SET_ASIDE))
        parts = session.run(lambda client: _parts(client, _ACTIVE))
        bad = []
        checked = 0
        for part in parts:
            if stopping() or clock_s() >= stop_s:
                break
            checked += 1
            if not session.run(partial(_is_whole, part)):
                bad.append(part)
    except ClickHouseError as error:
        raise unavailable(error) from error
    is_empty = not any(part.table == ENTRIES for part in parts)
    return Damage(set_aside, bad, len(parts) - checked, is_empty)


def detach(session: Session, parts: Sequence[Part]) -> None:
    """Take parts out of their tables, so that nobody reads them; their files stay in ``detached/``.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    for part in parts:
        try:
            session.run(partial(_detach, part))
        except ClickHouseError as error:
            raise unavailable(error) from error


def make_readable(client: Client) -> None:
    """Take the damaged parts out of what has to be read to open the ledger."""
    for part in _parts(client, _ACTIVE):
        if part.table in _READ_AT_OPENING and not _is_whole(part, client):
            _detach(part, client)
            _log.warning("ledger: part %s does not match its checksums and was taken out", part)


def _parts(client: Client, sql: str) -> list[Part]:
    return [Part(str(row[0]), str(row[1])) for row in client.query(sql).result_rows]


def _detach(part: Part, client: Client) -> None:
    client.command(f"ALTER TABLE {_table(part)} DETACH PART '{_checked(part)}'")


def _is_whole(part: Part, client: Client) -> bool:
    text = f"CHECK TABLE {_table(part)} PART '{_checked(part)}'"
    rows = client.query(text, settings={"check_query_single_value_result": 0}).result_rows
    return all(str(row[1]) == "1" for row in rows)  # no row: merged away meanwhile


# Names of tables and parts cannot be bound parameters, so they must be nothing but names.


def _table(part: Part) -> str:
    if not _NAME.fullmatch(part.table):
        raise ValueError(f"no table is called {part.table!r}")
    return f"spanledger.{part.table}"


def _checked(part: Part) -> str:
    if not _PART.fullmatch(part.name):
        raise ValueError(f"no part is called {part.name!r}")
    return part.name
