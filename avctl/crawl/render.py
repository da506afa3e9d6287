"""What a child process does that renders synthetic clips. It imports little, because every child pays for it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from avctl.media.mux import write_mp4
from avctl.media.synthetic import render
from avctl.schema import Synthetic


class Sidecar(NamedTuple):
    """What is known of a clip beside its bytes."""

    caption: str
    split: str | None
    truth: str  # JSON


def render_clip(index: int, spec: Synthetic, folder: Path) -> Sidecar:
    """Renders clip `index` to `folder`/<index>.mp4 unless it lies there whole; returns what is known of it."""
    clip, notes = folder / f"{index:06d}.mp4", folder / f"{index:06d}.json"
    if clip.exists():
        return Sidecar(*json.loads(notes.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    scene = render(index, spec)
    sidecar = Sidecar(scene.caption, scene.split, json.dumps(scene.truth, sort_keys=True, allow_nan=False))
    own = folder / f"{index:06d}.{os.getpid()}.mp4"  # a child of a killed crawl may still be at the same clip
    write_mp4(own, scene.frames, scene.audio, spec.fps, spec.sample_rate)
    own.with_suffix(".json").write_text(json.dumps(sidecar))
    own.with_suffix(".json").replace(notes)
    own.replace(clip)
    return sidecar


def end_with_parent() -> None:
    """When the parent is gone, even by `kill -9`, its children go. TERM is how a broken pool ends the others."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
