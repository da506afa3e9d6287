"""Frames of any shape become upright RGB of one size, with the right colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from avctl.media.decode import Media
from avctl.media.fit import Fit, Geometry, Luma, recolour

Make = Callable[..., Path]


def picture(height: int, width: int, pixel_format: str = "yuv420p") -> av.VideoFrame:
    """Left half red, right half blue; the top eighth is white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 220
    pixels[:, width // 2 :, 2] = 220
    pixels[: height // 8] = 255
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)


@pytest.mark.parametrize("source", [(64, 64), (90, 160), (160, 90), (49, 75), (16, 16), (720, 1280), (31, 640)])
@pytest.mark.parametrize("size", [(32, 32), (48, 80), (80, 48)])
def test_any_shape_is_covered(source: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = Fit(size, 1.0, 0)(picture(*source, "yuv444p"))
    assert pixels.shape == (*size, 3)
    assert pixels[-4:, 2].mean(axis=0).argmax() == 0  # red is left, to the edge
    assert pixels[-4:, -3].mean(axis=0).argmax() == 2


def test_the_middle_is_kept() -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 32:96] = 255
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    assert Fit((32, 32), 1.0, 0)(frame).min() > 240


def test_pixels_that_are_not_square_are_stretched() -> None:
    """A disc coded at half its width comes out round."""
    y, x = np.mgrid[:64, :32]
    disc = (((y - 31.5) ** 2 + (2 * (x - 15.5)) ** 2) < 400).astype(np.uint8) * 255
    frame = av.VideoFrame.from_ndarray(np.repeat(disc[..., None], 3, 2), format="rgb24")
    bright = Fit((64, 64), 2.0, 0)(frame)[..., 0] > 128
    assert abs(int(bright.any(axis=0).sum()) - int(bright.any(axis=1).sum())) <= 2


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv420p10le", "yuv444p12le", "nv12", "gbrp"]
)
def test_black_and_white_keep_their_levels(pixel_format: str) -> None:
    for level in (0, 255):
        grey = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
        pixels = Fit((32, 32), 1.0, 0)(grey.reformat(format=pixel_format)).astype(int)
        assert np.abs(pixels - level).max() <= 2


def test_luma_of_tall_frames_is_reduced_and_keeps_its_levels() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), 255, np.uint8), format="rgb24").reformat(
        format="yuv420p"
    )
    small = Luma(360)(frame)
    assert small.shape == (360, 640)
    assert np.abs(small.astype(int) - Luma(720)(frame)[::2, ::2]).max() <= 1


def test_luma_of_ten_bits_is_read_as_eight() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
    eight, ten = (Luma(360)(frame.reformat(format=name)) for name in ("yuv420p", "yuv420p10le"))
    assert np.abs(eight.astype(int) - ten).max() <= 1


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))], ids=str)
def test_a_turned_recording_is_shown_upright(
    footage: Make, turn: Callable[[Path, int], None], degrees: int, corner: tuple[int, int]
) -> None:
    """The display matrix turns counterclockwise, so the corner that is coded top left goes to the left below."""
    path = footage(is_corner_marked=True, size=(48, 64))
    turn(path, degrees)
    with Media(path) as media:
        list(media.scan())
        assert media.scanned.rotation % 360 == degrees
        frame = media.read(np.array([0.0]), (48, 48))[0][0].astype(int)
    y, x = (slice(8) if place == 0 else slice(-8, None) for place in corner)
    assert frame[y, x, 0].mean() - frame[..., 0].mean() > 60


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("shape", [(10, 9), (11, 12), (6, 13)])
def test_the_middle_is_the_same_before_and_after_turning(shape: tuple[int, int], turns: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    geometry = Geometry((5, 6) if turns % 2 == 0 else (6, 5), 1.0, turns)
    whole, cut = geometry.upright(pixels), geometry.upright(pixels[geometry.kept(*shape)])
    top, left = ((room - length) // 2 for room, length in zip(whole.shape, cut.shape[:2], strict=False))
    assert cut.shape[:2] == geometry.size
    assert np.array_equal(cut, whole[top : top + cut.shape[0], left : left + cut.shape[1]])


@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
def test_colours_read_by_the_wrong_matrix_are_put_right(matrix: int) -> None:
    """FFmpeg reads the same levels by BT.601 and by the matrix of the file."""
    pixels = np.random.default_rng(0).integers(60, 196, (4, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    coded = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format="yuv444p")
    wrong, right = (
        coded.reformat(format="rgb24", src_colorspace=value).to_ndarray() for value in (Colorspace.ITU601, matrix)
    )
    mended = wrong @ recolour(matrix, 480).T
    assert np.abs(mended - right)[8::16, 8::16].max() < 4
    assert matrix in (5, 6) or np.abs(wrong.astype(int) - right).max() > 8


def test_a_file_that_names_no_matrix_is_read_by_its_height() -> None:
    assert np.allclose(recolour(2, 480), np.eye(3), atol=1e-6)
    assert np.array_equal(recolour(2, 720), recolour(1, 720))
    with pytest.raises(ValueError, match="colour matrix 0"):
        recolour(0, 480)
