"""All ways of a step are of the same numbers, and the bench has a row for each."""

from __future__ import annotations

import pytest
import torch

from avctl.compute.threads import Threads
from benches import step


def test_every_way_computes_the_gradients_of_the_same_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = next(step._settings())._replace(clips=4)
    batch = step.Batch(setting)
    seen: dict[str, int] = {}
    for name, way in step._ways(batch, lambda part, dtype: seen.update({dtype: seen.get(dtype, 0) + len(part)}),
                                Threads(1), is_split=True).items():  # fmt: skip
        way()
        assert set(seen.values()) == {4}, name
        seen.clear()
    batch.train(torch.arange(4), "float32")
    batch.sample(torch.arange(4), "auto")


def test_both_models_are_there() -> None:
    assert [setting.name for setting in step._settings()] == ["tiny", "384 channels"]
