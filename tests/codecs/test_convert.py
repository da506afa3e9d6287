"""What is stored comes back as it was, and lies in the range that codecs compute in."""

from __future__ import annotations

import torch

from avctl.codecs.convert import from_pixels, from_samples, to_pixels


def test_every_grey_level_comes_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 2, 8, 16, 1).expand(-1, -1, -1, -1, 3)
    frames = from_pixels(pixels)
    assert frames.shape == (1, 2, 3, 8, 16) and (frames.min(), frames.max()) == (-1, 1)
    assert torch.equal(to_pixels(frames), pixels)


def test_what_is_out_of_range_is_cut_off() -> None:
    frames = torch.tensor([-1.5, 1.5]).view(2, 1, 1, 1).expand(-1, 3, 2, 2)
    assert to_pixels(frames).unique().tolist() == [0, 255]


def test_full_scale_is_one() -> None:
    samples = torch.tensor([[-32_768, 16_384], [0, 32_767]], dtype=torch.int16)
    assert from_samples(samples).tolist() == [[-1, 0], [0.5, 32_767 / 32_768]]
