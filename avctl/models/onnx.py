"""The transformer as ONNX, for clips of any length and batches of any size, checked against PyTorch by onnxruntime."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from avctl.kernels.dispatch import exported
from avctl.models.generator import Generator
from avctl.models.latents import Tracks
from avctl.models.packing import pack_batch

INPUTS = ("video", "audio", "t", "given_video", "given_audio", "text", "pooled")
OUTPUTS = ("video_out", "audio_out")
OPSET = 20


class Flat(nn.Module):
    """The transformer on latents of a batch, with one tensor an argument."""

    def __init__(self, model: Generator):
        super().__init__()
        self.transformer, self.patches = model.transformer, model.patches

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        t: Tensor,
        given_video: Tensor,
        given_audio: Tensor,
        text: Tensor,
        pooled: Tensor,
    ) -> tuple[Tensor, Tensor]:
        latents, count = Tracks(video, audio), len(t)
        grid = self.patches.grid_of(latents)
        given = self.patches.split_masks(Tracks(given_video, given_audio), grid)
        packing = pack_batch(count, grid, text.shape[1], self.patches.clock, t.device)
        out = self.transformer(self.patches.split(latents), t, given, text, pooled, packing)
        return self.patches.join(out, count, grid)


def export_onnx(model: Generator, path: Path) -> None:
    """Write the transformer in float32. Batch, text length and both latent lengths are dynamic."""
    video_step, audio_step = model.transformer.spec.video_patch[0], model.transformer.spec.audio_patch
    batch, words = torch.export.Dim("batch", min=1), torch.export.Dim("words", min=1)
    frames = video_step * torch.export.Dim("video_tokens", min=1)
    steps = audio_step * torch.export.Dim("audio_tokens", min=1)
    shapes = {
        "video": {0: batch, 1: frames}, "audio": {0: batch, 1: steps}, "t": {0: batch},
        "given_video": {0: batch, 1: frames}, "given_audio": {0: batch, 1: steps},
        "text": {0: batch, 1: words}, "pooled": {0: batch},
    }  # fmt: skip
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing, which is not used
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = example(model, batch=2, scale=1.0)
        with exported():  # strict: `len` of a tensor stays a symbol
            traced = torch.export.export(Flat(model).eval(), inputs, dynamic_shapes=shapes, strict=True)
        program = torch.onnx.export(
            traced, dynamo=True, opset_version=OPSET, input_names=INPUTS, output_names=OUTPUTS, verbose=False
        )
    assert program is not None
    program.model.graph.metadata_props.clear()  # ranges of the symbols, in the order of a set
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces: most of the file, and paths of this machine
    program.save(str(path))


def relative_error(model: Generator, path: Path) -> dict[str, float]:
    """Largest |onnx - torch| over the largest |torch|, by case: the trained length, half of it, and twice it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    flat, errors = Flat(model).eval(), {}
    for name, batch, scale in (("trained length", 2, 1.0), ("half the length", 3, 0.5), ("twice the length", 1, 2.0)):
        inputs = example(model, batch, scale)
        with torch.inference_mode():
            expected = flat(*inputs)
        got = session.run(list(OUTPUTS), {k: v.numpy() for k, v in zip(INPUTS, inputs, strict=True)})
        differences = [_difference(np.asarray(g), e.numpy()) for g, e in zip(got, expected, strict=True)]
        errors[name] = float(np.max(differences))
    return errors


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest |got - expected| over the largest |expected|; NaN where either holds one."""
    return float(np.abs(got - expected).max() / max(1e-12, np.abs(expected).max()))


def example(model: Generator, batch: int, scale: float) -> tuple[Tensor, ...]:
    """Random inputs for clips `scale` times as long as the model was trained on; half of the clips have given sound."""
    layout, generator = model.layout, torch.Generator().manual_seed(0)
    steps = model.transformer.spec.video_patch[0], model.transformer.spec.audio_patch
    lengths = (layout.video_frames, layout.audio_frames)
    frames, sounds = (max(1, round(scale * n / step)) * step for n, step in zip(lengths, steps, strict=True))
    width, words = model.transformer.spec.width, 7
    shapes = (batch, frames, layout.video_channels, *layout.video_size), (batch, sounds, layout.audio_channels)
    video, audio = (torch.randn(shape, generator=generator) for shape in shapes)
    given_audio = (torch.arange(batch) % 2).float()[:, None].expand(batch, sounds).contiguous()
    return (
        video, audio, torch.rand(batch, generator=generator), torch.zeros(batch, frames), given_audio,
        torch.randn(batch, words, width, generator=generator), torch.randn(batch, width, generator=generator),
    )  # fmt: skip
