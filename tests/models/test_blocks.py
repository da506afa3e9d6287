"""A block at its start changes nothing, and every token is modulated by its own group."""

from __future__ import annotations

import torch

from avctl.models.blocks import Groups, JointBlock, normalize, rms_normalize
from avctl.models.rope import rotation

WIDTH, HEADS = 32, 2
COS_SIN = rotation(torch.rand(7, 3), WIDTH // HEADS)


def streams() -> tuple[list[torch.Tensor], list[Groups]]:
    """Two streams of 4 and 3 tokens; the second has two groups."""
    xs = [torch.randn(2, 4, WIDTH), torch.randn(2, 3, WIDTH)]
    member = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).expand(2, -1, -1)
    return xs, [Groups(torch.randn(2, 1, WIDTH), torch.ones(2, 4, 1)), Groups(torch.randn(2, 2, WIDTH), member)]


@torch.no_grad()
def randomize(block: JointBlock) -> JointBlock:
    for parameter in block.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return block


def test_a_new_block_passes_its_input_on() -> None:
    xs, groups = streams()
    out = JointBlock(2, WIDTH, HEADS, 4.0)(xs, groups, COS_SIN)
    assert all(torch.equal(a, b) for a, b in zip(out, xs, strict=True))


@torch.no_grad()
def test_streams_listen_to_each_other() -> None:
    xs, groups = streams()
    block = randomize(JointBlock(2, WIDTH, HEADS, 4.0))
    before = block(xs, groups, COS_SIN)
    after = block([xs[0], xs[1] + 1e-2 * torch.randn_like(xs[1])], groups, COS_SIN)
    assert not torch.allclose(before[0], after[0], atol=1e-6)


@torch.no_grad()
def test_a_token_is_modulated_by_its_own_group() -> None:
    _, groups = streams()
    block = randomize(JointBlock(2, WIDTH, HEADS, 4.0))
    stream = block.streams[1]
    changed = Groups(groups[1].cond.clone(), groups[1].member)
    changed.cond[:, 1] += 1.0
    before, after = (torch.stack(stream.modulation(g)) for g in (groups[1], changed))
    differs = (before - after).abs().amax((0, 1, 3)) > 1e-6
    assert differs.tolist() == [False, True, False]


@torch.no_grad()
def test_every_stream_has_weights_of_its_own() -> None:
    x, group = torch.randn(1, 3, WIDTH), Groups(torch.randn(1, 1, WIDTH), torch.ones(1, 3, 1))
    block = randomize(JointBlock(2, WIDTH, HEADS, 4.0))
    out = block([x, x], [group, group], rotation(torch.zeros(6, 3), WIDTH // HEADS))
    assert not torch.allclose(out[0], out[1], atol=1e-3)


@torch.no_grad()
def test_queries_and_keys_have_a_fixed_size_whatever_comes_in() -> None:
    xs, groups = streams()
    stream = JointBlock(1, WIDTH, HEADS, 4.0).streams[0]
    for scale in (1e-2, 1.0, 1e3):
        qk, _ = stream.qkv(scale * xs[0], stream.modulation(groups[0]))
        assert torch.allclose(qk.square().mean(-1).sqrt(), torch.full((2, 4, 2, HEADS), 1.2), rtol=1e-3)


def test_norms_follow_their_formulas() -> None:
    x = torch.randn(3, 5, WIDTH)
    centred = x - x.mean(-1, keepdim=True)
    assert torch.allclose(normalize(x), centred / centred.square().mean(-1, keepdim=True).sqrt(), atol=1e-4)
    assert torch.allclose(rms_normalize(x), x / x.square().mean(-1, keepdim=True).sqrt(), atol=1e-4)
