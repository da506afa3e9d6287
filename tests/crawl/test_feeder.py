from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from avctl.crawl.feeder import feeding
from avctl.crawl.sqlite_frontier import SqliteFrontier
from avctl.job import InputError
from avctl.schema import Crawl, Directory, Web


def test_what_the_sources_hold_is_enqueued_while_others_work(tmp_path: Path, crawl: Callable[..., Crawl]) -> None:
    queue = tmp_path / "frontier.sqlite"
    section = crawl(sources=(Web(urls=tuple(f"http://h/{index}" for index in range(600))),))
    with feeding(queue, section, 1, Event()) as feeder:
        assert feeder.is_done.wait(60)
        assert SqliteFrontier(queue, 3).tally().open == 600


def test_feeding_twice_adds_nothing(tmp_path: Path, crawl: Callable[..., Crawl]) -> None:
    queue, section = (
        tmp_path / "frontier.sqlite",
        crawl(sources=(Web(urls=("http://h/a", "http://h/b", "http://H/a")),)),
    )
    for _ in range(2):
        with feeding(queue, section, 1, Event()) as feeder:
            assert feeder.is_done.wait(60)
        assert SqliteFrontier(queue, 3).tally().open == 2


def test_the_error_of_a_source_is_raised_where_the_stage_waits(tmp_path: Path, crawl: Callable[..., Crawl]) -> None:
    section = crawl(sources=(Web(urls=("http://h/a",)), Directory(path=tmp_path / "gone")))
    with (
        pytest.raises(InputError, match="gone"),
        feeding(tmp_path / "frontier.sqlite", section, 1, Event()) as feeder,
    ):
        assert feeder.is_done.wait(60)


def test_a_stop_ends_the_collecting(tmp_path: Path, crawl: Callable[..., Crawl]) -> None:
    stop, section = Event(), crawl(sources=(Web(urls=("http://h/a",)),))
    stop.set()
    with feeding(tmp_path / "frontier.sqlite", section, 1, stop) as feeder:
        assert feeder.is_done.wait(60)
    assert not SqliteFrontier(tmp_path / "frontier.sqlite", 3).is_open()
