from collections.abc import Callable
from pathlib import Path

from avctl.crawl.sources import collect, expected
from avctl.crawl.sources.synthetic import Studio
from avctl.schema import Crawl, Directory, Synthetic, Web


def test_sources_come_in_the_order_of_the_recipe(tmp_path: Path, crawl: Callable[..., Crawl]) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").touch()
    section = crawl(sources=(Web(urls=("http://h/b", "ftp://h/c")), Directory(path=tmp_path / "films")))
    with Studio(tmp_path, 1, lambda url: False) as studio:
        first, refused, local = collect(section, studio)
    assert first.position < refused.position < local.position
    assert (first.url, first.follow, first.refusal) == ("http://h/b", True, None)
    assert refused.url == "ftp://h/c" and refused.refusal is not None and refused.refusal[0] == "bad_url"
    assert local.url.endswith("/films/a.mp4") and not local.follow


def test_the_number_of_items_is_known_before_only_if_every_source_knows_it(crawl: Callable[..., Crawl]) -> None:
    web, world, folder = Web(urls=("http://h/a", "http://h/b")), Synthetic(count=5), Directory(path=Path("films"))
    assert expected(crawl(sources=(web, world))) == 7
    assert expected(crawl(sources=(web, folder))) is None
