import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from avctl.crawl.outcome import FetchFailure

Clip = Callable[[int, int], bytes]
Fetch = Callable[..., Any]


def failure(fetch: Fetch, url: str, **fields: Any) -> FetchFailure:
    with pytest.raises(FetchFailure) as caught:
        fetch(url, **fields)
    return caught.value


def serve_resumable(site: Any, path: str, body: bytes, etag: str, cut: int | None = None) -> None:
    """Serves `body` with ranges; the first answer breaks off after `cut` bytes."""
    answers = 0

    def answer(request: Any) -> None:
        nonlocal answers
        answers += 1
        span = request.headers.get("Range")
        if span and request.headers.get("If-Range") == etag:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            where = f"bytes {start}-{len(body) - 1}/{len(body)}"
            request.send(206, body[start:], ETag=etag, Content_Range=where)
        elif cut is not None and answers == 1:
            request.send(200, body[:cut], length=len(body), ETag=etag)
        else:
            request.send(200, body, ETag=etag)

    site.pages[path] = answer


def test_a_cut_transfer_goes_on_where_it_stopped(site: Any, fetch: Fetch, clip: Clip) -> None:
    serve_resumable(site, "/a", clip(1, 90_000), '"v1"', cut=40_000)
    assert failure(fetch, site.url("/a")).is_passing
    stored = fetch(site.url("/a"))
    assert stored.sha256 == hashlib.sha256(clip(1, 90_000)).hexdigest()
    headers = site.requests[-1][1]
    assert (headers["Range"], headers["If-Range"]) == ("bytes=40000-", '"v1"')


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Any, fetch: Fetch, clip: Clip) -> None:
    serve_resumable(site, "/a", clip(1, 90_000), '"v1"', cut=40_000)
    failure(fetch, site.url("/a"))
    serve_resumable(site, "/a", clip(2, 70_000), '"v2"')
    assert fetch(site.url("/a")).sha256 == hashlib.sha256(clip(2, 70_000)).hexdigest()


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_etag_a_cut_file_is_fetched_anew(site: Any, fetch: Fetch, clip: Clip, etag: str) -> None:
    headers = {"ETag": etag} if etag else {}
    site.pages["/a"] = lambda request: request.send(200, clip(1, 9_000), length=20_000, **headers)
    failure(fetch, site.url("/a"))
    site.serve("/a", clip(1, 20_000), **headers)
    assert fetch(site.url("/a")).bytes == 20_000
    assert "Range" not in site.requests[-1][1]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 0-89999/90000", "ETag": '"v1"'}),  # not where we stopped
        (206, {"Content-Range": "bytes 40000-89999/90000", "ETag": '"v2"'}),  # of another file
        (206, {"ETag": '"v1"'}),
        (416, {}),
    ],
)
def test_a_wrong_continuation_is_thrown_away(
    site: Any, fetch: Fetch, clip: Clip, status: int, headers: dict[str, str]
) -> None:
    serve_resumable(site, "/a", clip(1, 90_000), '"v1"', cut=40_000)
    failure(fetch, site.url("/a"))
    site.serve("/a", clip(2, 50_000), status, **headers)
    wrong = failure(fetch, site.url("/a"))
    assert (wrong.reason, wrong.is_passing) == ("changed", True)
    site.serve("/a", clip(3, 50_000))
    assert fetch(site.url("/a")).sha256 == hashlib.sha256(clip(3, 50_000)).hexdigest()
    assert "Range" not in site.requests[-1][1]


def test_a_continuation_that_ends_early_is_noticed(site: Any, fetch: Fetch, clip: Clip) -> None:
    serve_resumable(site, "/a", clip(1, 90_000), '"v1"', cut=40_000)
    failure(fetch, site.url("/a"))
    part = clip(1, 90_000)[40_000:60_000]
    site.serve("/a", part, 206, ETag='"v1"', Content_Range="bytes 40000-59999/90000")
    assert failure(fetch, site.url("/a")).reason == "broken_off"
    serve_resumable(site, "/a", clip(1, 90_000), '"v1"')
    assert fetch(site.url("/a")).sha256 == hashlib.sha256(clip(1, 90_000)).hexdigest()
    assert site.requests[-1][1]["Range"] == "bytes=60000-"


def test_an_endless_body_is_cut_at_the_byte_cap(site: Any, fetch: Fetch, clip: Clip) -> None:
    sent = 0

    def pour(request: Any) -> None:
        nonlocal sent
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        try:
            while not request.site.end.is_set():
                request.wfile.write(b"%x\r\n%s\r\n" % (60_000, clip(1, 60_000)))
                sent += 60_000
        except OSError:
            request.close_connection = True

    site.pages["/a"] = pour
    too_large = failure(fetch, site.url("/a"), max_bytes=1_000_000)
    assert (too_large.reason, too_large.is_passing) == ("too_large", False)
    assert sent < 100_000_000


def test_a_body_that_is_announced_too_large_is_not_read(site: Any, fetch: Fetch, clip: Clip) -> None:
    site.pages["/a"] = lambda request: request.send(200, clip(1, 3_000), length=10**15)
    assert failure(fetch, site.url("/a"), max_bytes=1_000_000).reason == "too_large"


def stall(site: Any, path: str, body: bytes) -> None:
    def answer(request: Any) -> None:
        request.send(200, body, length=10**6)
        request.wfile.flush()
        site.end.wait()

    site.pages[path] = answer


def test_a_server_that_falls_silent_is_given_up(site: Any, fetch: Fetch, clip: Clip) -> None:
    stall(site, "/a", clip(1, 3_000))
    slow = failure(fetch, site.url("/a"), speed_window_s=0.1, min_bytes_per_s=100_000.0)
    assert (slow.reason, slow.is_passing) == ("too_slow", True)


def test_a_server_that_is_fast_enough_is_not_given_up(site: Any, fetch: Fetch, clip: Clip) -> None:
    site.serve("/a", clip(1, 400_000))
    assert fetch(site.url("/a"), speed_window_s=5.0, min_bytes_per_s=1_000.0).bytes == 400_000


def test_a_file_that_takes_too_long_is_given_up(site: Any, fetch: Fetch, clip: Clip) -> None:
    stall(site, "/a", clip(1, 3_000))
    long = failure(fetch, site.url("/a"), max_seconds=0.2, min_bytes_per_s=0.0)
    assert (long.reason, long.is_passing) == ("too_long", True)
