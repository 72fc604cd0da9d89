"""Who of several collectors does the upkeep: never two that know of it, never nobody for long."""

from collections.abc import Iterator
from time import sleep

import pytest
from engine import open_ledger
from hypothesis import HealthCheck, given, settings, strategies as st

from spanledger.collector.lease import Lease
from spanledger.collector.upkeep import Upkeep
from spanledger.store.client import Store

TERM_S = 600.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_ledger(tmp_path_factory.mktemp("lease") / "ledger")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def nobody(store: Store) -> None:
    """Let every claim of the test before run out."""
    for row in store.query("claims").to_pylist():
        store.execute("keep_claim", {**row, "lasts_ms": 0})


class Clock:
    """The clock of one process, which stands still when it is stopped."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Member:
    """A collector's lease, and the clock it looks at."""

    def __init__(self, store: Store, *, goes_first: bool = False) -> None:
        self.clock = Clock()
        self.lease = Lease(store, TERM_S, goes_first=goes_first, monotonic=self.clock)

    def look(self, seconds: float = TERM_S / 2) -> bool:
        self.clock.now += seconds
        return self.lease.held()


def test_a_claim_counts_at_the_second_look(store: Store) -> None:
    alone = Member(store)
    assert not alone.look()
    assert alone.look()


def test_the_first_stays_the_owner_and_the_second_follows_when_it_gives_up(store: Store) -> None:
    first, second = Member(store), Member(store)
    first.look()
    second.look()
    for _ in range(5):
        assert (first.look(), second.look()) == (True, False)
    first.lease.give_up()
    assert second.look()
    assert not first.look()
    assert (first.look(), second.look()) == (False, True)


def test_a_claim_that_ran_out_is_nobodys(store: Store) -> None:
    gone = Lease(store, 0.05, monotonic=Clock())
    gone.held()
    other = Member(store)
    other.look()
    while len(store.query("claims")) > 1:
        sleep(0.01)
    assert other.look()


def test_who_slept_over_its_term_works_no_more_and_joins_the_end(store: Store) -> None:
    sleeper, other = Member(store), Member(store)
    sleeper.look()
    assert sleeper.look()
    other.look()
    claim, *_ = store.query("claims").to_pylist()
    store.execute("keep_claim", {**claim, "lasts_ms": 0})  # its term ends by the store's clock
    assert not sleeper.look(TERM_S * 2)
    assert other.look()
    assert not sleeper.look()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["look", "look", "give up"]))))
def test_never_two_own_it_in_any_order_of_looks(store: Store, steps: list[tuple[int, str]]) -> None:
    members = [Member(store) for _ in range(3)]
    owners = [False, False, False]
    for number, step in steps:
        if step == "look":
            owners[number] = members[number].look()
        else:
            members[number].lease.give_up()
            owners[number] = False
        assert sum(owners) <= 1
    for member in members:
        member.lease.give_up()


class Term:
    """A lease that a test lends and takes away."""

    is_lent = True
    was_given_up = False

    def held(self) -> bool:
        return self.is_lent

    def give_up(self) -> None:
        self.was_given_up = True


def test_the_jobs_are_new_ones_after_a_term_was_lost() -> None:
    term = Term()
    made: list[int] = []
    upkeep: Upkeep

    def job() -> bool:
        term.is_lent = False  # lost in the midst of a step
        return True

    def jobs() -> list[object]:
        made.append(1)
        return [job]

    upkeep = Upkeep(jobs, 60, term)  # type: ignore[arg-type]
    upkeep._work()
    assert not upkeep.is_owner
    upkeep._work()
    assert made == [1]
    term.is_lent = True
    upkeep._work()
    assert made == [1, 1]
    upkeep.start()
    upkeep.close()
    assert term.was_given_up


def test_the_owner_gives_way_to_who_goes_first_and_gets_the_upkeep_back(store: Store) -> None:
    owner, command = Member(store), Member(store, goes_first=True)
    assert [owner.look(), owner.look()] == [False, True]
    assert not command.look(0)
    assert not command.look(TERM_S - 1)  # the owner may not have looked yet
    assert not owner.look()
    assert command.look(1)
    assert not owner.look()
    command.lease.give_up()
    assert owner.look()
