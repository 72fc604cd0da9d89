"""Finding out what a journal's directory holds, after whatever happened to it.

Promises: every segment is found by what it says of itself, not by its name; the records of the
last one that were not yet durable are made so, and a torn tail is copied aside and cut off.
Never fails because of a damaged, foreign, missing, renamed or doubled segment; never removes one
that holds a record.

Only the last segment is read whole. A segment that has a successor was durable to its end before
the successor was made, so what goes bad in it later is found, and stepped over, by the reader.
This keeps start-up short whatever the backlog.
"""

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from spanledger.collector.journal.disk import Disk, loader, opened
from spanledger.collector.journal.frame import (
    FORMAT_VERSION,
    Damage,
    Frame,
    decode_head,
    scan,
)
from spanledger.collector.journal.mark import Position
from spanledger.collector.journal.segment import (
    Segment,
    copy_aside,
    segment_number,
    set_aside,
)
from spanledger.errors import StartupError


@dataclass(slots=True)
class Found:
    """What a directory holds."""

    segments: list[Segment] = field(default_factory=list)  # in order
    end: Position | None = None  # after the last good record
    number_next: int = 1  # above every number ever seen here
    schemas: dict[int, pa.Schema] = field(default_factory=dict)  # by the crc32 of their bytes
    repairs: int = 0

    def start(self) -> Position:
        """Return the place before everything."""
        if not self.segments:
            return Position(0, 0, 0)
        first = self.segments[0]
        return Position(first.number, 0, first.first_row)


def survey(disk: Disk, directory: Path, now_ns: int) -> Found:
    """Look through a journal's directory and repair the end of its last segment.

    Raises:
        StartupError: a segment was written by a newer version.
        OSError: the directory or a segment cannot be opened, or fdatasync failed.
    """
    found = Found()
    candidates = []
    for name in disk.listdir(directory):
        name_number = segment_number(name)
        if name_number is None:
            continue
        segment = _identify(disk, directory / name, name_number, now_ns, found)
        if segment is not None:
            found.number_next = max(found.number_next, name_number + 1, segment.number + 1)
            candidates.append((segment.number, segment.number != name_number, name, segment))
    # Of two files with one number, the one that bears it as its name is the original.
    for number, _, _, segment in sorted(candidates, key=lambda candidate: candidate[:3]):
        if found.segments and found.segments[-1].number == number:
            set_aside(disk, segment.path)
            found.repairs += 1
        else:
            found.segments.append(segment)
    while found.segments and found.end is None:
        found.end = _recover_last(disk, found)
    # The same for names: a killed process may have made its last segment and not synced that.
    disk.fsync_dir(directory)
    return found


def _identify(
    disk: Disk, path: Path, name_number: int, now_ns: int, found: Found
) -> Segment | None:
    """Return the segment, or None where the file holds nothing of ours and was taken away."""
    with opened(disk, path, os.O_RDWR) as fd:
        size = disk.size(fd)
        frames = scan(loader(disk, fd), 0, size)
        first = next((item for item in frames if isinstance(item, Frame)), None)
    if first is None:
        if size == 0:  # made, but lost its power before anything was written
            disk.unlink(path)
        else:
            set_aside(disk, path)
            found.repairs += 1
        return None
    if first.rows > 0:  # both heads are damaged: the records still say enough
        return Segment(path, name_number, now_ns, first.first_row, first.stamp, size)
    head = decode_head(first)
    if head.version > FORMAT_VERSION:
        raise StartupError(
            f"{path} has journal format {head.version}, this spanledger reads up to"
            f" {FORMAT_VERSION}",
            hint="Start the newer spanledger that wrote it",
        )
    found.schemas[zlib.crc32(head.schema)] = pa.ipc.read_schema(pa.py_buffer(head.schema))
    return Segment(path, head.number, head.created_ns, first.first_row, first.stamp, size)


def _recover_last(disk: Disk, found: Found) -> Position | None:
    """Return the end of the last segment; None where it has no record and was taken away."""
    segment = found.segments[-1]
    end, last = 0, None
    with opened(disk, segment.path, os.O_RDWR) as fd:
        for item in scan(loader(disk, fd), 0, segment.end, segment.stamp):
            if isinstance(item, Frame):
                end = item.end
                last = item if item.rows else last
        torn = end < segment.end
        found.repairs += torn
        if last is None:
            found.segments.pop()
        # Bytes are cut off only once they are safe elsewhere; left in place, they harm nothing:
        # nobody reads beyond `end`, and nobody appends to this file again.
        elif torn and copy_aside(disk, segment.path, Damage(end, segment.end)):
            disk.truncate(fd, end)
        if last is not None:
            # A process killed between write and sync left these records in the page cache only.
            # They must not be read before a power loss can no longer take them back.
            disk.fdatasync(fd)
            segment.end = end
            return Position(segment.number, end, last.first_row + last.rows)
    if torn:
        set_aside(disk, segment.path)
    else:
        disk.unlink(segment.path)
    return None
