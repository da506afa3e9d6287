import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from avctl.crawl.serve import serving

BODY = bytes(range(256)) * 8


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    (tmp_path / "0f").mkdir()
    (tmp_path / "0f" / "000001.mp4").write_bytes(BODY)
    (tmp_path / "0f" / "000001.json").write_text("not to be served")
    (tmp_path / "secret").write_text("not to be served")
    with serving(tmp_path) as address, httpx.Client(base_url=address) as client:
        yield client


def test_a_clip_is_served_with_its_length_and_a_strong_etag(client: httpx.Client) -> None:
    answer = client.get("/0f/000001.mp4")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, BODY, "2048")
    assert answer.headers["etag"].startswith('"')


def test_robots_txt_allows_it(client: httpx.Client) -> None:
    assert client.get("/robots.txt").text == "User-agent: *\nAllow: /\n"


@pytest.mark.parametrize(
    "path", ["/", "/0f/000002.mp4", "/0f/000001.json", "/secret", "/0f/../secret", "/0f%2f000001.mp4"]
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("asked", "body"), [("0-", BODY), ("100-", BODY[100:]), ("5-9", BODY[5:10]), ("5-9999", BODY[5:])]
)
def test_a_part_is_served_to_the_byte(client: httpx.Client, asked: str, body: bytes) -> None:
    answer = client.get("/0f/000001.mp4", headers={"Range": f"bytes={asked}"})
    first = int(asked.partition("-")[0])
    assert (answer.status_code, answer.content) == (206, body)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(body) - 1}/2048"


def test_a_part_of_another_version_is_not_served(client: httpx.Client) -> None:
    answer = client.get("/0f/000001.mp4", headers={"Range": "bytes=100-", "If-Range": '"older"'})
    assert (answer.status_code, answer.content) == (200, BODY)


def test_a_part_beyond_the_end_is_refused(client: httpx.Client) -> None:
    assert client.get("/0f/000001.mp4", headers={"Range": "bytes=2048-"}).status_code == 416


def test_a_client_that_hangs_up_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0f").mkdir()
    (tmp_path / "0f" / "000001.mp4").write_bytes(bytes(20_000_000))
    with serving(tmp_path) as address:
        url = httpx.URL(address)
        with socket.create_connection((url.host, url.port or 0)) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
            line.sendall(b"GET /0f/000001.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(100)
        while any("process_request_thread" in thread.name for thread in threading.enumerate()):
            httpx.get(f"{address}robots.txt", headers={"Connection": "close"})
    assert capfd.readouterr().err == ""
