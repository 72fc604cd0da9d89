"""Documents that are made from code are what the code makes."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanledger.cli.app import app
from spanledger.reports.focus import TAGS
from spanledger.reports.focus_columns import NEWEST

ROOT = Path(__file__).parents[1]


def test_the_dialects_are_documented_as_they_are() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "dialects.py"], capture_output=True, text=True, timeout=60
    )
    assert made.stdout == (ROOT / "docs" / "dialects.md").read_text()


def test_the_views_are_documented_as_they_are() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "sql.py"], capture_output=True, text=True, timeout=60
    )
    assert made.stdout == (ROOT / "docs" / "sql.md").read_text(), made.stderr


def test_the_columns_of_focus_are_documented_as_they_are() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "focus.py"], capture_output=True, text=True, timeout=60
    )
    page = (ROOT / "docs" / "export.md").read_text()
    assert made.stdout == page
    assert all(f"`{tag}`" in page for tag in TAGS)
    assert f"FOCUS {NEWEST}" in page


def test_what_the_estimator_is_shown_to_print_is_what_it_prints() -> None:
    done = doctest.testfile(str(ROOT / "docs" / "estimate.md"), module_relative=False)
    assert done.attempted >= 7
    assert done.failed == 0


SHELL = re.findall(
    r"```console\n\$ spanledger (.*)\n((?:.*\n)*?)```", (ROOT / "docs" / "estimate.md").read_text()
)


@pytest.mark.parametrize(("command", "shown"), SHELL, ids=[command for command, _ in SHELL])
def test_what_a_command_is_shown_to_print_is_what_it_prints(command: str, shown: str) -> None:
    done = CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "80"})
    printed = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    assert printed == shown.splitlines()
