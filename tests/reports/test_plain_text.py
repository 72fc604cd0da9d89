import json
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
from hypothesis import given, settings, strategies as st

from spanledger.ledger.schema import MONEY
from spanledger.reports.plain_text import csv_columns, decimal_text, frame_of, json_rows

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
AMOUNT = pa.decimal128(38, 18)


def rows(**columns: pa.Array) -> pl.DataFrame:
    return frame_of(pa.table(columns))


@given(st.decimals("-1e19", "1e19", places=18))
def test_a_decimal_is_its_shortest_exact_text(amount: Decimal) -> None:
    text = pl.select(decimal_text(pl.lit(amount, MONEY))).item()
    assert Decimal(text) == amount
    assert text == "0" or not ("." in text and text.endswith("0"))
    assert "E" not in text
    assert not text.endswith(".")


def test_times_are_utc_with_as_many_places_as_they_have() -> None:
    ns = int(NOON.timestamp()) * 10**9 + 1
    frame = rows(
        precise=pa.array([ns], pa.timestamp("ns", "UTC")),
        hour=pa.array([NOON], pa.timestamp("s", "UTC")),
        day=pa.array([date(2026, 11, 1)]),
    )
    assert csv_columns(frame).row(0) == (
        "2026-11-01T12:00:00.000000001Z",
        "2026-11-01T12:00:00Z",
        "2026-11-01",
    )


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.text(), st.text()), st.text())
def test_any_text_in_a_map_is_read_back_from_json(pairs: dict[str, str], text: str) -> None:
    frame = rows(
        attributes=pa.array([list(pairs.items())], pa.map_(pa.string(), pa.string())),
        text=pa.array([text]),
    )
    assert json.loads(json_rows(frame)[0]) == {"attributes": pairs, "text": text}
    assert json.loads(csv_columns(frame)["attributes"][0]) == pairs


def test_nested_columns_are_json_and_money_in_them_is_text() -> None:
    line = pa.struct([("unit", pa.string()), ("amount_usd", AMOUNT), ("per", pa.int64())])
    frame = rows(
        usage=pa.array([[("images", Decimal("1.50"))]], pa.map_(pa.string(), AMOUNT)),
        lines=pa.array([[{"unit": "x", "amount_usd": Decimal("0.10"), "per": 3}]], pa.list_(line)),
        models=pa.array([["a", "b"]]),
    )
    assert json.loads(json_rows(frame)[0]) == {
        "usage": {"images": "1.5"},
        "lines": [{"unit": "x", "amount_usd": "0.1", "per": 3}],
        "models": ["a", "b"],
    }


def test_null_is_nothing_in_csv_and_null_in_json() -> None:
    frame = rows(
        cost_usd=pa.array([None], AMOUNT),
        milliseconds=pa.array([None], pa.float64()),
        flag=pa.array([True]),
        text=pa.array([None], pa.string()),
    )
    assert csv_columns(frame).row(0) == (None, None, "true", None)
    assert json.loads(json_rows(frame)[0]) == {
        "cost_usd": None,
        "milliseconds": None,
        "flag": True,
        "text": None,
    }
