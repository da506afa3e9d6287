import os
from pathlib import Path

import pytest

from avctl.crawl.outcome import FetchFailure
from avctl.crawl.url import canonical, file_url, host, is_below, local_path


@pytest.mark.parametrize(
    "spelling",
    [
        "HTTP://Example.COM:80/a/clip.mp4",
        "http://example.com/a/./b/../clip.mp4#t=3",
        "http://example.com./a/clip%2emp4",
        "  http://example.com/%61/clip.mp4\n",
    ],
)
def test_what_a_server_calls_the_same_has_one_spelling(spelling: str) -> None:
    assert canonical(spelling) == "http://example.com/a/clip.mp4"


def test_differences_that_a_server_may_see_are_kept() -> None:
    urls = ["http://h/a?x=1&y=2", "http://h/a?y=2&x=1", "http://h/a/", "http://h/A", "http://h:8080/a", "https://h/a"]
    assert [canonical(url) for url in urls] == urls
    assert canonical("http://h/%c3%a9%2f") == "http://h/%C3%A9%2F"


def test_a_canonical_url_is_its_own_canonical_form() -> None:
    for url in ("http://bücher.example/ü b?q=ä", "http://h", "https://h:443/%7Eme/%"):
        assert canonical(canonical(url)) == canonical(url)


@pytest.mark.parametrize(
    "url",
    ["ftp://h/a", "file:///etc/passwd", "javascript:alert(1)", "gopher://h", "data:,x", "/a", "", "http://", "http:///a",
     "http://user:secret@h/a", "http://h/\x00", "http://[::1/", "http://h:99999999/", "http://./"],
)  # fmt: skip
def test_anything_but_plain_http_is_refused(url: str) -> None:
    with pytest.raises(FetchFailure) as caught:
        canonical(url)
    assert caught.value.reason == "bad_url" and not caught.value.is_passing


@pytest.mark.parametrize("name", [b"clip.mp4", "ü ñ 雪.mp4".encode(), b"a\nb?c#d%20.mp4", b"\xff\xfe.mp4"])
def test_any_file_name_survives_the_way_into_a_url_and_back(name: bytes) -> None:
    path = Path("/media") / os.fsdecode(name)
    url = file_url(path)
    assert url.isascii() and url.isprintable()
    assert local_path(url) == path


def test_the_host_of_a_url_is_who_is_asked() -> None:
    urls = ("http://h:8080/a", "https://h/a", "file:///a", "synthetic://0123/1.mp4")
    assert [host(url) for url in urls] == ["h:8080", "h", "", "synthetic"]


def test_a_prefix_is_a_host_with_its_subdomains_or_the_start_of_a_url() -> None:
    assert is_below("http://cdn.example.com/a", "example.com")
    assert is_below("https://EXAMPLE.com:8443/a", "Example.com")
    assert not is_below("http://badexample.com/a", "example.com")
    assert is_below("http://h/private/a", "http://h/private/")
    assert is_below("http://h/private/a", "HTTP://H:80/private/")
    assert not is_below("http://h/public/a", "http://h/private/")
