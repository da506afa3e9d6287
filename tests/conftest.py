"""Fixtures that tests of several layers share: recipes written to a folder, and the real command on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

RECIPE = """
from avctl.recipe import replace
from avctl.schema import (Clip, Crawl, Directory, Eval, Export, FrameAutoencoder, Haar, JointDiT, MDCT, Preprocess, Recipe,
                          Runtime, Sample, TrainAutoencoder, TrainGenerator, Trained)

clip = Clip(seconds=1.0, size=(32, 32), fps=8, sample_rate=8_000)
recipe = Recipe(
    name="small",
    clip=clip,
    crawl=Crawl(sources=(Directory(path="videos"),)),
    preprocess=Preprocess(video_codec=Haar(space=4), audio_codec=MDCT()),
    model=JointDiT(width=16, num_dual=1, num_single=1, heads=2),
    train=TrainGenerator(steps=2, batch=1),
    sample=Sample(steps=2),
    eval=Eval(),
    export=Export(),
    runtime=Runtime(device="cpu"),
)
pixels = replace(recipe, name="pixels", preprocess=Preprocess())
autoencoder = Recipe(
    name="codec",
    clip=clip,
    crawl=recipe.crawl,
    preprocess=Preprocess(),
    model=FrameAutoencoder(down=4),
    train=TrainAutoencoder(steps=2, batch=2),
)
learned = replace(
    recipe, name="learned", preprocess=Preprocess(video_codec=Trained(recipe=autoencoder), audio_codec=MDCT())
)
"""

Completed = subprocess.CompletedProcess[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a folder `videos` that holds two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.txt").write_text("a")
    (tmp_path / "videos" / "b.txt").write_text("b")
    return tmp_path


@pytest.fixture
def recipe_file(here: Path) -> Path:
    """A recipe of all six stages: `recipe`, and its relatives `pixels`, `autoencoder`, `learned`."""
    (here / "small.py").write_text(RECIPE)
    return Path("small.py")


@pytest.fixture
def avctl(here: Path) -> Callable[..., Completed]:
    """The real command, in `here`."""

    def call(*words: str | Path, env: Mapping[str, str] | None = None) -> Completed:
        command = [sys.executable, "-m", "avctl", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)

    return call
