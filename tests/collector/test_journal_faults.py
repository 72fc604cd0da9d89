"""A failing disk, at every operation in turn: what was acknowledged stays, the rest is refused."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from crash.fakefs import FakeDisk
from crash.journals import HOUR_NS, batch, ids_of, open_journal, read_all

from spanledger.collector.journal import (
    OS_DISK,
    Journal,
    JournalBehind,
    JournalBroken,
    JournalFull,
)


class Faults:
    """Makes the k-th operation fail, and those after it while the fault lasts."""

    def __init__(self, code: int, at: int, *, lasting: int = 1, only: tuple[str, ...] = ()) -> None:
        self.left = at
        self.lasting = lasting
        self.code = code
        self.only = only
        self.raised = 0

    def __call__(self, op: str) -> None:
        if self.only and op not in self.only:
            return
        self.left -= 1
        if -self.lasting <= self.left < 0:
            self.raised += 1
            raise OSError(self.code, os.strerror(self.code))


def no_fault(_: str) -> None:
    """Let everything pass."""


class Day:
    """A journal's ordinary work, noting what was acknowledged and what was refused."""

    def __init__(self, disk: FakeDisk) -> None:
        self.disk = disk
        self.now_ns = 0
        self.acknowledged: list[int] = []
        self.stored: list[int] = []
        self.full = 0
        self.broken = 0
        self.journal = open_journal(disk, segment_bytes_max=2_500, clock_ns=lambda: self.now_ns)

    def run(self, steps: range) -> None:
        for i in steps:
            self.now_ns += HOUR_NS
            try:
                end = self.journal.append(batch([i], text_bytes=700))
            except JournalFull:
                self.full += 1
            except JournalBroken:
                self.broken += 1
            else:
                assert end == self.journal.end
                self.acknowledged.append(i)
            if i % 3 == 2:
                batches, position = self.journal.read(self.journal.mark, 2)
                self.stored += ids_of(batches)
                self.journal.move_mark(position)
                self.journal.retire()

    def check(self, journal: Journal) -> None:
        retained = read_all(journal, journal.replay_position())
        pending = read_all(journal, journal.mark)
        assert pending == [i for i in retained if i in pending]
        assert set(self.acknowledged) - set(self.stored) <= set(pending)
        assert retained == sorted(set(retained))
        assert journal.rows_lost == 0


# More operations than a day has: the last rounds run without a fault, and say so.
OPS = range(120)


@pytest.mark.parametrize("lasting", [1, 4])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
def test_no_room_at_any_operation_refuses_and_recovers_by_itself(code: int, lasting: int) -> None:
    refused = 0
    for at in OPS:
        disk = FakeDisk()
        day = Day(disk)
        # Where a disk may be found full: a failed sync is another matter.
        disk.before = Faults(code, at, lasting=lasting, only=("create", "write", "truncate"))
        day.run(range(30))
        refused += day.full
        assert day.broken == 0
        assert len(day.acknowledged) == 30 - day.full
        disk.before = no_fault
        day.run(range(30, 33))
        assert day.acknowledged[-3:] == [30, 31, 32]
        day.check(day.journal)
        assert set(read_all(day.journal, day.journal.mark)) <= set(day.acknowledged)
        assert day.journal.repairs == 0
        day.journal.close()
        with open_journal(disk) as reopened:
            day.check(reopened)
            assert set(read_all(reopened, reopened.mark)) <= set(day.acknowledged)
    assert refused > 30


def test_a_record_for_which_there_was_no_room_leaves_no_trace() -> None:
    disk = FakeDisk()
    with open_journal(disk, segment_bytes_max=3_000) as journal:
        journal.append(batch([1], text_bytes=500))
        before = disk.files()
        for text_bytes in (1_000, 10_000):  # in the same segment, in a new one
            disk.before = Faults(errno.ENOSPC, 0, only=("write",))
            with pytest.raises(JournalFull, match="No space left on device: nothing was written"):
                journal.append(batch([2], text_bytes))
            assert disk.files() == before
            assert (journal.pending_rows, journal.bytes) == (1, max(map(len, before.values())))
        disk.before = no_fault


@pytest.mark.parametrize("op", ["fdatasync", "fsync_dir"])
def test_after_a_failed_sync_nothing_is_acknowledged_any_more(op: str) -> None:
    broken = 0
    for at in OPS:
        disk = FakeDisk()
        day = Day(disk)
        # One failure only: whoever tried again would succeed, and promise what is not there.
        disk.before = faults = Faults(errno.EIO, at, only=(op,))
        day.run(range(30))
        if day.broken:  # a failure while saving the mark breaks no promise
            broken += 1
            with pytest.raises(JournalBroken, match="check the disk, then start"):
                day.journal.append(batch([99]))
            assert day.acknowledged == list(range(len(day.acknowledged)))
        else:
            assert len(day.acknowledged) == 30
        assert faults.raised <= 1
        disk.before = no_fault
        for state in disk.crash_states():
            with open_journal(state) as journal:
                day.check(journal)
    assert broken > 5


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EFBIG])
def test_a_write_that_fails_for_another_reason_breaks_the_journal(code: int) -> None:
    disk = FakeDisk()
    day = Day(disk)
    day.run(range(2))
    disk.before = Faults(code, 0, only=("write",))
    day.run(range(3, 5))
    assert day.broken == 2
    disk.kill()
    with open_journal(disk) as journal:
        assert read_all(journal, journal.mark) == [0, 1]


def test_a_disk_that_cannot_tell_its_room_is_no_fault_of_the_request() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        disk.before = Faults(errno.EIO, 0, only=("statvfs",))
        with pytest.raises(JournalBroken, match="the disk cannot be trusted"):
            journal.append(batch([1]))


def test_any_fault_while_opening_either_fails_it_or_loses_nothing() -> None:
    opened = failed = 0
    for code in (errno.ENOSPC, errno.EIO):
        for at in range(40):
            disk = FakeDisk()
            day = Day(disk)
            day.run(range(8))
            disk.kill()
            newest = max(path for path in disk.files() if path.suffix == ".journal")
            disk.put(newest, disk.files()[newest] + b"half a record" * 100)
            disk.before = Faults(code, at)
            try:
                journal = open_journal(disk)
            except OSError:
                failed += 1
            else:
                opened += 1
                disk.before = no_fault
                day.check(journal)
                journal.close()
            disk.before = no_fault
            with open_journal(disk) as journal:  # the lock was given back, too
                day.check(journal)
    assert opened > 20
    assert failed > 5


def test_a_full_disk_does_not_keep_the_journal_from_opening_and_being_drained() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        journal.append(batch([1, 2]))
    (path,) = (path for path in disk.files() if path.suffix == ".journal")
    disk.put(path, disk.files()[path] + b"torn")
    disk.before = Faults(errno.ENOSPC, 0, lasting=1 << 40, only=("create", "write"))
    with open_journal(disk) as journal:
        assert read_all(journal, journal.mark) == [1, 2]
        journal.move_mark(journal.end)
        assert journal.pending_rows == 0
        with pytest.raises(JournalFull):
            journal.append(batch([3]))
    assert disk.files()[path].endswith(b"torn")  # no room for a copy: nothing is cut off


def test_the_reserve_of_the_disk_is_not_touched() -> None:
    disk = FakeDisk()
    with open_journal(disk, free_bytes_min=1_000_000) as journal:
        disk.free = 1_000_010
        with pytest.raises(JournalFull, match=r"1000010 bytes are free .* 1000000 must stay free"):
            journal.append(batch([1]))
        assert journal.pending_rows == 0
        disk.free = 2_000_000
        journal.append(batch([2]))
        assert read_all(journal, journal.mark) == [2]


def test_what_waits_for_the_store_is_bounded_kept_and_what_is_stored_does_not_count() -> None:
    with open_journal(FakeDisk(), pending_bytes_max=10_000, segment_bytes_max=4_000) as journal:
        for turn in range(3):  # nothing is retired meanwhile
            taken: list[int] = []
            while journal.pending_bytes < 10_000 - 1_800:
                taken.append(len(taken))
                journal.append(batch(taken[-1:], text_bytes=1_500))
            with pytest.raises(JournalBehind, match=r"of 10000 bytes wait for the store"):
                journal.append(batch([9], text_bytes=1_500))
            assert 6_000 < journal.pending_bytes <= 10_000
            assert read_all(journal, journal.mark) == taken
            # One record stored is room for one more.
            _, first = journal.read(journal.mark, 1)
            journal.move_mark(first)
            journal.append(batch([10], text_bytes=1_500))
            assert read_all(journal, journal.mark) == [*taken[1:], 10]
            journal.move_mark(journal.end)
            assert journal.pending_bytes == 0
            assert journal.bytes > 6_000 * (turn + 1)


def test_a_lone_record_is_taken_whatever_may_wait() -> None:
    with open_journal(FakeDisk(), pending_bytes_max=100) as journal:
        journal.append(batch([1], text_bytes=1_500))
        with pytest.raises(JournalBehind):
            journal.append(batch([2]))
        journal.move_mark(journal.end)
        journal.append(batch([3], text_bytes=1_500))


def test_what_waited_over_a_restart_counts() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        journal.append(batch([1], text_bytes=1_500))
        journal.move_mark(journal.end)
        journal.append(batch([2], text_bytes=1_500))
        pending = journal.pending_bytes
    with open_journal(disk, pending_bytes_max=2_000) as journal:
        assert journal.pending_bytes == pending > 1_500
        with pytest.raises(JournalBehind):
            journal.append(batch([3], text_bytes=1_500))
        assert read_all(journal, journal.mark) == [2]


@contextmanager
def small_file_system(path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB, where this machine allows to make one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "journal-test", str(path)]
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_is_really_full_refuses_and_goes_on_after_space_is_made(tmp_path: Path) -> None:
    with (
        small_file_system(tmp_path) as directory,
        open_journal(OS_DISK, directory / "journal", segment_bytes_max=1 << 30) as journal,
    ):
        (directory / "filler").write_bytes(bytes(600_000))
        acknowledged = []
        full = 0
        for i in range(40):
            try:
                journal.append(batch([i], text_bytes=50_000))
            except JournalFull:
                full += 1
                (directory / "filler").write_bytes(b"")
            else:
                acknowledged.append(i)
        assert full >= 2
        assert len(acknowledged) > 12
        assert read_all(journal, journal.mark) == acknowledged
        assert journal.repairs == 0
