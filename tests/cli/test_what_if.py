"""spanledger what-if: over a real listener and on a ledger of its own; what people are told."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from engine import NOON, entries, entry, open_ledger
from sql_listener import Bounds, listening
from typer.testing import CliRunner

from spanledger.cli import comparing
from spanledger.cli.app import app
from spanledger.cli.export import offline
from spanledger.collector.repricer import Stretch
from spanledger.config import load
from spanledger.ledger.catalog import PriceBook
from spanledger.ledger.what_if import Switch
from spanledger.reports.export import TooMuch

DAYS = ("--from", "2026-11-01", "--to", "2026-11-03")
NANO = ("--to-model", "gpt-5-nano")
BEDROCK = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
LATER = NOON + timedelta(days=3)
MILLION: dict[str, Any] = {"input_tokens": 1_000_000, "output_tokens": 0}


def ask(*options: str) -> Any:
    return CliRunner().invoke(app, ["what-if", *options])


def told(*options: str) -> Any:
    result = ask(*DAYS, "--format", "json", *options)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three calls of a million tokens each, and one after the days that are asked for."""
    made = tmp_path_factory.mktemp("data")
    mini = {"model": "gpt-5-mini", "request_model": "gpt-5-mini", **MILLION}
    store = open_ledger(made / "clickhouse")
    store.insert(
        entries(
            entry(1, **mini, cost_usd=Decimal(1)),
            entry(2, **mini, start_time=NOON + timedelta(days=1), tenant="acme"),
            entry(3, provider="anthropic", request_model="claude-haiku-4-5", **MILLION),
            entry(4, provider="aws.bedrock", request_model=BEDROCK, start_time=LATER, **MILLION),
        )
    )
    store.close()
    return made


@pytest.fixture
def url(data_dir: Path) -> Iterator[str]:
    store = open_ledger(data_dir / "clickhouse")
    with listening(store, Bounds()) as port:
        yield f"http://127.0.0.1:{port}"
    store.close()


def test_beside_a_collector_and_without_one_the_answer_is_the_same(
    url: str, data_dir: Path
) -> None:
    beside = told("--url", url, "--model", "gpt-5-mini", *NANO)
    assert beside["total"]["compared"] == 2
    assert Decimal(beside["total"]["booked_usd"]) == Decimal("1.25")
    assert Decimal(beside["total"]["today_usd"]) == Decimal("0.50")
    assert Decimal(beside["total"]["switched_usd"]) == Decimal("0.10")
    assert Decimal(beside["total"]["difference_usd"]) == Decimal("-0.40")
    assert beside["total"]["saved_percent"] == "80.00"
    assert [day["day"] for day in beside["days"]] == ["2026-11-01", "2026-11-02"]
    assert beside["switch"]["model"] == "gpt-5-nano"
    assert "same tokens" in beside["notes"][0]


def test_a_ledger_that_no_collector_has_open_is_read_itself(data_dir: Path) -> None:
    alone = told("--offline", "--data-dir", str(data_dir), "--tenant", "acme", *NANO)
    assert alone["of"] == {"tenants": ["acme"], "providers": [], "models": []}
    assert alone["total"]["calls"] == 1
    assert Decimal(alone["total"]["switched_usd"]) == Decimal("0.05")


def test_what_cannot_be_compared_is_told_with_what_to_do(url: str) -> None:
    shown = ask("--url", url, *DAYS, *NANO).stdout
    assert "2 of 3 calls" in shown
    assert "80.00 % less" in shown
    assert "Left out, without a price after the switch: 1 calls (unknown model 1)" in shown
    assert "add --to-provider openai" in shown
    assert "Nothing was written" in shown
    assert told("--url", url, *NANO, "--to-provider", "openai")["total"]["compared"] == 3


def test_another_tier_of_the_same_model_is_half(url: str) -> None:
    batch = told("--url", url, "--provider", "openai", "--tier", "batch")["total"]
    assert Decimal(batch["switched_usd"]) * 2 == Decimal(batch["today_usd"])
    standard = told("--url", url, "--tier", "standard")["total"]
    assert Decimal(standard["difference_usd"]) == 0


def test_a_region_that_no_price_depends_on_is_told(url: str) -> None:
    found = told("--url", url, "--region", "mars")
    assert Decimal(found["total"]["difference_usd"]) == 0
    assert "3 calls have the very same prices" in found["notes"][-1]


def test_a_model_that_only_one_seller_has_stays_with_it_and_that_is_told(url: str) -> None:
    switch = ("--model", BEDROCK, "--to-provider", "anthropic")
    found = told("--url", url, "--to", "2026-11-05", *switch)
    assert Decimal(found["total"]["difference_usd"]) == 0
    assert "1 calls have the very same prices" in found["notes"][-1]


def test_a_piece_that_is_too_much_for_an_answer_comes_in_halves(data_dir: Path) -> None:
    asked: list[int] = []

    def small(text: str, parameters: Mapping[str, Any]) -> pa.Table:
        if "parts" in parameters:
            asked.append(parameters["parts"])
            if parameters["parts"] < 4:
                raise TooMuch
        return query(text, parameters)

    since_ns = int(NOON.timestamp()) * 10**9
    stretch = Stretch(since_ns, since_ns + 2 * 86_400 * 10**9)
    book = PriceBook.bundled()
    with offline(load(None, [f"data_dir={data_dir}"], environ={})) as query:
        answer = comparing.run(small, stretch, Switch("gpt-5-nano"), book)
    assert sorted(asked) == [1, 2, 2, 4, 4, 4, 4]
    assert answer.found.by_day.get_column("calls").sum() == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Give --to-model"),
        (("--to-model", "gpt-5-nanu"), "Did you mean gpt-5-nano (openai)"),
        (("--to-provider", "antropic"), "Did you mean anthropic"),
        (("--to-model", "gpt-5-nano", "--to-provider", "anthropic"), "of anthropic has no price"),
        (("--tier", "cheap"), "Use batch, flex, priority or standard"),
    ],
)
def test_a_target_that_nobody_knows_is_told_before_anybody_is_asked(
    options: tuple[str, ...], said: str
) -> None:
    refused = ask("--url", "http://127.0.0.1:1", *DAYS, *options)
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_a_time_that_ends_before_it_begins_is_refused(url: str) -> None:
    refused = ask("--url", url, "--from", "2026-11-03", "--to", "2026-11-01", *NANO)
    assert refused.exit_code == 2
    assert "--from" in refused.stderr


def test_what_is_sealed_is_refused_with_the_first_day_that_is_left(tmp_path: Path) -> None:
    store = open_ledger(tmp_path / "clickhouse")
    store.seal(1_793_577_600 * 10**9)
    with listening(store, Bounds()) as port:
        refused = ask("--url", f"http://127.0.0.1:{port}", *DAYS, *NANO)
    store.close()
    assert refused.exit_code == 2
    assert "--from 2026-11-02" in refused.stderr
