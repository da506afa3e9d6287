"""A rendered clip as the crawl stage takes it."""

from __future__ import annotations

import time

import numpy as np

from avctl.media.synthetic import render
from avctl.media.synthetic.world import unseen_triples
from avctl.schema import Synthetic


def test_equal_arguments_give_equal_clips() -> None:
    spec = Synthetic(count=10, seed=7, unseen=9)
    first, again, other = render(3, spec), render(3, spec), render(4, spec)
    assert (first.frames == again.frames).all() and (first.audio == again.audio).all()
    assert first.caption == again.caption and first.truth == again.truth
    assert not np.array_equal(first.audio, other.audio)


def test_only_unseen_triples_go_to_the_split_of_that_name() -> None:
    spec = Synthetic(count=200, unseen=9, size=(16, 16), sample_rate=8_000)
    scenes = [render(index, spec) for index in range(200)]
    for scene in scenes:
        triple = tuple(scene.truth[name] for name in ("colour", "shape", "family"))
        assert scene.split == ("unseen" if triple in unseen_triples(9) else None)
    assert 15 < sum(scene.split == "unseen" for scene in scenes) < 55  # 9 of 54


def test_a_clip_takes_milliseconds() -> None:
    spec = Synthetic(count=50)
    render(0, spec)
    begin = time.process_time()
    for index in range(20):
        render(index, spec)
    assert (time.process_time() - begin) / 20 < 0.02  # 5 ms when it was written; the margin is for busy machines
