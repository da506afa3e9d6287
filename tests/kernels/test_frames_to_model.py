"""Pictures for models: the kernel gives the numbers of the reference, bit by bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from avctl.kernels import frames_to_model as module
from avctl.kernels.frames_to_model import BLOCK, Crop, frames_to_model, frames_to_model_reference

SHAPES = [(2, 3, 5, 7), (1, 1, 1, 1), (3, 2, 40, 33), (1, 2, 2, BLOCK)]  # B, T, H0, W0


def case(shape: tuple[int, int, int, int]) -> tuple[Tensor, Crop, Tensor]:
    """Pixels, a crop of each clip, of which the last ends with the picture, and which clips are mirrored."""
    clips, _, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    pixels = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=generator)
    size = max(1, height - 2), max(1, width - 3)
    most = torch.tensor([height, width]) - torch.tensor(size)
    corner = (torch.rand(clips, 2, generator=generator) * (most + 1)).long()
    corner[-1] = most
    return pixels, Crop(size, corner), torch.arange(clips) % 2 == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_mirroring", [True, False])
@pytest.mark.parametrize("is_cropping", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference(
    shape: tuple[int, int, int, int], is_cropping: bool, is_mirroring: bool, dtype: torch.dtype,
    interpreted: None, guarded: None,
) -> None:  # fmt: skip
    pixels, crop, is_mirrored = case(shape)
    settings = crop if is_cropping else None, is_mirrored if is_mirroring else None, dtype
    made, expected = frames_to_model(pixels, *settings), frames_to_model_reference(pixels, *settings)
    assert made.is_contiguous() and made.dtype == dtype
    rounding = 0.0 if dtype == torch.float32 else 2**-7  # the interpreter cuts numbers off for bfloat16
    assert torch.allclose(made, expected, rtol=rounding, atol=0)


@pytest.mark.parametrize("runs", ["interpreted", None])
def test_each_clip_is_cut_and_mirrored_on_its_own(runs: str | None, request: pytest.FixtureRequest) -> None:
    if runs:
        request.getfixturevalue(runs)
    pixels, crop, is_mirrored = case((3, 2, 40, 33))
    made = frames_to_model(pixels, crop, is_mirrored)
    for clip, (top, left), is_turned, frames in zip(pixels, crop.corner.tolist(), is_mirrored, made, strict=True):
        part = clip[:, top : top + crop.size[0], left : left + crop.size[1]].permute(3, 0, 1, 2)
        expected = part.double() / 127.5 - 1
        assert torch.allclose(frames.double(), expected.flip(-1) if is_turned else expected, atol=1e-7)


@pytest.mark.parametrize("runs", ["interpreted", None])
def test_what_lies_outside_of_the_picture_is_no_number(runs: str | None, request: pytest.FixtureRequest) -> None:
    if runs:
        request.getfixturevalue(runs)
    pixels = torch.full((2, 1, 4, 4, 3), 255, dtype=torch.uint8)
    made = frames_to_model(pixels, Crop((3, 3), torch.tensor([[-1, 0], [2, 3]])), None)
    inside = torch.zeros(2, 3, 3, dtype=torch.bool)
    inside[0, 1:], inside[1, :2, :1] = True, True
    expected = torch.where(inside, 1.0, torch.nan)[:, None, None].expand(2, 3, 1, 3, 3)
    assert torch.allclose(made, expected, equal_nan=True)


def test_no_clips_have_no_frames(interpreted: None, guarded: None) -> None:
    assert frames_to_model(torch.zeros(0, 2, 4, 5, 3, dtype=torch.uint8), None, None).shape == (0, 3, 2, 4, 5)


def test_pixels_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    pixels, crop, is_mirrored = case((3, 2, 40, 33))
    apart = pixels.transpose(1, 3).contiguous().transpose(1, 3), Crop(crop.size, crop.corner.T.contiguous().T)
    turned = torch.stack([is_mirrored, is_mirrored], 1)[:, 0]
    assert torch.equal(frames_to_model(*apart, turned), frames_to_model(pixels, crop, is_mirrored))


def test_it_is_an_operator_that_compiles_whole(interpreted: None) -> None:
    pixels, crop, is_mirrored = case((2, 3, 5, 7))
    torch.library.opcheck(module._apply, (pixels, *crop.size, crop.corner, is_mirrored, torch.bfloat16))
    torch.library.opcheck(module._apply, (pixels, 5, 7, None, None, torch.float32))

    def cut(pixels: Tensor, corner: Tensor) -> Tensor:
        return frames_to_model(pixels, Crop(crop.size, corner), is_mirrored) * 2

    compiled = torch.compile(cut, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(pixels, crop.corner), cut(pixels, crop.corner))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, c, m: (p[0], c, m), r"pixels \(3, 5, 7, 3\) of torch.uint8: \(B, T, H, W, 3\)"),
        (lambda p, c, m: (p.float(), c, m), "of torch.float32: .* of torch.uint8 is needed"),
        (lambda p, c, m: (p[..., :2], c, m), r"pixels \(2, 3, 5, 7, 2\)"),
        (lambda p, c, m: (p, Crop(c.size, c.corner[:1]), m), r"corner \(1, 2\) .* \(2, 2\) of torch.int64 on cpu"),
        (lambda p, c, m: (p, Crop(c.size, c.corner.float()), m), r"corner \(2, 2\) of torch.float32"),
        (lambda p, c, m: (p, c, m.to("meta")), "is_mirrored .* on meta"),
        (lambda p, c, m: (p, c, m.int()), "is_mirrored .* of torch.int32 on cpu: .* of torch.bool"),
        (lambda p, c, m: (p, c, m, torch.float16), "dtype torch.float16"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    change: Callable[[Tensor, Crop, Tensor], tuple], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        frames_to_model(*change(*case((2, 3, 5, 7))))
