"""No acknowledged row is lost, and no damaged one read, whenever the power goes.

Every crash point of some busy lives, and every state a disk may be found in after each. More lives:
the two ranges of seeds below may be any.
"""

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from crash.fakefs import FakeDisk
from crash.journals import HOUR_NS, batch, ids_of, open_journal, read_all

from spanledger.collector.journal import Journal


class Killed(BaseException):
    """The process ended here. No handler of errors sees this one."""


@dataclass
class Truth:
    """What the outside world was told, kept apart from the disk."""

    offered: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    stored: set[int] = field(default_factory=set)
    now_ns: int = 0

    def open(self, disk: FakeDisk) -> Journal:
        return open_journal(disk, clock_ns=lambda: self.now_ns)

    def append(self, journal: Journal, ids: list[int], text_bytes: int) -> None:
        self.offered += ids
        journal.append(batch(ids, text_bytes))
        self.acknowledged += ids

    def store(self, journal: Journal, rows_max: int) -> None:
        batches, position = journal.read(journal.mark, rows_max)
        self.stored |= set(ids_of(batches))
        journal.move_mark(position)


def check(truth: Truth, disk: FakeDisk) -> None:
    """Open what a power loss left behind; everything promised must be there."""
    with truth.open(disk) as journal:
        retained = read_all(journal, journal.replay_position())
        pending = read_all(journal, journal.mark)
        # A record may be found that was written and not yet acknowledged, but no other.
        assert retained == [i for i in truth.offered if i in set(retained)]
        assert pending == retained[len(retained) - len(pending) :]
        assert set(truth.acknowledged) - truth.stored <= set(pending)
        assert journal.pending_rows == len(pending)
        assert journal.rows_lost == 0
        journal.append(batch([-1]))
    with truth.open(disk) as journal:
        assert read_all(journal, journal.mark) == [*pending, -1]
        assert journal.rows_lost == 0


def live(truth: Truth, disk: FakeDisk, rng: random.Random) -> None:
    """Everything a journal does: fill, turn over, be stored, retire, be killed, be reopened."""
    journal = truth.open(disk)
    look = disk.before
    for step in range(24):
        ids = list(range(10 * step, 10 * step + rng.choice([1, 1, 2, 5])))
        text_bytes = rng.choice([0, 300, 1_000, 4_000]) // len(ids)
        event = rng.randrange(6)
        if event == 0:
            disk.before = killer(look, after_ops=rng.randrange(2))
        with contextlib.suppress(Killed):
            truth.append(journal, ids, text_bytes)
        if event == 0:
            disk.before = look
            disk.kill()  # with the lock held, and perhaps the latest mark not saved
            journal = truth.open(disk)
        if event == 1:
            truth.now_ns += HOUR_NS * 2 // 3
            journal.retire()
        elif event == 2:
            journal.close()
            journal = truth.open(disk)
        elif event in {3, 4}:
            truth.store(journal, rows_max=rng.choice([1, 5, 100]))
    journal.close()


def killer(look: Callable[[str], None], after_ops: int) -> Callable[[str], None]:
    """Look as before, and end the process before a coming operation."""
    left = iter(range(after_ops))

    def look_and_die(op: str) -> None:
        look(op)
        if next(left, None) is None:
            raise Killed

    return look_and_die


@pytest.mark.parametrize("seed", range(2))
def test_a_power_loss_at_any_moment_loses_no_acknowledged_row(seed: int) -> None:
    truth = Truth()
    states = 0

    def look(_: str) -> None:
        nonlocal states
        for state in disk.crash_states():
            check(truth, state)
            states += 1

    disk = FakeDisk(before=look)
    live(truth, disk, random.Random(seed))  # noqa: S311  no secret
    look("end")
    assert states > 1_000


@pytest.mark.parametrize("seed", range(2, 4))
def test_a_second_power_loss_during_recovery_loses_nothing_either(seed: int) -> None:
    truth = Truth()
    states = 0

    def look(_: str) -> None:
        for count, state in enumerate(disk.crash_states()):
            if count % 40 == 0:  # a sample: each has dozens of states of its own
                recover(state)

    def recover(once_crashed: FakeDisk) -> None:
        def look_again(_: str) -> None:
            nonlocal states
            for state in once_crashed.crash_states():
                check(truth, state)
                states += 1

        once_crashed.before = look_again
        truth.open(once_crashed).close()

    disk = FakeDisk(before=look)
    live(truth, disk, random.Random(seed))  # noqa: S311  no secret
    assert states > 1_000


@pytest.mark.parametrize("after_ops", range(5))
def test_what_was_read_after_a_kill_no_power_loss_takes_back(after_ops: int) -> None:
    disk = FakeDisk()
    truth = Truth()
    journal = truth.open(disk)
    truth.append(journal, [1], text_bytes=5_000)
    disk.before = killer(lambda _: None, after_ops)
    with contextlib.suppress(Killed):
        truth.append(journal, [2], text_bytes=5_000)  # in a new segment
    disk.before = lambda _: None
    disk.kill()
    with truth.open(disk) as reopened:
        seen = read_all(reopened, reopened.mark)
        for state in disk.crash_states():
            with truth.open(state) as after:
                assert read_all(after, after.mark) == seen


def test_bytes_of_a_torn_tail_are_somewhere_on_the_disk_at_every_moment() -> None:
    disk = FakeDisk()
    with open_journal(disk) as journal:
        journal.append(batch([1]))
        (path,) = (path for path in disk.files() if path.suffix == ".journal")
    torn = b"half of a record that nobody was promised" * 30
    disk.put(path, disk.files()[path] + torn)

    def look(_: str) -> None:
        for state in disk.crash_states():
            assert any(content.endswith(torn) for content in state.files().values())

    disk.before = look
    open_journal(disk).close()
    look("end")


def test_what_a_retirement_leaves_behind_has_no_hole_whenever_the_power_goes() -> None:
    states: list[list[int]] = []
    disk = FakeDisk(lambda _: states.extend(sorted(numbers(s)) for s in disk.crash_states()))
    now_ns = [0]
    for number in range(3):  # each opening begins a segment
        with open_journal(disk, clock_ns=lambda: now_ns[0]) as journal:
            journal.append(batch([number]))
    with open_journal(disk, clock_ns=lambda: now_ns[0]) as journal:
        journal.move_mark(journal.end)
        now_ns[0] += 48 * HOUR_NS
        states.clear()
        assert journal.retire() == 2
        states.extend(sorted(numbers(state)) for state in disk.crash_states())
        last = max(numbers(disk))
    left = {tuple(state) for state in states}
    assert len(left) == 3
    assert all(list(state) == list(range(state[0], last + 1)) for state in left)


def numbers(disk: FakeDisk) -> list[int]:
    return [int(path.stem) for path in disk.files() if path.suffix == ".journal"]
