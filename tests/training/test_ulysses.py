"""Several ranks attend as one does: outputs and gradients of processes that talk to each other, against this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avctl.training.ulysses import padded

RANK = """
import sys

import pytest
import torch
import torch.distributed as dist

from avctl.kernels.attention import attention
from avctl.kernels.av_window_attention import av_window_attention
from avctl.kernels.segments import segments
from avctl.kernels.windows import av_windows, block_map
from avctl.training.ulysses import own, padded, ulysses

rank, ranks, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
group = dist.group.WORLD
together = ulysses(attention, group)


def check(operation, alone, tokens, keys, *rest):
    generator = torch.Generator().manual_seed(tokens)
    whole = [torch.randn(count, 8, 16, generator=generator, requires_grad=True) for count in (tokens, keys, keys)]
    upstream = torch.randn(tokens, 8, 16, generator=generator)
    expected = alone(*whole, *rest)
    gradients = torch.autograd.grad(expected, whole, upstream)
    parts = [own(x.detach(), group).requires_grad_() for x in whole]
    made = operation(*parts, *rest)
    found = torch.autograd.grad(made, parts, own(upstream, group))
    for ours, theirs in zip((made, *found), (expected, *gradients), strict=True):
        torch.testing.assert_close(ours, own(theirs.detach(), group), atol=1e-6, rtol=1e-6)


def of(*lengths):
    return segments(padded(torch.tensor(lengths), ranks))


def windows(*lengths):  # of tokens that are text, picture or sound by turns, a quarter of a second apart
    row = torch.arange(sum(padded(torch.tensor(lengths), ranks)))
    place = torch.stack([row / 4, row * 0, row * 0], dim=1).float()
    return block_map((row % 3).int(), place, of(*lengths), av_windows(1.0))


def scaled(q, k, v, table, power):  # another operation: attention without a softmax
    return torch.einsum("snk,tnk,tnj->snj", q, k, v) / 100 * table**power


check(together, attention, 32, 32, of(16, 16))
check(together, attention, 36, 36, of(7, 0, 19, 10))
check(together, attention, 36, 20, of(7, 0, 19, 10), of(4, 9, 0, 7))
check(together, attention, 36, 20, of(7, 0, 19, 10), of(4, 9, 0, 7), torch.arange(20) % 3 > 0)
check(ulysses(av_window_attention, group), av_window_attention, 36, 36, windows(7, 0, 19, 10))
check(ulysses(scaled, group), scaled, 8, 8, torch.rand(8, 1, 1, generator=torch.Generator().manual_seed(1)), 2)

q = torch.randn(35, 8, 16, generator=torch.Generator().manual_seed(5))  # no number of ranks divides it
made = together(*[own(q, group)] * 3, of(7, 0, 18, 10))
expected = own(attention(q, q, q, segments(torch.tensor([7, 0, 18, 10]))), group)
tokens = min(len(made), 35 - rank * len(made))  # the others are padding
torch.testing.assert_close(made[:tokens], expected[:tokens], atol=1e-6, rtol=1e-6)

with pytest.raises(ValueError, match=f"9 heads cannot be shared by {ranks} ranks"):
    together(*[torch.zeros(4, 9, 16)] * 3, of(4 * ranks))
dist.barrier()
del group, together  # who holds the group keeps its threads alive, for longer than Python is
dist.destroy_process_group()
"""


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_attend_as_one_does(ranks: int, tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    store = tmp_path / "store"
    command = [sys.executable, str(script)]
    processes = [
        subprocess.Popen([*command, str(rank), str(ranks), str(store)], stderr=subprocess.PIPE, text=True)
        for rank in range(ranks)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks, "\n".join(errors)


def test_padding_is_a_last_sequence() -> None:
    assert padded(torch.tensor([7, 0, 18, 10]), 4).tolist() == [7, 0, 18, 10, 1]
    assert padded(torch.tensor([8, 8]), 4).tolist() == [8, 8, 0]
