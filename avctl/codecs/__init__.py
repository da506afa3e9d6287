"""Frames and samples to latents and back: fixed codecs, and ones that a recipe trains."""

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.codecs.codec import AudioCodec, VideoCodec

__all__ = ["AudioCodec", "VideoCodec", "build_audio_codec", "build_video_codec"]
