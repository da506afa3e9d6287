import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from avctl.crawl.frontier import Item
from avctl.crawl.outcome import FetchFailure, Page, Stored
from avctl.crawl.sqlite_frontier import SqliteFrontier
from avctl.crawl.worker import Worker
from avctl.job import Interrupted

Fetch = Callable[[Item], Any]


@pytest.fixture
def frontier(tmp_path: Path) -> SqliteFrontier:
    return SqliteFrontier(tmp_path / "frontier.sqlite", 3)


def items(count: int, host: str = "h", **about: Any) -> list[Item]:
    return [Item(f"http://{host}/{index}", f"0000.{index:010d}", "test", **about) for index in range(count)]


def stored(content: object) -> Stored:
    return Stored(str(content), f"files/{content}", 10, "video/mp4", "http://h/", "allowed")


def worker(frontier: SqliteFrontier, fetch: Fetch, max_files: int | None = None, fed: bool = True) -> Worker:
    is_collected = Event()
    if fed:
        is_collected.set()
    return Worker(frontier, fetch, is_collected, Event(), 0.001, max_files, lambda tally: None)


def test_everything_is_settled_and_links_are_followed(frontier: SqliteFrontier) -> None:
    async def fetch(item: Item) -> Stored | Page:
        if item.follow:
            return Page((f"{item.url}/a", f"{item.url}/b"))
        if item.url.endswith("/b"):
            raise FetchFailure("http_status", "404")
        return stored(item.url)

    frontier.enqueue(items(3, follow=True, licence="CC0"))
    asyncio.run(worker(frontier, fetch).run())
    assert [row[4] for row in frontier.files()] == [f"http://h/{index}/a" for index in range(3)]
    assert {row[8] for row in frontier.files()} == {"CC0"}
    assert [row[0] for row in frontier.dead()] == [f"http://h/{index}/b" for index in range(3)]


def test_a_passing_failure_is_tried_again_and_a_final_one_is_not(frontier: SqliteFrontier) -> None:
    tries: dict[str, int] = {}

    async def fetch(item: Item) -> Stored:
        name = item.url[-1]
        tries[name] = tries.get(name, 0) + 1
        if name == "0" or (name == "1" and tries[name] < 3):
            raise FetchFailure("timeout", "ReadTimeout", is_passing=True)
        if name == "2":
            raise FetchFailure("http_status", "404")
        if name == "3":
            raise FetchFailure("http_status", "503", is_passing=True, retry_after_s=86_400)
        return stored(name)

    frontier.enqueue(items(5))
    asyncio.run(worker(frontier, fetch).run())
    assert tries == {"0": 3, "1": 3, "2": 1, "3": 1, "4": 1}
    assert [(row[0][-1], row[3]) for row in frontier.dead()] == [("0", 3), ("2", 1), ("3", 1)]


def test_a_stop_gives_everything_back_untried(frontier: SqliteFrontier) -> None:
    async def fetch(item: Item) -> Stored:
        busy.stop.set()
        await asyncio.sleep(3_600)
        raise AssertionError

    busy = worker(frontier, fetch)
    frontier.enqueue(items(3))
    with pytest.raises(Interrupted):
        asyncio.run(busy.run())
    assert [claim.failures for claim in frontier.claim(9, 60)] == [0, 0, 0]


def test_an_error_that_is_not_the_items_fault_stops_the_crawl_and_costs_no_try(frontier: SqliteFrontier) -> None:
    async def fetch(item: Item) -> Stored:
        raise OSError(28, "No space left on device")

    frontier.enqueue(items(2))
    with pytest.raises(OSError, match="No space"):
        asyncio.run(worker(frontier, fetch).run())
    assert [claim.failures for claim in frontier.claim(9, 60)] == [0, 0]


def test_a_result_after_a_lost_lease_does_not_count(frontier: SqliteFrontier, tmp_path: Path) -> None:
    thief = SqliteFrontier(tmp_path / "frontier.sqlite", 3)

    async def fetch(item: Item) -> Stored:
        thief.expire_leases()
        thief.ack(thief.claim(1, 60)[0].token, stored("the thief's"))
        return stored("late")

    frontier.enqueue(items(1))
    asyncio.run(worker(frontier, fetch).run())
    assert [row[0] for row in frontier.files()] == ["the thief's"]


def test_many_hosts_are_asked_at_once_although_one_comes_first(frontier: SqliteFrontier) -> None:
    slow = [Item(f"http://slow/{index}", f"0000.{index:010d}", "test") for index in range(100)]
    quick = [Item(f"http://quick/{index}", f"0001.{index:010d}", "test") for index in range(5)]
    seen: list[str] = []

    async def fetch(item: Item) -> Stored:
        seen.append(item.url)
        if item in quick:
            if sum(url.startswith("http://quick") for url in seen) == len(quick):
                busy.stop.set()
            return stored(item.url)
        await asyncio.sleep(3_600)
        raise AssertionError

    busy = worker(frontier, fetch)
    frontier.enqueue([*slow, *quick])
    with pytest.raises(Interrupted):
        asyncio.run(asyncio.wait_for(busy.run(), 30))
    assert len(seen) < 50


def test_no_more_is_fetched_than_wanted_and_the_first_in_source_order_are_kept(frontier: SqliteFrontier) -> None:
    fetched: list[str] = []

    async def fetch(item: Item) -> Stored:
        fetched.append(item.url)
        index = int(item.url.rpartition("/")[2])
        if index in (1, 2):
            raise FetchFailure("http_status", "404")
        return stored(index // 2)  # 0, 1 (of 3), 2 (of 4 and 5), 3 ...

    frontier.enqueue(items(50))
    unfed = worker(frontier, fetch, max_files=3, fed=False)
    asyncio.run(unfed.run())
    assert unfed.horizon == "0000.0000000004"
    assert len(fetched) < 10


def test_two_workers_do_everything_once(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    feeder = SqliteFrontier(path, 3)
    feeder.enqueue([item for host in "abc" for item in items(60, host)])
    done: list[str] = []

    def work() -> None:
        async def fetch(item: Item) -> Stored:
            await asyncio.sleep(0)
            done.append(item.url)
            return stored(item.url)

        asyncio.run(worker(SqliteFrontier(path, 3), fetch).run())

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == len(set(done)) == 180 and feeder.tally().files == 180
