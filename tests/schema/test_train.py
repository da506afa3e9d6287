from __future__ import annotations

from collections.abc import Callable

import pytest

from avctl.schema import Optim, TaskMix, TrainGenerator

Refusal = Callable[[Callable[[], object]], str]


def test_betas_are_shares(refusal: Refusal):
    assert "`Optim.betas`" in refusal(lambda: Optim(betas=(2.0, 0.9)))


def test_a_mix_of_no_task_is_refused(refusal: Refusal):
    assert "at least one task" in refusal(lambda: TaskMix(text_to_both=0.0))
    assert TaskMix(text_to_both=0.0, extend=1.0).extend == 1.0


@pytest.mark.parametrize(
    "build",
    [
        lambda: TrainGenerator(steps=0, batch=1),
        lambda: TrainGenerator(steps=1, batch=1, ema=1.0),
        lambda: Optim(lr=0.0),
        lambda: Optim(betas=(0.9,)),  # pyright: ignore
        lambda: TrainGenerator(steps=1, batch=1, dtype="float16"),  # pyright: ignore
    ],
)
def test_values_without_meaning_are_refused(refusal: Refusal, build: Callable[[], object]):
    assert refusal(build)
