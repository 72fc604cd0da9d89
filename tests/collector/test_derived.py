"""What is made of entries is right again after its files were damaged, and sums are never less."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from engine import entries, entry, open_ledger

from spanledger.collector.journal import Journal
from spanledger.collector.pruner import prune
from spanledger.collector.repair import repair
from spanledger.collector.roller import Roller
from spanledger.collector.settler import Settler
from spanledger.ledger.schema import ENTRIES_ARROW
from spanledger.store.client import Store
from spanledger.store.errors import BadRows

SEALED = datetime(2026, 10, 1, tzinfo=UTC)
MIDDLE = SEALED + timedelta(days=9)
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
USERS = "rollup_users_daily"
VIEWS = ("calls", "costs_hourly", "costs_daily")


class Meters:
    """Hears of repairs."""

    def __init__(self) -> None:
        self.repairs: list[int] = []

    def restated(self, legs: pl.DataFrame) -> None: ...

    def repaired(self, rows: int) -> None:
        self.repairs.append(rows)


class Bench:
    """A ledger with calls, calls that were settled, sums by hour and day, and a sealed month."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store: Store | None = None
        self.meters = Meters()

    def make(self) -> None:
        number = 0
        with self.journal() as journal:
            for start in (SEALED - timedelta(days=2), SEALED - timedelta(hours=30), MIDDLE, NOW):
                rows = []
                for hour in range(4):
                    at = start - timedelta(hours=hour, minutes=20)
                    number += 1
                    # Two observers of one call, and one call beside them.
                    said = {"response_id": f"r{number}", "response_model": "gpt-4o"}
                    for span, who in enumerate(("client", "gateway")):
                        named = {"start_time": at, "known_at": at, "scope_name": who}
                        rows.append(entry(10 * number + span, **named, **said))
                    rows.append(entry(10 * number + 5, start_time=at, known_at=at, input_tokens=7))
                batch = entries(*rows)
                journal.append(batch.to_batches()[0])
                self.opened().insert(batch)
                self.upkeep()
            journal.move_mark(journal.end)
            self.repair(journal)
        self.upkeep()
        prune(self.opened(), int(SEALED.timestamp()) * 10**9)

    def journal(self) -> Journal:
        return Journal.open(
            self.directory / "journal",
            ENTRIES_ARROW,
            segment_bytes_max=1_000,  # a file for each append
            retention_seconds=10**6,
            retention_bytes_max=10**8,
            free_bytes_min=0,
        )

    def upkeep(self) -> None:
        store = self.opened()
        settler = Settler(
            store, lambda _: lambda calls: calls, self.meters, clock_ns=lambda: ns(NOW)
        )
        for job in (settler.run, Roller(store, clock_ns=lambda: ns(NOW)).run):
            while job():
                pass

    def opened(self) -> Store:
        if self.store is None:
            self.store = open_ledger(self.directory / "ledger")
        return self.store

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def repair(self, journal: Journal, boot: str = "first") -> None:
        record = self.directory / "seen.json"
        repair(journal, self.opened(), self.meters, record, batch_rows_max=1_000, boot=boot)

    def restarted(self, boot: str = "first") -> "Bench":
        with self.journal() as journal:
            self.repair(journal, boot)
        return self

    def ask(self, sql: str) -> Any:
        return self.opened()._reading.run(lambda client: client.query(sql).result_rows)

    def figures(self) -> dict[str, Any]:
        """What each view says, by hour and by day, and which calls there are."""
        sums = {
            view: self.ask(
                f"SELECT {when}, sum(calls), sum(cost_usd), sum(input_tokens) FROM {view}"  # noqa: S608
                " GROUP BY ALL ORDER BY ALL"
            )
            for view, when in (
                ("costs_hourly", "hour"),
                ("costs_daily", "day"),
                ("users_daily", "day"),
            )
        }
        return {
            "calls": self.ask(
                "SELECT trace_id, span_id, cost_usd, input_tokens FROM calls ORDER BY ALL"
            ),
            **sums,
        }

    def parts(self, *tables: str) -> list[Path]:
        """The data of their parts; the ledger is closed after that."""
        rows = self.ask(
            "SELECT table, path, rows FROM system.parts WHERE active AND database = 'spanledger'"
            " ORDER BY table, name"
        )
        self.close()
        return [Path(path) / "data.bin" for table, path, count in rows if table in tables and count]


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    bench = Bench(tmp_path_factory.mktemp("derived") / "made")
    bench.directory.mkdir()
    bench.make()
    whole = bench.figures()
    bench.close()
    return bench.directory, whole


@pytest.fixture
def bench(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(made[0], tmp_path / "copy", symlinks=True)
    bench = Bench(tmp_path / "copy")
    yield bench
    bench.close()


@pytest.fixture
def whole(made: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return made[1]


def test_the_ledger_is_what_these_tests_need(whole: dict[str, Any]) -> None:
    calls, by_hour, by_day = (whole[view] for view in VIEWS)
    assert len(calls) == 2 * 8  # of each hour one settled call and one plain, of two months
    assert sum(row[1] for row in by_hour) == sum(row[1] for row in by_day) == 2 * 16
    assert sum(row[0] < SEALED.replace(tzinfo=None) for row in by_hour) >= 8


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_what_was_damaged_in_every_part_is_made_again(bench: Bench, whole: dict[str, Any]) -> None:
    # One table after the other, and other damages, are the long proof's.
    for part in bench.parts("restated", "upkeep", "schema_migrations", "rollup_daily", USERS):
        flip(part)
    assert bench.restarted().figures() == whole
    # The upkeep goes on from there, and finds nothing to change.
    bench.upkeep()
    assert bench.figures() == whole
    bench.close()
    assert bench.restarted().figures() == whole
    assert bench.meters.repairs == [0]  # counted once; the last start found nothing to do


@pytest.mark.parametrize("harm", [flip, cut], ids=["flip", "cut"])
def test_hours_are_summed_again_and_sealed_ones_keep_the_sums_of_their_days(
    bench: Bench, whole: dict[str, Any], harm: Callable[[Path], None], caplog: Any
) -> None:
    for part in bench.parts("rollup_hourly"):
        harm(part)
    found = bench.restarted().figures()
    assert {view: found[view] for view in ("calls", "costs_daily")} == {
        view: whole[view] for view in ("calls", "costs_daily")
    }
    seal = SEALED.replace(tzinfo=None)
    after = [row for row in whole["costs_hourly"] if row[0] >= seal]
    assert [row for row in found["costs_hourly"] if row[0] >= seal] == after
    sealed = [row for row in found["costs_hourly"] if row[0] < seal]
    # The engine may have an older part at hand that the one which it will not open was merged of.
    if harm is flip or "first hour now" in caplog.text:
        assert {row[0].hour for row in sealed} == {0}
        assert [row[1:] for row in sealed] == [
            row[1:] for row in whole["costs_daily"] if row[0] < seal.date()
        ]
        assert "each day's sums stand in its first hour now" in caplog.text
    else:
        assert found == whole
    bench.upkeep()
    assert bench.figures() == found


def test_sums_that_left_no_trace_come_back_after_a_restart_of_the_machine(
    bench: Bench, whole: dict[str, Any]
) -> None:
    for part in bench.parts("rollup_daily", "restated"):
        shutil.rmtree(part.parent)
    assert bench.restarted("second").figures() == whole
    bench.upkeep()
    assert bench.figures() == whole


def test_sealed_sums_that_are_damaged_twice_are_told_as_missing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for part in bench.parts("rollup_hourly", "rollup_daily"):
        flip(part)
    bench.restarted()
    (error,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "202609" in error.message
    assert "sums may be missing" in error.message


def test_the_seal_outlives_the_table_and_the_file_that_keep_it(bench: Bench) -> None:
    late = entries(entry(9_999, start_time=SEALED - timedelta(hours=1)))
    seal = bench.directory / "ledger.seal"
    for harm in (Path.unlink, flip):
        harm(seal)
        with pytest.raises(BadRows, match="too_old"):
            bench.opened().insert(late)
        bench.close()
        for part in bench.parts("upkeep"):
            flip(part)
        with pytest.raises(BadRows, match="too_old"):
            bench.opened().insert(late)
        bench.close()


def test_a_repair_that_was_cut_short_is_made_good_by_the_next(
    bench: Bench, whole: dict[str, Any]
) -> None:
    for part in bench.parts("restated", "rollup_daily"):
        flip(part)
    store = bench.opened()
    store.detach(store.damage(60, lambda: False).active)
    (bench.directory / "seen.json").unlink()
    bench.close()
    assert bench.restarted().figures() == whole


def test_after_a_restart_of_the_machine_what_was_stored_last_is_summed_again(bench: Bench) -> None:
    store = bench.restarted("second").opened()
    # All of it was stored just now; what is sealed is not touched.
    assert store.moment_ns("rolled_until") == ns(MIDDLE - timedelta(hours=4))
    store.keep_moment("rolled_until", ns(NOW) - 30 * 60 * 10**9)
    store.keep_moment("rolled_stored_at", time.time_ns() + 10**15)
    bench.restarted("third")
    assert store.moment_ns("rolled_until") == ns(NOW) - 150 * 60 * 10**9


def test_the_sums_of_calls_that_are_lost_for_good_are_kept_and_sealed(
    bench: Bench, whole: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for part in bench.parts("entries"):
        if part.parent.name.startswith("202610"):
            flip(part)
    for segment in sorted((bench.directory / "journal").glob("*.journal"))[:-1]:
        segment.unlink()  # its retention is over
    found = bench.restarted().figures()
    assert found["costs_hourly"] == whole["costs_hourly"]
    assert found["costs_daily"] == whole["costs_daily"]
    assert len(found["calls"]) == 8 + 4  # of October, the settled ones have their present form
    assert "4 calls in 4 hours are lost, their sums by hour and day are not" in caplog.text
    bench.upkeep()
    assert bench.figures() == found
    late = entries(entry(9_999, start_time=MIDDLE - timedelta(hours=1, minutes=5)))
    with pytest.raises(BadRows, match="too_old"):
        bench.opened().insert(late)
    bench.opened().insert(entries(entry(9_999, start_time=MIDDLE)))


def test_what_an_older_version_remembered_is_not_taken_for_new(bench: Bench) -> None:
    part = bench.parts("entries")[0]
    cut(part)
    record = bench.directory / "seen.json"
    bench.restarted()
    content = json.loads(record.read_text())
    (named,) = content["parts"]
    assert named.startswith("entries/")
    record.write_text(json.dumps({**content, "parts": [named.removeprefix("entries/")]}))
    bench.close()
    bench.restarted()
    assert json.loads(record.read_text()) == content
