"""Sound and picture that see each other in windows, against the same by FlexAttention and by a mask, and against all of
the clip: clips of which a quarter of the pairs live, `avctl.kernels.cases` says which.

Rates are of the pairs in blocks that are not dead, for everybody who may leave out the others, and of all pairs of the
clips for who may not. Everybody is checked before, and who is not exact is not timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from avctl.compute.memory import keep_freed_memory
from avctl.kernels.attention import attention
from avctl.kernels.av_window_attention import av_window_attention, flops
from avctl.kernels.cases import CASES, Draw
from avctl.kernels.exact import judge
from avctl.kernels.segments import segments
from avctl.kernels.windows import BlockMap, Live, count_live, live
from benches import ceilings
from benches.clock import MOST_CALLS, Lap, calls_of, in_turns
from benches.device import Device, device, identity, state
from benches.frame import Row, failure
from benches.race import leave_nan_behind

BENCH, COMMAND = "windows", "python -m benches windows"
CASE = CASES["av_window_attention"]
GPU_SIZES = ((32_000, 2_048), (16_000, 3_072))  # tokens of clips of 16,000, and channels of all heads
CPU_SIZES = ((8_192, 256),)
ROUNDS = 7
CALLS = {"cuda": MOST_CALLS, "cpu": 2}  # of a lap, at most: a processor computes much longer than it reads

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class Way(NamedTuple):
    name: str
    attend: Attend
    map: BlockMap  # what it computes
    pairs: int


def rows(on: Device | None = None, until: float = inf) -> Iterator[Row]:
    """Of forward, and of forward with backward. What would begin after `until`, a time of `time.monotonic`, is not
    run, and says so."""
    keep_freed_memory()
    on = on or device()
    with on.stream():
        found = list(ceilings.rows(on, COMMAND))
        yield from found
        (ceiling,) = (1e12 * row.median for row in found if row.what == "matmul")
        for tokens, width in GPU_SIZES if on.is_gpu else CPU_SIZES:
            if time.monotonic() > until:
                yield Row.too_late(BENCH, f"{tokens:,} tokens of {width:,} channels: everybody", "ms", COMMAND)
                continue
            yield from _race(tokens, width, on, ceiling)


def _race(tokens: int, channels: int, on: Device, ceiling: float) -> Iterator[Row]:
    """Of fresh queries, keys and values in every round, which go round as in `benches.race`."""
    qkv, map = _inputs(tokens, channels, on, seed=0)
    lives, (tokens, heads, width) = count_live(map), qkv[0].shape
    calls = calls_of(sum(x.nbytes for x in qkv), on, CALLS[on.torch.type])
    shape = {"tokens": tokens, "heads": heads, "width": width, "density": lives.density, "calls": calls}
    about = {**shape, "dtype": str(on.dtype).removeprefix("torch."), **identity(on), **state(on)}
    ways = list(_ways(map, lives, on))
    for is_trained in (False, True):
        what = f"{tokens:,} tokens, {lives.density:.0%} of pairs, {'forward and backward' if is_trained else 'forward'}"
        refused = {way.name: _refusal(way, qkv, is_trained) for way in ways}
        taking_part = [way for way in ways if not refused[way.name]]

        def laps(number: int, taking_part=taking_part, is_trained=is_trained) -> dict[str, Lap]:
            inputs = [_inputs(tokens, channels, on, seed=number * calls + call)[0] for call in range(calls)]
            return {way.name: _lap(way, inputs, is_trained) for way in taking_part}

        turns = in_turns(laps, calls, ROUNDS, on)
        times = turns.seconds
        for way in ways:
            if reason := refused[way.name]:
                yield Row(BENCH, f"{what}: {way.name}", "ms", COMMAND, (), about | {"provider": way.name}, reason)
                continue
            rate = sum(flops(way.pairs, heads, width)[: 1 + is_trained]) / statistics.median(times[way.name])
            own = {"provider": way.name, "TFLOP/s": 1e-12 * rate, "of matmul": rate / ceiling}
            details = about | own | turns.details(way.name)
            yield Row(BENCH, f"{what}: {way.name}", "ms", COMMAND, tuple(1e3 * s for s in times[way.name]), details)
        for other in (name for name in times if name != ways[0].name and ways[0].name in times):
            ratios = tuple(b / a for a, b in zip(times[ways[0].name], times[other], strict=True))
            yield Row(BENCH, f"{what}: {other} over avctl", "times", COMMAND, ratios, about)


def _ways(map: BlockMap, lives: Live, on: Device) -> Iterator[Way]:
    lengths = map.clip.bincount()
    clips, count = segments(lengths.cpu()).to(on.torch), len(lengths)
    everywhere = map._replace(reach=torch.full_like(map.reach, inf))
    dense = "cudnn" if on.is_gpu else None
    yield Way("avctl", partial(av_window_attention, map=map), map, lives.of_blocks)
    yield Way("FlexAttention", _flex(map), map, lives.of_blocks)
    yield Way("mask", _masked(map, count), map, lives.of_clips)
    name = f"dense {dense}" if dense else "dense"
    yield Way(name, partial(attention, queries=clips, backend=dense), everywhere, lives.of_clips)


def _flex(map: BlockMap) -> Attend:
    """The same rule, in blocks of the same size. What compiles is compiled at the first call."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    group, (second, *_), (text, video, audio) = map.group, map.place, map.reach[0]

    def lives(clip: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        kind = group[key] & 3
        reach = torch.where(kind == 0, text[query], torch.where(kind == 1, video[query], audio[query]))
        return ((group[query] ^ group[key]) < 4) & ((second[query] - second[key]).abs() <= reach)

    @cache
    def mask() -> Any:
        sizes = None, None, len(group), len(group)
        return create_block_mask(lives, *sizes, device=group.device, BLOCK_SIZE=map.block, _compile=True)

    compiled: Any = torch.compile(flex_attention, dynamic=False)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return compiled(*(x.transpose(0, 1)[None] for x in (q, k, v)), block_mask=mask())[0].transpose(0, 1)

    return attend


def _masked(map: BlockMap, count: int) -> Attend:
    """Clips of one length, with a mask for each."""
    tokens = [slice(i * (len(map.group) // count), (i + 1) * (len(map.group) // count)) for i in range(count)]
    mask = torch.stack([live(map, each, each) for each in tokens])[:, None]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batches = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in (q, k, v))
        return scaled_dot_product_attention(*batches, attn_mask=mask).transpose(1, 2).flatten(0, 1)

    return attend


def _refusal(way: Way, qkv: tuple[Tensor, ...], is_trained: bool) -> str | None:
    try:
        leave_nan_behind(qkv)
        errors = judge(way.attend, partial(CASE.reference, map=way.map), qkv, is_trained=is_trained)
    except Exception as error:  # of kernels and compilers: its row says what
        return f"does not run: {failure(error)}"
    return None if errors.are_allowed else f"is not exact: {errors}"


def _inputs(tokens: int, channels: int, on: Device, seed: int) -> tuple[tuple[Tensor, ...], BlockMap]:
    """Queries, keys and values of packed clips, and their windows."""
    qkv, (map,) = CASE.make(tokens, channels, Draw(on.dtype, on.torch, seed))
    return qkv, map


def _lap(way: Way, inputs: Sequence[tuple[Tensor, ...]], is_trained: bool) -> Lap:
    """What it makes is kept until all are through: outputs go round in memory as inputs do."""
    given = [[x.detach().requires_grad_(is_trained) for x in qkv] for qkv in inputs]
    if not is_trained:
        return lambda: [way.attend(*qkv) for qkv in given]
    upstream = [torch.randn_like(q) for q, *_ in given]
    return lambda: [torch.autograd.grad(way.attend(*qkv), qkv, y) for qkv, y in zip(given, upstream, strict=True)]
