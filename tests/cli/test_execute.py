from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.artifact import manifest
from avctl.artifact.lock import Lock

Finish = Callable[..., tuple[int, str, str]]
Drive = Callable[..., subprocess.Popen[str]]

WAITING = """
def crawl(job):
    (job.out / "half").write_text("half")
    print("at work", flush=True)
    job.stop.wait()
    raise Interrupted()
"""
HANGING = """
import signal
def crawl(job):
    print("at work", flush=True)
    while True:
        signal.pause()
"""


def only(pattern: str) -> Path:
    found = list(Path("runs").glob(pattern))
    assert len(found) == 1
    return found[0]


def test_each_artifact_is_one_line_of_standard_output(finish: Finish):
    code, out, err = finish()
    assert code == 0
    paths = [Path(line) for line in out.splitlines()]
    assert [path.parent.name for path in paths] == ["crawl", "preprocess"]
    assert (paths[1] / "data").read_text() == "crawl preprocess"
    made = manifest.read(paths[1])
    assert made.inputs["crawl"]["digest"] == manifest.read(paths[0]).digest
    assert "crawl: files 1/1" in err


def test_the_same_command_again_says_done(finish: Finish):
    first = finish()
    code, out, err = finish("def crawl(job): raise AssertionError")
    assert (code, out) == (0, first[1])
    assert err.count("is done") == 2


def test_a_failing_stage_shows_its_last_line_and_the_place_of_the_trace(finish: Finish):
    code, out, err = finish("def crawl(job): return 1 / 0")
    error_file = only("crawl/*.partial/error.txt")
    assert code == 1 and out == ""
    assert "error: crawl failed: ZeroDivisionError: division by zero" in err
    assert f"traceback in `{error_file}`" in err and "Traceback" not in err
    assert "return 1 / 0" in error_file.read_text() and "Traceback" in error_file.read_text()
    assert manifest.read(error_file.parent).state == "failed"
    assert finish()[0] == 0


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("def crawl(job): raise StageError('no clip is left', 'loosen the filters')", 1, "no clip is left"),
        ("def crawl(job): raise InputError('the crawl is empty')", 4, "the crawl is empty"),
        ("def crawl(job): raise MachineError('no GPU', 'buy one')", 6, "no GPU"),
        ("def crawl(job): import nonsense", 6, "`crawl` needs the package `nonsense`"),
        ("def crawl(job): sys.exit(0)", 1, "crawl failed: SystemExit"),
        ("def crawl(job): raise MemoryError", 1, "crawl failed: MemoryError"),
    ],
)
def test_each_way_to_fail_has_its_exit_code(finish: Finish, body: str, code: int, message: str):
    found, out, err = finish(body)
    assert (found, out) == (code, "")
    assert f"error: {message}" in err


def test_a_full_disk_is_named_and_the_command_can_go_on(finish: Finish):
    full = "def crawl(job):\n  (job.out / 'data').symlink_to('/dev/full')\n  (job.out / 'data').write_text('x')"
    code, _, err = finish(full)
    assert code == 6 and "error: no space left on the disk of" in err and "hint: free some space" in err
    only("crawl/*.partial/data").unlink()
    assert finish()[0] == 0


@pytest.mark.parametrize(
    "cause",
    ["sqlite3.OperationalError('database or disk is full')", "Exception('I/O error: No space left (os error 28)')"],
)
def test_a_full_disk_is_known_by_its_other_names(finish: Finish, cause: str):
    code, _, err = finish(f"import sqlite3\ndef crawl(job): raise RuntimeError from {cause}")
    assert code == 6 and "error: no space left" in err


def test_another_writer_is_respected(finish: Finish):
    finish(WAITING.replace("job.stop.wait()", "pass"))
    fingerprint = manifest.read(only("crawl/*.partial")).fingerprint
    lock = Lock(Path(f"runs/crawl/.{fingerprint}.lock"), "it")
    code, _, err = finish()
    lock.release()
    assert code == 5 and "is being written by process" in err
    assert finish()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_the_first_signal_lets_the_stage_save(drive: Drive, finish: Finish, number: signal.Signals):
    process = drive(WAITING)
    assert process.stdout and process.stdout.readline() == "at work\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "run the same command again" in err
    assert manifest.read(only("crawl/*.partial")).state == "interrupted"
    code, _, _ = finish("def crawl(job): (job.out / 'half').rename(job.out / 'data')")
    assert code == 0


def test_the_second_signal_leaves_at_once(drive: Drive):
    process = drive(HANGING)
    assert process.stdout and process.stderr and process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    while "stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_stage_that_does_not_save_is_left_after_the_grace_time(drive: Drive, finish: Finish):
    process = drive("GRACE_S = 0.1\n" + HANGING)
    assert process.stdout and process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "not saved after 0.1 s" in err
    assert finish()[0] == 0


def test_a_killed_run_is_taken_over(drive: Drive, finish: Finish):
    process = drive(WAITING)
    assert process.stdout and process.stdout.readline() == "at work\n"
    process.kill()
    process.communicate()
    assert manifest.read(only("crawl/*.partial")).state == "running"
    code, _, _ = finish("def crawl(job): (job.out / 'half').rename(job.out / 'data')")
    assert code == 0
    assert len(manifest.read(only("crawl/*-*")).started) == 2


def test_force_makes_again_and_keeps_the_old(finish: Finish):
    first = finish()
    again = finish(
        "OPTIONS = Options(store=Path('runs'), force=True)\ndef crawl(job): (job.out / 'data').write_text('new')"
    )
    assert again[:2] == first[:2] and again[0] == 0
    crawl = Path(again[1].splitlines()[0])
    assert (crawl / "data").read_text() == "new"
    assert (crawl.with_name(crawl.name + ".1") / "data").read_text() == "crawl"


def test_retry_starts_from_a_copy_of_the_artifact(finish: Finish):
    finish()
    body = "OPTIONS = Options(store=Path('runs'), retry=True)\ndef crawl(job):\n  assert job.retry\n"
    body += "  (job.out / 'data').write_text((job.out / 'data').read_text() + ' again')"
    code, out, _ = finish(body)
    assert code == 0
    assert (Path(out.splitlines()[0]) / "data").read_text() == "crawl again"
    assert (Path(out.splitlines()[1]) / "data").read_text() == "crawl again preprocess"


def test_what_was_made_from_other_data_is_made_again(finish: Finish):
    finish()
    before = only("crawl/*")
    before.rename(before.with_name("aside"))
    code, out, err = finish("def crawl(job): (job.out / 'data').write_text('new')")
    assert code == 0 and err.count("was made from other data: making it again") == 1
    assert (Path(out.splitlines()[1]) / "data").read_text() == "new preprocess"


def test_a_dry_run_makes_nothing(finish: Finish):
    code, out, err = finish("OPTIONS = Options(store=Path('runs'), is_dry=True)")
    assert code == 0 and out == "None\nNone\n"
    assert "would make crawl fine-" in err
    assert not list(Path("runs").glob("*/*"))


def test_rows_of_the_log_are_kept(finish: Finish):
    finish("def crawl(job): job.report.log(step=1, loss=0.5); job.report.warn('odd'); (job.out / 'x').touch()")
    rows = [json.loads(line) for line in only("crawl/*/log.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in row.items() if k != "time"} for row in rows] == [
        {"step": 1, "loss": 0.5},
        {"warning": "odd"},
    ]
