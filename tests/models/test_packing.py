"""Every token stands where its clip, its stream and its place in the clip say, in both orders."""

from __future__ import annotations

import pytest
import torch

from avctl.models.packing import AUDIO, TEXT, VIDEO, Clock, Grid, Packing, pack, pack_batch, reorder

CLOCK = Clock(seconds=(2 / 16, 5 / 40), starts_s=(0.0, -0.0125))
MIXED = (Grid(2, 2, 3, 4), Grid(1, 3, 2, 0), Grid(0, 0, 0, 5), Grid(3, 1, 1, 2))  # a clip, an image, a sound, a clip
WORDS = 2


def expected(grids: tuple[Grid, ...]) -> list[tuple[int, int, tuple[float, float, float]]]:
    """Stream, clip and position of every token of the joined row, one by one."""
    rows = []
    for clip, (frames, height, width, sounds) in enumerate(grids):
        rows += [(TEXT, clip, (0.0, 0, 0))] * WORDS
        places = [(f, y, x) for f in range(frames) for y in range(height) for x in range(width)]
        rows += [(VIDEO, clip, ((f + 0.5) * 2 / 16, y, x)) for f, y, x in places]
        rows += [(AUDIO, clip, ((s + 0.5) * 5 / 40 - 0.0125, 0, 0)) for s in range(sounds)]
    return rows


def check(packing: Packing, grids: tuple[Grid, ...]) -> None:
    rows = expected(grids)
    assert packing.stream.tolist() == [stream for stream, _, _ in rows]
    assert packing.joined.of_tokens(len(rows)).tolist() == [clip for _, clip, _ in rows]
    assert torch.allclose(packing.positions[packing.place], torch.tensor([position for *_, position in rows]))
    in_streams = sorted(range(len(rows)), key=lambda i: rows[i][0])  # stable: one stream behind the other, by clip
    assert packing.back.tolist() == in_streams
    assert packing.order[packing.back].tolist() == list(range(len(rows)))
    for kind, each in enumerate(packing.streams):
        clips = [clip for stream, clip, _ in rows if stream == kind]
        assert each.of_tokens(len(clips)).tolist() == clips


def test_clips_images_and_sounds_stand_end_to_end() -> None:
    check(pack(MIXED, WORDS, CLOCK), MIXED)


@pytest.mark.parametrize("grid", [*MIXED[:3], Grid(4, 2, 3, 4)])
def test_a_batch_is_a_pack_of_clips_of_one_size(grid: Grid) -> None:
    packing = pack_batch(3, grid, WORDS, CLOCK, torch.device("cpu"))
    check(packing, (grid,) * 3)
    other = pack((grid,) * 3, WORDS, CLOCK)
    assert all(torch.equal(a, b) for a, b in zip(packing[4:], other[4:], strict=True))
    for a, b in zip((*packing.streams, packing.joined), (*other.streams, other.joined), strict=True):
        assert torch.equal(a.cu_seqlens, b.cu_seqlens) and a.longest == b.longest


def test_sound_and_picture_of_one_moment_stand_at_one_time() -> None:
    packing = pack((Grid(4, 1, 1, 4),), 0, Clock((1 / 8, 1 / 8), (0.0, 0.0)))
    times = packing.positions[packing.place][:, 0]
    assert torch.equal(times[:4], times[4:])


def test_the_same_sizes_are_packed_once_for_sampling_and_training() -> None:
    grids = (Grid(5, 2, 2, 7),) * 2
    with torch.inference_mode():
        first = pack(grids, WORDS, CLOCK)
    assert not any(x.is_inference() for x in (*first[4:], *(each.cu_seqlens for each in first[:4])))
    assert pack(list(grids), WORDS, CLOCK) is first
    assert pack(grids, WORDS + 1, CLOCK) is not first


def test_nothing_is_a_pack_too() -> None:
    packing = pack((), WORDS, CLOCK)
    assert packing.joined.count == 0 and len(packing.stream) == len(packing.place) == 0


def test_rows_go_there_and_back_with_their_gradients() -> None:
    packing = pack(MIXED, WORDS, CLOCK)
    x = torch.randn(len(packing.order), 3, requires_grad=True)
    joined = reorder(x, packing.order, packing.back)
    assert torch.equal(joined, x[packing.order])
    assert torch.equal(reorder(joined, packing.back, packing.order), x)
    gradient = torch.randn_like(x)
    (dx,) = torch.autograd.grad(joined, x, gradient)
    assert torch.equal(dx, gradient[packing.back])
