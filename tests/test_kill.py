"""Whole stages, cut off: by `kill -9` at random moments, by Ctrl-C, by a full disk, by another process, by damage.

The measure is always an undisturbed run of the same recipe: the same command, given again, has to end with its bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

RECIPE = """
from avctl.recipe import replace
from avctl.schema import FrameAutoencoder, JointDiT, Request, Runtime, Split, Synthetic, Trained
from recipes.tiny import codec as tiny_codec
from recipes.tiny import recipe as tiny

crawl = replace(tiny.crawl, sources=(Synthetic(count=24, size=(32, 32)),))
runtime = Runtime(device="cpu", workers=2, threads=1, log_every=1)
codec = replace(
    tiny_codec,
    name="mini-codec",
    crawl=crawl,
    preprocess=replace(tiny_codec.preprocess, shard_files=4),
    model=FrameAutoencoder(channels=4, width=16),
    train=replace(tiny_codec.train, steps=60, batch=32, save_every=5),
    runtime=runtime,
)
recipe = replace(
    tiny,
    name="mini",
    crawl=crawl,
    preprocess=replace(
        tiny.preprocess, video_codec=Trained(recipe=codec), shard_files=4, split=Split(valid=0.0, test=0.3)
    ),
    model=JointDiT(width=16, num_dual=1, num_single=1, heads=2, video_patch=(2, 4, 4), audio_patch=4),
    train=replace(tiny.train, steps=60, batch=4, save_every=5, sample_every=30),
    sample=replace(
        tiny.sample,
        requests=(Request(count=4), Request(task="audio_to_video", count=4, use_caption=False)),
        steps=10,
        batch=1,
    ),
    runtime=runtime,
)
"""
STAGES = {  # in the order of work: what makes it, and the artifact
    "crawl": ("crawl", "mini.py", "mini-"),
    "codec-preprocess": ("preprocess", "mini.py::codec", "mini-codec-"),
    "codec-train": ("train", "mini.py::codec", "mini-codec-"),
    "preprocess": ("preprocess", "mini.py", "mini-"),
    "train": ("train", "mini.py", "mini-"),
    "sample": ("sample", "mini.py", "mini-"),
    "eval": ("eval", "mini.py", "mini-"),
    "export": ("export", "mini.py", "mini-"),
}
KILLS = 10  # of every stage
NOT_REPEATED = ("time", "items_per_s")  # of a row of the log


@dataclass
class Home:
    """A folder with the recipe and a store."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)  # that each command took

    @property
    def store(self) -> Path:
        return self.folder / "runs"

    def start(self, key: str, *words: str, **settings: Any) -> subprocess.Popen[str]:
        """The command of a stage, in a process group of its own."""
        stage, recipe, _ = STAGES[key]
        command = [sys.executable, "-m", "avctl", stage, recipe, *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "AVCTL_STORE": str(self.store)}
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **settings}
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, process_group=0, **settings)

    def run(self, key: str, *words: str) -> tuple[int, str]:
        """Exit code and everything said."""
        process = self.start(key, *words)
        said, _ = process.communicate(timeout=600)
        return process.returncode, said

    def make(self, key: str) -> Path:
        """The finished artifact."""
        code, said = self.run(key)
        assert code == 0, said
        return self.artifact(key)

    def artifact(self, key: str) -> Path:
        stage, _, prefix = STAGES[key]
        digits = "[0-9a-f]" * 12
        (found,) = (self.store / stage).glob(prefix + digits)
        return found

    def forget(self, key: str) -> None:
        """Remove the artifact, as if it had not been made yet."""
        shutil.rmtree(self.artifact(key))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Every stage, made without disturbance."""
    home = Home(tmp_path_factory.mktemp("calm"))
    (home.folder / "mini.py").write_text(RECIPE)
    for key in STAGES:
        start = time.monotonic()
        home.make(key)
        home.seconds[key] = time.monotonic() - start
    return home


@pytest.fixture
def home(calm: Home, tmp_path: Path) -> Home:
    """A copy of the recipe and of everything that is made."""
    shutil.copytree(calm.folder, tmp_path / "home", symlinks=True)
    return Home(tmp_path / "home", calm.seconds)


def manifest(artifact: Path) -> dict[str, Any]:
    return json.loads((artifact / "manifest.json").read_text())


def changes(one: Path, other: Path) -> set[str]:
    """Data files that are not the same in two artifacts."""
    ours, theirs = manifest(one)["files"], manifest(other)["files"]
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def losses(artifact: Path) -> list[dict[str, Any]]:
    """The rows of the log about training."""
    rows = [json.loads(line) for line in (artifact / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in NOT_REPEATED} for row in rows if "loss" in row]


def require_same(key: str, made: Path, calm: Home) -> None:
    assert changes(made, calm.artifact(key)) == set()
    if key.endswith("train"):
        assert losses(made) == losses(calm.artifact(key))


@pytest.fixture
def ray_home(home: Home, ray_cluster: Cluster) -> Home:
    """A copy of everything, where preprocess works on a Ray cluster."""
    text = (home.folder / "mini.py").read_text()
    text = text.replace("import FrameAutoencoder", "import Ray, FrameAutoencoder")
    text = text.replace("Runtime(", f'Runtime(pool=Ray(address="{ray_cluster.address}"), ')
    (home.folder / "mini.py").write_text(text)
    return home


@pytest.mark.parametrize("key", STAGES)
def test_a_stage_killed_ten_times_ends_with_the_bytes_of_an_undisturbed_run(key: str, calm: Home, home: Home):
    kill_often(key, calm, home)


def test_a_cluster_whose_driver_is_killed_ten_times_makes_the_same_bytes(calm: Home, ray_home: Home):
    ray_home.forget("preprocess")
    start = time.monotonic()
    require_same("preprocess", ray_home.make("preprocess"), calm)
    ray_home.seconds = {"preprocess": time.monotonic() - start}  # longer than on one machine
    kill_often("preprocess", calm, ray_home)


def kill_often(key: str, calm: Home, home: Home) -> None:
    moments = random.Random(key)
    kills, seconds = 0, calm.seconds[key]
    home.forget(key)
    while kills < KILLS:
        process, start = home.start(key), time.monotonic()
        try:
            said, _ = process.communicate(timeout=moments.uniform(0.3, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, said
        require_same(key, home.artifact(key), calm)
        home.forget(key)  # it was faster than the kill: from the beginning, and sooner
        seconds = min(seconds, time.monotonic() - start)
    require_same(key, home.make(key), calm)


@pytest.mark.parametrize("key", ["crawl", "preprocess", "train"])
def test_the_children_of_a_killed_command_end_and_do_no_harm(key: str, calm: Home, home: Home):
    home.forget(key)
    process = home.start(key, "--json", stderr=subprocess.PIPE)
    wait_for(process, "progress")
    process.kill()
    process.communicate(timeout=30)  # ends when the last child has, and with it its end of the pipes
    require_same(key, home.make(key), calm)


@pytest.mark.parametrize("key", ["crawl", "codec-preprocess", "codec-train", "preprocess", "train", "sample", "eval"])
def test_a_stage_stopped_by_ctrl_c_says_so_and_goes_on_later(key: str, calm: Home, home: Home):
    stop(key, calm, home)


def test_a_cluster_stopped_by_ctrl_c_is_left_without_actors(calm: Home, ray_home: Home):
    stop("preprocess", calm, ray_home)
    deadline = time.monotonic() + 30
    while (left := actors()) and time.monotonic() < deadline:
        os.sched_yield()
    assert left == []


def actors() -> list[str]:
    """The actors of preprocess on the cluster of this test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"RAY_TMPDIR={os.environ['RAY_TMPDIR']}".encode() in (process / "environ").read_bytes():
                found += [name for name in [(process / "cmdline").read_text()] if "ray::Preparing" in name]
    return found


def stop(key: str, calm: Home, home: Home) -> None:
    """Ctrl-C in the middle, then the same command again."""
    home.forget(key)
    process = home.start(key, "--json", stderr=subprocess.PIPE)
    wait_for(process, "progress")
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert json.loads(out)["error"]["kind"] == "interrupted"
    require_same(key, home.make(key), calm)


def test_of_two_processes_at_one_artifact_the_second_leaves_with_5(calm: Home, home: Home):
    home.forget("train")
    first = home.start("train", "--json", stderr=subprocess.PIPE)
    wait_for(first, "progress")
    first.send_signal(signal.SIGSTOP)  # it cannot finish while the second one looks
    code, said = home.run("train")
    first.send_signal(signal.SIGCONT)
    assert code == 5 and f"process {first.pid}" in said
    first.communicate(timeout=120)
    assert first.returncode == 0
    require_same("train", home.artifact("train"), calm)


def test_a_damaged_input_is_refused_and_named(home: Home):
    home.forget("preprocess")
    victim = max(home.artifact("crawl").glob("files/*/*"))
    victim.chmod(0o644)
    os.truncate(victim, 100)
    code, said = home.run("preprocess")
    assert code == 4 and victim.name in said and "hint:" in said
    assert "Traceback" not in said


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("key", STAGES)
def test_a_full_disk_is_one_sentence_and_the_stage_goes_on_once_there_is_space(key: str, calm: Home, disk: Path):
    home = Home(disk / "home", calm.seconds)
    shutil.copytree(calm.folder, home.folder)
    size = sum(file["bytes"] for file in manifest(home.artifact(key))["files"].values())
    home.forget(key)
    with filled(disk, free=size // 2):
        code, said = home.run(key)
    assert code == 6, said
    assert "space" in said and "Traceback" not in said
    require_same(key, home.make(key), calm)


@contextlib.contextmanager
def filled(disk: Path, free: int) -> Iterator[None]:
    """Leave only `free` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - free)
    yield
    ballast.unlink()


def test_the_same_recipe_in_two_stores_makes_the_same_artifacts(calm: Home, tmp_path: Path):
    home = Home(tmp_path)
    shutil.copy(calm.folder / "mini.py", tmp_path)
    command = [sys.executable, "-m", "avctl", "run", "mini.py", "--store", str(home.store)]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=600)
    for key in STAGES:
        assert home.artifact(key).name == calm.artifact(key).name
        assert manifest(home.artifact(key))["digest"] == manifest(calm.artifact(key))["digest"], key


def wait_for(process: subprocess.Popen[str], event: str) -> None:
    """Read the JSON lines of a command until it tells of `event`."""
    assert process.stderr
    for line in process.stderr:
        if json.loads(line)["event"] == event:
            return
    pytest.fail(f"the command ended without `{event}`")
