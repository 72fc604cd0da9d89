"""The journal's files: what one holds, how it is read, and how damage in it is kept aside.

Promises: a segment is only ever appended to, and once a newer one exists it never changes.
Never deletes bytes it could not read: they are copied or renamed to ``*.damaged`` first.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spanledger.collector.journal.disk import Disk, loader, opened, write_all
from spanledger.collector.journal.frame import Damage, Frame, scan

_NAME: Final = re.compile(r"(\d{20})\.journal")

# A number beyond this, which no journal reaches, is no number of ours; headers have room for 2**64.
_NUMBER_MAX: Final = 2**63

# Evidence for a person; a failing disk must not fill up with it.
DAMAGED_FILES_MAX: Final = 16
_COPY_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Segment:
    """One file of records."""

    path: Path
    number: int
    created_ns: int
    first_row: int  # rows the journal had taken before this segment
    stamp: int
    end: int  # bytes that are durable; nothing beyond them is ever read


def segment_path(directory: Path, number: int) -> Path:
    """Return the file of segment ``number``."""
    return directory / f"{number:020d}.journal"


def segment_number(name: str) -> int | None:
    """Return the number in a segment's file name; None for any other file, which is let alone."""
    found = _NAME.fullmatch(name)
    if found is None or int(found[1]) > _NUMBER_MAX:
        return None
    return int(found[1])


def frames(disk: Disk, segment: Segment, start: int, stop: int) -> Iterator[Frame | Damage]:
    """Yield what lies between two offsets of a segment. A file that is gone is all damage."""
    if start >= stop:
        return
    try:
        fd = disk.open(segment.path, os.O_RDONLY)
    except FileNotFoundError:
        yield Damage(start, stop)
        return
    try:
        yield from scan(loader(disk, fd), start, stop, segment.stamp)
    finally:
        disk.close(fd)


def copy_aside(disk: Disk, path: Path, damage: Damage) -> bool:
    """Copy damaged bytes to ``<segment>.<offset>.damaged``; return whether the copy is durable."""
    copy = path.with_name(f"{path.name}.{damage.start}.damaged")
    try:
        names = disk.listdir(path.parent)
        if copy.name not in names and _damaged_files(names) >= DAMAGED_FILES_MAX:
            return False
        with (
            opened(disk, path, os.O_RDONLY) as source,
            opened(disk, copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as target,
        ):
            load = loader(disk, source)
            for at in range(damage.start, damage.end, _COPY_BYTES):
                piece = load(at, min(_COPY_BYTES, damage.end - at))
                write_all(disk, target, piece, at - damage.start)
            disk.fdatasync(target)
        disk.fsync_dir(path.parent)
    except OSError:
        # A full disk must not keep the journal from opening; half a copy is of no use.
        with contextlib.suppress(OSError):
            disk.unlink(copy)
        return False
    return True


def set_aside(disk: Disk, path: Path) -> None:
    """Take a whole file out of the journal by renaming it; its bytes stay."""
    names = disk.listdir(path.parent)
    name = f"{path.name}.damaged"
    while name in names:  # from an earlier time: keep both
        name = f"{name.removesuffix('.damaged')}.again.damaged"
    disk.rename(path, path.with_name(name))


def _damaged_files(names: list[str]) -> int:
    return sum(name.endswith(".damaged") for name in names)
