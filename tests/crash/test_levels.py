"""What ``make chaos`` proves at length, in seconds: the same code with smaller numbers."""

from pathlib import Path

import pytest
from crash import damage, overload, reload, sdk, storeless, twins, volume
from crash.levels import LEVELS

DOCUMENT = Path(__file__).parents[2] / "docs" / "proofs.md"


def test_every_level_is_documented() -> None:
    assert [name for name in LEVELS if f"| `{name}` |" not in DOCUMENT.read_text()] == []


@pytest.mark.slow
def test_spans_delivered_again_and_again_in_other_company_are_counted_once(tmp_path: Path) -> None:
    outcome = volume.deliver(
        tmp_path, 1, spans=1_000, times=4, restarts=2, spans_a_request=(1, 7, 40)
    )
    assert outcome.clean, outcome
    assert outcome.verdict.acknowledged == 1_000


@pytest.mark.slow
def test_the_standard_sdk_loses_nothing_when_the_collector_is_killed_and_away_for_a_while(
    tmp_path: Path,
) -> None:
    # More time than the SDK gives by default: this machine may be busy with other things.
    outcome = sdk.outage(tmp_path, 1, killed=True, times=1, away_s=0.2, around_s=0.2, exporter_s=60)
    assert outcome.clean, outcome


@pytest.mark.slow
def test_a_server_that_refuses_hangs_fails_and_cuts_answers_off_delays_nobody(
    tmp_path: Path,
) -> None:
    outcome = storeless.away(tmp_path, 1, seconds=0.3, cuts=2, spans_max=4)
    assert outcome.clean, outcome


@pytest.mark.slow
def test_a_ledger_with_a_damaged_file_is_whole_again_after_a_start(tmp_path: Path) -> None:
    outcome = damage.each(tmp_path, 1, at_most=2)
    assert outcome.clean, outcome


@pytest.mark.slow
def test_right_and_wrong_files_and_new_certificates_cost_no_request(tmp_path: Path) -> None:
    outcome = reload.under_load(tmp_path, 1, signals=12, requests=5)
    assert outcome.clean, outcome


@pytest.mark.slow
def test_what_a_collector_cannot_take_costs_neither_calls_nor_memory(tmp_path: Path) -> None:
    outcome = overload.flood(tmp_path, 1, seconds=4, is_boxed=False, resident_mib_max=1_280)
    assert outcome.clean, outcome


@pytest.mark.slow
def test_two_collectors_on_one_ledger_count_once_what_both_are_sent(tmp_path: Path) -> None:
    outcome = twins.killed(tmp_path, 1, seconds=0, kills_min=2)
    assert outcome.clean, outcome
