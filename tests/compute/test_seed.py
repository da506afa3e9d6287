"""A generator is known by what it is for."""

from __future__ import annotations

import torch

from avctl.compute.seed import seeded


def draw(*key: int | str) -> list[float]:
    return torch.rand(4, generator=seeded(*key)).tolist()


def test_equal_keys_draw_equal_numbers() -> None:
    assert draw(0, "train", 5) == draw(0, "train", 5)


def test_every_part_of_a_key_matters() -> None:
    keys: list[tuple[int | str, ...]] = [(0, "train", 5), (1, "train", 5), (0, "sample", 5), (0, "train", 6)]
    keys += [(0, "train"), ("0", "train", 5), (0, "train5")]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_the_numbers_are_the_same_in_every_process() -> None:
    assert seeded(0, "train", 5).initial_seed() == 3_214_578_367_979_372_225
