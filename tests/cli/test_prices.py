"""``spanledger prices``: answers for eyes and for programs, and what is told of wrong files."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spanledger.cli.app import app

EXCERPT = Path(__file__).parents[1] / "golden" / "litellm-excerpt.json"
MINE = """\
prices:
  - provider: vllm
    model: llama-70b
    rates: {gpu_hours: 2.80}
contracts:
  - {name: acme, provider: openai, model: gpt-*, discount_percent: 22}
"""
DATA = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "x",
        "models": [{"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": {"input_mtok": 99.5}}],
    }
]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["prices", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    return file


def test_a_valid_file_is_counted(mine: Path) -> None:
    assert run("check", mine) == (0, f"{mine} is valid: 1 prices, 1 contracts, 0 aliases\n", "")


def test_all_that_is_wrong_in_all_files_is_told_with_its_line(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.json"
    one.write_text("prices:\n  - provider: openai\n    model: x\n    rates: {inptu_mtok: 1}\n")
    two.write_text('{"prices": [\n {"provider": "openai", "rates": {"input_ktok": 15}}\n]}')
    code, told, wrong = run("check", one, two, tmp_path / "none.yaml")
    assert (code, told) == (2, "")
    assert "the price files have 3 problems" in wrong
    assert f"{one}:4: prices[0].rates.inptu_mtok = 1 is no unit" in wrong
    assert "Did you mean input_mtok?" in wrong
    assert f"{two}:2: prices[0] has no model" in wrong
    assert "none.yaml: cannot be read" in wrong
    assert f"warning: {two}:2: prices[0].rates.input_ktok = 15 comes to 15000 USD" in wrong


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_the_service_refuses_a_wrong_price_file_in_the_same_words(
    tmp_path: Path, command: str
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("prices:\n  - provider: openai\n")
    config = tmp_path / "config.yaml"
    config.write_text(f"data_dir: {tmp_path / 'data'}\nprices: {{files: [{wrong}]}}\n")
    result = CliRunner().invoke(app, [command, "--config", str(config)])
    assert result.exit_code == 2
    assert f"{wrong}:2: prices[0] has no model" in result.stderr


def test_a_model_is_shown_with_price_ids_and_reasons(mine: Path) -> None:
    _, told, _ = run("show", "gpt-4o", "--file", mine, "--at", "2026-11-20")
    for expected in ("1.95", "*0.78 contract/acme", "list_cost_usd"):
        assert expected in told
    _, told, _ = run("show", "deepseek-v4-pro", "--at", "2026-11-22T02:00:00", "--json")
    (shown,) = json.loads(told)
    (rate,) = [each for each in shown["bands"][0]["rates"] if each["unit"] == "input_tokens"]
    assert (rate["usd"], rate["per"]) == ("0.66", 1_000_000)
    assert "weekends" in rate["why"][0]


def test_every_band_and_every_doubt_is_shown() -> None:
    _, told, _ = run("show", "gpt-6-astra", "--tier", "ultrafast", "--at", "2026-11-20")
    assert "more than 272,000 input tokens: the whole call" in told
    _, told, _ = run("show", "gpt-4o", "--tier", "flex", "--at", "2026-11-20")
    assert "stands in, as an estimate" in told


def test_an_unknown_model_says_where_to_look() -> None:
    code, told, wrong = run("show", "acme-1", "--provider", "openai")
    assert (code, told) == (2, "")
    assert "'acme-1' of openai has no price: unknown model. Find it with" in wrong


def test_models_are_listed_with_their_layer(mine: Path) -> None:
    _, told, _ = run("list", "llama-70b", "--file", mine)
    assert "2.80/3,600 gpu_seconds" in told
    _, told, _ = run("list", "rerank-v3.5", "--json")
    (listed,) = json.loads(told)
    assert listed["rates"][0]["price_id"].startswith("spanledger/cohere/")


def test_litellm_is_imported_used_and_compared(tmp_path: Path) -> None:
    to = tmp_path / "litellm.json"
    code, told, _ = run("import", "litellm", EXCERPT, "--to", to)
    assert code == 0
    assert "11 prices new" in told
    assert run("check", to)[0] == 0
    before = to.read_bytes()
    assert "0 prices new, 0 changed" in run("import", "litellm", EXCERPT, "--to", to)[1]
    assert to.read_bytes() == before
    _, told, _ = run("show", "qwen-range", "--provider", "dashscope", "--file", to)
    assert "fallback/dashscope/qwen-range" in told
    _, told, _ = run("diff", to, "--json")
    assert [each["model"] for each in json.loads(told)] == ["gpt-4o-mini"]
    assert "1 contested prices" in run("diff", to)[1]


def test_what_cannot_be_imported_changes_nothing(tmp_path: Path, mine: Path) -> None:
    to = tmp_path / "to.json"
    for file in (mine, tmp_path / "none.json"):
        code, _, wrong = run("import", "litellm", file, "--to", to)
        assert code == 2
        assert str(file) in wrong
    own = tmp_path / "own.json"
    own.write_text('{"prices": []}')
    assert run("import", "litellm", EXCERPT, "--to", own)[0] == 2
    assert own.read_text() == '{"prices": []}'
    assert not to.exists()


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(DATA).encode() if self.path == "/data.json" else b"gone"
        self.send_response(200 if self.path == "/data.json" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_newer_prices_are_fetched_compared_and_used(publisher: str, tmp_path: Path) -> None:
    to = tmp_path / "data.json"
    code, told, wrong = run("update", "--from", f"{publisher}/data.json", "--to", to)
    assert (code, wrong) == (0, "")
    assert "openai/gpt-4o input_tokens: 99.5 USD per 1,000,000 (was 2.5)" in told
    config = tmp_path / "config.yaml"
    config.write_text(f"prices: {{data: {to}}}\n")
    _, told, _ = run("show", "gpt-4o", "--provider", "openai", "--config", config)
    assert "99.5" in told


def test_an_update_that_cannot_be_had_leaves_what_is_there(publisher: str, tmp_path: Path) -> None:
    to = tmp_path / "data.json"
    to.write_text("as it was")
    bad = tmp_path / "bad.json"
    bad.write_text('[{"id": 5}]')
    for source in (f"{publisher}/none", "http://127.0.0.1:1/", str(bad), str(tmp_path / "none")):
        code, told, wrong = run("update", "--from", source, "--to", to)
        assert (code, told) == (2, "")
        assert source in wrong
    assert to.read_text() == "as it was"
