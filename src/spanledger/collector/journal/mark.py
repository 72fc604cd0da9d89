"""Where a reader stands, and the file that remembers where the writer stood.

Promises: the mark on disk is an older or the newest mark, never half of one.
Never needed: without it, or with a damaged one, everything retained is replayed, which changes
nothing, because the store keeps one row per key. So its errors are answered, not raised.
"""

import os
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from spanledger.collector.journal.disk import Disk, opened, write_all

MARK_NAME: Final = "mark"
_MARK: Final = re.compile(rb"(spanledger-mark 1 (\d{1,20}) (\d{1,20}) (\d{1,20})) ([0-9a-f]{8})\n")
_MARK_BYTES_MAX: Final = 256


@dataclass(frozen=True, order=True, slots=True)
class Position:
    """A place in the journal: everything before it was read.

    Positions come from the journal and are given back to it; only two of them can be compared.
    """

    segment: int
    offset: int
    # How many rows the journal had taken before this place, since it was made: a difference of
    # two counts the rows between. The place is the identity, this is its bookkeeping.
    rows: int = field(compare=False)


def load_mark(disk: Disk, directory: Path) -> Position | None:
    """Return the mark as last saved, or None if there is none to be trusted."""
    try:
        with opened(disk, directory / MARK_NAME, os.O_RDONLY) as fd:
            found = _MARK.fullmatch(disk.pread(fd, _MARK_BYTES_MAX, 0))
    except OSError:
        return None
    if found is None or int(found[5], 16) != zlib.crc32(found[1]):
        return None
    return Position(int(found[2]), int(found[3]), int(found[4]))


def save_mark(disk: Disk, directory: Path, mark: Position) -> bool:
    """Replace the mark atomically; return whether it is on the disk."""
    text = f"spanledger-mark 1 {mark.segment} {mark.offset} {mark.rows}".encode()
    new = directory / f"{MARK_NAME}.new"
    try:
        with opened(disk, new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            write_all(disk, fd, b"%s %08x\n" % (text, zlib.crc32(text)), 0)
            # Before the rename, or a power loss leaves the new name on an empty file.
            disk.fdatasync(fd)
        disk.rename(new, directory / MARK_NAME)
        disk.fsync_dir(directory)
    except OSError:
        return False
    return True
