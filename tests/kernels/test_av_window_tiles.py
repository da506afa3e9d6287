"""Tiles: they cover blocks, they fit in registers, and kernels tell pairs as `windows` does."""

from __future__ import annotations

from math import inf

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from avctl.kernels import av_window_tiles as module
from avctl.kernels.av_window_attention import av_window_attention
from avctl.kernels.av_window_tiles import CUTS, CUTS_FLOAT32, CUTS_HOPPER, CUTS_TIGHT, by_channels, cuts, strides
from avctl.kernels.binary import read_all
from avctl.kernels.ledger import CEILINGS
from avctl.kernels.record import Launch, recording
from avctl.kernels.segments import segments
from avctl.kernels.windows import BLOCK, Windows, av_windows, block_map, live

S = 28  # of 32
IN_TIME, IN_PLACE = av_windows(1.0), Windows(((1.0,) * 3,) * 3, rows=2.0)


@triton.jit
def _lives(group_ptr, place_ptr, reach_ptr, out_ptr, S, rows, columns, IN_PLACE: tl.constexpr):
    """All pairs of 32 tokens, (own, others)."""
    token = tl.arange(0, 32)
    own = module.load_own(group_ptr, place_ptr, reach_ptr, token[:, None], S)
    lives = module.live_with(own, group_ptr, place_ptr, token[None, :], S, rows, columns, IN_PLACE)
    tl.store(out_ptr + token[:, None] * 32 + token[None, :], lives.to(tl.int32))


@pytest.mark.parametrize("place", [inf, 1.0])
def test_kernels_tell_pairs_as_windows_do_from_both_sides(place: float, interpreted: None) -> None:
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(3, (S,), generator=generator, dtype=torch.int32)
    places = torch.randint(4, (S, 3), generator=generator).float()
    windows = Windows(((inf, 2.0, inf), (0.0, 1.0, 2.0), (1.0, -1.0, inf)), place, place)
    map = block_map(kind, places, segments(torch.tensor([12, 16])), windows)
    lives = live(map, slice(None), slice(None))
    for reach, expected in zip(map.reach, (lives, lives.T), strict=True):  # of queries, and of keys
        out = torch.full((32, 32), 7, dtype=torch.int32)
        InterpretedFunction(_lives.fn)[(1,)](
            map.group, map.place, reach, out, S, map.rows, map.columns, IN_PLACE=place < inf
        )
        assert torch.equal(out[:S, :S].bool(), expected)
        assert not out[S:].any() and not out[:, S:].any(), "there are no tokens there"


def test_tiles_are_what_tensor_cores_take_and_the_widest_heads_have_some(monkeypatch: pytest.MonkeyPatch) -> None:
    for made in (*CUTS.values(), *CUTS_TIGHT.values(), CUTS_HOPPER, CUTS_FLOAT32):
        assert all(BLOCK // part >= 16 and BLOCK % part == 0 for cut in made for part in (cut.queries, cut.keys))
    in_time, in_place = (
        block_map(torch.ones(1, dtype=torch.int8), torch.zeros(1, 3), segments(torch.tensor([1])), windows)
        for windows in (IN_TIME, IN_PLACE)
    )
    for K, most in ((16, 64), (64, 64), (128, 128), (256, 256)):
        q = torch.empty(0, 1, K, dtype=torch.bfloat16)
        assert cuts(q, in_time) is CUTS[most] and cuts(q, in_place) is CUTS_TIGHT[most]
    for K, most in ((1, 64), (65, 128), (255, 256)):
        assert cuts(torch.empty(0, 1, K, dtype=torch.bfloat16), in_time) is CUTS_TIGHT[most]
    assert cuts(torch.empty(0, 1, 64), in_place) is CUTS_FLOAT32
    monkeypatch.setattr(module, "capability", lambda device: 90)
    q = torch.empty(0, 1, 128, dtype=torch.bfloat16)
    assert (
        cuts(q, in_time) is CUTS_HOPPER
        and cuts(q, in_place) is CUTS_TIGHT[128]
        and cuts(q.float(), in_time) is CUTS_FLOAT32
    )


def test_only_channels_have_to_be_side_by_side() -> None:
    packed = torch.empty(5, 3, 2, 4)
    assert strides(packed[:, 1], packed[:, 2]) == [24, 4, 24, 4]
    assert by_channels(packed[:, 1]).data_ptr() == packed[:, 1].data_ptr()
    assert by_channels(packed[:, 1].mT).stride() == (8, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("windows", [IN_TIME, IN_PLACE])
@pytest.mark.parametrize("K", [32, 64, 96, 128, 256])
def test_no_gpu_spills_and_all_have_tensor_cores_to_do_it(K: int, windows: Windows) -> None:
    made = recorded(K, windows)
    assert [launch.kernel.__name__ for launch in made] == ["_forward", "_by_queries", "_by_keys"]
    for facts in read_all([(launch, capability) for launch in made for capability in CEILINGS]):
        assert facts["spills"] == 0 and facts["tensor_cores"] > 0


@pytest.mark.slow
def test_larger_tiles_are_for_gpus_of_9_0_which_do_not_spill_them(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = recorded(128, IN_TIME)
    monkeypatch.setattr(module, "capability", lambda device: 90)
    made = recorded(128, IN_TIME)
    for launch, facts in zip(made, read_all([(launch, 90) for launch in made]), strict=True):
        assert facts["spills"] == 0 and facts["tensor_cores"] > 0, launch.name
    assert made[0].constants != plain[0].constants and made[1].constants != plain[1].constants


def recorded(K: int, windows: Windows) -> list[Launch]:
    """What both passes launch for packed queries, keys and values."""
    kind, place = torch.ones(1_024, dtype=torch.int8), torch.zeros(1_024, 3)
    with recording() as seen:
        map = block_map(kind, place, segments(torch.tensor([1_024])), windows)
        qkv = torch.empty(1_024, 3, 2, K, dtype=torch.bfloat16, requires_grad=True)
        out = av_window_attention(*qkv.unbind(1), map=map)
        torch.autograd.grad(out, qkv, torch.empty_like(out))
    return seen
