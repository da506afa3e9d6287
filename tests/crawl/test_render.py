import os
import signal
import subprocess
import sys
from pathlib import Path

import av

from avctl.crawl.render import render_clip
from avctl.schema import Synthetic

SPEC = Synthetic(count=1, seconds=0.5, size=(16, 16))

PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from avctl.crawl.render import end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 3_600).result()
"""


def test_a_clip_is_rendered_once_and_the_same_every_time(tmp_path: Path) -> None:
    sidecar = render_clip(7, SPEC, tmp_path / "a")
    clip = tmp_path / "a" / "000007.mp4"
    first, time_ns = clip.read_bytes(), clip.stat().st_mtime_ns
    assert render_clip(7, SPEC, tmp_path / "a") == sidecar and clip.stat().st_mtime_ns == time_ns
    assert render_clip(7, SPEC, tmp_path / "b") == sidecar
    assert (tmp_path / "b" / "000007.mp4").read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["000007.json", "000007.mp4"]
    with av.open(str(clip)) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]


def test_a_renderer_ends_with_its_parent_even_by_kill_9(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.stdout.read()  # ends when the child, the last holder of the pipe, has ended
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]
