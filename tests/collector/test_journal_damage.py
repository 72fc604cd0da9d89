"""Whatever happens to its files, a journal opens and loses at most what was damaged.

One journal of a few small records is damaged in every way there is room for: cut at every byte,
each single bit flipped, files swapped, missing, doubled, foreign, unreadable.
"""

import errno
import random
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from crash.fakefs import FakeDisk
from crash.journals import DIRECTORY, SCHEMA, batch, ids_of, open_journal, read_all

from spanledger.collector.journal import Journal, frame
from spanledger.collector.journal.segment import DAMAGED_FILES_MAX, segment_path
from spanledger.errors import StartupError

RECORDS = [[0], [10, 11], [20, 21, 22], [30]]
Files = dict[Path, bytes]


def filled(records: list[list[int]] = RECORDS, text_bytes: int = 0, **bounds: Any) -> Files:
    """The files of a journal that was closed; only the segments, so that nothing is marked."""
    disk = FakeDisk()
    with open_journal(disk, **bounds) as journal:
        for ids in records:
            journal.append(batch(ids, text_bytes))
    return {path: content for path, content in disk.files().items() if path.suffix == ".journal"}


def disk_with(files: Files) -> FakeDisk:
    disk = FakeDisk()
    for path, content in files.items():
        disk.put(path, content)
    return disk


def frames_of(content: bytes) -> list[frame.Frame]:
    load = lambda offset, size: content[offset : offset + size]  # noqa: E731  needed once
    return [item for item in frame.scan(load, 0, len(content)) if isinstance(item, frame.Frame)]


def recovered(disk: FakeDisk) -> tuple[list[int], Journal]:
    """Open, read all, and prove that the journal goes on: what is appended next is read next."""
    with open_journal(disk) as journal:
        found = read_all(journal, journal.mark)
        journal.append(batch([99]))
        assert read_all(journal, journal.mark) == [*found, 99]
    with open_journal(disk) as again:
        assert read_all(again, again.mark) == [*found, 99]
    return found, journal


def flat(records: list[list[int]]) -> list[int]:
    return [i for ids in records for i in ids]


def test_every_prefix_of_a_segment_keeps_the_records_that_are_whole() -> None:
    ((path, content),) = filled().items()
    ends = [item.end for item in frames_of(content) if item.rows]
    for size in range(len(content)):
        found, journal = recovered(disk_with({path: content[:size]}))
        whole = sum(end <= size for end in ends)
        assert found == flat(RECORDS[:whole])
        assert journal.rows_lost == 0


@pytest.mark.parametrize(("newer_segment", "step"), [(False, 1), (True, 9)], ids=["last", "sealed"])
def test_every_flipped_bit_costs_at_most_the_record_that_holds_it(
    newer_segment: bool, step: int
) -> None:
    files = filled()
    ((path, content),) = files.items()
    if newer_segment:
        disk = disk_with(files)
        with open_journal(disk) as journal:
            journal.append(batch([40]))
        files = {p: c for p, c in disk.files().items() if p.suffix == ".journal"}
    records = [*RECORDS, [40]] if newer_segment else RECORDS
    spans = [(item.start, item.end) for item in frames_of(content) if item.rows]
    for bit in range(0, 8 * len(content), step):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        hit = [i for i, (start, end) in enumerate(spans) if start <= bit // 8 < end]
        with open_journal(disk_with({**files, path: bytes(damaged)})) as journal:
            found = read_all(journal, journal.mark)
            assert found == flat([ids for i, ids in enumerate(records) if i not in hit])
            assert journal.repairs <= 1
            assert journal.repairs == 1 or not hit
            # Of a torn tail nobody knows whether it ever was a record.
            torn = hit == [len(RECORDS) - 1] and not newer_segment
            assert journal.rows_lost == (len(RECORDS[hit[0]]) if hit and not torn else 0)
            assert journal.pending_rows == len(found) + journal.rows_lost


def test_every_damaged_byte_of_a_long_segment_costs_one_record() -> None:
    records = [[10 * i, 10 * i + 1] for i in range(20)]
    ((path, content),) = filled(records, text_bytes=1_500, segment_bytes_max=1 << 20).items()
    assert len(content) > 60_000
    spans = [(item.start, item.end) for item in frames_of(content) if item.rows]
    rng = random.Random(1)  # noqa: S311  no secret
    for at in sorted(rng.sample(range(len(content)), 500)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.randrange(8)
        with open_journal(disk_with({path: bytes(damaged)})) as journal:
            found = read_all(journal, journal.mark)
        left = [
            ids for ids, (start, end) in zip(records, spans, strict=True) if not start <= at < end
        ]
        assert found == flat(left)


def test_damaged_bytes_are_kept_aside_and_counted_once() -> None:
    ((path, content),) = filled().items()
    second = frames_of(content)[3]
    assert second.rows == 2
    damaged = bytearray(content)
    damaged[second.start + 40] ^= 1
    disk = disk_with({path: bytes(damaged)})
    with open_journal(disk) as journal:
        for _ in range(3):
            assert read_all(journal, journal.mark) == [0, 20, 21, 22, 30]
            assert (journal.repairs, journal.rows_lost) == (1, 2)
        journal.move_mark(journal.end)
        assert journal.pending_rows == 0
    copies = {p: c for p, c in disk.files().items() if p.suffix == ".damaged"}
    assert copies == {
        path.with_name(f"{path.name}.{second.start}.damaged"): damaged[second.start : second.end]
    }
    with open_journal(disk) as journal:
        assert journal.repairs == 0


@pytest.mark.parametrize("size", [1, 36, 512, 100_000])
def test_a_tail_of_zeros_is_no_record(size: int) -> None:
    ((path, content),) = filled().items()
    disk = disk_with({path: content + bytes(size)})
    found, journal = recovered(disk)
    assert found == flat(RECORDS)
    assert journal.repairs == 1
    assert disk.files()[path] == content
    assert disk.files()[path.with_name(f"{path.name}.{len(content)}.damaged")] == bytes(size)


@pytest.mark.parametrize("content", [b"", bytes(5_000), b"\xf5SJ1" * 50, b"hello\n"])
def test_a_file_that_only_has_the_name_of_a_segment_is_no_obstacle(content: bytes) -> None:
    for number in (0, 5, 2**63):
        foreign = segment_path(DIRECTORY, number)
        disk = disk_with({foreign: content, **filled()})
        found, _ = recovered(disk)
        assert found == flat(RECORDS)
        aside = [c for p, c in disk.files().items() if p.suffix == ".damaged"]
        assert aside == ([content] if content else [])


def test_files_of_other_kinds_are_let_alone() -> None:
    others = {
        DIRECTORY / name: b"mine"
        for name in ("README", "7.journal", "9" * 20 + ".journal", "x.damaged")
    }
    disk = disk_with({**others, **filled()})
    assert recovered(disk)[0] == flat(RECORDS)
    assert others.items() <= disk.files().items()


def three_segments() -> tuple[list[Path], Files]:
    files = filled([[0], [10], [20]], text_bytes=1_500, segment_bytes_max=2_000)
    return sorted(files), files


def test_segments_that_swapped_their_names_are_read_in_their_own_order() -> None:
    (a, b, c), files = three_segments()
    for names in ((b, a, c), (c, b, a), (b, c, a)):
        swapped = {new: files[old] for new, old in zip(names, (a, b, c), strict=True)}
        found, journal = recovered(disk_with(swapped))
        assert found == [0, 10, 20]
        assert (journal.repairs, journal.rows_lost) == (0, 0)


def test_a_missing_segment_costs_its_own_rows() -> None:
    paths, files = three_segments()
    for index, lost in ((0, 0), (1, 1), (2, 0)):  # unmarked, nobody knows of the first and last
        rest = {path: files[path] for path in paths if path != paths[index]}
        found, journal = recovered(disk_with(rest))
        assert found == [i for i in (0, 10, 20) if i != 10 * index]
        assert journal.rows_lost == lost


def test_a_segment_removed_while_the_journal_is_open_costs_its_own_rows() -> None:
    paths, files = three_segments()
    disk = disk_with(files)
    with open_journal(disk) as journal:
        disk.remove(paths[1])
        assert read_all(journal, journal.mark) == [0, 20]
        assert (journal.repairs, journal.rows_lost) == (1, 1)
        journal.move_mark(journal.end)
        assert journal.pending_rows == 0


def test_a_doubled_segment_is_read_once() -> None:
    paths, files = three_segments()
    copy = segment_path(DIRECTORY, 77)
    disk = disk_with({copy: files[paths[1]], **files})
    found, _ = recovered(disk)
    assert found == [0, 10, 20]
    assert disk.files()[copy.with_name(f"{copy.name}.damaged")] == files[paths[1]]
    assert segment_path(DIRECTORY, 78) in disk.files()


def test_a_damaged_segment_between_others_costs_nothing_of_theirs() -> None:
    paths, files = three_segments()
    for content in (bytes(3_000), b"", files[paths[1]][:100]):
        found, journal = recovered(disk_with({**files, paths[1]: content}))
        assert found == [0, 20]
        assert journal.rows_lost == 1


def test_records_whose_heads_are_both_gone_are_still_read() -> None:
    ((path, content),) = filled().items()
    start = frames_of(content)[2].start
    found, journal = recovered(disk_with({path: bytes(start) + content[start:]}))
    assert found == flat(RECORDS)
    assert journal.rows_lost == 0


def test_without_its_heads_an_older_schema_is_known_from_another_segment() -> None:
    paths, files = three_segments()
    content = files[paths[1]]
    start = frames_of(content)[2].start
    newer = SCHEMA.append(pa.field("added", pa.string()))
    disk = disk_with({**files, paths[1]: bytes(start) + content[start:]})
    with open_journal(disk, schema=newer) as journal:
        assert ids_of(journal.read(journal.mark, 100)[0]) == [0, 10, 20]


def test_a_segment_of_a_newer_version_is_refused_by_name_not_skipped() -> None:
    ((path, content),) = filled().items()
    head = frame.Head(2, 1, 0, b"whatever a schema may be by then")
    newer = frame.encode_head(head, first_row=0, stamp=1)
    with pytest.raises(StartupError, match=rf"{path} has journal format 2.*up to 1"):
        open_journal(disk_with({path: newer + content}))


def test_bytes_of_a_sender_are_never_taken_for_a_record() -> None:
    """Ids do not compress: a sender can have a whole frame lie inside of one of ours."""
    rng = random.Random(1)  # noqa: S311  no secret
    forged = frame._seal(
        rng.randbytes(4_000),
        raw_bytes=rng.getrandbits(32),
        rows=rng.getrandbits(32),
        stamp=rng.getrandbits(32),
        schema_crc32=zlib.crc32(SCHEMA.serialize().to_pybytes()),
        first_row=rng.getrandbits(63),
    )
    disk = FakeDisk()
    with open_journal(disk, segment_bytes_max=1 << 20) as journal:
        carrier = {"id": [1], "text": [rng.randbytes(4_000) + forged]}
        journal.append(pa.RecordBatch.from_pydict(carrier, schema=SCHEMA))
        journal.append(batch([2]))
    path = segment_path(DIRECTORY, 1)
    content = disk.files()[path]
    assert forged in content
    record = frames_of(content)[2]
    damaged = bytearray(content)
    damaged[record.start + 50] ^= 1
    found, journal = recovered(disk_with({path: bytes(damaged)}))
    assert found == [2]
    assert journal.rows_lost == 1


def test_copies_of_damage_are_bounded() -> None:
    records = [[i] for i in range(2 * DAMAGED_FILES_MAX)]
    ((path, content),) = filled(records, segment_bytes_max=1 << 20).items()
    damaged = bytearray(content)
    for item in frames_of(content)[2::2]:
        damaged[item.start + 40] ^= 1
    disk = disk_with({path: bytes(damaged)})
    for torn in (False, True):
        if torn:  # without a copy there is no cut
            disk.put(path, bytes(damaged) + b"torn")
        with open_journal(disk) as journal:
            assert read_all(journal, journal.mark) == list(range(1, len(records), 2))
            assert journal.repairs == DAMAGED_FILES_MAX + torn
    assert sum(p.suffix == ".damaged" for p in disk.files()) == DAMAGED_FILES_MAX
    assert disk.files()[path] == bytes(damaged) + b"torn"


class BadSector(FakeDisk):
    """A disk that cannot read one place any more."""

    bad_at = 0

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        if offset <= self.bad_at < min(offset + count, self.size(fd)):
            raise OSError(errno.EIO, "Input/output error")
        return super().pread(fd, count, offset)


def test_an_unreadable_sector_costs_the_records_in_its_page() -> None:
    records = [[i] for i in range(12)]
    files = filled(records, text_bytes=3_000, segment_bytes_max=1 << 20)
    ((path, content),) = files.items()
    page = (17_000 // 4_096 * 4_096, 17_000 // 4_096 * 4_096 + 4_096)
    disk = BadSector()
    disk.put(path, content)
    disk.bad_at = 17_000
    left = [
        i
        for i, item in enumerate(item for item in frames_of(content) if item.rows)
        if item.end <= page[0] or item.start >= page[1]
    ]
    with open_journal(disk) as journal:
        assert read_all(journal, journal.mark) == left
        assert 9 <= len(left) < 12
        assert journal.rows_lost == 12 - len(left)
