"""From the codec sections of a recipe to modules: the one place that knows all codecs."""

from __future__ import annotations

from pathlib import Path

from avctl.codecs.codec import AudioCodec, VideoCodec
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.codecs.haar import HaarCodec
from avctl.codecs.log_mel import LogMelCodec
from avctl.codecs.mdct import MDCTCodec
from avctl.codecs.weights import load_weights
from avctl.job import InputError
from avctl.schema import MDCT, Clip, FrameAutoencoder, Haar, LogMel, Trained

WEIGHTS = "model.safetensors"  # of a finished train artifact


def build_video_codec(spec: Haar | Trained, clip: Clip, artifact: Path | None) -> VideoCodec:
    """The codec in eval mode. `artifact` is the train artifact of a `Trained` codec. InputError without it."""
    match spec:
        case Haar():
            codec: VideoCodec = HaarCodec(spec)
        case Trained():
            codec = trained_codec(spec, artifact)
    codec.latent_shape(clip.frames, clip.size)
    return codec.eval().requires_grad_(False)


def build_audio_codec(spec: MDCT | LogMel, clip: Clip) -> AudioCodec:
    """The codec in eval mode."""
    match spec:
        case MDCT():
            codec: AudioCodec = MDCTCodec(spec, clip.channels)
        case LogMel():
            codec = LogMelCodec(spec, clip.sample_rate, clip.channels)
    return codec.eval().requires_grad_(False)


def trained_codec(spec: Trained, artifact: Path | None) -> VideoCodec:
    """Architecture from the recipe that trained it, weights from its artifact."""
    if artifact is None or not (artifact / WEIGHTS).is_file():
        raise InputError(f"codec `{spec.recipe.name}` is not trained yet", hint="`avctl run` trains it first")
    if not isinstance(spec.recipe.model, FrameAutoencoder):
        raise InputError(f"recipe `{spec.recipe.name}` trains no codec")
    codec = FrameAutoencoderCodec(spec.recipe.model)
    load_weights(codec, artifact / WEIGHTS)
    return codec
