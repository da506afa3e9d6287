"""Sound keeps its place through joining, resampling and mixing."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from avctl.media.audio import Sound, conform, join, power_db, sound_of, to_int16


def piece(samples: np.ndarray, start: float, rate: int = 48_000, tick: int = 48_000) -> Sound:
    """A mono piece that begins at `start` seconds, its stamp on a grid of `tick` a second."""
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, tick), round(start * tick)
    return sound_of(frame)


def bump(rate: int, at_s: float) -> np.ndarray:
    """A smooth bump of 4 ms in one second, (rate, 2)."""
    t = np.arange(rate) / rate
    return np.repeat((0.8 * np.exp(-0.5 * ((t - at_s) / 0.001) ** 2))[:, None], 2, 1).astype(np.float32)


def centre_s(sound: Sound) -> float:
    weights = sound.samples[:, 0].astype(float)
    return sound.start_s + float((weights * np.arange(len(weights))).sum() / weights.sum()) / sound.rate


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("target", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_resampling_moves_nothing(rate: int, target: int, channels: int) -> None:
    sound = conform(Sound(bump(rate, 0.5), rate, 2.0, "stereo"), target, channels)
    assert sound.samples.shape == (target, channels)
    assert abs(centre_s(sound) - 2.5) * target < 0.02  # samples


def test_mixing_down_never_clips() -> None:
    loud = Sound(np.ones((48_000, 6), np.float32), 48_000, 0.0, "5.1")
    mixed = conform(loud, 48_000, 2).samples
    assert 0.9 < mixed[1_000].min() <= mixed.max() <= 1.0


def test_mono_goes_to_both_sides_unchanged() -> None:
    mono = Sound(bump(48_000, 0.5)[:, :1], 48_000, 0.0, "mono")
    stereo = conform(mono, 48_000, 2).samples
    assert np.array_equal(stereo, np.repeat(mono.samples, 2, 1))


def test_frames_that_follow_each_other_are_joined_without_a_seam() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 4_096)
    joined = join([piece(samples[i : i + 1_024], 3 + i / 48_000) for i in range(0, 4_096, 1_024)])
    assert np.array_equal(joined.samples[:, 0], samples.astype(np.float32))
    assert joined.start_s == pytest.approx(3.0)


def test_rounded_stamps_are_averaged() -> None:
    samples = np.zeros(44_100)
    frames = [piece(samples[i : i + 1_024], 1.0 + i / 44_100, 44_100, 1_000) for i in range(0, 44_032, 1_024)]
    assert join(frames).start_s == pytest.approx(1.0, abs=0.0002)  # the first stamp alone may be 0.5 ms off


def test_a_lost_packet_leaves_silence_and_moves_nothing() -> None:
    samples = np.ones(4_800)
    frames = [piece(samples, start) for start in (0.0, 0.1, 0.3, 0.4)]
    joined = join(frames).samples[:, 0]
    assert len(joined) == 24_000
    assert not joined[9_600:14_400].any()
    assert joined[14_400:].all()


def test_an_overlap_is_cut() -> None:
    joined = join([piece(np.full(4_800, 0.5), 0.0), piece(np.full(4_800, 0.25), 0.05)]).samples[:, 0]
    assert len(joined) == 7_200
    assert joined[2_399] == 0.5
    assert joined[2_400] == 0.25


def test_a_change_of_rate_inside_a_track_is_refused() -> None:
    with pytest.raises(ValueError, match="change inside"):
        join([piece(np.zeros(100), 0.0), piece(np.zeros(100), 0.1, rate=44_100)])


@pytest.mark.parametrize("kind", ["u8", "s16", "s16p", "s32", "flt", "dblp"])
def test_every_sample_format_has_the_same_full_scale(kind: str) -> None:
    planes = np.array([[0.5, -0.5, 0.25, 0.0]] * 2, np.float32)
    frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
    frame.sample_rate = 48_000
    converted = av.AudioResampler(format=kind).resample(frame)[0]
    converted.pts = 0
    assert sound_of(converted).samples == pytest.approx(planes.T, abs=0.005)


def test_sixteen_bits_round_and_clip() -> None:
    assert to_int16(np.array([0.0, 0.5, -1.0, 1.0, 2.0, 0.6 / 32_768], np.float32)).tolist() == [
        0, 16_384, -32_768, 32_767, 32_767, 1,
    ]  # fmt: skip


def test_power_is_measured_against_full_scale() -> None:
    t = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 1_000 * t)[:, None].astype(np.float32)
    assert power_db(tone, 48_000) == pytest.approx(np.full(50, -3.01), abs=0.01)
    assert power_db(np.zeros((4_800, 2), np.float32), 48_000).max() == -120
    opposite = np.concatenate([tone, -tone], axis=1)
    assert power_db(opposite, 48_000).min() > -4  # sides that cancel each other are not silent
