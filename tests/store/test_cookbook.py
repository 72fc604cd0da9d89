"""docs/sql-cookbook.md: every question is answered, with the figures that the seed calls for."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine import entries, entry, open_ledger
from sql_listener import Bounds
from starlette.testclient import TestClient

from spanledger.ledger.catalog import PriceRow
from spanledger.ledger.price_states import STATES, differences, stamped, states, states_to_arrow
from spanledger.store.client import Store
from spanledger.store.sql_http import create_app

TEXT = Path(__file__).parents[2].joinpath("docs", "sql-cookbook.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## ([^\n]+\?)\n.*?```sql\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL))

# The first moment of today: a call of it is of today until midnight, whenever the test runs.
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
CHANGED = TODAY - timedelta(5)


def call(number: int, days_ago: int, cost: str | None, **facts: Any) -> dict[str, Any]:
    money = None if cost is None else Decimal(cost)
    costs = dict.fromkeys(("cost_usd", "cost_low_usd", "cost_high_usd", "list_cost_usd"), money)
    return entry(number, start_time=TODAY - timedelta(days_ago), **{**costs, **facts})


def line(unit: str, quantity: int, rate: str) -> Mapping[str, Any]:
    amount = Decimal(rate) * quantity / 10**6
    numbers = {"quantity": Decimal(quantity), "rate_usd": Decimal(rate), "per": 10**6}
    return {"unit": unit, **numbers, "amount_usd": amount, "price_id": "p"}


# fmt: off
CALLS = [
    call(1, 0, "0.25", customer="acme", feature="search", user_id="ada", conversation_id="c1",
         agent="planner", trace_id=bytes(15) + b"\1", input_tokens=1_000, cache_read_tokens=500,
         output_tokens=100, output_reasoning_tokens=50, cost_reported_usd=Decimal("0.3"),
         lines=[line("input_tokens", 500, "2.5"), line("cache_read_tokens", 500, "1.25")]),
    call(2, 0, "0.75", customer="acme", feature="chat", user_id="ada", conversation_id="c1",
         agent="planner", trace_id=bytes(15) + b"\1"),
    call(3, 1, "1", customer="zeta", feature="search", conversation_id="c2", model="gpt-5-mini",
         status="error", error_type="rate_limit"),
    call(4, 3, "2", customer="acme", feature="chat", conversation_id="c3", model="gpt-5-mini",
         service_tier="flex", list_cost_usd=Decimal(4), api_key_alias="prod"),
    call(5, 8, "4", customer="zeta", feature="chat", conversation_id="c4"),
    call(6, 10, None, customer="acme", model="gpt-99", cost_class="unpriced",
         unpriced_reason="unknown_model"),
    call(7, 20, "2", customer="zeta", feature="chat", cost_class="bounded",
         cost_low_usd=Decimal(1), cost_high_usd=Decimal(3)),
    call(8, 40, "100", customer="acme", feature="chat", user_id="eve"),
]
# fmt: on


def this_month(column: str) -> Decimal:
    first = TODAY.replace(day=1)
    return sum(
        (row[column] or Decimal(0) for row in CALLS if row["start_time"] >= first), Decimal(0)
    )


def _plain(text: str) -> str:
    """Without trailing zeros, and missing values in one writing."""
    if re.fullmatch(r"-?\d+\.\d+", text):
        return text.rstrip("0").rstrip(".")
    return "NULL" if text == "\\N" else text


# What to expect of some columns, rows in their order.
EXPECTED: Mapping[str, Sequence[Sequence[str]]] = {
    "What has each customer cost today?": [["customer", "cost", "calls"], ["acme", "1", "2"]],
    "What was spent on each of the last seven days, and how did it change?": [
        ["cost", "change"],
        *(["0", "0"], ["0", "0"], ["0", "0"], ["2", "2"], ["0", "-2"], ["1", "1"], ["1", "0"]),
    ],
    "What is this month, and where does it end at this pace?": [
        ["month_to_date"],
        [_plain(str(this_month("cost_usd")))],
    ],
    "Which features cost most, and what is their share?": [
        ["feature", "cost", "percent"],
        *(["chat", "8.75", "87.5"], ["search", "1.25", "12.5"], ["", "NULL", "NULL"]),
    ],
    "What does a conversation cost: in the middle, and at the dear end?": [
        ["conversations", "median_usd", "p99_usd", "dearest_usd"],
        ["4", "2", "4", "4"],
    ],
    "Which conversations were the dearest?": [
        ["conversation_id", "calls", "cost"],
        *(["c4", "1", "4"], ["c3", "1", "2"]),
    ],
    "What does caching save?": [
        ["model", "percent_cached", "saved_usd"],
        ["gpt-4o", "50", "0.000625"],
    ],
    "What do errors cost?": [["error_type", "calls", "cost"], ["rate_limit", "1", "1"]],
    "What did 1,000 calls cost before and after a change?": [
        ["period", "calls", "cost", "usd_per_1000_calls"],
        *(["before", "2", "4", "4000"], ["after", "4", "4", "1000"]),
    ],
    "Which customers grew most against the week before?": [
        ["customer", "this_week_usd", "week_before_usd", "growth_usd"],
        *(["acme", "3", "0", "3"], ["zeta", "1", "4", "-3"]),
    ],
    "Who are the dearest users of this month?": [
        ["user_id", "calls", "cost"],
        ["ada", "2", "1"],
    ],
    "Which single calls were the dearest, and in which traces?": [
        ["cost_usd", "trace_id"],
        *(["1", f"{3:032x}"], ["0.75", f"{1:032x}"], ["0.25", f"{1:032x}"]),
    ],
    "What does one run of an agent cost?": [
        ["trace_id", "named", "calls", "cost"],
        [f"{1:032x}", "planner", "2", "1"],
    ],
    "What is paid for: new input, cached input, output?": [
        ["unit", "quantity", "amount_usd"],
        *(["input_tokens", "500", "0.00125"], ["cache_read_tokens", "500", "0.000625"]),
    ],
    "What does a million tokens of each model come to, all in all?": [
        ["model", "tokens", "cost"],
        *(["gpt-5-mini", "220", "3"], ["gpt-4o", "1430", "7"]),
    ],
    "At what time of day is money spent?": [["hour_utc", "calls", "cost"], ["0", "4", "4"]],
    "What does each key cost, and when was it last used?": [
        ["api_key_alias", "cost"],
        *(["", "8"], ["prod", "2"]),
    ],
    "What has no price, and how much of it is there?": [
        ["model", "unpriced_reason", "calls", "tokens_in"],
        ["gpt-99", "unknown_model", "1", "100"],
    ],
    "How sure are these figures?": [
        ["cost_class", "calls", "at_least_usd", "cost", "at_most_usd"],
        *(["exact", "5", "8", "8", "8"], ["bounded", "1", "1", "2", "3"]),
        ["unpriced", "1", "NULL", "NULL", "NULL"],
    ],
    "What do contracts and tiers save against list price?": [
        ["service_tier", "list_usd", "cost", "saved_usd"],
        *(["flex", "4", "2", "2"], ["", "8", "8", "0"]),
    ],
    "What does thinking cost: how much of the output is reasoning?": [
        ["model", "tokens_out", "percent_reasoning"],
        ["gpt-4o", "130", "38.5"],
    ],
    "Is the dearer model the faster one?": [
        ["p50_ms", "usd_per_1000_calls"],
        *(["1500", "2000"], ["1500", "500"]),
    ],
    "Does what the app reports agree with the ledger?": [
        ["service", "calls", "reported_usd", "cost", "reported_too_much_usd"],
        ["chat", "1", "0.3", "0.25", "0.05"],
    ],
    "Which prices changed lately, and by how much?": [
        ["model", "kind", "old_usd", "new_usd", "percent"],
        ["gpt-4o", "changed", "2.5", "2", "-20"],
    ],
    "Where are the rates from that were charged this month?": [
        ["price_id", "cost", "source", "reason"],
        ["p", "0.001875", "their page", "cheaper"],
    ],
}

# The price of all lines, as two books had it.
FIRST_BOOK, SECOND_BOOK = (
    PriceRow(
        *("p", "user", "openai", "gpt-4o", "input_tokens", Decimal(usd), 10**6, None, ""),
        *(-1, None, "", None, None, 0, reason, "their page"),
    )
    for usd, reason in (("2.5", ""), ("2", "cheaper"))
)


def keep_prices(store: Store) -> None:
    latest = STATES.to_frame()
    for number, row in enumerate((FIRST_BOOK, SECOND_BOOK)):
        learned_ns = int(TODAY.timestamp()) * 10**9 + number
        latest = stamped(differences(latest, states([row])), latest, f"book {number}", learned_ns)
        store.add_prices(states_to_arrow(latest))


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, bounds: Bounds) -> Iterator[TestClient]:
    store = open_ledger(tmp_path_factory.mktemp("cookbook") / "ledger")
    store.insert(entries(*CALLS))
    keep_prices(store)
    with TestClient(create_app(store, bounds)) as client:
        yield client
    store.close()


def test_every_question_has_its_answer_here() -> None:
    assert len(RECIPES) >= 20
    assert RECIPES.keys() == EXPECTED.keys()
    assert TEXT.count("```sql") == len(RECIPES)


@pytest.mark.parametrize("question", RECIPES)
def test_a_question_is_answered(http: TestClient, question: str) -> None:
    changed = CHANGED.strftime("%Y-%m-%d %H:%M:%S")
    params = {"default_format": "CSVWithNames", "param_changed": changed}
    answer = http.post("/", params=params, content=RECIPES[question])
    assert answer.status_code == 200, answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    columns, *expected = EXPECTED[question]
    found = [[_plain(row[column]) for column in columns] for row in rows[: len(expected)]]
    if question.startswith("Is the dearer"):  # both are as fast
        found.sort()
    assert found == [list(row) for row in expected]
