"""The view ``calls``: the public columns, in their order, and what they say."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from engine import NOON, entries, entry

from spanledger.store.client import Store

COLUMNS = """
    trace_id span_id parent_span_id start_time duration_ms time_to_first_token_ms tenant service
    environment provider request_model response_model model operation user_id customer team project
    feature conversation_id agent workflow api_key_alias service_tier region response_id status
    error_type input_tokens output_tokens cache_read_tokens cache_write_tokens cache_write_5m_tokens
    cache_write_1h_tokens reasoning_tokens input_audio_tokens output_audio_tokens usage convention
    usage_missing usage_estimated usage_invalid cache_unknown cache_write_unknown cost_usd
    cost_low_usd cost_high_usd list_cost_usd cost_reported_usd cost_class unpriced_reason lines
    price_book known_at attributes
""".split()  # noqa: SIM905 - a wall of quotes reads worse


def query(store: Store, sql: str) -> Any:
    return store._writing.run(lambda client: client.query(sql).result_rows)


def test_the_columns_are_the_public_ones_in_their_order(store: Store) -> None:
    assert [name for name, *_ in query(store, "DESCRIBE TABLE calls")] == COLUMNS


def test_money_is_an_exact_decimal_that_may_be_null(store: Store) -> None:
    types = {name: kind for name, kind, *_ in query(store, "DESCRIBE TABLE calls")}
    money = [name for name in COLUMNS if name.endswith("_usd")]
    assert {types[name] for name in money} == {"Nullable(Decimal(38, 18))"}
    assert types["start_time"] == "DateTime64(9, 'UTC')"
    assert types["attributes"] == "Map(LowCardinality(String), String)"


def test_a_call_shows_its_ids_as_text_and_its_duration_in_milliseconds(store: Store) -> None:
    store.insert(entries(entry(255, parent_span_id=b"\xab" * 8, output_reasoning_tokens=4)))
    sql = """
        SELECT trace_id, span_id, parent_span_id, start_time, duration_ms, reasoning_tokens
        FROM calls
    """
    assert query(store, sql) == [
        ("0" * 30 + "ff", "00000000000000ff", "ab" * 8, _plain(NOON), 1500.0, 4)
    ]


def test_an_unpriced_call_has_no_cost_and_a_sum_passes_over_it(store: Store) -> None:
    unpriced = entry(1, cost_usd=None, cost_class="unpriced", unpriced_reason="unknown_model")
    store.insert(entries(unpriced))
    assert query(store, "SELECT cost_usd, sum(cost_usd) OVER () FROM calls") == [(None, None)]
    store.insert(entries(entry(2, cost_usd=Decimal("1e-18"))))
    assert query(store, "SELECT sum(cost_usd), count() FROM calls") == [(Decimal("1e-18"), 2)]


def test_restatements_are_no_calls(store: Store) -> None:
    store.insert(entries(entry(1), entry(1, kind="restatement", run="r", calls=-1)))
    assert query(store, "SELECT count() FROM calls") == [(1,)]


def test_one_trace_is_found_by_the_index_and_a_day_by_the_key(store: Store) -> None:
    for number in range(4):
        store.insert(entries(entry(number + 1)))
    trace = f"EXPLAIN indexes = 1 SELECT * FROM calls WHERE trace_id = '{'0' * 31}1'"  # noqa: S608
    plan = "\n".join(line for (line,) in query(store, trace))
    assert "Name: by_trace" in plan
    day = "EXPLAIN indexes = 1 SELECT * FROM calls WHERE start_time >= '2027-01-01 00:00:00'"
    plan = "\n".join(line for (line,) in query(store, day))
    assert "Granules: 0/" in plan or "ReadNothing" in plan


def _plain(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)  # clickhouse-connect gives UTC without its zone
