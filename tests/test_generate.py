"""The Python face: every task, the same bytes for the same seed, and an answer to everything that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import avctl
from avctl.compute.seed import seeded
from avctl.errors import InputError
from avctl.generate import AVPipeline, Output, Settings
from avctl.inputs import Known
from avctl.media.mux import write_mp4
from avctl.models.pretrained import Pretrained

T, SIZE, SAMPLES = 8, (16, 16), 8_000


@pytest.fixture
def pipe(tiny_model: Pretrained) -> AVPipeline:
    return AVPipeline(tiny_model, "float32")


def video(frames: int = T) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, *SIZE, 3), np.uint8)


def audio(samples: int = SAMPLES) -> np.ndarray:
    return (0.3 * np.random.default_rng(1).standard_normal((samples, 2))).clip(-1, 1).astype(np.float32)


def same(a: Output, b: Output) -> bool:
    return np.array_equal(a.frames, b.frames) and np.array_equal(a.audio, b.audio)


INPUTS: dict[str, dict[str, Any]] = {
    "text_to_both": {},
    "audio_to_video": {"audio": audio()},
    "video_to_audio": {"video": video()},
    "image_to_video": {"image": video()[0]},
    "extend": {"audio": audio(), "video": video(), "keep_s": 0.5},
}


@pytest.mark.parametrize("task", INPUTS)
def test_every_task_makes_a_whole_clip(pipe: AVPipeline, task: str) -> None:
    out = pipe("a red ball", task=task, steps=2, **INPUTS[task])  # pyright: ignore[reportArgumentType]
    assert out.frames.shape == (T, *SIZE, 3) and out.frames.dtype == np.uint8
    assert out.audio.shape == (SAMPLES, 2) and out.audio.dtype == np.float32
    assert np.abs(out.audio).max() <= 1 and (out.fps, out.sample_rate) == (8, 8_000)


@pytest.mark.parametrize("task", INPUTS)
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(pipe: AVPipeline, task: str) -> None:
    def make(seed: int) -> Output:
        return pipe("a red ball", task=task, steps=2, seed=seed, **INPUTS[task])  # pyright: ignore[reportArgumentType]

    assert same(make(1), make(1)) and not same(make(1), make(2))


def test_what_is_given_whole_is_passed_on_as_it_came(pipe: AVPipeline) -> None:
    assert np.array_equal(pipe(task="video_to_audio", video=video(), steps=2).frames, video())
    assert np.allclose(pipe(task="audio_to_video", audio=audio(), steps=2).audio, audio(), atol=1e-7)


def test_what_is_made_depends_on_what_is_given(pipe: AVPipeline) -> None:
    loud, quiet = (pipe(task="audio_to_video", audio=x, steps=2).frames for x in (audio(), 0.01 * audio()))
    assert not np.array_equal(loud, quiet)
    light, dark = (pipe(task="video_to_audio", video=x, steps=2).audio for x in (video(), video() // 8))
    assert not np.array_equal(light, dark)


def test_an_image_is_the_start_of_the_clip(pipe: AVPipeline) -> None:
    out = pipe(task="image_to_video", image=video()[0], steps=2)
    assert np.abs(out.frames[:2].astype(int) - video()[0]).max() <= 1  # one token lasts two frames
    assert np.abs(out.frames[2].astype(int) - video()[0]).max() > 10


def test_extend_keeps_the_start_and_makes_the_rest(pipe: AVPipeline) -> None:
    out = pipe(task="extend", audio=audio(), video=video(), keep_s=0.5, steps=2)
    assert np.abs(out.frames[:4].astype(int) - video()[:4]).max() <= 1
    assert (np.abs(out.frames[4:].astype(int) - video()[4:]).max((1, 2, 3)) > 10).all()


def test_extend_needs_the_start_only_and_looks_at_no_more(pipe: AVPipeline) -> None:
    whole = pipe(task="extend", audio=audio(), video=video(), keep_s=0.5, steps=2)
    start = pipe(task="extend", audio=audio(4_000), video=video(4), keep_s=0.5, steps=2)
    assert same(whole, start)
    changed = video()
    changed[4:] = 0
    assert same(pipe(task="extend", audio=audio(), video=changed, keep_s=0.5, steps=2), whole)


def test_files_are_read_like_arrays(pipe: AVPipeline, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    frames = np.repeat(np.repeat(video()[:, ::8, ::8], 8, axis=1), 8, axis=2)
    write_mp4(path, frames, audio(), 8, 8_000)
    out = pipe(task="video_to_audio", video=path, steps=2)
    assert np.abs(out.frames.astype(int) - frames).mean() < 12  # as far as H.264 keeps it
    again = pipe(task="audio_to_video", audio=str(path), steps=2)
    assert np.abs(again.audio - audio()).mean() < 0.1
    assert pipe(task="extend", audio=path, video=path, keep_s=0.5, steps=2).frames.shape == frames.shape


def test_guidance_negative_prompt_steps_solver_and_shift_are_obeyed(pipe: AVPipeline) -> None:
    plain = pipe("red ball", steps=3)
    for other in ({"guidance": 1.0}, {"negative_prompt": "blue"}, {"steps": 4}, {"solver": "heun"}, {"shift": 3.0}):
        assert not same(plain, pipe("red ball", **{"steps": 3, **other}))  # pyright: ignore[reportArgumentType]
    unguided = pipe("red ball", steps=3, guidance=1.0)
    assert not same(unguided, pipe("blue bar", steps=3, guidance=1.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "text_to_smell"}, "task='text_to_smell': one of text_to_both, "),
        ({"solver": "magic"}, "solver='magic': one of euler, heun"),
        ({"steps": 0}, "steps=0"),
        ({"shift": 0.0}, "shift=0.0: more than 0"),
        ({"shift": float("inf")}, "shift=inf"),
        ({"guidance": -1.0}, r"guidance=-1\.0: 0 or more"),
        ({"guidance": float("nan")}, "guidance=nan"),
        ({"guidance": 1e30}, "what was generated is not finite"),
        ({"keep_s": 0.5}, r"keep_s=0\.5: only extend"),
        ({"task": "audio_to_video", "audio": audio() * np.float32("nan")}, "audio holds values that are not finite"),
        ({"task": "image_to_video", "image": "a.png"}, "image is an array of pixels, not str"),
        ({"guidance": 1.0, "negative_prompt": "blue"}, "negative_prompt: at guidance=1"),
        ({"size": (32, 32)}, r"size=\(32, 32\): this model makes clips of size=\(16, 16\)"),
        ({"seconds": 3.0}, "seconds=3.0"),
        ({"fps": 25}, "fps=25"),
        ({"audio": audio()}, "text_to_both takes no sound or picture, and was given audio"),
        ({"task": "audio_to_video"}, "audio_to_video takes audio, and was given nothing"),
        ({"task": "extend", "video": video()}, "extend takes audio and video, and was given video"),
        ({"task": "video_to_audio", "video": video(), "image": video()[0]}, "was given image and video"),
        ({"task": "video_to_audio", "video": video(7)}, r"video is \(8, 16, 16, 3\) uint8"),
        ({"task": "video_to_audio", "video": video()[:, :8]}, r"not \(8, 8, 16, 3\) uint8"),
        ({"task": "video_to_audio", "video": video() / 255}, r"not \(8, 16, 16, 3\) float64"),
        ({"task": "image_to_video", "image": video()[0, :8]}, r"image is .* not \(1, 8, 16, 3\)"),
        ({"task": "audio_to_video", "audio": audio(7_999)}, r"audio is \(8000, 2\) float"),
        ({"task": "audio_to_video", "audio": audio()[:, :1]}, r"not \(8000, 1\) float32"),
        ({"task": "audio_to_video", "audio": (audio() * 32_767).astype(np.int16)}, r"not \(8000, 2\) int16"),
        ({"task": "extend", "video": video(3), "audio": audio(), "keep_s": 0.5}, r"video is \(4, 16, 16, 3\)"),
        ({"task": "extend", "video": video(), "audio": audio(), "keep_s": 1.0}, "keep_s=1.0: a part of the 1.0 s"),
        ({"task": "extend", "video": video(), "audio": audio(), "keep_s": 0.01}, "keep_s=0.01: a part of"),
    ],
)
def test_wrong_inputs_are_refused_by_name(pipe: AVPipeline, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipe("a red ball", **wrong)


def test_the_trained_format_may_be_said(pipe: AVPipeline) -> None:
    assert same(pipe(steps=2, size=(16, 16), seconds=1.0, fps=8), pipe(steps=2))


def test_a_file_that_does_not_serve_is_refused(pipe: AVPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4"):
        pipe(task="video_to_audio", video=tmp_path / "nowhere.mp4")


def test_a_clip_does_not_depend_on_its_batch(pipe: AVPipeline) -> None:
    settings = Settings(steps=2, guidance=2.0)
    together = pipe.generate(["a red ball", "a blue bar"], [seeded(1), seeded(2)], settings)
    alone = pipe.generate(["a blue bar"], [seeded(2)], settings)[0]
    assert np.abs(together[1].frames.astype(int) - alone.frames).max() <= 1
    assert np.abs(together[1].audio - alone.audio).mean() < 5e-3  # Griffin-Lim amplifies rounding


def test_a_batch_is_given_its_own_pictures(pipe: AVPipeline) -> None:
    frames = torch.from_numpy(np.stack([video(), 255 - video()])).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    made = pipe.generate(["", ""], [seeded(1), seeded(1)], Settings("video_to_audio", steps=2), Known(frames=frames))
    assert np.array_equal(made[0].frames, video()) and np.array_equal(made[1].frames, 255 - video())
    assert not np.array_equal(made[0].audio, made[1].audio)


def test_a_saved_clip_has_every_frame_and_every_sample(pipe: AVPipeline, tmp_path: Path) -> None:
    out = pipe("a red ball", steps=2)
    out.save(tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264" and file.streams.audio[0].codec_context.name == "aac"
        assert file.streams.audio[0].duration == SAMPLES
        assert sum(1 for _ in file.decode(video=0)) == T
    out.save(str(tmp_path / "again.mp4"))
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_an_exported_model_gives_the_clips_of_the_trained_one(tiny_model: Pretrained, tmp_path: Path) -> None:
    from avctl.models import pretrained

    pretrained.save(tiny_model, tmp_path / "model")
    exported = avctl.AVPipeline.from_pretrained(tmp_path / "model", torch_dtype=torch.float32)
    assert same(exported("a red ball", steps=2), AVPipeline(tiny_model, "float32")("a red ball", steps=2))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        AVPipeline.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        AVPipeline.from_pretrained(str(tmp_path))


def test_a_type_that_is_not_computed_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"torch\.float16: bfloat16 and float32"):
        AVPipeline.from_pretrained(tmp_path, torch_dtype=torch.float16)


def test_bfloat16_makes_nearly_the_same_clip(tiny_model: Pretrained) -> None:
    exact, rough = (AVPipeline(tiny_model, dtype)("red", steps=2, guidance=1.0) for dtype in ("float32", "bfloat16"))
    assert not same(exact, rough)
    assert np.abs(exact.frames.astype(int) - rough.frames).mean() < 8


def test_a_prompt_that_is_cut_is_warned_of(pipe: AVPipeline) -> None:
    with pytest.warns(UserWarning, match="of the prompt .* tokens are read"):
        pipe("a red ball " * 20, steps=1)
