"""A trained generator on disk: a `config.json` of plain data and weights in safetensors. Nothing is unpickled.

The folder of an exported model also holds its codec (`codec.safetensors`) and, if it has one, its sentence encoder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from avctl.codecs import AudioCodec, VideoCodec, build_audio_codec, build_video_codec
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.codecs.weights import load_weights
from avctl.errors import InputError
from avctl.files import write_text
from avctl.models.generator import Generator
from avctl.models.latents import Layout
from avctl.models.text import SentenceText
from avctl.recipe.content import sha256
from avctl.recipe.spec import Spec
from avctl.schema import Clip, Flow, FrameAutoencoder, Haar, JointDiT, Recipe, SentenceEncoder, Trained, TrainGenerator
from avctl.schema.codec import AudioCodec as AudioSection

CONFIG, WEIGHTS, CODEC, TEXT = "config.json", "model.safetensors", "codec.safetensors", "text_encoder"


class Config(Spec):
    """All that is needed to build the modules before their weights are loaded."""

    clip: Clip
    model: JointDiT
    flow: Flow
    video_codec: Annotated[Haar | FrameAutoencoder, Field(discriminator="kind")]
    audio_codec: AudioSection
    sha256: Mapping[str, str] = Field(default_factory=dict)  # of the weights of generator and codec, by file


@dataclass
class Pretrained:
    """A generator with its codecs."""

    config: Config
    generator: Generator
    video_codec: VideoCodec
    audio_codec: AudioCodec


def untrained(recipe: Recipe, codec: Path | None) -> Pretrained:
    """The generator of a recipe at its first weights, with its finished codecs."""
    assert recipe.preprocess and isinstance(recipe.model, JointDiT) and isinstance(recipe.train, TrainGenerator)
    video, audio = recipe.preprocess.video_codec, recipe.preprocess.audio_codec
    if video is None or audio is None:
        raise InputError(
            f"recipe `{recipe.name}` trains a generator but names no codecs", hint="set `preprocess.video_codec`"
        )
    video_codec, audio_codec = build_video_codec(video, recipe.clip, codec), build_audio_codec(audio, recipe.clip)
    section = video.recipe.model if isinstance(video, Trained) else video
    assert isinstance(section, Haar | FrameAutoencoder)
    config = Config(
        clip=recipe.clip, model=recipe.model, flow=recipe.train.flow, video_codec=section, audio_codec=audio
    )
    generator = Generator(recipe.model, Layout.of(recipe.clip, video_codec, audio_codec))
    return Pretrained(config, generator, video_codec, audio_codec)


def trained(recipe: Recipe, artifact: Path, codec: Path | None) -> Pretrained:
    """The generator of a recipe with the weights of its train artifact, in eval mode."""
    model = untrained(recipe, codec)
    load_weights(model.generator, artifact / WEIGHTS)
    model.generator.eval().requires_grad_(False)
    return model


def save(model: Pretrained, folder: Path) -> None:
    """Write everything that `load` needs, and nothing that executes."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    if isinstance(config.model.text, SentenceEncoder):
        config = _with_text_beside(config, model, folder)
    save_file(_contiguous(model.generator.state_dict()), folder / WEIGHTS)
    if isinstance(config.video_codec, FrameAutoencoder):
        save_file(_contiguous(model.video_codec.state_dict()), folder / CODEC)
    sums = {name: sha256(folder / name) for name in (WEIGHTS, CODEC) if (folder / name).is_file()}
    config = config.model_copy(update={"sha256": sums})
    write_text(folder / CONFIG, json.dumps(config.model_dump(mode="json"), indent=2) + "\n")


def load(folder: Path) -> Pretrained:
    """The inverse of `save`, in eval mode. InputError where a file is missing or damaged."""
    config = _read_config(folder)
    for name, expected in config.sha256.items():
        if (folder / name).is_file() and sha256(folder / name) != expected:
            raise InputError(f"the model in `{folder}` is damaged: `{name}` has changed", "export it again")
    if isinstance(config.model.text, SentenceEncoder):
        config = _with_text_path(config, folder / TEXT)
    try:
        video_codec = _load_codec(config, folder)
        audio_codec = build_audio_codec(config.audio_codec, config.clip)
        generator = Generator(config.model, Layout.of(config.clip, video_codec, audio_codec))
        load_weights(generator, folder / WEIGHTS)
    except (OSError, ValueError) as error:
        raise InputError(f"the model in `{folder}` cannot be loaded: {error}") from error
    return Pretrained(config, generator.eval().requires_grad_(False), video_codec, audio_codec)


def _read_config(folder: Path) -> Config:
    if not (folder / CONFIG).is_file():
        raise InputError(f"no model at `{folder}`", hint=f"a folder that `avctl export` made holds a `{CONFIG}`")
    try:
        return Config.model_validate(json.loads((folder / CONFIG).read_text()), strict=False)
    except ValueError as error:
        raise InputError(f"`{folder / CONFIG}` is damaged: {error}") from error


def _load_codec(config: Config, folder: Path) -> VideoCodec:
    if isinstance(config.video_codec, Haar):
        return build_video_codec(config.video_codec, config.clip, None)
    codec = FrameAutoencoderCodec(config.video_codec)
    load_weights(codec, folder / CODEC)
    return codec.eval().requires_grad_(False)


def _with_text_beside(config: Config, model: Pretrained, folder: Path) -> Config:
    """The frozen sentence encoder, copied beside the model: the folder must work on a machine without it."""
    assert isinstance(model.generator.text, SentenceText)
    shutil.copytree(model.generator.text.folder, folder / TEXT, dirs_exist_ok=True)
    return _with_text_path(config, None)


def _with_text_path(config: Config, path: Path | None) -> Config:
    text = config.model.text.model_copy(update={"path": path})
    return config.model_copy(update={"model": config.model.model_copy(update={"text": text})})


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies in plain layout on the CPU: safetensors holds no strides, and equal weights should be equal bytes."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
