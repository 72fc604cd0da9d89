import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanledger import __version__
from spanledger.cli.app import app

# Every test here ends before anything listens; nothing listens on this port either.
NOBODY = "http://user:hidden@127.0.0.1:15400"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_version_is_that_of_the_package() -> None:
    assert run("version") == (0, f"spanledger {__version__}\n", "")


def test_help_names_every_command() -> None:
    code, told, _ = run("--help")
    assert code == 0
    for command in ("serve", "check-config", "report", "export", "what-if", "version"):
        assert re.search(rf"\b{command}\b", told)


def test_the_defaults_are_a_valid_configuration() -> None:
    assert run("check-config") == (0, "The configuration is valid\n", "")


def test_a_valid_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("tenant: acme\n")
    assert run("check-config", "--config", str(file)) == (0, f"{file} is valid\n", "")


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_all_that_is_wrong_is_told_at_once_on_stderr(tmp_path: Path, command: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("tenat: acme\nweb: {listen: nowhere}\n")
    code, told, wrong = run(command, "--config", str(file), "--set", "log.level=loud")
    assert (code, told) == (2, "")
    for expected in ("3 problems", f"{file}:1: tenat", f"{file}:2: web.listen", "log.level = loud"):
        assert expected in wrong
    assert "Traceback" not in wrong


def test_a_file_that_is_not_there_is_an_error_of_ours() -> None:
    code, _, wrong = run("serve", "--config", "/nowhere/at/all.yaml")
    assert code == 2
    assert "/nowhere/at/all.yaml" in wrong


def test_an_open_listener_is_an_error_until_it_is_called_insecure() -> None:
    open_to_others = ("check-config", "--set", "web.listen=0.0.0.0:8080")
    code, told, wrong = run(*open_to_others)
    assert (code, told) == (2, "")
    assert "--insecure" in wrong
    code, told, wrong = run(*open_to_others, "--insecure")
    assert (code, told) == (0, "The configuration is valid\n")
    assert wrong.startswith("warning: web.listen = 0.0.0.0:8080")


@pytest.mark.parametrize("name", ["2024", "${env:NO_SUCH_THING}", "it's", "a: [b", "~x # y"])
def test_any_name_of_a_directory_is_taken_as_it_stands(name: str) -> None:
    assert run("check-config", "--data-dir", f"/tmp/{name}")[0] == 0  # noqa: S108 - never made


def test_the_data_directory_wins_over_the_other_options() -> None:
    assert run("check-config", "--data-dir", "/x", "--set", "data_dir=5")[0] == 0
    assert run("check-config", "--data-dir", "")[0] == 2


def test_a_ledger_that_does_not_answer_is_one_sentence_without_the_password() -> None:
    code, told, wrong = run("report", "--url", NOBODY)
    assert (code, told) == (2, "")
    assert wrong.startswith(
        "spanledger: no ledger answers at http://127.0.0.1:15400: Connection refused. "
    )
    assert "hidden" not in wrong
    assert wrong.count("\n") == 1


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://", "http://h:99999"])
def test_what_is_no_address_is_told_with_an_example(url: str) -> None:
    code, _, wrong = run("report", "--url", url)
    assert code == 2
    assert "--url http://127.0.0.1:8123" in wrong


def test_an_empty_range_is_told_before_any_ledger_is_asked() -> None:
    code, _, wrong = run("report", "--from", "2026-01-05", "--to", "2026-01-01T00:00:00Z")
    assert code == 2
    assert "--from a moment before --to" in wrong


@pytest.mark.parametrize("arguments", [["report", "--format", "xml"], ["report", "--from", "x"]])
def test_a_wrong_option_is_a_usage_error(arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from spanledger.cli.app import app; "
        "CliRunner().invoke(app, ['version']); CliRunner().invoke(app, ['serve', '--help']); "
        "print([name for name in ('polars', 'grpc', 'yaml', 'chdb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("report", ["[default: (30 days ago)]", "[default: (now)]"]),
        ("export", ["[default: (by the ending of the file, else csv)]", "[default: (sql.listen)]"]),
        ("status", ["[default: (web.listen)]"]),
        ("prices list", ["[default: (now)]"]),
    ],
)
def test_help_tells_what_holds_where_an_option_is_left_out(command: str, shown: list[str]) -> None:
    help_text = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout
    plain = " ".join(help_text.replace("│", " ").split())
    assert [text for text in shown if text not in plain] == []
