"""What a block keeps for its backward pass, in bytes: every tensor that is alive after forward is counted."""

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
from avctl.models.packing import Clock, pack
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


def chain(blocks: int, kind: Recompute, streams: int = 1) -> nn.ModuleList:
    torch.manual_seed(0)
    layers = nn.ModuleList(JointBlock(streams, WIDTH, HEADS, 4.0) for _ in range(blocks))
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.05)
    recompute(layers, kind, torch.device("cpu"))
    return layers


def forward(
    layers: nn.ModuleList, lengths: Sequence[int] = (TOKENS // 2,) * 2, window_s: float | None = None,
    dtype: torch.dtype = torch.float32, streams: int = 1,
) -> Tensor:  # fmt: skip
    """Clips of so many tokens, which are in four groups; with a window, text, pictures and sounds by turns. Streams
    have as many tokens each."""
    torch.manual_seed(1)
    x, kind = torch.randn(TOKENS, WIDTH, dtype=dtype), torch.arange(TOKENS, dtype=torch.int32) % 3
    turns = rotation(torch.rand(9), torch.randint(0, 9, (TOKENS, 3)), WIDTH // HEADS)
    clips = segments(torch.tensor(lengths))
    windows = None
    if window_s is not None:
        place = (torch.arange(TOKENS)[:, None] / 100).expand(-1, 3).contiguous()
        windows = block_map(kind, place, clips, av_windows(window_s))
    of_stream = torch.arange(TOKENS) * streams // TOKENS
    packing = None
    if streams > 1:  # tokens of all streams by turns
        order = torch.randperm(TOKENS)
        packing = pack((), 0, Clock((1.0, 1.0), (0.0, 0.0)))._replace(order=order, back=order.argsort())
        of_stream = of_stream[order]
    joint = Joint(clips, token_groups(of_stream, streams), turns, packing, windows)
    cond = torch.randn(4, WIDTH, dtype=dtype)
    xs = list(x.split(TOKENS // streams))
    groups = [Groups(cond, token_groups(torch.arange(len(x)) * 4 // len(x), 4)) for x in xs]
    for block in layers:
        xs = block(xs, groups, joint)
    return torch.cat(xs)


def kept(kind: Recompute, lengths: Sequence[int], residual: torch.dtype, streams: int = 1) -> float:
    """Bytes that another block keeps for each token and channel, where it computes in bfloat16. Weights that autocast
    casts once for all tokens are no bytes of theirs."""
    alive = []
    for blocks in (1, 2):
        layers = chain(blocks, kind, streams).to(residual)
        with Allocated() as allocated, torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            out = forward(layers, lengths, dtype=residual, streams=streams)
            alive.append(allocated.alive())
            del out
    return (alive[1] - alive[0]) / (TOKENS * WIDTH)


@pytest.mark.parametrize("lengths", [(256, 256), (100, 300, 112)])
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(("residual", "most"), [(torch.bfloat16, 24.0), (torch.float32, 26.0)])
def test_a_block_keeps_less_than_24_bytes_a_channel(
    lengths: tuple[int, ...], streams: int, residual: torch.dtype, most: float
) -> None:
    """In bfloat16 2 of the input, 6 of queries, keys and values, 2 of what attention gives, 10.8 before SwiGLU and 2 of
    what the MLP gives; besides, a logarithm a head, and the tables of modulation. A residual stream in float32, as
    under autocast, is 2 more."""
    everything, cheap, blocks = (kept(kind, lengths, residual, streams) for kind in ("nothing", "cheap", "blocks"))
    assert cheap < most and everything > 2 * cheap, (cheap, everything, blocks)
    assert blocks < 1.1 * residual.itemsize


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
