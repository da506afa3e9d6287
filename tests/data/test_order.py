"""Every clip once an epoch, in an order that seed and epoch decide, and no file away from its group."""

from __future__ import annotations

import pickle

import pytest
import torch

from avctl.compute.seed import seeded
from avctl.data import order as module
from avctl.data.order import Order

FILES = [f"file {i % 10}" for i in range(100)]


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_AT_ONCE", 3)


@pytest.mark.usefixtures("few_files")
@pytest.mark.parametrize("files", [[], FILES])
def test_every_clip_comes_once_an_epoch(files: list[str]) -> None:
    order = Order(100, 0, files)
    for epoch in range(4):
        assert sorted(order.epoch(epoch)) == list(range(100))


@pytest.mark.parametrize("files", [[], FILES])
def test_what_fits_into_one_group_is_one_permutation(files: list[str]) -> None:
    for epoch in range(3):
        expected = torch.randperm(100, generator=seeded(7, "order", epoch)).tolist()
        assert Order(100, 7, files).epoch(epoch) == expected


@pytest.mark.usefixtures("few_files")
def test_three_files_are_read_at_a_time_and_clips_are_mixed_within_them() -> None:
    order = Order(100, 0, FILES)
    groups = [[FILES[clip] for clip in order.epoch(0)[first : first + 30]] for first in range(0, 90, 30)]
    assert all(len(set(group)) == 3 for group in groups)
    assert len(set().union(*groups)) == 9
    assert len(set(groups[0][:6])) > 1
    assert set(groups[0]) != {FILES[clip] for clip in order.epoch(1)[:30]}


def test_the_clips_of_one_group_have_another_order_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups of one file each: what is left when the order of the files is taken away."""
    monkeypatch.setattr(module, "FILES_AT_ONCE", 1)
    order = Order(40, 0, ["a"] * 20 + ["b"] * 20)
    of_a = [[clip for clip in order.epoch(epoch) if clip < 20] for epoch in range(3)]
    assert len(set(map(tuple, of_a))) == 3


@pytest.mark.usefixtures("few_files")
@pytest.mark.parametrize("files", [[], FILES])
def test_an_epoch_is_a_function_of_seed_and_number(files: list[str]) -> None:
    forward = [Order(100, 3, files).epoch(epoch) for epoch in range(5)]
    order = pickle.loads(pickle.dumps(Order(100, 3, files)))
    assert [order.epoch(epoch) for epoch in reversed(range(5))] == forward[::-1]
    assert forward[0] != forward[1]
    assert forward[0] != Order(100, 4, files).epoch(0)


def test_no_clips_and_clips_without_a_file_are_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        Order(0, 4)
    with pytest.raises(ValueError, match="3 files for 4 clips"):
        Order(4, 0, FILES[:3])
