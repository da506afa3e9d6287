"""Shapes are known before anything is encoded, and what does not divide is refused."""

from __future__ import annotations

import pytest

from avctl.codecs.haar import HaarCodec
from avctl.codecs.log_mel import LogMelCodec
from avctl.schema import Haar, LogMel


def test_latent_shapes_count_whole_cells() -> None:
    assert HaarCodec(Haar(down=8, time=2)).latent_shape(16, (32, 64)) == (8, 384, 4, 8)


@pytest.mark.parametrize(("frames", "size"), [(15, (32, 64)), (16, (36, 64)), (16, (32, 60))])
def test_what_does_not_divide_into_cells_is_refused(frames: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"do not divide into cells of 2 x 8 x 8"):
        HaarCodec(Haar(down=8, time=2)).latent_shape(frames, size)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (16_000, 50)])
def test_the_last_latent_frame_may_be_only_begun(samples: int, frames: int) -> None:
    assert LogMelCodec(LogMel(hop=320, window=1_024, mels=32, floor=0.01), 16_000, 2).latent_frames(samples) == frames
