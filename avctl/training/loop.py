"""The training loop of every model: load, loss, step, average, save; resumed by running it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from avctl.data.prefetch import prefetched
from avctl.job import Interrupted, Job, StageError
from avctl.schema import TrainAutoencoder, TrainGenerator
from avctl.training.checkpoint import Checkpoints
from avctl.training.ema import EMA
from avctl.training.optim import Optimizer


class Objective(Protocol):
    """What is trained: a model, the batch of a step, and the loss on it. Both are functions of the step."""

    model: nn.Module

    def batch(self, step: int) -> Any: ...

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and figures for the log."""
        ...


def fit(
    objective: Objective,
    spec: TrainGenerator | TrainAutoencoder,
    job: Job,
    ema: EMA | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Train `objective.model` for `spec.steps` steps, from its newest checkpoint if there is one.

    Raises Interrupted after saving when asked to stop, StageError when losses stay non-finite.
    """
    optimizer = Optimizer(spec.optim, objective.model, spec.steps)
    checkpoints = Checkpoints(job.out / "work" / "checkpoints")
    first = _restore(checkpoints, objective.model, optimizer, ema)
    log = _Log(job, spec.steps, spec.batch, first)
    skipped, saved = 0, first
    for step, batch in zip(
        range(first, spec.steps), prefetched(objective.batch, range(first, spec.steps)), strict=False
    ):
        if job.stop.is_set():
            if step > saved:
                _save(checkpoints, step, objective.model, optimizer, ema)
            raise Interrupted
        loss, figures = objective.loss(batch, step)
        loss.backward()
        norm = optimizer.clip()
        if torch.isfinite(norm):
            optimizer.step(step)
            skipped = 0
        else:
            skipped = _skip(optimizer, job, step, skipped, spec.max_skipped)
        if ema:
            ema.update(objective.model, step)
        log.add(step, loss=loss.detach(), grad_norm=norm, **figures)
        if (step + 1) % spec.save_every == 0 and step + 1 < spec.steps:
            _save(checkpoints, step + 1, objective.model, optimizer, ema)
            saved = step + 1
        on_step(step + 1)


def _skip(optimizer: Optimizer, job: Job, step: int, skipped: int, most: int) -> int:
    """Drop the gradients of a step whose norm is not a number; give up after `most` in a row."""
    optimizer.clear()
    job.report.warn(f"step {step}: the gradient is not finite; the step is skipped")
    if skipped + 1 > most:
        raise StageError(f"{skipped + 1} steps in a row had no finite gradient", hint="lower `train.optim.lr`")
    return skipped + 1


def _save(checkpoints: Checkpoints, step: int, model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> None:
    parts = {"model": model.state_dict(), "optimizer": optimizer.tensors()}
    checkpoints.save(step, parts | ({"ema": ema.model.state_dict()} if ema else {}))


def _restore(checkpoints: Checkpoints, model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> int:
    """The step to go on from."""
    saved = checkpoints.latest()
    if saved is None:
        return 0
    step, parts = saved
    model.load_state_dict(parts["model"])
    optimizer.load(parts["optimizer"])
    if ema:
        ema.model.load_state_dict(parts["ema"])
    return step


class _Log:
    """Means of the figures since the last row, written every `log_every` steps."""

    def __init__(self, job: Job, steps: int, batch: int, first: int):
        self.job, self.steps, self.batch = job, steps, batch
        self.sums: dict[str, Tensor] = {}
        self.since, self.start = first, time.perf_counter()

    def add(self, step: int, **figures: Tensor) -> None:
        for name, value in figures.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        done = step + 1
        if done % self.job.recipe.runtime.log_every and done < self.steps:
            return
        means = {name: round(float(value) / (done - self.since), 6) for name, value in self.sums.items()}
        seconds = time.perf_counter() - self.start
        self.job.report.log(step=done, **means, items_per_s=round(self.batch * (done - self.since) / seconds, 2))
        self.job.report.progress("train", done, self.steps, loss=means["loss"])
        self.sums, self.since, self.start = {}, done, time.perf_counter()
