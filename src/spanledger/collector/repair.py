"""Repair of the embedded ledger: what its files have lost is replayed from the journal.

Promises: runs before the writer, while senders are served; what is replayed is written once,
because the ledger is asked first what it has; a row keeps the cost it was first recorded with,
because the journal holds entries, not spans. Damage is acted on once and remembered, so a start
without new damage costs a look. Never reads beyond the mark (that is the writer's), never removes
a file, never counts a restored row as received or stored anew.

When it replays: the engine set parts of the entries aside at start; a part in use does not match
its checksums (it is detached first); the ledger is empty though the journal says it was not; or the
machine was restarted since the last look. The last one is because a part whose directory had not
reached the disk leaves no trace of itself, and only a restart of the machine can lose what was
written. What is made of entries is made again after that (``derived``).
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector import derived
from spanledger.collector.journal import Journal
from spanledger.collector.roller import ROLLED_STORED_AT
from spanledger.collector.settler import SETTLED_STORED_AT
from spanledger.ledger.schema import completed
from spanledger.store.damage import ENTRIES, Damage, Part
from spanledger.store.errors import BadRows

_log: Final = logging.getLogger(__name__)

# A start must not wait for hours on a ledger of terabytes; the newest parts are looked at first.
CHECK_S_MAX: Final = 60.0
_RECORD_BYTES_MAX: Final = 1 << 20
_PARTS_MAX: Final = 1_000  # remembered; the engine refuses to start with far fewer broken ones
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Store(derived.Store, Protocol):
    """What a repair needs of the store."""

    def damage(self, seconds_max: float, stopping: Callable[[], bool]) -> Damage: ...
    def detach(self, parts: Sequence[Part]) -> None: ...
    def known(self, entries: pa.Table) -> pa.BooleanArray: ...
    def insert(self, entries: pa.Table) -> None: ...


class Meters(Protocol):
    """What a repair tells the metrics."""

    def repaired(self, rows: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the last look found."""

    boot_id: str
    parts: frozenset[Part]


def boot_id() -> str:
    """Name the machine's present run; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def repair(
    journal: Journal,
    store: Store,
    meters: Meters,
    record: Path,
    *,
    batch_rows_max: int,
    stopping: Callable[[], bool] = lambda: False,
    boot: str | None = None,
) -> int:
    """Replay what the ledger may have lost; return how many rows came back.

    Args:
        journal: whose retained segments are replayed, up to its mark.
        store: the embedded ledger.
        meters: told of a replay.
        record: file that remembers what was seen.
        batch_rows_max: rows of one insert.
        stopping: asked between batches; a replay cut short is begun again at the next start.
        boot: the machine's present run, ``boot_id()`` by default.

    Raises:
        StoreUnavailable: the engine does not answer; the next start tries again.
    """
    boot = boot_id() if boot is None else boot
    seen = _load(record)
    damage = store.damage(CHECK_S_MAX, stopping)
    if damage.unchecked:
        _log.warning("ledger: %d older parts were not checked for damage", damage.unchecked)
    known = seen.parts if seen else frozenset()
    new = [*(part for part in damage.set_aside if part not in known), *damage.active]
    stored_before = journal.mark.rows > 0
    # Whether something may be gone without a trace.
    recent = stored_before and seen is not None and seen.boot_id != boot
    everything = stored_before and seen is None
    if new or recent or (stored_before and damage.empty):
        # Cut short after this, the next start has no record and therefore does all of it.
        record.unlink(missing_ok=True)
        store.detach(damage.active)
    restored = 0
    if reasons := _reasons(damage, new, seen, boot, stored_before=stored_before):
        _log.warning("ledger: replaying the journal, because %s", "; ".join(reasons))
        restored = _replay(journal, store, batch_rows_max, stopping)
        meters.repaired(restored)
        _log.warning("ledger: %d rows were restored from the journal", restored)
        _keep_what_is_older(journal, store, [part for part in new if part.table == ENTRIES])
        # Corrections and sums are no part of the journal: they are made again from what is there.
        for name in (SETTLED_STORED_AT, ROLLED_STORED_AT):
            if new or damage.empty or restored:
                store.keep_moment(name, 0)
    for part in new:
        if part.table != ENTRIES:
            _log.warning("ledger: part %s was damaged; what was in it is made again", part)
    derived.rebuild(store, new, recent=recent, everything=everything)
    if new and not reasons:
        meters.repaired(0)
    if not stopping():
        _save(record, _Seen(boot, frozenset(damage.set_aside) | frozenset(damage.active)))
    return restored


def _keep_what_is_older(journal: Journal, store: Store, lost: Sequence[Part]) -> None:
    """Tell what no replay brings back, and keep its sums."""
    oldest = journal.replay_position()
    if oldest.rows > 0 and lost:
        _log.error(
            "ledger: the journal no longer holds its first %d rows; if damaged parts held"
            " any of them, they are missing. Restore a backup to have them back",
            oldest.rows,
        )
        derived.keep_sums_of_lost(store, lost)


def _reasons(
    damage: Damage, new: Sequence[Part], seen: _Seen | None, boot: str, *, stored_before: bool
) -> Sequence[str]:
    ours = [part for part in new if part.table == ENTRIES]
    reasons = [f"part {part} was set aside" for part in ours if part not in damage.active]
    reasons += [
        f"part {part} does not match its checksums" for part in ours if part in damage.active
    ]
    if stored_before and damage.empty:
        reasons.append("it is empty")
    if stored_before and seen is None:
        reasons.append("nothing tells that it was looked at before")
    if stored_before and seen and seen.boot_id != boot:
        reasons.append("the machine was restarted since it was last looked at")
    return reasons


def _replay(
    journal: Journal, store: Store, batch_rows_max: int, stopping: Callable[[], bool]
) -> int:
    restored = 0
    position, end = journal.replay_position(), journal.mark
    while position < end and not stopping():
        before = position
        batches, position = journal.read(position, batch_rows_max, before=end)
        if batches:
            # Segments of an older version lack the columns that were added since.
            entries = pa.concat_tables([completed(batch) for batch in batches])
            restored += _restore(store, entries)
        elif position == before:
            _log.error("ledger: the journal breaks off before its mark; the rest was not replayed")
            break
    return restored


def _restore(store: Store, entries: pa.Table) -> int:
    """Insert what is missing; rows that the store never took are in the dead letters already."""
    missing = entries.filter(pc.invert(store.known(entries)))
    if not missing.num_rows:
        return 0
    try:
        store.insert(missing)
    except BadRows:
        if missing.num_rows == 1:
            return 0
        half = missing.num_rows // 2
        return _restore(store, missing.slice(0, half)) + _restore(store, missing.slice(half))
    return int(missing.num_rows)


def _load(record: Path) -> _Seen | None:
    """Read what was seen; without it, or damaged, everything is looked at as new."""
    try:
        with record.open(encoding="utf-8") as file:
            found = json.loads(file.read(_RECORD_BYTES_MAX))
        # Once only parts of the entries were remembered, without their table.
        named = [str(part).rpartition("/") for part in found["parts"]]
        parts = frozenset(Part(table or ENTRIES, name) for table, _, name in named)
        return _Seen(str(found["boot_id"]), parts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(record: Path, seen: _Seen) -> None:
    content = {"boot_id": seen.boot_id, "parts": sorted(map(str, seen.parts))[:_PARTS_MAX]}
    new = record.with_name(f"{record.name}.new")
    # Without it the next start replays once more, which changes nothing.
    with contextlib.suppress(OSError):
        with new.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(record)
