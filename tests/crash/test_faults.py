"""Disks that fill or fail, stores that are down: nothing acknowledged is lost, and it goes on."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crash.killer import Victim, until
from crash.load import Load
from crash.oracle import Oracle

pytestmark = pytest.mark.slow


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    with Victim(tmp_path, "store.batch_wait_ms=20") as made:
        yield made


def load(victim: Victim, oracle: Oracle, spans_max: int = 16) -> Load:
    addresses = victim.address["otlp.grpc"], victim.address["otlp.http"]
    return Load(oracle, *addresses, spans_max=spans_max, pause_s=0.005)


def grows(count: Callable[[], int], by: int = 20) -> bool:
    target = count() + by
    return until(lambda: count() >= target, 60)


def assert_exact(victim: Victim, oracle: Oracle) -> None:
    victim.drain()
    verdict = victim.judge(oracle)
    assert verdict.clean, verdict
    assert verdict.acknowledged > 0
    assert victim.conserved()


def test_a_store_that_is_down_or_cuts_its_answers_delays_nobody(victim: Victim) -> None:
    oracle = Oracle(seed=11)
    assert victim.start().wait_answer("/readyz")
    with load(victim, oracle) as senders:
        assert grows(lambda: len(senders.answers_s))
        victim.switch("store down", on=True)
        assert grows(lambda: len(senders.answers_s), 50)
        assert until(lambda: victim.figures()["spanledger_store_up"] == 0, 60)
        victim.switch("store cut", on=True)
        victim.switch("store down", on=False)
        assert grows(lambda: len(senders.answers_s), 50)
        victim.switch("store cut", on=False)
    assert senders.refusals_s == []
    assert_exact(victim, oracle)


def test_a_full_disk_asks_senders_to_wait_and_goes_on_by_itself(victim: Victim) -> None:
    oracle = Oracle(seed=12)
    assert victim.start().wait_answer("/readyz")
    with load(victim, oracle) as senders:
        assert grows(lambda: len(senders.answers_s))
        victim.switch("enospc", on=True)
        assert grows(lambda: len(senders.refusals_s))
        assert victim.rows("SELECT count() FROM calls")  # reading goes on
        victim.switch("enospc", on=False)
        assert grows(lambda: len(senders.answers_s))
    assert_exact(victim, oracle)


def test_a_full_journal_asks_senders_to_wait_until_the_store_has_caught_up(victim: Victim) -> None:
    oracle = Oracle(seed=13)
    victim.switch("store down", on=True)
    victim.options.append(f"journal.pending_bytes_max={1 << 20}")
    assert victim.start().wait_answer("/readyz")
    with load(victim, oracle, spans_max=200) as senders:
        assert until(lambda: len(senders.refusals_s) > 20, 60)
        assert "1048576 bytes wait for the store" in victim.log.read_text()
        victim.switch("store down", on=False)
        assert grows(lambda: len(senders.answers_s), 5)
    assert_exact(victim, oracle)


def test_a_failed_sync_ends_the_process_and_the_next_one_has_everything(victim: Victim) -> None:
    oracle = Oracle(seed=14)
    assert victim.start().wait_answer("/readyz")
    with load(victim, oracle) as senders:
        assert grows(lambda: len(senders.answers_s))
        victim.switch("eio", on=True)
        assert victim.wait_dead()
        assert "the disk of the journal failed" in victim.log.read_text()
        victim.switch("eio", on=False)
        assert victim.start().wait_answer("/readyz")
        assert grows(lambda: len(senders.answers_s))
    assert_exact(victim, oracle)


def test_restarts_under_load_lose_nothing(victim: Victim) -> None:
    oracle = Oracle(seed=15)
    with load(victim, oracle) as senders:
        for _ in range(2):
            assert victim.start().wait_answer("/readyz")
            assert grows(lambda: len(senders.answers_s))
            victim.signal(signal.SIGTERM)
            assert victim.wait_dead()
        assert victim.start().wait_answer("/readyz")
    assert_exact(victim, oracle)
