"""What the receiver and the writer may rely on."""

import threading
from pathlib import Path

import pyarrow as pa
import pytest
from crash.fakefs import FakeDisk
from crash.journals import HOUR_NS, SCHEMA, batch, ids_of, open_journal, read_all

from spanledger.collector.journal import OS_DISK, JournalBroken, JournalOwned, Position
from spanledger.ledger.schema import ENTRIES_ARROW


def segments(disk: FakeDisk) -> list[int]:
    return sorted(int(path.stem) for path in disk.files() if path.suffix == ".journal")


def test_what_was_appended_is_read_back_in_order_as_it_was() -> None:
    with open_journal(FakeDisk()) as journal:
        start = journal.mark
        first, second = batch([1, 2], text_bytes=50), batch([3])
        assert start < journal.append(first) < journal.append(second) == journal.end
        batches, position = journal.read(start, 100)
        assert batches == [first, second]
        assert position == journal.end
        assert journal.read(position, 100) == ([], position)


def test_entries_with_every_type_survive_on_a_real_disk(tmp_path: Path) -> None:
    entries = pa.RecordBatch.from_pylist(
        [{"tenant": "acme", "trace_id": bytes(16), "calls": 1, "lines": [{"unit": "x"}]}, {}],
        schema=ENTRIES_ARROW,
    )
    directory = tmp_path / "not" / "there yet"
    with open_journal(OS_DISK, directory, ENTRIES_ARROW) as journal:
        journal.append(entries)
        journal.move_mark(journal.replay_position())
    with open_journal(OS_DISK, directory, ENTRIES_ARROW) as journal:
        assert journal.read(journal.mark, 10)[0] == [entries]
        journal.move_mark(journal.end)
        journal.append(entries)
    with open_journal(OS_DISK, directory, ENTRIES_ARROW, retention_seconds=-1) as journal:
        assert journal.pending_rows == 2
        assert journal.retire() == 1
    assert {path.stat().st_mode & 0o077 for path in [directory, *directory.iterdir()]} == {0}


def test_a_slice_of_a_batch_is_kept_as_the_rows_it_shows() -> None:
    with open_journal(FakeDisk()) as journal:
        journal.append(batch(range(100), text_bytes=20).slice(40, 3))
        assert read_all(journal, journal.mark) == [40, 41, 42]


def test_reading_stops_at_whole_records_once_there_are_enough_rows() -> None:
    disk = FakeDisk()
    with open_journal(disk, segment_bytes_max=1_500) as journal:
        for i in range(10):
            journal.append(batch([2 * i, 2 * i + 1], text_bytes=100))
        assert len(segments(disk)) > 2
        position = journal.mark
        seen = []
        for rows_max, rows in [(1, 2), (2, 2), (3, 4), (6, 6), (100, 6), (100, 0)]:
            batches, position = journal.read(position, rows_max)
            assert sum(b.num_rows for b in batches) == rows
            seen += ids_of(batches)
        assert seen == list(range(20))


def test_a_record_larger_than_a_segment_gets_one_of_its_own() -> None:
    disk = FakeDisk()
    with open_journal(disk, segment_bytes_max=1_500) as journal:
        for i in range(3):
            journal.append(batch([i], text_bytes=5_000))
        assert segments(disk) == [1, 2, 3]
        assert read_all(journal, journal.mark) == [0, 1, 2]


def test_pending_counts_the_rows_between_mark_and_end_across_restarts() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        for i in range(0, 50, 5):
            journal.append(batch(range(i, i + 5), text_bytes=200))
        assert journal.pending_rows == 50
        _, position = journal.read(journal.mark, 20)
        journal.move_mark(position)
        assert journal.pending_rows == 30
    with open_journal(disk) as journal:
        assert journal.mark == position
        assert journal.pending_rows == 30
        assert read_all(journal, journal.mark) == list(range(20, 50))
        journal.move_mark(journal.end)
        assert journal.pending_rows == 0
    with open_journal(disk) as journal:
        assert journal.pending_rows == 0
        assert not journal.wait(journal.mark, 0)


def test_a_restart_without_any_append_writes_no_segment() -> None:
    disk = FakeDisk()
    for _ in range(3):
        open_journal(disk).close()
    assert segments(disk) == []


def test_the_mark_never_moves_back_nor_beyond_the_end() -> None:
    with open_journal(FakeDisk()) as journal:
        start, end = journal.mark, journal.append(batch([1]))
        journal.move_mark(end)
        journal.move_mark(start)
        assert journal.mark == end
        with pytest.raises(ValueError, match="beyond the end"):
            journal.move_mark(Position(end.segment, end.offset + 1, end.rows))


def test_the_mark_is_saved_at_most_once_a_second_and_always_at_the_end() -> None:
    saved = []
    disk = FakeDisk(before=lambda op: saved.append(op) if op == "rename" else None)
    now_ns = [0]
    with open_journal(disk, clock_ns=lambda: now_ns[0]) as journal:
        for i in range(100):
            journal.append(batch([i]))
            journal.move_mark(journal.end)
            now_ns[0] += 50_000_000
        assert len(saved) == 4
    assert len(saved) == 5
    with open_journal(disk) as journal:
        assert journal.pending_rows == 0


def test_a_lost_or_damaged_mark_replays_everything_retained() -> None:
    for damage in (None, b"", b"spanledger-mark 1 9 9 9 00000000\n", bytes(60)):
        disk = FakeDisk()
        with open_journal(disk) as journal:
            journal.append(batch([1, 2]))
            journal.move_mark(journal.end)
        (mark,) = (path for path in disk.files() if path.name == "mark")
        disk.remove(mark)
        if damage is not None:
            disk.put(mark, damage)
        with open_journal(disk) as journal:
            assert journal.pending_rows == 2
            assert read_all(journal, journal.mark) == [1, 2]


def test_rows_appended_after_a_stored_tail_was_lost_are_not_behind_the_mark() -> None:
    for keep_bytes in (None, 0, 400, -20):
        disk = FakeDisk()
        with open_journal(disk) as journal:
            journal.append(batch([1, 2], text_bytes=100))
            journal.append(batch([3], text_bytes=100))
            journal.move_mark(journal.end)
        (path,) = (path for path in disk.files() if path.suffix == ".journal")
        content = disk.files()[path]
        disk.remove(path)
        if keep_bytes is not None:
            disk.put(path, content[:keep_bytes])
        with open_journal(disk) as journal:
            assert journal.pending_rows == 0
            assert journal.end == journal.mark
            journal.append(batch([4, 5]))
            assert journal.pending_rows == 2
            assert read_all(journal, journal.mark) == [4, 5]
            assert journal.rows_lost == 0


def test_retire_removes_only_what_is_stored_and_old_or_too_much() -> None:
    disk = FakeDisk()
    now_ns = [0]
    with open_journal(
        disk, segment_bytes_max=2_000, retention_bytes_max=5_000, clock_ns=lambda: now_ns[0]
    ) as journal:
        for i in range(6):
            journal.append(batch([i], text_bytes=1_500))
        assert segments(disk) == [1, 2, 3, 4, 5, 6]
        size = journal.bytes
        now_ns[0] = 10 * HOUR_NS
        assert journal.retire() == 0  # ever so old, but nothing is stored
        now_ns[0] = 0
        _, position = journal.read(journal.mark, 2)
        journal.move_mark(position)
        assert journal.retire() == 0  # stored, but young and little
        _, position = journal.read(journal.mark, 3)
        journal.move_mark(position)
        assert journal.retire() == 3  # five stored segments are too much, two are not
        assert segments(disk) == [4, 5, 6]
        assert journal.bytes < size * 0.6
        assert read_all(journal, journal.replay_position()) == [3, 4, 5]
        now_ns[0] = 2 * HOUR_NS
        assert journal.retire() == 2
        assert read_all(journal, journal.replay_position()) == [5] == read_all(journal, position)
        journal.move_mark(journal.end)
        assert journal.retire() == 0  # the newest stays


def test_a_segment_is_as_old_as_its_last_record() -> None:
    now_ns = [0]
    disk = FakeDisk()
    with open_journal(disk, segment_bytes_max=2_000, clock_ns=lambda: now_ns[0]) as journal:
        journal.append(batch([1], text_bytes=100))
        now_ns[0] = 5 * HOUR_NS
        journal.append(batch([2], text_bytes=100))
        journal.append(batch([3], text_bytes=1_500))
        journal.move_mark(journal.end)
        assert journal.retire() == 0
        now_ns[0] = 7 * HOUR_NS
        assert journal.retire() == 1


def test_nothing_is_retired_while_the_mark_cannot_be_saved() -> None:
    full: list[bool] = []

    def before(op: str) -> None:
        if full and op == "write":
            raise OSError(28, "No space left on device")

    now_ns = [0]
    disk = FakeDisk(before)
    with open_journal(disk, segment_bytes_max=1_000, clock_ns=lambda: now_ns[0]) as journal:
        for i in range(3):
            journal.append(batch([i], text_bytes=900))
        now_ns[0] = 2 * HOUR_NS
        full.append(True)
        journal.move_mark(journal.end)
        assert journal.retire() == 0
        full.clear()
        assert journal.retire() == 2


def test_a_segment_that_cannot_be_removed_stays_and_costs_nothing_else() -> None:
    stuck: list[bool] = []

    def before(op: str) -> None:
        if stuck and op == "unlink":
            raise OSError(30, "Read-only file system")

    disk = FakeDisk(before)
    with open_journal(disk, segment_bytes_max=1_000, retention_bytes_max=0) as journal:
        for i in range(3):
            journal.append(batch([i], text_bytes=900))
        journal.move_mark(journal.end)
        stuck.append(True)
        assert journal.retire() == 0
        assert read_all(journal, journal.replay_position()) == [0, 1, 2]
        stuck.clear()
        disk.remove(min(path for path in disk.files() if path.suffix == ".journal"))
        assert journal.retire() == 2
        assert segments(disk) == [3]


def test_a_waiting_reader_wakes_for_a_record_and_for_the_end() -> None:
    journal = open_journal(FakeDisk())
    seen = []

    def follow() -> None:
        position = journal.mark
        while journal.wait(position, timeout_s=60):
            batches, position = journal.read(position, 1)
            seen.extend(ids_of(batches))
            if seen[-1] == 1:
                stored.set()

    stored = threading.Event()
    reader = threading.Thread(target=follow)
    reader.start()
    journal.append(batch([0]))
    journal.append(batch([1]))
    assert stored.wait(60)
    journal.close()
    reader.join(60)
    assert not reader.is_alive()
    assert seen == [0, 1]


def test_one_thread_appends_while_another_reads_marks_and_retires(tmp_path: Path) -> None:
    count = 400
    with open_journal(
        OS_DISK, tmp_path, segment_bytes_max=4_000, retention_bytes_max=10_000
    ) as journal:

        def append() -> None:
            for i in range(count):
                journal.append(batch([i], text_bytes=i % 200))

        appender = threading.Thread(target=append)
        appender.start()
        seen: list[int] = []
        while len(seen) < count:
            assert journal.wait(journal.mark, timeout_s=60)
            batches, position = journal.read(journal.mark, 7)
            seen += ids_of(batches)
            journal.move_mark(position)
            assert 0 <= journal.pending_rows <= count - len(seen)
            journal.retire()
        appender.join()
        assert seen == list(range(count))
        assert journal.pending_rows == journal.rows_lost == journal.repairs == 0
        assert journal.bytes < 30_000


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    for disk, directory in ((FakeDisk(), Path("/data/journal")), (OS_DISK, tmp_path)):
        journal = open_journal(disk, directory)
        with pytest.raises(JournalOwned, match=rf"{directory} is in use by .*\(pid \d+\)\. Stop"):
            open_journal(disk, directory)
        journal.close()
        open_journal(disk, directory).close()


def test_a_closed_journal_takes_nothing_and_closes_twice() -> None:
    journal = open_journal(FakeDisk())
    journal.append(batch([1]))
    journal.close()
    journal.close()
    with pytest.raises(JournalBroken, match="closed"):
        journal.append(batch([2]))


def test_no_rows_are_nothing_to_write() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        assert journal.append(batch([])) == journal.end == journal.mark
        assert segments(disk) == []


def test_a_batch_with_another_schema_is_a_mistake_of_the_caller() -> None:
    with open_journal(FakeDisk()) as journal:
        with pytest.raises(ValueError, match="another schema"):
            journal.append(pa.RecordBatch.from_pydict({"id": [1]}))
        journal.append(batch([1]))


def test_a_schema_that_could_not_be_read_back_is_refused_at_the_start() -> None:
    dictionaries = pa.schema([("id", pa.dictionary(pa.int8(), pa.string()))])
    with pytest.raises(ValueError, match="dictionary"):
        open_journal(FakeDisk(), schema=dictionaries)


def test_segments_of_an_older_version_are_read_in_their_own_schema() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        journal.append(batch([1]))
    newer = SCHEMA.append(pa.field("added", pa.string()))
    with open_journal(disk, schema=newer) as journal:
        journal.append(pa.RecordBatch.from_pylist([{"id": 2, "added": "x"}], schema=newer))
        batches, _ = journal.read(journal.mark, 10)
        assert [b.schema for b in batches] == [SCHEMA, newer]
        assert ids_of(batches) == [1, 2]
