"""What the ledger's files have lost comes back from the journal."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from engine import entries, entry, open_ledger

from spanledger.collector.journal import Journal
from spanledger.collector.journal.mark import Position
from spanledger.collector.repair import repair
from spanledger.collector.service import Service
from spanledger.config import Config
from spanledger.ledger.schema import ENTRIES_ARROW
from spanledger.store.client import Store
from spanledger.store.damage import Damage
from spanledger.store.errors import StoreUnavailable

PARTS = 3
ROWS = 40


class Meters:
    def __init__(self) -> None:
        self.restored: list[int] = []

    def repaired(self, rows: int) -> None:
        self.restored.append(rows)


class Bench:
    """A journal and a ledger that have the same rows, and the ledger's files to damage."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.meters = Meters()
        self.journal = Journal.open(
            directory / "journal",
            ENTRIES_ARROW,
            segment_bytes_max=10_000,
            retention_seconds=3_600,
            retention_bytes_max=10**8,
            free_bytes_min=0,
        )
        self.store: Store | None = None
        for part in range(PARTS):
            self.add(part)
        self.journal.move_mark(self.journal.end)
        self.repair()

    def opened(self) -> Store:
        if self.store is None:
            self.store = open_ledger(self.directory / "ledger")
        return self.store

    def add(self, part: int, *, stored: bool = True) -> None:
        rows = entries(*(entry(part * ROWS + i + 1, calls=1) for i in range(ROWS)))
        self.journal.append(rows.to_batches()[0])
        if stored:
            self.opened().insert(rows)

    def parts(self) -> list[Path]:
        """The parts' directories, oldest first; the ledger is closed after that."""
        sql = "SELECT path FROM system.parts WHERE active AND table = 'entries' ORDER BY name"
        rows = self.opened()._reading.run(lambda client: client.query(sql).result_rows)
        self.close()
        return [Path(row[0]) for row in rows]

    def repair(self, **more: Any) -> int:
        options: dict[str, Any] = {"batch_rows_max": 50, "boot": "first"} | more
        return repair(
            self.journal, self.opened(), self.meters, self.directory / "seen.json", **options
        )

    def ledger(self) -> tuple[int, Decimal]:
        sql = "SELECT count(), sum(cost_usd) FROM calls"
        row = self.opened()._reading.run(lambda client: client.query(sql).result_rows)[0]
        return row[0], row[1]

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.meters.restored.clear()
    yield made
    made.close()
    made.journal.close()


WHOLE = (PARTS * ROWS, PARTS * ROWS * Decimal("0.25"))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


Harm = tuple[str, Callable[[Path], None]]


@pytest.mark.parametrize(
    "harms",
    [
        [("data.bin", empty), ("data.bin", zero)],
        [("data.bin", cut), ("data.bin", flip)],
        [("data.bin", Path.unlink), ("checksums.txt", cut)],
        [("columns.txt", Path.unlink), ("data.cmrk4", zero)],
    ],
)
def test_damaged_files_of_the_newest_parts_cost_nothing(bench: Bench, harms: list[Harm]) -> None:
    for part, (name, harm) in zip(bench.parts()[1:], harms, strict=True):
        harm(part / name)
    assert bench.repair() == 2 * ROWS
    assert bench.ledger() == WHOLE
    assert bench.meters.restored == [2 * ROWS]
    # It is done once; the next start only looks.
    bench.close()
    assert bench.repair() == 0
    assert bench.meters.restored == [2 * ROWS]


def test_parts_that_left_no_trace_come_back_after_a_restart_of_the_machine(bench: Bench) -> None:
    for part in bench.parts()[1:]:
        shutil.rmtree(part)
    assert bench.repair(boot="second") == 2 * ROWS
    assert bench.ledger() == WHOLE


def test_a_ledger_that_is_gone_is_made_anew_from_the_journal(bench: Bench) -> None:
    bench.close()
    shutil.rmtree(bench.directory / "ledger")
    assert bench.repair() == PARTS * ROWS
    assert bench.ledger() == WHOLE


def test_a_repair_that_was_cut_short_is_begun_again(bench: Bench) -> None:
    flip(bench.parts()[0] / "data.bin")
    assert bench.repair(stopping=iter([False] * 2 + [True] * 99).__next__) < ROWS
    bench.close()
    bench.repair()
    assert bench.ledger() == WHOLE


def test_what_the_writer_has_not_stored_is_left_to_the_writer(bench: Bench) -> None:
    bench.add(PARTS, stored=False)
    flip(bench.parts()[0] / "data.bin")
    assert bench.repair() == ROWS
    assert bench.ledger() == WHOLE
    assert bench.journal.pending_rows == ROWS


def test_a_whole_ledger_is_only_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> tuple[list[pa.RecordBatch], Any]:
        raise AssertionError("the journal was read")

    monkeypatch.setattr(bench.journal, "read", refuse)
    assert bench.repair() == 0
    assert bench.meters.restored == []


def test_a_record_that_cannot_be_read_means_one_replay_more(bench: Bench) -> None:
    (bench.directory / "seen.json").write_text("[")
    assert bench.repair() == 0
    assert bench.meters.restored == [0]
    assert bench.repair() == 0
    assert bench.meters.restored == [0]


class OldJournal:
    """A journal of an older version's segments, of which one file is gone before the mark."""

    mark = Position(3, 0, 3)

    def __init__(self) -> None:
        self.reads = 0

    def replay_position(self) -> Position:
        return Position(1, 0, 0)

    def read(
        self, after: Position, _rows_max: int, before: Position
    ) -> tuple[list[pa.RecordBatch], Position]:
        assert before == self.mark
        self.reads += 1
        assert self.reads < 9, "read for ever"
        if after.segment > 1:
            return [], after
        rows = entries(entry(1), entry(2)).drop_columns(["region", "cache_write_unknown"])
        return rows.to_batches(), Position(2, 0, 2)


class EmptyStore:
    """Takes what it is given."""

    def __init__(self) -> None:
        self.taken: list[pa.Table] = []
        self.sealed_before_ns = 0
        self.moments = {"settled_stored_at": 7, "rolled_stored_at": 7, "sealed_before": 7}

    def moment_ns(self, name: str) -> int | None:
        return self.moments.get(name)

    def keep_moment(self, name: str, moment_ns: int) -> None:
        self.moments[name] = moment_ns

    def query(self, _name: str, _parameters: Any = None) -> pa.Table:
        return pa.table({"hour_s": pa.array([], pa.int64())})

    def execute(self, _name: str, _parameters: Any = None) -> None: ...

    def damage(self, _seconds_max: float, _stopping: Callable[[], bool]) -> Damage:
        return Damage(set_aside=(), active=(), unchecked=0, empty=True)

    def detach(self, _parts: Sequence[str]) -> None: ...

    def known(self, rows: pa.Table) -> pa.BooleanArray:
        return pa.array([False] * rows.num_rows)

    def insert(self, rows: pa.Table) -> None:
        assert rows.schema.equals(ENTRIES_ARROW)
        self.taken.append(rows)


def test_segments_of_an_older_version_are_replayed_and_a_gap_before_the_mark_ends_it(
    tmp_path: Path,
) -> None:
    journal, store = OldJournal(), EmptyStore()
    repair(journal, store, Meters(), tmp_path / "seen.json", batch_rows_max=50)  # type: ignore[arg-type]  # what it needs of one
    assert [rows.num_rows for rows in store.taken] == [2]
    assert store.taken[0].column("region").to_pylist() == ["", ""]


def test_after_a_repair_all_calls_are_settled_and_summed_up_anew(tmp_path: Path) -> None:
    store = EmptyStore()
    repair(OldJournal(), store, Meters(), tmp_path / "seen.json", batch_rows_max=50)  # type: ignore[arg-type]  # what it needs of one
    assert store.moments == {
        "settled_stored_at": 0,
        "rolled_stored_at": 0,
        "users_rolled_until": 0,
        "sealed_before": 7,
    }


class Reluctant(EmptyStore):
    """Answers from the second question on."""

    asked = 0

    def damage(self, seconds_max: float, stopping: Callable[[], bool]) -> Damage:
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("busy")
        return super().damage(seconds_max, stopping)


def test_a_repair_that_fails_is_begun_again_before_anybody_is_shown_the_ledger(
    tmp_path: Path,
) -> None:
    store = Reluctant()
    service = Service(Config.model_validate({"data_dir": str(tmp_path)}))
    service._repair(OldJournal(), store, lambda: False)  # type: ignore[arg-type]  # what it needs of one
    assert store.asked == 2
    assert [rows.num_rows for rows in store.taken] == [2]
