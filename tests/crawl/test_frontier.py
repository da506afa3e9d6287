from avctl.crawl.frontier import Frontier, Tally
from avctl.crawl.sqlite_frontier import SqliteFrontier


def test_the_sqlite_frontier_keeps_the_interface() -> None:
    frontier: type[Frontier] = SqliteFrontier
    names = {name for name in vars(Frontier) if not name.startswith("_")}
    assert names <= set(dir(frontier))


def test_what_is_settled_is_all_that_is_not_open() -> None:
    assert Tally(open=5, files=1, duplicates=2, pages=3, dead=4, bytes=99).settled == 10
