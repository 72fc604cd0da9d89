import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from hypothesis import given, strategies as st
from typer.testing import CliRunner

from spanledger.cli.app import app
from spanledger.cli.price import quantity


def run(*arguments: str, typed: bytes | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["price", *arguments], input=typed)
    return result.exit_code, result.stdout, result.stderr


def test_the_table_has_the_total_and_a_line_for_each_charge() -> None:
    code, told, wrong = run("gpt-4o", "--input", "1,500", "--output", "2k", "--at", "2026-11-20")
    assert (code, wrong) == (0, "")
    assert re.search(r"gpt-4o, openai ─.*\n.*\$0\.023750  exact", told)
    assert "prices of 2026-11-20 00:00 UTC" in told
    assert re.search(r"1,500 input tokens +× +\$2\.50/1M = \$0\.003750", told)
    assert re.search(r"2,000 output tokens +× +\$10\.00/1M = \$0\.020000", told)


def test_bounds_tier_and_notes_stand_in_the_table() -> None:
    _, told, _ = run("claude-sonnet-4-5", "--input", "6000", "--cache-write", "6000")
    assert "between $0.022500 and $0.036000" in told
    assert "note: the lifetime of cache writes" in told
    _, told, _ = run("gpt-4o", "--input", "1M", "--tier", "batch")
    assert "gpt-4o, openai, batch" in told
    assert "$1.250000  exact" in told


def test_a_region_with_a_price_of_its_own_is_charged_it() -> None:
    arguments = ("claude-sonnet-4-6", "--input", "1M", "--at", "2026-11-20")
    _, anywhere, _ = run(*arguments)
    _, there, _ = run(*arguments, "--region", "us")
    assert "$3.000000  exact" in anywhere
    assert "claude-sonnet-4-6, anthropic, us" in there
    assert "$3.300000  exact" in there


def test_price_files_count_that_are_named_or_stand_in_the_configuration(tmp_path: Path) -> None:
    prices = tmp_path / "ours.yaml"
    prices.write_text(
        "prices:\n  - {provider: acme, model: acme-large, rates: {input_mtok: 3.5}}\n"
    )
    config = tmp_path / "config.yaml"
    config.write_text(f"prices: {{files: ['{prices}']}}\n")
    for named in (("--file", str(prices)), ("--config", str(config))):
        code, told, wrong = run("acme-large", "--provider", "acme", "--input", "2M", *named)
        assert (code, wrong) == (0, "")
        assert "$7.000000  exact" in told
    code, _, wrong = run("acme-lage", "--provider", "acme", "--input", "1", *named)
    assert code == 3
    assert "acme-large (acme)" in wrong
    prices.write_text("prices: 7")
    assert run("gpt-4o", "--input", "1", "--config", str(config))[0] == 2


def test_every_option_is_a_unit_of_the_estimate() -> None:
    options = {
        "--input": 90,
        "--output": 80,
        "--cache-read": 10,
        "--cache-write": 30,
        "--cache-write-1h": 20,
        "--reasoning": 5,
    }
    arguments = [text for option, count in options.items() for text in (option, str(count))]
    code, told, _ = run("claude-sonnet-4-5", *arguments, "--unit", "searches=2", "--json")
    answer = json.loads(told)
    assert (code, answer["cost_class"]) == (0, "bounded")
    assert {line["unit"]: line["quantity"] for line in answer["lines"]} == {
        "input_tokens": "50",
        "output_tokens": "80",
        "cache_read_tokens": "10",
        "cache_write_tokens": "10",
        "cache_write_1h_tokens": "20",
        "web_searches": "2",
    }


def test_audio_is_asked_by_tokens_or_by_minutes() -> None:
    _, by_tokens, _ = run(
        *("gpt-realtime", "--json", "--input", "600", "--audio-input", "600"),
        *("--output", "1200", "--audio-output", "1200"),
    )
    _, by_minutes, _ = run("gpt-realtime", "--input-minutes", "1", "--output-minutes=1", "--json")
    tokens, minutes = json.loads(by_tokens), json.loads(by_minutes)
    assert minutes["lines"] == tokens["lines"]
    assert (tokens["cost_class"], minutes["cost_class"]) == ("exact", "estimated")


def test_a_text_is_measured_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("sécret " * 1_000)
    code, told, _ = run("gpt-4o", "--text", str(file), "--input", "250", "--output", "1")
    assert code == 0
    assert "2,000 input tokens" in told
    assert "estimated" in told
    assert "cret" not in told
    code, told, _ = run("gpt-4o", "--text", "-", "--json", typed=b"\xff\xfe12345\xc3")
    assert json.loads(told)["lines"][0]["quantity"] == "2"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["gtp-4o", "--input", "1"], r"\(unknown provider\): nobody .* Did you mean gpt-4o \(open"),
        (["gpt4o", "--provider", "openai", "--input", "1"], r"Did you mean gpt-4o \(openai\)"),
        (["llama3", "--provider", "ollama", "--input", "1"], "ollama has no prices in the price"),
        (["gpt-4o"], r"\(no usage\): nothing was used"),
        (["gpt-4o", "--input", "1", "--cache-read", "2"], "more than input_tokens"),
        (["gpt-4o", "--unit", "characters=2"], "has no price for input_characters"),
    ],
)
def test_what_has_no_price_is_code_3_and_a_sentence_on_stderr(
    arguments: list[str], why: str
) -> None:
    code, told, wrong = run(*arguments)
    assert (code, told) == (3, "")
    assert re.search(why, wrong)
    assert wrong.count("\n") == 1
    code, told, wrong = run(*arguments, "--json")
    assert (code, wrong) == (3, "")
    assert json.loads(told)["cost_usd"] is None


def test_a_name_cannot_command_the_terminal() -> None:
    _, _, wrong = run("gpt\x1b[31m-4o", "--input", "1")
    assert "\x1b" not in wrong


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--input", "many"], "is no number"),
        (["--input", "-5"], "input_tokens = -5: a count is between"),
        (["--input", "1e999999999"], "a count is between"),
        (["--input", "nan"], "a count is finite"),
        (["--unit", "searches"], "is no NAME=NUMBER. Write --unit searches=2"),
        (["--unit", "serches=2"], "Did you mean searches"),
        (["--unit", "searches=x"], "is no number"),
        (["--unit", "searches=1", "--unit", "searches=2"], "searches is given twice"),
        (["--unit", "input_tokens=1", "--input", "2"], "input_tokens is given twice"),
        (["--text", "/nowhere/at/all"], "--text /nowhere/at/all: No such file or directory"),
        (["--text", "/"], "--text /: Is a directory"),
        (["--at", "yesterday"], "--at"),
    ],
)
def test_what_cannot_be_asked_is_code_2_and_says_what_to_write(
    arguments: list[str], why: str
) -> None:
    code, told, wrong = run("gpt-4o", *arguments)
    assert (code, told) == (2, "")
    assert why in re.sub(r"[│\s]+", " ", wrong)


@given(count=st.integers(0, 10**15))
def test_a_number_may_be_grouped(count: int) -> None:
    assert quantity(f"{count:,}") == quantity(f"{count:_}") == quantity(f" {count} ") == count


@pytest.mark.parametrize(("text", "count"), [("2k", 2_000), ("1.5M", 1_500_000), ("0.5g", 5e8)])
def test_a_number_may_have_a_size(text: str, count: float) -> None:
    assert quantity(text) == Decimal(count)


@pytest.mark.parametrize("text", ["", "k", "1kk", "1e5k", "one", "--"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        quantity(text)


def test_a_price_needs_nothing_that_the_collector_does() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from spanledger.cli.app import app; "
        "done = CliRunner().invoke(app, ['price', 'gpt-4o', '--input', '1']); "
        "heavy = ('polars', 'numpy', 'pyarrow', 'grpc', 'yaml', 'chdb', 'clickhouse_connect'); "
        "print(done.exit_code, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "0 []\n"
