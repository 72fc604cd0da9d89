"""The one place that writes records: durable, or not there at all.

Promises: ``write`` returns once the record is on the disk; if it raises ``JournalFull``, the files
are as they were. Never syncs again after a failed sync: it stays broken (see ``JournalBroken``).
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final, NoReturn

from spanledger.collector.journal.disk import Disk, write_all
from spanledger.collector.journal.errors import JournalBroken, JournalFull
from spanledger.collector.journal.frame import FORMAT_VERSION, Head, encode_head
from spanledger.collector.journal.segment import Segment, segment_path

# Errors that pass by themselves or when the operator makes room; nothing was promised yet.
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Appender:
    """Owns the segment that is appended to. Not thread-safe: the journal's lock guards it."""

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        *,
        schema: bytes,
        stamp: int,
        segment_bytes_max: int,
        number_next: int,
    ) -> None:
        """Write nothing yet: a full disk must not keep the journal from being read."""
        self._directory = directory
        self._disk = disk
        self._schema = schema
        self._stamp = stamp
        self._segment_bytes_max = segment_bytes_max
        self._number_next = number_next
        self._fd = -1
        self._segment: Segment | None = None
        self.broken: str | None = None  # why nothing is written any more

    def write(self, record: bytes, *, first_row: int, now_ns: int) -> tuple[Segment, int]:
        """Append one framed record; return its segment and where that ends now.

        ``Segment.end`` is left for the caller to move, together with what else readers look at.
        """
        if self.broken is not None:
            raise JournalBroken(self.broken)
        segment = self._segment
        if segment is not None and segment.end + len(record) <= self._segment_bytes_max:
            self._write_here(segment, record)
            return segment, segment.end + len(record)
        return self._write_new(record, first_row, now_ns)

    def free_bytes(self) -> int:
        """What is free on the disk; one that cannot even tell this is as good as broken."""
        try:
            return self._disk.free_bytes(self._directory)
        except OSError as error:
            self._refuse(error)

    def close(self) -> None:
        """Write no more."""
        self.broken = self.broken or f"journal {self._directory} is closed"
        self._forget()

    def _write_here(self, segment: Segment, record: bytes) -> None:
        try:
            # At the durable end, not at the file's: this overwrites what a failed write left.
            write_all(self._disk, self._fd, record, segment.end)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._disk.truncate(self._fd, segment.end)
            self._refuse(error)
        try:
            self._disk.fdatasync(self._fd)
        except OSError as error:
            self._break(error)

    def _write_new(self, record: bytes, first_row: int, now_ns: int) -> tuple[Segment, int]:
        number = self._number_next
        self._number_next += 1  # never used twice, whatever happens below
        path = segment_path(self._directory, number)
        head = Head(FORMAT_VERSION, number, now_ns, self._schema)
        content = encode_head(head, first_row=first_row, stamp=self._stamp) + record
        try:
            fd = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            self._refuse(error)
        try:
            write_all(self._disk, fd, content, 0)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._disk.close(fd)
            with contextlib.suppress(OSError):
                self._disk.unlink(path)
            self._refuse(error)
        self._forget()
        self._fd = fd
        self._segment = Segment(path, number, now_ns, first_row, self._stamp, 0)
        try:
            self._disk.fdatasync(fd)
            self._disk.fsync_dir(self._directory)  # or the file itself may be gone
        except OSError as error:
            self._break(error)
        return self._segment, len(content)

    def _forget(self) -> None:
        if self._fd >= 0:
            fd, self._fd, self._segment = self._fd, -1, None
            # Every byte in it was synced already; close has nothing to tell.
            with contextlib.suppress(OSError):
                self._disk.close(fd)

    def _refuse(self, error: OSError) -> NoReturn:
        if error.errno in _NO_ROOM:
            raise JournalFull(
                f"journal {self._directory}: {error.strerror}: nothing was written; free space on"
                " its disk (or descriptors and memory), it goes on by itself"
            ) from error
        self._break(error)

    def _break(self, error: OSError) -> NoReturn:
        self.broken = (
            f"journal {self._directory}: {error.strerror} while writing: the disk cannot be"
            " trusted, nothing more is accepted; check the disk, then start spanledger again"
            " (what was acknowledged is replayed)"
        )
        raise JournalBroken(self.broken) from error
