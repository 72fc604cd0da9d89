from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from spanledger.reports.export import VIEWS, Cut, TooMuch, pieces, sql
from spanledger.store.migrations import views

HOUR_NS = 3_600 * 10**9
START_NS = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9


class Ledger:
    """Rows by time, as the SQL listener would answer: so many, or none if that is too much."""

    def __init__(self, times_ns: Sequence[int], bearable: int = 10**9) -> None:
        self.rows = [(START_NS + at, number) for number, at in enumerate(sorted(times_ns))]
        self.bearable = bearable
        self.cuts: list[Cut] = []

    def ask(self, cut: Cut) -> pa.Table:
        self.cuts.append(cut)
        found = [row for row in self.rows if cut.since_ns <= row[0] < cut.until_ns]
        found = found[cut.skip : cut.skip + cut.rows]
        if len(found) > self.bearable:
            raise TooMuch("too many rows")
        return pa.table(
            {
                "start_time": pa.array([at for at, _ in found], pa.timestamp("ns", "UTC")),
                "number": pa.array([number for _, number in found], pa.int64()),
            }
        )

    def exported(self, hours: int, rows_max: int, view: str = "calls") -> list[int]:
        end_ns = START_NS + hours * HOUR_NS
        numbers: list[int] = []
        for piece in pieces(self.ask, view, START_NS, end_ns, rows_max):
            assert piece.rows.num_rows <= rows_max
            numbers += piece.rows.column("number").to_pylist()
            assert piece.until_ns <= end_ns
        return numbers


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, HOUR_NS, HOUR_NS + 1, 5 * HOUR_NS]), max_size=40),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_every_row_comes_once_and_in_order(
    times_ns: list[int], rows_max: int, bearable: int
) -> None:
    ledger = Ledger(times_ns, bearable)
    assert ledger.exported(6, rows_max) == list(range(len(times_ns)))


def test_the_first_moment_is_in_and_the_last_one_is_not() -> None:
    assert Ledger([-1, 0, HOUR_NS - 1, HOUR_NS]).exported(1, 100) == [1, 2]


def test_an_empty_range_still_tells_the_columns() -> None:
    ledger = Ledger([])
    found = list(pieces(ledger.ask, "calls", START_NS, START_NS + HOUR_NS))
    assert [piece.rows.column_names for piece in found] == [["start_time", "number"]]


def test_questions_are_as_wide_as_what_is_found_is_dense() -> None:
    second_ns = 10**9
    dense = [at * second_ns for at in range(2_000)]
    ledger = Ledger([*dense, 2_000 * HOUR_NS])
    assert len(ledger.exported(2_400, 100)) == 2_001
    assert len(ledger.cuts) < 60  # 20 full pieces, a few for the way down and the empty months
    assert not any(cut.skip for cut in ledger.cuts)


def test_rows_of_one_instant_come_by_number_when_there_are_too_many() -> None:
    ledger = Ledger([7] * 25 + [8])
    assert ledger.exported(1, 10) == list(range(26))
    assert max(cut.skip for cut in ledger.cuts) == 20


def test_a_single_row_that_is_too_much_is_told() -> None:
    with pytest.raises(TooMuch):
        Ledger([1], bearable=0).exported(1, 8)


def test_every_public_view_has_its_question() -> None:
    public = {view.name.removesuffix(".sql") for view in views()} - {"calls_as_of"}
    assert public == set(VIEWS) - {"focus"}
    for view, time in VIEWS.items():
        assert "ORDER BY" in sql(view)
        assert ("{since_ns:Int64}" in sql(view)) == (time is not None)


def test_an_unknown_view_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no view 'entries' to export: one of calls"):
        sql("entries")
