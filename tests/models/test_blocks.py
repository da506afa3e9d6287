"""A block at its start changes nothing, and every token is modulated by its own group."""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.kernels.groups import token_groups
from avctl.models.blocks import Groups, Joint, JointBlock
from avctl.models.packing import VIDEO, Clock, Grid, pack
from avctl.models.rope import rotation

WIDTH, HEADS, CLIPS = 32, 2, 2


CLOCK = Clock((0.1, 0.1), (0.0, 0.0))
CLIP = Grid(1, 4, 1, 3)  # two streams: a picture of 4 tokens, a sound of 3


def joint(grid: Grid = CLIP) -> Joint:
    """Two clips without text, their tokens at random places."""
    packing = pack([grid] * CLIPS, 0, CLOCK)
    turns = rotation(torch.rand(5), torch.randint(0, 5, (len(packing.stream), 3)), WIDTH // HEADS)
    return Joint(packing.joined, token_groups(packing.stream - VIDEO, 2), turns, packing, None)


def grouped(cond: Tensor, index: list[int]) -> Groups:
    return Groups(cond, token_groups(torch.tensor(index), len(cond)))


def streams() -> tuple[list[Tensor], list[Groups]]:
    """Two streams of 4 and 3 tokens a clip; in the second each clip has two groups."""
    xs = [torch.randn(4 * CLIPS, WIDTH), torch.randn(3 * CLIPS, WIDTH)]
    groups = [grouped(torch.randn(2, WIDTH), [0] * 4 + [1] * 4), grouped(torch.randn(4, WIDTH), [0, 1, 0, 2, 3, 2])]
    return xs, groups


@torch.no_grad()
def randomize(block: JointBlock) -> JointBlock:
    for parameter in block.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return block


def test_a_new_block_passes_its_input_on() -> None:
    xs, groups = streams()
    out = JointBlock(2, WIDTH, HEADS, 4.0)(xs, groups, joint())
    assert all(torch.equal(a, b) for a, b in zip(out, xs, strict=True))


@torch.no_grad()
def test_streams_listen_to_each_other_and_clips_do_not() -> None:
    xs, groups = streams()
    block, where = randomize(JointBlock(2, WIDTH, HEADS, 4.0)), joint()
    before, _ = block(xs, groups, where)
    xs[1][:3] += 1e-2 * torch.randn(3, WIDTH)  # of the first clip
    after, _ = block(xs, groups, where)
    assert not torch.allclose(before[:4], after[:4], atol=1e-6) and torch.equal(before[4:], after[4:])


@torch.no_grad()
def test_a_token_is_modulated_by_its_own_group() -> None:
    xs, groups = streams()
    stream = randomize(JointBlock(2, WIDTH, HEADS, 4.0)).streams[1]
    changed = groups[1]._replace(cond=groups[1].cond.clone())
    changed.cond[1] += 1.0
    before, after = (stream.qkv(xs[1], g, stream.modulation(g)) for g in (groups[1], changed))
    assert ((before - after).abs().amax((1, 2, 3)) > 1e-6).tolist() == [False, True, False, False, False, False]


@torch.no_grad()
def test_every_stream_has_weights_of_its_own() -> None:
    x, group = torch.randn(3 * CLIPS, WIDTH), grouped(torch.randn(1, WIDTH), [0] * 3 * CLIPS)
    where = joint(Grid(1, 3, 1, 3))
    still = where._replace(turns=rotation(torch.zeros(1), torch.zeros(12, 3, dtype=torch.long), 16))
    block = randomize(JointBlock(2, WIDTH, HEADS, 4.0))
    out = block([x, x], [group, group], still)
    assert not torch.allclose(out[0], out[1], atol=1e-3)


@torch.no_grad()
def test_the_size_of_what_comes_in_does_not_sharpen_attention() -> None:
    xs, groups = streams()
    block, where = randomize(JointBlock(2, WIDTH, HEADS, 4.0)), joint()
    heads = []
    block.streams[0].from_heads.register_forward_hook(lambda module, inputs, output: heads.append(inputs[0]))
    for scale in (1.0, 1e3):
        block([scale * x for x in xs], groups, where)
    assert torch.allclose(*heads, rtol=1e-3, atol=1e-4)
