import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from spanledger.instrument import attribute
from spanledger.instrument.attributes import current
from spanledger.instrument.threads import carry_attributes


@pytest.fixture(autouse=True)
def _carried() -> None:
    # The wrappers stay for the rest of the process; outside a block they do nothing.
    carry_attributes()


def seen_in_thread() -> dict[str, str]:
    seen: list[dict[str, str]] = []
    thread = threading.Thread(target=lambda: seen.append(current()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_thread_sees_the_block_it_was_started_in() -> None:
    with attribute(user="ada"):
        assert seen_in_thread() == {"user.id": "ada"}


def test_a_thread_started_outside_sees_nothing_and_is_not_touched() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert "run" not in vars(thread)
    assert seen_in_thread() == {}


def test_a_thread_keeps_its_block_after_the_starter_left_it() -> None:
    left, seen = threading.Event(), []

    def run() -> None:
        left.wait(60)
        seen.append(current())

    thread = threading.Thread(target=run)
    with attribute(user="ada"):
        thread.start()
    left.set()
    thread.join()
    assert seen == [{"user.id": "ada"}]


def test_subclasses_with_a_run_of_their_own_and_timers_see_it_too() -> None:
    seen = []

    class Worker(threading.Thread):
        def run(self) -> None:
            seen.append(current())

    with attribute(user="ada"):
        timer = threading.Timer(0, lambda: seen.append(current()))
        for thread in (Worker(), timer):
            thread.start()
            thread.join()
    assert seen == [{"user.id": "ada"}, {"user.id": "ada"}]


def test_a_task_of_a_pool_sees_the_block_it_was_submitted_in() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        with attribute(user="ada"):
            ada = pool.submit(current)
        with attribute(user="grace"):
            grace = list(pool.map(lambda _: current(), range(2)))
        assert ada.result() == {"user.id": "ada"}
        assert grace == [{"user.id": "grace"}] * 2


def test_a_worker_does_not_keep_the_block_of_its_first_task() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        with attribute(user="ada"):
            pool.submit(current).result()
        assert pool.submit(current).result() == {}


def test_the_submitter_still_has_its_block_afterwards() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool, attribute(user="ada"):
        pool.submit(current).result()
        assert current() == {"user.id": "ada"}


def test_a_task_gets_its_arguments_and_gives_its_result_and_its_error() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool, attribute(user="ada"):
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert pool.submit(int, "11", base=2).result() == 3
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


def test_work_handed_from_asyncio_to_threads_sees_it() -> None:
    async def main() -> list[dict[str, str]]:
        loop = asyncio.get_running_loop()
        with attribute(user="ada"):
            return [await asyncio.to_thread(current), await loop.run_in_executor(None, current)]

    assert asyncio.run(main()) == [{"user.id": "ada"}] * 2


def test_carrying_twice_wraps_once() -> None:
    start = vars(threading.Thread)["start"]
    carry_attributes()
    assert vars(threading.Thread)["start"] is start
