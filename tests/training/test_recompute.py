"""What a block keeps for its backward pass, in numbers: every tensor that is alive after forward is counted."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avctl.kernels.groups import token_groups
from avctl.kernels.segments import segments
from avctl.kernels.windows import av_windows, block_map
from avctl.models.blocks import Groups, Joint, JointBlock
from avctl.models.rope import rotation
from avctl.schema.runtime import Recompute
from avctl.training.recompute import recompute

WIDTH, HEADS, TOKENS = 256, 4, 512


class Allocated(TorchDispatchMode):
    """Every piece of memory that operations made inside, and its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **kwargs or {})
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for storage in (x.untyped_storage() for x in tree_leaves(result) if isinstance(x, Tensor)):
            if storage._cdata not in given:  # views are no memory of their own
                self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def alive(self) -> int:
        """Bytes of what is still there."""
        gc.collect()
        return sum(nbytes for storage, nbytes in self.made.values() if not storage.expired())


def chain(blocks: int, kind: Recompute) -> nn.ModuleList:
    torch.manual_seed(0)
    layers = nn.ModuleList(JointBlock(1, WIDTH, HEADS, 4.0) for _ in range(blocks))
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.05)
    recompute(layers, kind, torch.device("cpu"))
    return layers


def forward(
    layers: nn.ModuleList, lengths: Sequence[int] = (TOKENS // 2,) * 2, window_s: float | None = None
) -> Tensor:
    """Clips of so many tokens, which are in four groups; with a window, text, pictures and sounds by turns."""
    torch.manual_seed(1)
    x = torch.randn(TOKENS, WIDTH)
    tokens = token_groups(torch.arange(TOKENS) * 4 // TOKENS, 4)
    turns = rotation(torch.rand(9), torch.randint(0, 9, (TOKENS, 3)), WIDTH // HEADS)
    clips = segments(torch.tensor(lengths))
    windows = None
    if window_s is not None:
        place = (torch.arange(TOKENS)[:, None] / 100).expand(-1, 3).contiguous()
        windows = block_map(torch.arange(TOKENS, dtype=torch.int32) % 3, place, clips, av_windows(window_s))
    joint = Joint(clips, token_groups(torch.zeros(TOKENS, dtype=torch.long), 1), turns, None, windows)
    groups = Groups(torch.randn(4, WIDTH), tokens)
    for block in layers:
        (x,) = block([x], [groups], joint)
    return x


def kept(kind: Recompute, lengths: Sequence[int]) -> float:
    """Numbers that another block keeps for each token and channel."""
    alive = []
    for blocks in (1, 2):
        layers = chain(blocks, kind)
        with Allocated() as allocated:
            out = forward(layers, lengths)
            alive.append(allocated.alive())
            del out
    return (alive[1] - alive[0]) / 4 / (TOKENS * WIDTH)


@pytest.mark.parametrize("lengths", [(256, 256), (100, 300, 112)])
def test_a_block_keeps_less_than_twelve_numbers_a_channel(lengths: tuple[int, ...]) -> None:
    """24 bytes in bfloat16: the input, queries, keys and values 3, what attention gives, before SwiGLU 5.4, what the
    MLP gives; besides, a logarithm a head, and the tables of modulation."""
    everything, cheap, blocks = (kept(kind, lengths) for kind in ("nothing", "cheap", "blocks"))
    assert 11.3 < cheap < 11.6 and everything > 2.5 * cheap, (cheap, everything, blocks)
    assert 1.0 <= blocks < 1.1


@pytest.mark.parametrize("kind", ["cheap", "blocks"])
def test_gradients_are_the_same_to_the_bit(kind: Recompute) -> None:
    gradients = []
    for each in ("nothing", kind):
        layers = chain(2, each)
        gradients.append(torch.autograd.grad(forward(layers).sum(), list(layers.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_attention_in_windows_is_dear() -> None:
    calls: list[str] = []

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Sequence = (), kwargs: dict | None = None) -> Any:
            calls.append(str(func))
            return func(*args, **kwargs or {})

    expected: dict[Recompute, int] = {"nothing": 2, "cheap": 2, "blocks": 4}
    gradients = []
    for kind, times in expected.items():
        layers = chain(2, kind)
        calls.clear()
        with Calls():
            gradients.append(torch.autograd.grad(forward(layers, window_s=0.5).sum(), list(layers.parameters())))
        assert calls.count("avctl.av_window_attention.default") == times, kind
    assert all(torch.equal(a, b) for each in gradients[1:] for a, b in zip(gradients[0], each, strict=True))


def test_a_cpu_keeps_everything_unless_it_is_asked() -> None:
    layers = nn.ModuleList([JointBlock(1, WIDTH, HEADS, 4.0)])
    recompute(layers, "auto", torch.device("cpu"))
    assert "forward" not in vars(layers[0])
    recompute(layers, "auto", torch.device("cuda"))
    assert "forward" in vars(layers[0])
