"""The upkeep's thread: each job as long as it has more to do, trouble retried, stopped in order."""

import threading

from spanledger.collector.upkeep import Upkeep
from spanledger.store.errors import StoreUnavailable


def test_jobs_run_in_order_each_until_it_has_no_more_to_do() -> None:
    steps: list[str] = []
    done = threading.Event()

    def first() -> bool:
        steps.append("first")
        return steps.count("first") < 3

    def second() -> bool:
        steps.append("second")
        done.set()
        return False

    upkeep = Upkeep(lambda: [first, second], every_seconds=60)
    upkeep.start()
    assert done.wait(10)
    upkeep.close()
    assert steps == ["first", "first", "first", "second"]


def test_trouble_of_the_store_is_retried() -> None:
    tries: list[int] = []
    done = threading.Event()

    def job() -> bool:
        tries.append(1)
        if len(tries) < 3:
            raise StoreUnavailable("down")
        done.set()
        return False

    upkeep = Upkeep(lambda: [job], every_seconds=0.01)
    upkeep.start()
    assert done.wait(10)
    upkeep.close()


def test_it_may_be_closed_before_it_was_started() -> None:
    Upkeep(list, every_seconds=60).close()
