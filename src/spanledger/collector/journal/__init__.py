"""The journal: the promise behind an acknowledgement.

Promises: what ``append`` returned for is on the disk, and ``read`` gives it back after a crash, a
power loss or a restart, until the writer has moved the mark past it; one damaged place costs at
most the record that holds it. Never acknowledges what is not synced, never removes an unmarked
row, never refuses to start because of a damaged record, never knows what a row means.

Constraints
    A group of requests is acknowledged together, so one append is one commit group: 1 to 50,000
    rows, one write, one fdatasync. One thread appends; the writer's thread reads, marks and
    retires. The same row may be read twice (the mark is saved lazily): the store keeps one row per
    key, so "at least once" is enough here and keeps every file of ours simple.

On disk (``docs/journal.md`` has the bytes)
    00000000000000000007.journal    segments: two copies of a head, then records, only appended to
    mark                            where the writer stands; replaced atomically
    lock                            flock: one process per journal
    *.damaged                       bytes taken aside for a person to look at

    A record is an Arrow record batch without its schema, compressed, behind a header of 36 bytes:
    magic, crc32, lengths, row count, stamp, schema fingerprint, number of its first row. The schema
    is in the segment's head, so an older version's segment is read in its own schema. (A whole
    Arrow file per record cost 11.5 kB and 1 ms for one row; this costs 1.2 kB and 50 us.)

    A place is (segment number, byte offset). Numbers are never used twice, so places stay ordered
    whatever is lost. Rows are numbered through all segments: the difference of two row numbers is
    the pending count, and a gap between two records is exactly what a damaged place has cost.

Recovery
    Every opening begins a new segment, with its first record: old files are never written again,
    and a full disk does not prevent reading. At opening, segments are ordered by what their heads
    say; the last one is read whole, a torn tail is copied aside and cut off, and what a killed
    process had not yet synced is synced. Older segments were durable before their successor
    existed; what goes bad in them is found by the reader, which searches for the next frame with
    the magic, the stamp and a good checksum, keeps the bad bytes aside, and counts.

Failure
    No room: ``JournalFull``, retryable, the partial record is cut off; ``JournalBehind`` where too
    much waits for the store. A failed fsync:
    ``JournalBroken``, for ever: after one, the kernel may report success for data it dropped.
"""

from spanledger.collector.journal.disk import OS_DISK, Disk
from spanledger.collector.journal.errors import (
    JournalBehind,
    JournalBroken,
    JournalFull,
    JournalOwned,
)
from spanledger.collector.journal.journal import Journal
from spanledger.collector.journal.mark import Position

__all__ = [
    "OS_DISK",
    "Disk",
    "Journal",
    "JournalBehind",
    "JournalBroken",
    "JournalFull",
    "JournalOwned",
    "Position",
]
