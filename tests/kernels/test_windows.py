"""Windows: what lives, pair by pair, and a map of blocks that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avctl.kernels import windows as module
from avctl.kernels.segments import Segments, segments
from avctl.kernels.windows import AUDIO, TEXT, VIDEO, BlockMap, Windows, av_windows, block_map, count_live, live, parts

EVERYTHING = slice(None)
NEAR = Windows(((inf, inf, inf), (-1.0, 1.0, 0.5), (inf, 0.25, inf)), rows=1.0, columns=2.0)
LENGTHS = [(50, 0, 33, 17, 1), (130,), (3, 2, 1, 70, 4, 4, 4, 4), (16, 32, 16), (), (0,)]
BLOCK = 16


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", BLOCK)


def tokens(lengths: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor, Segments]:
    """Runs of nine tokens of each kind, a few at each quarter of a second and place."""
    S, generator = sum(lengths), torch.Generator().manual_seed(seed)
    quarters = torch.randint(0, 20, (S,), generator=generator).sort().values / 4
    rows, columns = torch.randint(0, 5, (2, S), generator=generator).float()
    kind = (torch.arange(S) // 9 % 3).to(torch.int8)
    return kind, torch.stack([quarters, rows, columns], 1), segments(torch.tensor(lengths, dtype=torch.long))


def brute_force(kind: Tensor, place: Tensor, packed: Segments, windows: Windows) -> Tensor:
    """Pair by pair, in the words of the rule."""
    S, kinds, places, clips = len(kind), kind.tolist(), place.numpy(), packed.of_tokens(len(kind)).tolist()
    lives = torch.zeros(S, S, dtype=torch.bool)
    for q in range(S):
        for k in range(S):
            t, row, column = np.abs(places[q] - places[k])
            near = t <= np.float32(windows.seconds[kinds[q]][kinds[k]])
            if kinds[q] == kinds[k] == VIDEO:
                near = near and row <= windows.rows and column <= windows.columns
            lives[q, k] = bool(near and clips[q] == clips[k])
    return lives


def assert_lists_say(map: BlockMap, lives: Tensor) -> None:
    """Full blocks have only live pairs, dead ones none, in both directions."""
    S, size = len(lives), map.block
    for blocks, pairs in ((map.by_query, lives), (map.by_key, lives.T)):
        assert blocks.index.dtype == blocks.count.dtype == torch.int32
        for own, (index, (full, count)) in enumerate(zip(blocks.index.tolist(), blocks.count.tolist(), strict=True)):
            assert len(set(index[:count])) == count
            for other in range(-(-S // size)):
                block = pairs[own * size : (own + 1) * size, other * size : (other + 1) * size]
                if other in index[:full]:
                    assert block.all() and block.shape == (size, size)
                elif other not in index[:count]:
                    assert not block.any()


@pytest.mark.parametrize("windows", [av_windows(0.5), NEAR, Windows(((-1.0,) * 3,) * 3)])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_pairs_and_blocks_live_as_the_rule_says(lengths: Sequence[int], windows: Windows) -> None:
    kind, place, packed = tokens(lengths)
    lives = brute_force(kind, place, packed, windows)
    map = block_map(kind, place, packed, windows)
    assert torch.equal(live(map, EVERYTHING, EVERYTHING), lives)
    assert torch.equal(live(map, slice(3, 20), slice(11, 60)), lives[3:20, 11:60])
    assert_lists_say(map, lives)


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("windows", [av_windows(0.5), NEAR])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_parts_have_the_keys_that_live_for_one_of_them(lengths: Sequence[int], windows: Windows, together: int) -> None:
    map, S = block_map(*tokens(lengths), windows), sum(lengths)

    def tokens_of(places: Sequence[slice]) -> list[int]:
        return [token for place in places for token in range(S)[place]]

    lives, alone, made = live(map, EVERYTHING, EVERYTHING), list(parts(map)), list(parts(map, together))
    assert [part.queries for part in made] == [slice(i, min(i + 16 * together, S)) for i in range(0, S, 16 * together)]
    for number, part in enumerate(made):
        blocks = alone[number * together : (number + 1) * together]
        full, keys = (set(tokens_of(places)) for places in (part.full, part.keys))
        assert full == set.intersection(*(set(tokens_of(block.full)) for block in blocks))
        assert keys == set.union(*(set(tokens_of(block.keys)) for block in blocks))
        assert len(keys) == len(tokens_of(part.keys))  # none twice
        assert lives[part.queries][:, sorted(full)].all()
        assert not lives[part.queries][:, sorted(set(range(S)) - keys)].any()


def test_windows_that_reach_nowhere_leave_no_block() -> None:
    map = block_map(*tokens((130,)), Windows(((-1.0,) * 3,) * 3))
    assert not map.by_query.count.any() and not map.by_key.count.any()


def test_blocks_are_dead_and_full_where_they_can_be() -> None:
    """Frames of a block each, seen one second far: of ten frames at 2 a second, two on each side."""
    kind, packed = torch.full((160,), VIDEO, dtype=torch.int8), segments(torch.tensor([160]))
    place = torch.zeros(160, 3)
    place[:, 0] = torch.arange(160) // BLOCK / 2
    map = block_map(kind, place, packed, Windows(((1.0,) * 3,) * 3))
    expected = [3, 4, *[5] * 6, 4, 3]
    for blocks in (map.by_query, map.by_key):
        assert blocks.count.tolist() == [[count, count] for count in expected]
        assert sorted(blocks.index[4, :5].tolist()) == [2, 3, 4, 5, 6]


def test_windows_end_on_the_second_and_hold_it() -> None:
    t = torch.tensor([0.0, 0.5, 0.75, 1.0, 1.25, 60.0, 60.5, np.nextafter(np.float32(0.5), np.float32(1))])
    kind = torch.tensor([VIDEO, AUDIO, AUDIO, VIDEO, AUDIO, VIDEO, AUDIO, AUDIO], dtype=torch.int32)
    place = torch.stack([t, t * 0, t * 0], 1)
    map = block_map(kind, place, segments(torch.tensor([8])), av_windows(0.5))
    lives = live(map, EVERYTHING, EVERYTHING)
    assert lives[0].tolist() == [True, True, False, True, False, True, False, False]
    assert lives[3].tolist() == [True, True, True, True, True, True, False, True]
    assert lives[5].tolist() == [True, False, False, True, False, True, True, False]
    tenth = block_map(kind[:2], place[:2] / 5, segments(torch.tensor([2])), av_windows(0.1))
    assert live(tenth, EVERYTHING, EVERYTHING).all(), "0.1 is a window that a float32 0.1 is in"


def test_windows_of_sound_and_picture_bind_nothing_else() -> None:
    seconds = av_windows(0.5).seconds
    narrow = {(VIDEO, AUDIO), (AUDIO, VIDEO)}
    assert all((seconds[q][k] == 0.5) == ((q, k) in narrow) for q in range(3) for k in range(3))
    assert {seconds[q][k] for q in range(3) for k in range(3)} == {inf, 0.5}


@pytest.mark.parametrize("missing", [TEXT, VIDEO, AUDIO])
def test_clips_without_a_kind_are_clips(missing: int) -> None:
    kind, place, packed = tokens((40, 25))
    kind[kind == missing] = (missing + 1) % 3
    map = block_map(kind, place, packed, NEAR)
    assert_lists_say(map, brute_force(kind, place, packed, NEAR))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 18, 40])
def test_lists_hold_what_clips_need_wherever_they_begin(length: int) -> None:
    kind, place, packed = tokens([length - 1, length] * 10)
    map = block_map(kind, place, packed, av_windows(inf))
    assert_lists_say(map, brute_force(kind, place, packed, av_windows(inf)))
    assert map.by_query.index.shape[1] <= 1 + 2 * -(-length // BLOCK)


def test_memory_is_linear_in_tokens_where_clips_are_bounded() -> None:
    def numbers(clips: int) -> int:
        map = block_map(*tokens([40] * clips), NEAR)
        return sum(x.numel() for blocks in (map.by_query, map.by_key) for x in blocks)

    assert numbers(400) == 2 * numbers(200) == 4 * numbers(100)


class Peak(TorchDispatchMode):
    """The most bytes that operations inside have made and that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **kwargs or {})
        for storage in (x.untyped_storage() for x in tree_leaves(result) if isinstance(x, Tensor)):
            self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.made = {at: made for at, made in self.made.items() if not made[0].expired()}
        self.bytes = max(self.bytes, sum(nbytes for _, nbytes in self.made.values()))
        return result


def test_lists_of_a_long_clip_take_few_numbers_of_each_pair_of_blocks() -> None:
    """Of 131,072 tokens in blocks of 128 these are 50 MB."""
    B = 256
    inputs = tokens([B * BLOCK])
    with Peak() as peak:
        block_map(*inputs, NEAR)
    assert peak.bytes < 12 * 4 * B * B + 200 * B * BLOCK


def test_what_lives_is_counted() -> None:
    kind, place, packed = tokens((50, 0, 33))
    found = count_live(block_map(kind, place, packed, NEAR))
    assert found.pairs == int(brute_force(kind, place, packed, NEAR).sum())
    assert found.of_clips == 50**2 + 33**2 and found.pairs < found.of_blocks <= found.of_clips + 2 * 50 * 33
    assert found.density == found.pairs / found.of_clips
    assert count_live(block_map(*tokens(()), NEAR)).density == 1.0


def test_nothing_waits_for_the_device() -> None:
    kind, place, packed = tokens((50, 33))
    with FakeTensorMode() as mode:
        fakes = (mode.from_tensor(x) for x in (kind, place, packed.cu_seqlens))
        kind, place, begins = fakes
        map = block_map(kind, place, Segments(begins, packed.longest), NEAR)
    assert map.by_key.index.shape == (6, 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda k, p, c, w: (k[None], p, c, w), r"kind torch.int8 \(1, 20\): \(tokens,\) of int8 or int32"),
        (lambda k, p, c, w: (k.float(), p, c, w), r"kind torch.float32"),
        (lambda k, p, c, w: (k, p[1:], c, w), r"place torch.float32 \(19, 3\): \(20, 3\) of float32"),
        (lambda k, p, c, w: (k, p.double(), c, w), r"place torch.float64 \(20, 3\)"),
        (lambda k, p, c, w: (k, p.to("meta"), c, w), "kind, place, cu_seqlens are on different devices"),
        (lambda k, p, c, w: (k, p, c, w._replace(seconds=w.seconds[:2])), "3 rows of 3 are needed"),
    ],
)
def test_what_does_not_fit_is_refused(change, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        block_map(*change(*tokens((20,)), NEAR))


@pytest.mark.parametrize("wrong", [-1, 3])
def test_kinds_that_are_none_are_refused(wrong: int) -> None:
    kind, place, packed = tokens((20,))
    kind[7] = wrong
    with pytest.raises(RuntimeError, match="a token's kind is out of range"):
        block_map(kind, place, packed, NEAR)


@pytest.mark.parametrize("lengths", [(19,), (21,), ()])
def test_sequences_of_other_tokens_are_refused(lengths: Sequence[int]) -> None:
    kind, place, _ = tokens((20,))
    with pytest.raises(RuntimeError, match="sequences are of more or fewer tokens"):
        block_map(kind, place, segments(torch.tensor(lengths, dtype=torch.long)), NEAR)
