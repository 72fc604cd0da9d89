"""``spanledger export``: over a real listener, on a ledger of its own; what people are told."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from engine import NOON, entries, entry, open_ledger
from focus_charges import charges, difference
from focus_rules import total, violations
from sql_listener import Bounds, listening
from typer.testing import CliRunner

from spanledger.cli.app import app
from spanledger.cli.export import ExportError, Request, run as export
from spanledger.ledger.schema import entries_to_arrow

RANGE = ("--from", "2026-11-01", "--to", "2026-12-01")
FIRST_NS = int(NOON.timestamp()) * 10**9
NOBODY = "http://127.0.0.1:22999"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def booked() -> pl.DataFrame:
    """What the ledger holds: charges of every kind, all of one minute."""
    return charges()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, booked: pl.DataFrame) -> Path:
    made = tmp_path_factory.mktemp("data")
    store = open_ledger(made / "clickhouse")
    store.insert(pa.Table.from_batches([entries_to_arrow(booked)]))
    store.close()
    return made


@pytest.fixture
def url(data_dir: Path) -> Iterator[str]:
    store = open_ledger(data_dir / "clickhouse")
    with listening(store, Bounds()) as port:
        yield f"http://127.0.0.1:{port}"
    store.close()


def test_calls_go_to_stdout_as_csv(url: str, booked: pl.DataFrame) -> None:
    code, shown, told = run("--url", url, *RANGE)
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert (code, told) == (0, f"Wrote {booked.height} rows of calls\n")
    assert [row["trace_id"] for row in rows] == sorted(row["trace_id"] for row in rows)
    known = [Decimal(row["cost_usd"]) for row in rows if row["cost_usd"]]
    assert sum(known) == total(booked, "cost_usd")
    assert rows[0]["start_time"] == "2026-11-20T12:00:00.000000000Z"


def test_the_ending_of_the_file_says_the_format(
    url: str, booked: pl.DataFrame, tmp_path: Path
) -> None:
    for name in ("calls.jsonl", "calls.parquet"):
        assert run("--url", url, *RANGE, "--output", str(tmp_path / name))[0] == 0
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    table = pq.read_table(tmp_path / "calls.parquet")
    assert len(lines) == table.num_rows == booked.height
    assert list(json.loads(lines[0])) == table.column_names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.jsonl", "calls.parquet"]


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_focus_sums_up_to_the_calls_and_tells_of_those_without_price(
    url: str, booked: pl.DataFrame, tmp_path: Path, version: str
) -> None:
    file = tmp_path / "focus.parquet"
    wanted = ("--view", "focus", "--focus-version", version, "--output", str(file))
    code, _, told = run("--url", url, *RANGE, *wanted)
    made = pl.read_parquet(file)
    assert code == 0
    assert list(violations(made, version)) == []
    assert total(made, "BilledCost") == total(booked, "cost_usd")
    assert "1 calls of this time have no price" in told
    assert pq.read_schema(file).metadata[b"focus_version"] == version.encode()


def test_a_ledger_that_no_collector_has_open_is_read_itself(
    data_dir: Path, booked: pl.DataFrame
) -> None:
    code, shown, _ = run("--offline", "--data-dir", str(data_dir), *RANGE, "--format", "jsonl")
    assert code == 0
    assert len(shown.splitlines()) == booked.height


def test_a_user_of_the_configuration_asks(data_dir: Path) -> None:
    store = open_ledger(data_dir / "clickhouse")
    with listening(store, Bounds(), {"ada": "secret"}) as port:
        settings = (f"sql.listen=127.0.0.1:{port}", "sql.users=[{name: ada, password: secret}]")
        known = run(*RANGE, *(part for each in settings for part in ("--set", each)))
        unknown = run("--url", f"http://127.0.0.1:{port}", *RANGE)
    store.close()
    assert known[0] == 0
    assert unknown[0] == 2
    assert "Authentication failed" in unknown[2]


def test_corrections_of_money_are_in_the_sum(tmp_path: Path, booked: pl.DataFrame) -> None:
    store = open_ledger(tmp_path / "clickhouse")
    store.insert(pa.Table.from_batches([entries_to_arrow(booked)]))
    leg = entries_to_arrow(difference(booked[:1], Decimal("-0.001")))
    store.insert(pa.Table.from_batches([leg]))
    store.close()
    wanted = ("--view", "focus", "--format", "jsonl")
    code, shown, _ = run("--offline", "--data-dir", str(tmp_path), *RANGE, *wanted)
    costs = [Decimal(json.loads(line)["BilledCost"]) for line in shown.splitlines()]
    assert code == 0
    assert sum(costs) == total(booked, "cost_usd") - Decimal("0.001")


def test_answers_that_are_too_large_come_in_smaller_pieces(tmp_path: Path) -> None:
    store = open_ledger(tmp_path / "clickhouse")
    store.insert(entries(*(entry(number, user_id="u" * 2_000) for number in range(120))))
    with listening(store, Bounds(result_bytes_max=100_000)) as port:
        code, shown, told = run(
            "--url", f"http://127.0.0.1:{port}", "--from", f"{NOON:%F}", "--format", "jsonl"
        )
    store.close()
    traces = [json.loads(line)["trace_id"] for line in shown.splitlines()]
    assert (code, told) == (0, "Wrote 120 rows of calls\n")
    assert traces == sorted(set(traces))
    assert len(traces) == 120


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--view", "entries"), "there is no view 'entries' to export. Choose one of calls, "),
        (("--from", "2026-11-02", "--to", "2026-11-02"), "nothing lies between 2026-11-02"),
        (("--url", "nowhere"), "--url 'nowhere' is not the address of a SQL listener"),
        (("--url", NOBODY), f"no ledger answers at {NOBODY}: Connection refused"),
        (("--offline", "--data-dir", "/nowhere/at/all"), "there is no ledger in /nowhere/at/all"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    code, shown, wrong = run(*arguments)
    assert (code, shown) == (2, "")
    assert told in wrong
    assert "Traceback" not in wrong


def test_a_file_that_cannot_be_written_is_told_and_an_old_one_stays(
    url: str, tmp_path: Path
) -> None:
    missing = tmp_path / "missing" / "calls.csv"
    code, _, wrong = run("--url", url, *RANGE, "--output", str(missing))
    assert (code, wrong) == (
        2,
        f"spanledger: {missing} cannot be written: No such file or directory\n",
    )


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("old")

    def broken(_text: str, parameters: Mapping[str, Any]) -> pa.Table:
        if parameters["since_ns"] == FIRST_NS:
            return pa.table({"start_time": pa.array([], pa.timestamp("ns", "UTC"))})
        raise DatabaseError("Code: 999. Somebody pulled the plug")

    request = Request(start=NOON, end=NOON + timedelta(days=1), output=str(file))
    with pytest.raises(ExportError, match="the ledger did not answer: Code: 999"):
        export(request, broken)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
