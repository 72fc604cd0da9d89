"""Which parts of the ledger the disk has lost or changed.

Promises: tells of every part that the engine set aside at start, and of every active one whose
files do not match their checksums, newest first, as far as the time allows: a power loss takes
what was written last. A part is taken out by detaching it, so its files stay. Never repairs: what
was in a part is in the journal.

Why ask at all (measured on engine 26.9): with a ``data.bin`` of length zero, as a power loss leaves
it, the table opens without an error and its rows are silently gone; a flipped bit is seen by
``CHECK TABLE`` and by whoever happens to read it. A part whose whole directory is gone is seen by
neither, which is why the caller also looks for a restart of the machine.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from spanledger.store.errors import unavailable
from spanledger.store.session import Session

_SET_ASIDE: Final = """
SELECT name FROM system.detached_parts
WHERE database = 'spanledger' AND table = 'entries' AND startsWith(reason, 'broken')
ORDER BY name
"""
_ACTIVE: Final = """
SELECT name FROM system.parts
WHERE active AND database = 'spanledger' AND table = 'entries'
ORDER BY modification_time DESC, name DESC
"""
_NAME: Final = re.compile(r"\d{6}_\d+_\d+_\d+(_\d+)?")  # as this table's parts are called


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with the ledger's files."""

    set_aside: Sequence[str]  # parts that the engine would not open, among them earlier starts'
    active: Sequence[str]  # parts in use that are not what was written
    unchecked: int  # parts for which there was no time
    empty: bool  # no part at all


def examine(
    session: Session,
    seconds_max: float,
    stopping: Callable[[], bool],
    clock_s: Callable[[], float] = time.monotonic,
) -> Damage:
    """Look at every part, the newest first; begin none after ``seconds_max`` or when stopping.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    stop_s = clock_s() + seconds_max
    try:
        set_aside = session.run(lambda client: _names(client, _SET_ASIDE))
        names = session.run(lambda client: _names(client, _ACTIVE))
        bad = []
        checked = 0
        for name in names:
            if stopping() or clock_s() >= stop_s:
                break
            checked += 1
            if not session.run(partial(_is_whole, name)):
                bad.append(name)
    except ClickHouseError as error:
        raise unavailable(error) from error
    return Damage(set_aside, bad, len(names) - checked, not names)


def detach(session: Session, names: Sequence[str]) -> None:
    """Take parts out of the table, so that nobody reads them; their files stay in ``detached/``.

    Raises:
        StoreUnavailable: the engine cannot answer.
    """
    for name in names:
        try:
            session.run(partial(_detach, name))
        except ClickHouseError as error:
            raise unavailable(error) from error


def _names(client: Client, sql: str) -> list[str]:
    return [str(row[0]) for row in client.query(sql).result_rows]


def _detach(name: str, client: Client) -> None:
    client.command(f"ALTER TABLE spanledger.entries DETACH PART '{_checked(name)}'")


def _is_whole(name: str, client: Client) -> bool:
    text = f"CHECK TABLE spanledger.entries PART '{_checked(name)}'"
    rows = client.query(text, settings={"check_query_single_value_result": 0}).result_rows
    return all(str(row[1]) == "1" for row in rows)  # no row: merged away meanwhile


def _checked(name: str) -> str:
    # A part's name cannot be a bound parameter, so it must be nothing but a name.
    if not _NAME.fullmatch(name):
        raise ValueError(f"no part is called {name!r}")
    return name
