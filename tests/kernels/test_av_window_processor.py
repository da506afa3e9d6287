"""On a processor: the same numbers, from the pairs of live blocks alone."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from avctl.kernels import av_window_processor
from avctl.kernels import windows as module
from avctl.kernels.av_window_attention import av_window_attention, av_window_attention_reference, flops
from avctl.kernels.av_window_processor import attend, differentiate, wide
from avctl.kernels.exact import with_gradients
from avctl.kernels.windows import VIDEO, Windows, av_windows, block_map, count_live
from tests.kernels.test_windows import LENGTHS, NEAR, tokens


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 16)


class Attention(TorchDispatchMode):
    """What PyTorch's attention is given: pairs of queries and keys, and masks."""

    def __init__(self):
        super().__init__()
        self.pairs, self.masks = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default:
            self.pairs += args[0].shape[2] * args[1].shape[2]
            self.masks += kwargs.get("attn_mask") is not None
        return function(*args, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("windows", [av_windows(0.5), NEAR, Windows(((-1.0,) * 3,) * 3)])
def test_it_is_the_reference(windows: Windows, dtype: torch.dtype, amx: bool, as_exact_as_eager) -> None:
    for lengths in LENGTHS:
        map = block_map(*tokens(lengths), windows)
        generator = torch.Generator().manual_seed(0)
        inputs = [torch.randn(sum(lengths), 2, 24, generator=generator).to(dtype) for _ in range(3)]
        if dtype == torch.float64:
            pairs = zip(
                with_gradients(lambda *x, map=map: av_window_attention(*x, map=map), inputs),
                with_gradients(lambda *x, map=map: av_window_attention_reference(*x, map=map), inputs),
                strict=True,
            )
            assert all(torch.allclose(a, b, atol=1e-12) for a, b in pairs)
        else:
            as_exact_as_eager(
                lambda *x, map=map: av_window_attention(*x, map=map),
                lambda *x, map=map: av_window_attention_reference(*x, map=map),
                inputs,
            )


@pytest.mark.parametrize(
    ("together", "rows", "blocks", "masks"), [(1, inf, 26, 0), (1, 2.0, 26, 10), (2, inf, 32, 5), (2, 2.0, 32, 5)]
)
def test_dead_blocks_are_not_computed_and_full_ones_not_masked(
    together: int, rows: float, blocks: int, masks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips of four and of six frames, a block each, that see the next ones: two together have the keys of four."""
    monkeypatch.setattr(av_window_processor, "TOGETHER", together)
    kind, place, packed = tokens((64, 96))
    kind[:], place[:, 0] = VIDEO, torch.arange(160) // 16
    map = block_map(kind, place, packed, Windows(((1.0,) * 3,) * 3, rows=rows))
    q, k, v, dout = torch.randn(4, 160, 2, 8)
    with Attention() as given:
        out, lse = attend(q, k, v, map, 1.0)
    pairs, found = blocks * 16 * 16, count_live(map)
    assert (given.pairs, given.masks) == (pairs, masks) and found.of_blocks == 26 * 16 * 16
    with FlopCounterMode(display=False) as counter:
        differentiate(dout, out, lse, q, k, v, map, 1.0)
    assert counter.get_total_flops() == flops(pairs, 2, 8)[1]


def test_what_is_computed_in_is_at_least_float32() -> None:
    formats = torch.bfloat16, torch.float16, torch.float32, torch.float64
    assert [wide(format) for format in formats] == [torch.float32] * 3 + [torch.float64]
