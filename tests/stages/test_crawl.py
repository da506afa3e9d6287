import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from avctl.job import InputError, Interrupted, Job, StageError
from avctl.schema import Clip, Crawl, Directory, Manifest, Recipe, Synthetic, Web
from avctl.stages.crawl import run

# The web site of the crawl's own tests.
_spec = spec_from_file_location("crawl_conftest", Path(__file__).parents[1] / "crawl" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_conftest = module_from_spec(_spec)
_spec.loader.exec_module(_conftest)
site, clip = _conftest.site, _conftest.clip

PROGRAM = """
import sys
from pathlib import Path
from threading import Event
from avctl.job import Job, StageError
from avctl.schema import Recipe
from avctl.stages.crawl import run

class Silent:
    def progress(self, *_, **__): pass
    log = rewind = note = warn = progress

if __name__ == "__main__":
    recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
    try:
        run(Job(recipe, {}, Path(sys.argv[2]), Silent(), Event()))
    except StageError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
"""


class Notes:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.last: tuple[int, int | None] | None = None

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None:
        self.last = (done, total)

    def log(self, **metrics: Any) -> None:
        self.rows.append(metrics)

    def rewind(self, step: int) -> None: ...

    def note(self, text: str) -> None:
        self.texts.append(text)

    warn = note


def recipe(**fields: Any) -> Recipe:
    section = Crawl(**{"allow_private": ("127.0.0.1",), "backoff_s": 0.01, **fields})
    return Recipe(name="test", clip=Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=16_000), crawl=section)


def crawl(out: Path, stop: Event | None = None, retry: bool = False, **fields: Any) -> Notes:
    out.mkdir(exist_ok=True)
    notes = Notes()
    run(Job(recipe(**fields), {}, out, notes, stop or Event(), retry))
    return notes


def rows(out: Path, query: str) -> list[tuple]:
    with sqlite3.connect(out / "ledger.sqlite") as ledger:
        return ledger.execute(query).fetchall()


def tree(out: Path) -> dict[str, bytes]:
    """Everything in the artifact that must be the same for the same crawl."""
    files = (path for path in out.rglob("*") if path.is_file() and not path.name.endswith(".volatile.jsonl"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def world(site: Any, clip: Callable[[int, int], bytes], tmp_path: Path) -> dict[str, Any]:
    """A crawl of everything: pages, files, duplicates, failures, redirects, a folder and a manifest."""
    links = "".join(f'<a href="/f/{index}.mp4">x</a>' for index in range(12))
    site.serve("/index.html", f"<html>{links}<a href='/gone.mp4'>y</a></html>".encode(), Content_Type="text/html")
    for index in range(16):
        site.serve(f"/f/{index}.mp4", clip(index % 11, 40_000), ETag=f'"{index}"')
    site.redirect("/moved", "/f/13.mp4")
    site.serve("/text.mp4", b"once upon a time " * 100)
    site.serve("/robots.txt", b"User-agent: *\nDisallow: /closed\n")
    films = tmp_path / "films"
    films.mkdir()
    for index in range(20, 26):
        (films / f"{index} ä.mp4").write_bytes(clip(index, 30_000))
    (films / "20 ä.txt").write_text("a caption")
    (films / "broken.mp4").write_bytes(b"")
    row = {"caption": "from the manifest", "licence": "CC0", "split": "test", "truth": {"events_s": [0.5]}}
    table = [{"url": site.url(f"/f/{index}.mp4"), **row} for index in (13, 14, 2)] + [{"path": "films/21 ä.mp4"}]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, table)))
    urls = tuple(site.url(path) for path in ("/index.html", "/moved", "/text.mp4", "/closed/a.mp4", "/f/15.mp4"))
    return {"sources": (Web(urls=urls), Directory(path=films), Manifest(path=tmp_path / "table.jsonl"))}


def test_every_source_gives_files_with_where_they_came_from(world: dict[str, Any], site: Any, tmp_path: Path) -> None:
    notes = crawl(tmp_path / "out", **world)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["fetches.volatile.jsonl", "files", "ledger.sqlite"]
    files = rows(out, "SELECT path, sha256, bytes FROM files")
    assert {path.relative_to(out).as_posix() for path in (out / "files").rglob("*.mp4")} == {row[0] for row in files}
    assert len(files) == 11 + 6  # contents of the site, and of the folder
    assert dict(rows(out, "SELECT url, reason FROM dead")) == {
        site.url("/gone.mp4"): "http_status",
        site.url("/text.mp4"): "not_media",
        site.url("/closed/a.mp4"): "robots",
        (tmp_path / "films" / "broken.mp4").as_uri(): "empty",
    }
    assert rows(out, "SELECT caption FROM files WHERE url LIKE '%/20%'") == [("a caption",)]
    # /f/2.mp4 and /f/13.mp4 were named by earlier sources or have the bytes of an earlier file
    assert rows(out, "SELECT count(*) FROM files WHERE caption = 'from the manifest'") == [(0,)]
    assert len(rows(out, "SELECT * FROM duplicates")) == 5  # 11, moved, 15 (= 4), 13 and 14 have earlier bytes
    assert notes.rows == [
        {"files": 17, "bytes": 22 * 30_000 + 16 * 10_000, "duplicates": 5, "pages": 1, "dead": 4,
         "dead/empty": 1, "dead/http_status": 1, "dead/not_media": 1, "dead/robots": 1}
    ]  # fmt: skip
    assert len(site.asked()) == len(set(site.asked())) + 1  # 13 is asked for by its own name and by its old one


def test_a_manifest_says_what_is_known_of_each_file(world: dict[str, Any], site: Any, tmp_path: Path) -> None:
    crawl(tmp_path / "out", sources=world["sources"][2:])
    about = rows(tmp_path / "out", "SELECT caption, licence, split, truth FROM files WHERE url LIKE '%/f/13.mp4'")
    assert about == [("from the manifest", "CC0", "test", '{"events_s": [0.5]}')]


def test_the_same_crawl_twice_gives_the_same_bytes(world: dict[str, Any], tmp_path: Path) -> None:
    crawl(tmp_path / "a", **world)
    crawl(tmp_path / "b", **world)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize("seed", range(2))
def test_a_crawl_killed_at_any_request_ends_as_if_undisturbed(
    world: dict[str, Any], site: Any, tmp_path: Path, seed: int
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "recipe.json").write_text(recipe(**world).model_dump_json())
    crawl(tmp_path / "whole", **world)
    site.requests.clear()
    out, moments = tmp_path / "killed", random.Random(seed)
    out.mkdir()
    codes = [killed(site, moments.randint(1, 12), tmp_path) for _ in range(4)]
    assert codes.count(-signal.SIGKILL) >= 2
    assert killed(site, 10**9, tmp_path) == 0
    assert tree(out) == tree(tmp_path / "whole")


def killed(site: Any, after: int, folder: Path) -> int:
    """Runs the crawl of `folder` and kills it at the request number `after`, counted from now; its exit code."""
    fatal = len(site.requests) + after
    command = [sys.executable, "program.py", "recipe.json", "killed"]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        site.on_request = lambda number: number == fatal and process.kill()
        code = process.wait()
        site.on_request = lambda number: None
    return code


def test_a_stop_saves_everything_and_the_same_command_goes_on(world: dict[str, Any], site: Any, tmp_path: Path) -> None:
    crawl(tmp_path / "whole", **world)
    site.requests.clear()
    stop = Event()
    site.on_request = lambda number: stop.set() if number == 5 else None
    with pytest.raises(Interrupted):
        crawl(tmp_path / "out", stop, **world)
    assert not (tmp_path / "out" / "ledger.sqlite").exists()
    crawl(tmp_path / "out", **world)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_finished_crawl_run_again_asks_for_nothing(world: dict[str, Any], site: Any, tmp_path: Path) -> None:
    crawl(tmp_path / "out", **world)
    before = tree(tmp_path / "out")
    site.requests.clear()
    crawl(tmp_path / "out", **world)
    assert not site.requests and tree(tmp_path / "out") == before


def test_a_retry_tries_dead_letters_and_nothing_else(
    world: dict[str, Any], site: Any, clip: Callable[[int, int], bytes], tmp_path: Path
) -> None:
    crawl(tmp_path / "first", **world)
    site.serve("/gone.mp4", clip(99, 5_000))
    site.requests.clear()
    shutil.copytree(tmp_path / "first", tmp_path / "again")
    crawl(tmp_path / "again", retry=True, **world)
    assert {"/gone.mp4", "/text.mp4"} <= set(site.asked()) <= {"/gone.mp4", "/text.mp4", "/index.html"}
    crawl(tmp_path / "fresh", **world)
    assert tree(tmp_path / "again") == tree(tmp_path / "fresh")


def test_a_crawl_without_a_single_file_says_why(site: Any, tmp_path: Path) -> None:
    site.serve("/text.mp4", b"no film" * 300)
    urls = tuple(site.url(path) for path in ("/text.mp4", "/gone.mp4", "/gone2.mp4"))
    with pytest.raises(StageError) as caught:
        crawl(tmp_path / "out", sources=(Web(urls=urls),))
    assert caught.value.message.startswith("not one of 3 items gave a file; the first: http")
    assert "gone.mp4: http_status, 404" in caught.value.message
    assert "2 http_status, 1 not_media" in str(caught.value.hint) and "--retry" in str(caught.value.hint)
    site.serve("/gone.mp4", b"\x00\x00\x00\x18ftypisom" + bytes(2_000))
    crawl(tmp_path / "out", retry=True, sources=(Web(urls=urls),))
    assert len(rows(tmp_path / "out", "SELECT * FROM files")) == 1


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    with pytest.raises(StageError) as caught:
        crawl(tmp_path / "out", sources=(Directory(path=tmp_path / "films"),))
    assert caught.value.hint == "the sources hold no media file"


def test_a_missing_source_is_an_input_error(site: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone"):
        crawl(tmp_path / "out", sources=(Directory(path=tmp_path / "gone"),))


def test_only_the_first_files_in_source_order_are_kept(world: dict[str, Any], tmp_path: Path) -> None:
    crawl(tmp_path / "all", **world)
    for count in (1, 5, 13):
        crawl(tmp_path / f"{count}", max_files=count, **world)
        kept = rows(tmp_path / f"{count}", "SELECT sha256 FROM files")
        first = rows(tmp_path / "all", f"SELECT sha256 FROM files ORDER BY position LIMIT {count}")
        assert sorted(kept) == sorted(first)
        assert len([path for path in (tmp_path / f"{count}" / "files").rglob("*") if path.is_file()]) == count


def test_a_server_that_is_busy_for_a_while_is_asked_again(
    site: Any, clip: Callable[[int, int], bytes], tmp_path: Path
) -> None:
    answers = iter((503, 429))

    def answer(request: Any) -> None:
        status = next(answers, 200)
        request.send(status, clip(1, 3_000) if status == 200 else b"", Retry_After="0")

    site.pages["/a.mp4"] = answer
    crawl(tmp_path / "out", sources=(Web(urls=(site.url("/a.mp4"),)),))
    assert site.asked() == ["/a.mp4"] * 3 and len(rows(tmp_path / "out", "SELECT * FROM files")) == 1


def test_a_disk_that_takes_no_more_ends_the_stage_and_nothing_is_lost(
    site: Any, clip: Callable[[int, int], bytes], tmp_path: Path
) -> None:
    urls = (site.serve("/small.mp4", clip(1, 3_000)), site.serve("/large.mp4", clip(2, 3_000_000)))
    (tmp_path / "recipe.json").write_text(recipe(sources=(Web(urls=urls),)).model_dump_json())
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    (tmp_path / "program.py").write_text(limit + PROGRAM)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "program.py", "recipe.json", "out"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.splitlines()[-1].startswith("OSError: [Errno 27] File too large")
    crawl(tmp_path / "out", sources=(Web(urls=urls),))
    assert len(rows(tmp_path / "out", "SELECT * FROM files")) == 2 and not rows(tmp_path / "out", "SELECT * FROM dead")


def test_synthetic_clips_come_over_http_with_their_truth(tmp_path: Path) -> None:
    world = Synthetic(count=6, seconds=0.5, size=(16, 16), unseen=9)
    notes = crawl(tmp_path / "out", sources=(world,))
    files = rows(tmp_path / "out", "SELECT url, final_url, robots, caption, truth FROM files ORDER BY url")
    assert len(files) == 6 and notes.rows[0]["dead"] == 0
    for url, final_url, robots, caption, truth in files:
        assert url == final_url and url.startswith("synthetic://") and robots == "allowed"
        assert caption and json.loads(truth)["events_s"] is not None
    fetches = (tmp_path / "out" / "fetches.volatile.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in fetches] == [200] * 6


@pytest.mark.slow
def test_a_synthetic_crawl_killed_while_it_renders_ends_as_if_undisturbed(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"sources": (Synthetic(count=40, seconds=0.5, size=(16, 16)),)}
    crawl(tmp_path / "whole", **fields)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "recipe.json").write_text(recipe(**fields).model_dump_json())
    out, log = tmp_path / "killed", tmp_path / "killed" / "fetches.volatile.jsonl"
    out.mkdir()
    for fetched in (1, 8, 9, 25):
        command = [sys.executable, "program.py", "recipe.json", str(out)]
        with subprocess.Popen(command, cwd=tmp_path) as process:
            while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < fetched):
                os.sched_yield()
            process.kill()
    crawl(out, **fields)
    assert tree(out) == tree(tmp_path / "whole")
