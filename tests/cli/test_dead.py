"""What the store would not take is listed, shown and given back."""

import re
from pathlib import Path

from engine import entries, entry
from typer.testing import CliRunner

from spanledger import config as configuration
from spanledger.cli.app import app
from spanledger.collector.opening import dead_letters, open_journal


def run(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["dead", *arguments, "--data-dir", str(data_dir)])
    return result.exit_code, result.stdout, result.stderr


def config(data_dir: Path) -> configuration.Config:
    return configuration.load(None, [f"data_dir='{data_dir}'"], environ={})


def test_rows_are_listed_shown_and_given_back_once(tmp_path: Path) -> None:
    letters = dead_letters(config(tmp_path))
    for number in (1, 2):
        letters.add(entries(entry(number)), "out_of_range")
    code, text, _ = run(tmp_path, "list")
    assert code == 0
    assert re.search(r"1 +out_of_range .*0000000000000001\n +2 +out_of_range ", text)
    assert '"span_id": "0000000000000002"' in run(tmp_path, "show", "2")[1]
    assert run(tmp_path, "retry")[1].startswith("2 rows are back in the journal")
    assert run(tmp_path, "retry")[1].startswith("No dead rows")
    assert run(tmp_path, "list")[1].startswith("No dead rows")
    with open_journal(config(tmp_path)) as journal:
        assert journal.pending_rows == 2


def test_a_row_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    code, _, text = run(tmp_path, "show", "1")
    assert (code, "there is no dead row 1" in text) == (2, True)


def test_a_running_collector_keeps_the_retry_out(tmp_path: Path) -> None:
    dead_letters(config(tmp_path)).add(entries(entry(1)), "out_of_range")
    with open_journal(config(tmp_path)):
        code, _, text = run(tmp_path, "retry")
    assert (code, "is in use by another process" in text) == (2, True)
    assert len(list(dead_letters(config(tmp_path)).letters())) == 1
