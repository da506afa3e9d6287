import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avctl.crawl.client import Client
from avctl.crawl.fetch import Fetcher
from avctl.crawl.outcome import FetchFailure, Page, Stored
from avctl.crawl.provenance import FetchLog
from avctl.crawl.url import file_url
from avctl.schema import Crawl

Clip = Callable[[int, int], bytes]
Fetch = Callable[..., Any]


def failure(fetch: Fetch, url: str, **fields: Any) -> FetchFailure:
    with pytest.raises(FetchFailure) as caught:
        fetch(url, **fields)
    return caught.value


def test_a_file_is_stored_under_its_hash(site: Any, fetch: Fetch, clip: Clip, tmp_path: Path) -> None:
    stored = fetch(site.serve("/a.mp4", clip(1, 3_000), Content_Type="video/mp4"))
    sha256 = hashlib.sha256(clip(1, 3_000)).hexdigest()
    path = f"files/{sha256[:2]}/{sha256}.mp4"
    assert stored == Stored(sha256, path, 3_000, "video/mp4", site.url("/a.mp4"), "none")
    assert (tmp_path / path).read_bytes() == clip(1, 3_000)


@pytest.mark.parametrize("media_type", ["text/html", "text/plain", "application/octet-stream", "nonsense", "image/png"])
@pytest.mark.parametrize("follow", [True, False])
def test_the_bytes_say_what_a_file_is_whatever_the_server_says(
    site: Any, fetch: Fetch, clip: Clip, media_type: str, follow: bool
) -> None:
    stored = fetch(site.serve("/a", clip(1, 3_000), Content_Type=media_type), follow=follow)
    assert (stored.media_type, stored.bytes) == ("video/mp4", 3_000)


def test_text_named_mp4_is_no_media_whatever_the_server_says(site: Any, fetch: Fetch) -> None:
    url = site.serve("/a.mp4", b"once upon a time " * 200, Content_Type="video/mp4")
    assert (failure(fetch, url).reason, failure(fetch, url, follow=True).reason) == ("not_media", "not_media")


def test_a_page_is_followed_only_where_that_was_asked(site: Any, fetch: Fetch) -> None:
    url = site.serve("/", b'<a href="/b.mp4">b</a><a href="c.mp4">c</a>', Content_Type="text/html; charset=utf-8")
    assert fetch(url, follow=True) == Page((site.url("/b.mp4"), site.url("/c.mp4")))
    assert failure(fetch, url).reason == "not_media"


@pytest.mark.parametrize(("status", "is_passing"), [(404, False), (403, False), (451, False), (503, True), (429, True)])
def test_a_status_is_final_or_passing(site: Any, fetch: Fetch, status: int, is_passing: bool) -> None:
    refused = failure(fetch, site.serve("/a", b"no", status))
    assert (refused.reason, refused.detail, refused.is_passing) == ("http_status", str(status), is_passing)


def test_a_server_says_when_to_come_back(site: Any, fetch: Fetch) -> None:
    assert failure(fetch, site.serve("/a", b"", 503, Retry_After="7")).retry_after_s == 7


def test_redirects_are_followed_to_the_final_url(site: Any, fetch: Fetch, clip: Clip) -> None:
    site.redirect("/a", "b")
    site.redirect("/b", site.url("/c%20d?x=1"))
    site.serve("/c%20d?x=1", clip(1, 3_000))
    assert fetch(site.url("/a")).final_url == site.url("/c%20d?x=1")


def test_redirects_without_end_are_not_followed(site: Any, fetch: Fetch) -> None:
    site.redirect("/a", "/a")
    assert failure(fetch, site.url("/a")).reason == "redirects"
    assert len(site.asked()) == 11


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://localhost:{port}/b", "private_address"),
        ("http://[::ffff:127.0.0.1]:{port}/b", "private_address"),
        ("//2130706433:{port}/b", "private_address"),
        ("http://169.254.169.254/latest/meta-data/", "private_address"),
        ("file:///etc/passwd", "bad_url"),
        ("ftp://127.0.0.1/b", "bad_url"),
        ("http://banned.example/b", "excluded"),
    ],
)
def test_a_redirect_leads_nowhere_that_a_source_may_not_name(site: Any, fetch: Fetch, target: str, reason: str) -> None:
    site.redirect("/a", target.format(port=site.address.rpartition(":")[2]))
    site.serve("/b", b"secret")
    assert failure(fetch, site.url("/a"), exclude=("banned.example",)).reason == reason
    assert site.asked() == ["/a"]


def test_a_public_host_cannot_point_at_an_allowed_private_one(crawl: Callable[..., Crawl], tmp_path: Path) -> None:
    fetcher = Fetcher(Client(crawl()), tmp_path, FetchLog(tmp_path / "log"), {})
    with pytest.raises(FetchFailure, match="private_address"):
        fetcher._redirect("http://example.org/a", "http://127.0.0.1:8080/b")
    page = b'<video src="http://127.0.0.1/a"></video><video src="/b"></video>'
    assert fetcher._page("http://example.org/", page) == Page(("http://example.org/b",))


def test_robots_txt_is_asked_before_every_hop(site: Any, fetch: Fetch, clip: Clip) -> None:
    site.serve("/robots.txt", b"User-agent: *\nDisallow: /closed\n")
    site.redirect("/open", "/closed")
    site.serve("/closed", clip(1, 3_000))
    assert [failure(fetch, site.url(path)).reason for path in ("/closed", "/open")] == ["robots", "robots"]
    assert site.asked() == ["/open"]


def test_an_excluded_or_unlicensed_item_is_not_even_asked_for(site: Any, fetch: Fetch, clip: Clip) -> None:
    url = site.serve("/a", clip(1, 3_000))
    assert failure(fetch, url, exclude=("127.0.0.1",)).reason == "excluded"
    assert failure(fetch, url, exclude=(site.url("/"),)).reason == "excluded"
    assert failure(fetch, url, licences=("CC0",)).reason == "licence"
    assert failure(fetch, url, licences=("CC0",), licence="all mine").reason == "licence"
    assert not site.requests
    assert fetch(url, licences=("CC0",), licence="CC0").bytes == 3_000


def test_a_compressed_body_that_nobody_asked_for_is_refused(site: Any, fetch: Fetch, clip: Clip) -> None:
    assert failure(fetch, site.serve("/a", clip(1, 3_000), Content_Encoding="gzip")).reason == "encoded"


def test_a_local_file_is_copied_unless_it_is_excluded(tmp_path: Path, fetch: Fetch, clip: Clip) -> None:
    (tmp_path / "a.mp4").write_bytes(clip(1, 3_000))
    url = file_url(tmp_path / "a.mp4")
    assert fetch(url).robots == "local"
    assert failure(fetch, url, exclude=(file_url(tmp_path),)).reason == "excluded"


def test_every_request_leaves_a_row_in_the_volatile_log(site: Any, fetch: Fetch, clip: Clip, tmp_path: Path) -> None:
    fetch(site.serve("/a", clip(1, 3_000), ETag='"v1"'))
    failure(fetch, site.url("/b"))
    rows = [json.loads(line) for line in (tmp_path / "fetches.volatile.jsonl").read_text().splitlines()]
    assert [(row["url"], row["status"], row.get("bytes"), row.get("failure")) for row in rows] == [
        (site.url("/a"), 200, 3_000, None),
        (site.url("/b"), 404, None, "http_status: 404"),
    ]
    assert rows[0]["headers"]["etag"] == '"v1"' and rows[0]["seconds"] >= 0
