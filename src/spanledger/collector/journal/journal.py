"""The journal itself: append, read, mark, retire. The package's docstring has the design.

Promises: ``append`` returns only after fdatasync; ``read`` never sees more than that; ``retire``
takes only what is before the mark. One thread appends, one reads and marks; any may ask figures.
Never fails a read because of damage: it steps over it, keeps the bytes aside and counts.
"""

import logging
import secrets
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from spanledger.collector.journal.appender import Appender
from spanledger.collector.journal.bounds import Bounds
from spanledger.collector.journal.disk import OS_DISK, Disk, make_directory
from spanledger.collector.journal.frame import (
    Damage,
    Frame,
    check_schema,
    decode_record,
    encode_record,
)
from spanledger.collector.journal.lock import take_lock
from spanledger.collector.journal.mark import Position, load_mark, save_mark
from spanledger.collector.journal.recovery import Found, survey
from spanledger.collector.journal.segment import Segment, copy_aside, frames

# Saving the mark costs two syncs beside those that clients wait for. A mark that is up to a second
# old only makes a restart replay what the store already has, and drops, by key.
_MARK_SAVED_EVERY_NS: Final = 1_000_000_000

_log = logging.getLogger(__name__)


class Journal:
    """An append-only, crash-safe queue of record batches in a directory."""

    @classmethod
    def open(  # noqa: PLR0913  each is a bound that the operator sets, or a seam
        cls,
        directory: Path,
        schema: pa.Schema,
        *,
        segment_bytes_max: int,
        retention_seconds: int,
        retention_bytes_max: int,
        free_bytes_min: int,
        pending_bytes_max: int | None = None,
        disk: Disk = OS_DISK,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Open the journal in ``directory``, making or repairing it as needed.

        Args:
            directory: where the segments are; made if missing.
            schema: of the batches to append; older segments are read in their own.
            segment_bytes_max: a segment that would exceed this is followed by a new one. A record
                larger than that gets a segment of its own.
            retention_seconds: how long a stored segment is kept for repairs of the store.
            retention_bytes_max: stored segments go earlier while they exceed this together.
            free_bytes_min: what must stay free on the disk, for the store and the system.
            pending_bytes_max: what may wait for the store; None leaves it to ``free_bytes_min``.
            disk: where tests inject faults.
            clock_ns: wall clock, for the age of segments.

        Raises:
            JournalOwned: another process has it open.
            StartupError: a newer version of spanledger wrote it.
            OSError: the directory or a segment cannot be opened or synced.
            ValueError: the schema cannot be journalled.
        """
        bounds = Bounds(
            segment_bytes_max=segment_bytes_max,
            retention_ns=retention_seconds * 10**9,
            retention_bytes_max=retention_bytes_max,
            free_bytes_min=free_bytes_min,
            pending_bytes_max=pending_bytes_max,
        )
        check_schema(schema)
        make_directory(disk, directory)
        lock_fd = take_lock(disk, directory)
        try:
            found = survey(disk, directory, clock_ns())
            mark = load_mark(disk, directory)
            return cls(directory, schema, found, mark, lock_fd, bounds, disk, clock_ns)
        except BaseException:
            disk.close(lock_fd)
            raise

    def __init__(
        self,
        directory: Path,
        schema: pa.Schema,
        found: Found,
        mark: Position | None,
        lock_fd: int,
        bounds: Bounds,
        disk: Disk,
        clock_ns: Callable[[], int],
    ) -> None:
        """Take over what ``open``, the constructor to call, has found."""
        self.directory = directory
        self.schema = schema
        self.repairs = found.repairs  # damaged places met since the start
        self.rows_lost = 0  # rows that were in them, as far as later records tell
        self._bounds = bounds
        self._disk = disk
        self._clock_ns = clock_ns
        self._lock_fd = lock_fd
        self._stamp = secrets.randbits(32)
        schema_bytes = schema.serialize().to_pybytes()
        self._schema_crc32 = zlib.crc32(schema_bytes)
        self._schemas = found.schemas | {self._schema_crc32: schema}

        # Taken in this order only: one append at a time; one reader, whose files are not retired
        # meanwhile; the shared state, held for moments.
        self._appending = threading.Lock()
        self._consuming = threading.Lock()
        self._state = threading.Condition()
        self._segments = found.segments
        self._mark = mark or found.start()
        self._mark_saved = mark
        self._mark_saved_ns = clock_ns()
        # A mark beyond the end: the tail was lost after it was stored. Nothing is pending then,
        # and what is appended next must count as later.
        self._end = max(found.end or self._mark, self._mark)
        self._examined = self._mark  # damage before this place was counted already
        self._closed = False
        self._appender = Appender(
            directory,
            disk,
            schema=schema_bytes,
            stamp=self._stamp,
            segment_bytes_max=bounds.segment_bytes_max,
            number_next=max(found.number_next, self._mark.segment + 1),
        )
        if found.repairs:
            _log.warning("journal %s: %d damaged places at start", directory, found.repairs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def mark(self) -> Position:
        """Where the writer stands: every row before it is in the store."""
        return self._mark

    @property
    def end(self) -> Position:
        """The place behind the last durable record."""
        return self._end

    @property
    def pending_rows(self) -> int:
        """Rows that were acknowledged and are not yet behind the mark."""
        mark_rows = self._mark.rows  # first: it never passes the end, so this is never negative
        return self._end.rows - mark_rows

    @property
    def bytes(self) -> int:
        """Size of all segments."""
        with self._state:
            return sum(segment.end for segment in self._segments)

    @property
    def pending_bytes(self) -> int:
        """Size of what was acknowledged and is not yet behind the mark."""
        mark = self._mark
        with self._state:
            waiting = [segment for segment in self._segments if segment.number >= mark.segment]
            size = sum(segment.end for segment in waiting)
        return size - mark.offset if waiting and waiting[0].number == mark.segment else size

    def append(self, batch: pa.RecordBatch) -> Position:
        """Make a batch durable; return the place behind it. A batch without rows is nothing to do.

        Raises:
            JournalFull: no room now. Nothing was written; later appends may succeed.
            JournalBroken: the disk failed, or the journal is closed. The process should exit.
            ValueError: the batch has another schema, or is larger than a record can be.
        """
        if not batch.schema.equals(self.schema):
            raise ValueError(f"journal {self.directory} takes another schema than {batch.schema}")
        if batch.num_rows == 0:
            return self._end
        with self._appending:
            first_row = self._end.rows
            record = encode_record(
                batch, first_row=first_row, stamp=self._stamp, schema_crc32=self._schema_crc32
            )
            self._bounds.admit(
                self.directory,
                len(record),
                free_bytes=self._appender.free_bytes(),
                pending_bytes=self.pending_bytes,
            )
            segment, end = self._appender.write(
                record, first_row=first_row, now_ns=self._clock_ns()
            )
            with self._state:
                if segment.end == 0:
                    self._segments.append(segment)
                segment.end = end
                self._end = Position(segment.number, end, first_row + batch.num_rows)
                self._state.notify_all()
                return self._end

    def read(
        self, after: Position, rows_max: int, before: Position | None = None
    ) -> tuple[list[pa.RecordBatch], Position]:
        """Return the records after a position (and before another), and the position behind them.

        Whole records, at least one if there is any, until ``rows_max`` rows are reached. Each has
        the schema of its segment. The position may move on without any record: past damage.

        Raises:
            OSError: a segment cannot be opened now (out of descriptors, for one): try again.
        """
        batches: list[pa.RecordBatch] = []
        rows = 0
        position = after
        with self._consuming:
            for segment, stop in self._stretch(after, before):
                start = after.offset if segment.number == after.segment else 0
                for item in frames(self._disk, segment, start, stop.offset):
                    position, batch = self._examine(segment, item, position)
                    if batch is not None:
                        batches.append(batch)
                        rows += batch.num_rows
                    if rows >= rows_max:
                        self._examined = max(self._examined, position)
                        return batches, position
                position = self._pass_to(stop, position)
            self._examined = max(self._examined, position)
        return batches, position

    def wait(self, after: Position, timeout_s: float) -> bool:
        """Wait until there is something after a position; return whether there is.

        Returns early, and False if there is nothing, once the journal is closed.
        """
        with self._state:
            self._state.wait_for(lambda: self._closed or self._end > after, timeout_s)
            return self._end > after

    def move_mark(self, position: Position) -> None:
        """Remember that all before ``position`` is in the store. The mark never moves back.

        It is on disk within a second of moves, and at ``retire`` and ``close``. An older one is
        harmless: the rows between are read again, and the store keeps one row per key.
        """
        if position > self._end:
            raise ValueError(f"mark {position} is beyond the end of the journal, {self._end}")
        with self._consuming:
            self._mark = max(self._mark, position)
            if not 0 <= self._clock_ns() - self._mark_saved_ns < _MARK_SAVED_EVERY_NS:
                self._save_mark()

    def replay_position(self) -> Position:
        """Return the oldest place still kept: reading from here gives all that is retained."""
        with self._state:
            if not self._segments:
                return self._end
            return Position(self._segments[0].number, 0, self._segments[0].first_row)

    def retire(self) -> int:
        """Remove stored segments beyond the retention; return how many. Saves the mark first.

        The newest segment stays in any case, and so does every row that is not behind the mark.
        A full disk does not shorten the retention: until the embedded store has synced its own
        files, these segments are what makes an acknowledged row safe from a power loss.
        """
        with self._consuming:
            # With an older mark on the disk, a restart would miss what is removed here.
            if not self._save_mark():
                return 0
            retired = 0
            while self._oldest_is_retirable():
                try:
                    with suppress(FileNotFoundError):  # somebody was faster
                        self._disk.unlink(self._segments[0].path)
                    # One by one: were a later removal to survive a power loss without an earlier
                    # one, the hole would look like rows that damage has cost.
                    self._disk.fsync_dir(self.directory)
                except OSError as error:  # the writer's work must not end with this
                    _log.warning("journal %s: cannot retire: %s", self.directory, error)
                    break
                with self._state:
                    del self._segments[0]
                retired += 1
            return retired

    def close(self) -> None:
        """Save the mark and give the directory free. Waiting readers return."""
        with self._appending, self._consuming:
            if self._closed:
                return
            with self._state:
                self._closed = True
                self._state.notify_all()
            self._appender.close()
            self._save_mark()
            self._disk.close(self._lock_fd)

    def _stretch(self, after: Position, before: Position | None) -> list[tuple[Segment, Position]]:
        """Return the segments between two positions, each with where its reading stops."""
        with self._state:
            end = self._end if before is None else min(before, self._end)
            rest = [part for part in self._segments if after.segment <= part.number <= end.segment]
            rows_at_stop = [segment.first_row for segment in rest[1:]] + [end.rows]
            stops = [end.offset if part.number == end.segment else part.end for part in rest]
            return [
                (segment, Position(segment.number, stop, rows))
                for segment, stop, rows in zip(rest, stops, rows_at_stop, strict=False)
            ]

    def _examine(
        self, segment: Segment, item: Frame | Damage, position: Position
    ) -> tuple[Position, pa.RecordBatch | None]:
        if isinstance(item, Damage):
            self._note_damage(segment, item)
            return position, None
        position = self._pass_to(Position(segment.number, item.start, item.first_row), position)
        if item.rows == 0:
            return Position(segment.number, item.end, item.first_row), None
        schema = self._schemas.get(item.schema_crc32)
        batch = None if schema is None else decode_record(item, schema)
        if batch is None:
            self._note_damage(segment, Damage(item.start, item.end))
            return position, None
        return Position(segment.number, item.end, item.first_row + item.rows), batch

    def _pass_to(self, place: Position, position: Position) -> Position:
        """Move to a later place; rows between that no record held are lost."""
        if place < position:
            return position
        lost = place.rows - max(position.rows, self._examined.rows)
        if lost > 0:
            self.rows_lost += lost
            _log.error("journal %s: %d rows before %s are lost", self.directory, lost, place)
        return place

    def _note_damage(self, segment: Segment, damage: Damage) -> None:
        if Position(segment.number, damage.start, 0) < self._examined:
            return  # seen before: this is a replay, or a second attempt
        self.repairs += 1
        copied = copy_aside(self._disk, segment.path, damage)
        _log.error(
            "journal %s: bytes %d to %d are damaged and stepped over, %s",
            segment.path,
            damage.start,
            damage.end,
            "copied to a *.damaged file" if copied else "not copied",
        )

    def _oldest_is_retirable(self) -> bool:
        with self._state:
            stored = [
                segment
                for segment in self._segments[:-1]
                if Position(segment.number, segment.end, 0) <= self._mark
            ]
            if not stored:
                return False
            # A segment was filled until its successor was made.
            age_ns = self._clock_ns() - self._segments[1].created_ns
            size = sum(segment.end for segment in stored)
        return age_ns > self._bounds.retention_ns or size > self._bounds.retention_bytes_max

    def _save_mark(self) -> bool:
        if self._mark != self._mark_saved:
            self._mark_saved_ns = self._clock_ns()
            if not save_mark(self._disk, self.directory, self._mark):
                _log.warning("journal %s: the mark could not be saved", self.directory)
                return False
            self._mark_saved = self._mark
        return True
