"""No acknowledged row is lost, and no damaged one read, whenever the power goes."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from spanledger.collector.journal import Journal, Position
from tests.crash.fakefs import FakeDisk

DIRECTORY = Path("/data/journal")
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.binary())])
HOUR_NS = 3_600_000_000_000


@dataclass
class Truth:
    """What the outside world was told, kept apart from the disk."""

    offered: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    stored: set[int] = field(default_factory=set)
    now_ns: int = 0

    def open(self, disk: FakeDisk) -> Journal:
        return Journal.open(
            DIRECTORY,
            SCHEMA,
            segment_bytes_max=6_000,
            retention_seconds=3_600,
            retention_bytes_max=20_000,
            free_bytes_min=0,
            disk=disk,
            clock_ns=lambda: self.now_ns,
        )

    def append(self, journal: Journal, ids: list[int], text_bytes: int) -> None:
        self.offered += ids
        # Random text does not compress, so that a record spans several sectors.
        texts = [random.Random(i).randbytes(text_bytes) for i in ids]  # noqa: S311  no secret
        journal.append(pa.RecordBatch.from_pydict({"id": ids, "text": texts}, schema=SCHEMA))
        self.acknowledged += ids

    def store(self, journal: Journal, rows_max: int) -> None:
        batches, position = journal.read(journal.mark, rows_max)
        self.stored |= set(ids_of(batches))
        journal.move_mark(position)


def ids_of(batches: list[pa.RecordBatch]) -> list[int]:
    return [i for batch in batches for i in batch.column("id").to_pylist()]


def read_all(journal: Journal, position: Position) -> list[int]:
    batches, end = journal.read(position, 1 << 40)
    assert end == journal.end
    return ids_of(batches)


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
        journal.append(pa.RecordBatch.from_pydict({"id": [-1], "text": [b""]}, schema=SCHEMA))
    with truth.open(disk) as journal:
        assert read_all(journal, journal.mark) == [*pending, -1]
        assert journal.rows_lost == 0


def live(truth: Truth, disk: FakeDisk, seed: int) -> None:
    """Everything a journal does: fill, turn over, be stored, retire, be killed, be reopened."""
    rng = random.Random(seed)  # noqa: S311  no secret
    journal = truth.open(disk)
    for step in range(24):
        ids = list(range(10 * step, 10 * step + rng.choice([1, 1, 2, 5])))
        truth.append(journal, ids, text_bytes=rng.choice([0, 300, 1_000, 4_000]) // len(ids))
        match rng.randrange(6):
            case 0 | 1:
                truth.store(journal, rows_max=rng.choice([1, 5, 100]))
            case 2:
                truth.now_ns += HOUR_NS * 2 // 3
                journal.retire()
            case 3:
                disk.kill()  # with the lock held, and perhaps the latest mark not saved
                journal = truth.open(disk)
            case 4:
                journal.close()
                journal = truth.open(disk)
            case _:
                pass
    journal.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_power_loss_at_any_moment_loses_no_acknowledged_row(seed: int) -> None:
    truth = Truth()
    states = 0

    def look(_: str) -> None:
        nonlocal states
        for state in disk.crash_states():
            check(truth, state)
            states += 1

    disk = FakeDisk(before=look)
    live(truth, disk, seed)
    look("end")
    assert states > 1_000


@pytest.mark.parametrize("seed", range(4, 6))
def test_a_second_power_loss_during_recovery_loses_nothing_either(seed: int) -> None:
    truth = Truth()
    states = 0

    def look(_: str) -> None:
        for count, state in enumerate(disk.crash_states()):
            if count % 20 == 0:  # a sample: each has dozens of states of its own
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
    live(truth, disk, seed)
    assert states > 1_000
