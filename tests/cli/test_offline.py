"""Commands that open the ledger themselves find the right one, or say why not."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanledger.cli.app import app

COMMANDS = [
    ("prune", "--before", "2026-01-01"),
    ("export", "--offline"),
    ("what-if", "--offline", "--from", "2026-01-01", "--to-model", "gpt-5"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ledger_on_a_server_is_not_mistaken_for_one_that_was_left_here(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "clickhouse").mkdir()
    where = ("--data-dir", str(tmp_path), "--set", "store.dsn=clickhouse://db.example:8123")
    result = CliRunner().invoke(app, [*command, *where])
    assert result.exit_code == 2
    assert "the ledger is on a server (store.dsn)" in result.stderr
    assert not any((tmp_path / "clickhouse").iterdir())
