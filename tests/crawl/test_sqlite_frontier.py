import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from threading import Thread

import pytest

from avctl.crawl.frontier import Claim, Item, LostLease
from avctl.crawl.outcome import Page, Stored
from avctl.crawl.sqlite_frontier import MAX_LOST, SqliteFrontier


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def frontier(tmp_path: Path, clock: Clock) -> Iterator[SqliteFrontier]:
    frontier = SqliteFrontier(tmp_path / "frontier.sqlite", 3, clock)
    yield frontier
    frontier.close()


def item(index: int, name: str | None = None, **about: object) -> Item:
    return Item(f"http://h{index % 2}/{name or index}", f"0000.{index:010d}", "test", **about)  # pyright: ignore


def stored(content: str) -> Stored:
    return Stored(content, f"files/{content}", 10, "video/mp4", "http://final", "allowed")


def paths(claims: list[Claim]) -> list[str]:
    return [claim.item.url.rpartition("/")[2] for claim in claims]


def test_items_are_claimed_in_source_order_whatever_the_order_they_came_in(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(3), item(1)])
    frontier.enqueue([item(2), item(0)])
    assert paths(frontier.claim(3, 60)) == ["0", "1", "2"]
    assert paths(frontier.claim(3, 60)) == ["3"]


def test_what_a_source_says_of_an_item_travels_with_it(frontier: SqliteFrontier) -> None:
    given = item(0, follow=True, caption="a dog\nbarks", licence="CC0", split="unseen", truth='{"events_s": [0.5]}')
    frontier.enqueue([given])
    assert frontier.claim(1, 60)[0].item == given


def test_a_leased_item_is_not_claimed_again_before_its_lease_ends(frontier: SqliteFrontier, clock: Clock) -> None:
    frontier.enqueue([item(0)])
    frontier.claim(1, 60)
    clock.now += 59
    assert not frontier.claim(1, 60)
    clock.now += 1
    assert paths(frontier.claim(1, 60)) == ["0"]


def test_a_renewed_lease_holds_longer(frontier: SqliteFrontier, clock: Clock) -> None:
    frontier.enqueue([item(0)])
    token = frontier.claim(1, 60)[0].token
    clock.now += 50
    assert frontier.renew([token], 60) == set()
    clock.now += 50
    assert not frontier.claim(1, 60)


def test_a_lost_lease_cannot_be_acknowledged(frontier: SqliteFrontier, clock: Clock) -> None:
    frontier.enqueue([item(0)])
    late = frontier.claim(1, 60)[0].token
    clock.now += 60
    current = frontier.claim(1, 60)[0].token
    with pytest.raises(LostLease):
        frontier.ack(late, stored("a"), [item(9)])
    with pytest.raises(LostLease):
        frontier.fail(late, "http_status", "404", None)
    assert frontier.renew([late, current], 60) == {late}
    frontier.release([late])
    frontier.ack(current, stored("b"))
    with pytest.raises(LostLease):
        frontier.ack(current, stored("c"))
    assert [row[0] for row in frontier.files()] == ["b"]
    assert frontier.tally().open == 0


def test_a_released_item_is_due_at_once_and_its_old_token_is_void(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0)])
    token = frontier.claim(1, 60)[0].token
    frontier.release([token])
    with pytest.raises(LostLease):
        frontier.ack(token, stored("a"))
    assert frontier.claim(1, 60)[0].failures == 0


def test_a_result_and_what_it_led_to_are_one_transaction(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0, follow=True)])
    token = frontier.claim(1, 60)[0].token
    unusable = Item("http://h/x", None, "test")  # pyright: ignore[reportArgumentType]
    with pytest.raises(sqlite3.IntegrityError):
        frontier.ack(token, Page(()), [item(1), unusable])
    assert frontier.tally().open == 1
    frontier.ack(token, Page(()), [item(1)])
    assert frontier.tally().pages == 1 and paths(frontier.claim(9, 60)) == ["1"]


def test_failed_tries_are_due_later_and_end_as_a_dead_letter(frontier: SqliteFrontier, clock: Clock) -> None:
    frontier.enqueue([item(0)])
    for failures in range(3):
        claim = frontier.claim(1, 60)[0]
        assert claim.failures == failures
        frontier.fail(claim.token, "timeout", "ReadTimeout", clock.now + 10)
        assert not frontier.claim(1, 60)
        clock.now += 10
    assert not frontier.claim(1, 60)
    assert list(frontier.dead()) == [("http://h0/0", "timeout", "ReadTimeout", 3)]


def test_a_failure_for_good_is_a_dead_letter_at_once(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0)])
    frontier.fail(frontier.claim(1, 60)[0].token, "http_status", "404", None)
    assert list(frontier.dead()) == [("http://h0/0", "http_status", "404", 1)]


def test_an_item_that_no_worker_survives_is_given_up(frontier: SqliteFrontier, clock: Clock) -> None:
    frontier.enqueue([item(0)])
    for _ in range(MAX_LOST + 1):
        assert frontier.claim(1, 60)
        clock.now += 60
    assert not frontier.claim(1, 60)
    assert [row[1] for row in frontier.dead()] == ["abandoned"]


def test_expired_leases_of_a_killed_run_are_due_at_once(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0)])
    token = frontier.claim(1, 3_600)[0].token
    frontier.expire_leases()
    assert frontier.claim(1, 60)
    with pytest.raises(LostLease):
        frontier.ack(token, stored("a"))


def test_a_revived_dead_letter_has_all_its_tries_again(frontier: SqliteFrontier, clock: Clock) -> None:
    frontier.enqueue([item(0), item(1), item(2, refusal=("bad_row", "row 7"))])
    first, second = frontier.claim(2, 60)
    frontier.fail(first.token, "http_status", "404", None)
    frontier.ack(second.token, stored("a"))
    assert frontier.revive() == 2
    assert [(claim.item, claim.failures) for claim in frontier.claim(9, 60)] == [(item(0), 0)]
    frontier.enqueue([item(2, refusal=("bad_row", "row 7"))])  # found again by its source
    assert [row[0] for row in frontier.dead()] == ["http://h0/2"]


def test_an_item_dead_on_arrival_is_never_claimed(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0, refusal=("symlink_loop", "round and round"))])
    assert not frontier.claim(1, 60)
    assert list(frontier.dead()) == [("http://h0/0", "symlink_loop", "round and round", 0)]


def test_of_two_items_with_one_url_the_first_in_source_order_counts(frontier: SqliteFrontier) -> None:
    early, late = item(2, "same", caption="early"), item(4, "same", caption="late")
    for order in ((late, early), (early, late)):
        frontier.enqueue(order)
        assert frontier.tally().open == 1
    claim = frontier.claim(1, 60)[0]
    assert claim.item == early
    frontier.ack(claim.token, stored("a"))
    frontier.enqueue([item(0, "same", caption="earliest")])  # it learns more, but is not fetched twice
    assert not frontier.claim(1, 60)
    assert [row[7] for row in frontier.files()] == ["earliest"]


def test_an_item_that_is_to_be_read_differently_is_tried_again(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(4, "same")])
    token = frontier.claim(1, 60)[0].token
    frontier.enqueue([item(2, "same", follow=True)])
    with pytest.raises(LostLease):
        frontier.fail(token, "not_media", "", None)
    assert frontier.claim(1, 60)[0].item.follow


def test_claims_can_leave_out_hosts_and_what_comes_later(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(index) for index in range(6)])
    assert paths(frontier.claim(9, 60, without=["h0"])) == ["1", "3", "5"]
    assert paths(frontier.claim(9, 60, until="0000.0000000002")) == ["0", "2"]
    assert paths(frontier.claim(9, 60)) == ["4"]


def test_the_horizon_is_where_enough_distinct_files_are(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(index) for index in range(5)])
    for claim, content in zip(frontier.claim(5, 60), "aabca", strict=True):
        frontier.ack(claim.token, stored(content))
    assert [frontier.horizon(count) for count in (1, 2, 3, 4)] == [
        "0000.0000000000", "0000.0000000002", "0000.0000000003", None,
    ]  # fmt: skip
    until = frontier.tally("0000.0000000002")
    assert (until.files, until.duplicates, until.settled, until.bytes) == (2, 1, 3, 30)


def test_what_is_open_is_asked_up_to_a_position(frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0), item(1)])
    frontier.ack(frontier.claim(1, 60)[0].token, stored("a"))
    assert frontier.is_open() and not frontier.is_open("0000.0000000000")


def test_links_of_a_page_stand_right_behind_it(frontier: SqliteFrontier) -> None:
    positions = ["0000.0000000004", "0000.0000000003/000001", "0000.0000000003", "0000.0000000003/000000"]
    frontier.enqueue([Item(f"http://h/{position}", position, "web") for position in positions])
    assert [claim.item.position for claim in frontier.claim(9, 60)] == sorted(positions)


def test_everything_is_there_after_a_reopening(tmp_path: Path, frontier: SqliteFrontier) -> None:
    frontier.enqueue([item(0), item(1)])
    frontier.ack(frontier.claim(1, 60)[0].token, stored("a"))
    frontier.close()
    again = SqliteFrontier(tmp_path / "frontier.sqlite", 3)
    assert again.is_settled("http://h0/0") and not again.is_settled("http://h1/1") and not again.is_settled("http://x")
    again.close()


def test_many_claimers_share_the_work_without_a_double(tmp_path: Path) -> None:
    path, count = tmp_path / "frontier.sqlite", 240
    feeder = SqliteFrontier(path, 3)
    feeder.enqueue([item(index) for index in range(count)])
    taken: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        frontier = SqliteFrontier(path, 3)
        while claims := frontier.claim(7, 60):
            for claim in claims:
                frontier.ack(claim.token, stored(claim.item.url))
                mine.append(claim.item.url)
        frontier.close()

    threads = [Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chain(*taken)) == sorted(item(index).url for index in range(count))
    assert feeder.tally().files == count
    feeder.close()
