"""The bench of windows times who computes the same, and says who does not."""

from __future__ import annotations

import pytest
import torch

from avctl.kernels.av_window_attention import flops
from avctl.kernels.cases import Draw
from avctl.kernels.windows import count_live
from benches import windows
from benches.device import Device

HERE = Device(torch.device("cpu"), torch.float32, 2**20)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """The queries, keys and values that are checked of a short clip, and their windows; FlexAttention compiles for too
    long."""

    def refuse(*qkv: object) -> torch.Tensor:
        raise NotImplementedError("no compiler\nat all")

    monkeypatch.setattr(windows, "_flex", lambda map: refuse)
    monkeypatch.setattr(windows, "ROUNDS", 2)
    return windows._inputs(700, 32, HERE, seed=0)


def test_everybody_has_a_row_and_a_ratio(small) -> None:
    _, map = small
    rows = {row.what.split(": ", 1)[1]: row for row in windows._race(700, 32, HERE, 1e12) if "backward" in row.what}
    assert rows["avctl"].details["calls"] == 2 and rows["avctl"].details["timing"] == "clock"
    assert [*rows] == ["avctl", "FlexAttention", "mask", "dense", "mask over avctl", "dense over avctl"]
    assert rows["FlexAttention"].failure == "does not run: NotImplementedError: no compiler"
    for name, pairs in (("avctl", count_live(map).of_blocks), ("dense", 700**2)):
        rate = sum(flops(pairs, 1, 32)) / (1e-3 * rows[name].median)
        assert rows[name].details["TFLOP/s"] == pytest.approx(1e-12 * rate)
        assert rows[name].details["of matmul"] == pytest.approx(1e-12 * rate)
    ratios = zip(rows["avctl"].values, rows["dense"].values, strict=True)
    assert rows["dense over avctl"].values == pytest.approx(tuple(b / a for a, b in ratios))


def test_who_computes_something_else_is_not_timed(small, monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, map = small
    ways = {way.name: way for way in windows._ways(map, count_live(map), HERE)}
    assert windows._refusal(ways["dense"], qkv, is_trained=False) is None
    wrong = ways["dense"]._replace(map=map)  # as if it were in windows
    assert (windows._refusal(wrong, qkv, is_trained=False) or "").startswith("is not exact")
    monkeypatch.setattr(windows, "_ways", lambda *_: [ways["avctl"], wrong])
    assert [len(row.values) for row in windows._race(700, 32, HERE, 1e12)] == [windows.ROUNDS, 0] * 2
    monkeypatch.setattr(windows, "_ways", lambda *_: [wrong._replace(name="avctl"), ways["mask"]])
    ours, *others = list(windows._race(700, 32, HERE, 1e12))[:2]
    assert ours.failure and ours.details["provider"] == "avctl" and [row.values != () for row in others] == [True]


def test_a_quarter_of_the_pairs_lives() -> None:
    (tokens, width), *_ = windows.CPU_SIZES
    _, (map,) = windows.CASE.make(tokens, width, Draw(torch.float32, "cpu", seed=0))
    assert 0.24 < count_live(map).density < 0.27
