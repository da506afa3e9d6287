"""The training loop of every model: load, loss, step, average, save; resumed by running it again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from avctl.compute.threads import Threads
from avctl.data.feed import on_device, pinned
from avctl.data.prefetch import positions, prefetched
from avctl.job import Interrupted, Job, StageError
from avctl.schema import TrainAutoencoder, TrainGenerator
from avctl.training.checkpoint import Checkpoints
from avctl.training.ema import EMA
from avctl.training.optim import Optimizer


class Objective(Protocol):
    """What is trained: a model, the batch of a step, and the loss on it. Batches are a function of the step."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def load(self) -> Callable[[int], Any]:
        """What the batch of a step is made of, by its number; it may be sent to another process."""
        ...

    def finish(self, loaded: Any) -> Any:
        """The batch of what was loaded."""
        ...

    def num_items(self, batch: Any) -> int: ...

    def split(self, batch: Any, count: int) -> list[tuple[Any, float]]:
        """At most `count` parts of a batch, and the share of it that each is."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on a batch or a part of one, and figures for the log."""
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
    with Threads.on(objective.device) as threads:
        _fit(objective, spec, job, ema, on_step, threads)


def _fit(
    objective: Objective,
    spec: TrainGenerator | TrainAutoencoder,
    job: Job,
    ema: EMA | None,
    on_step: Callable[[int], None],
    threads: Threads,
) -> None:
    optimizer = Optimizer(spec.optim, objective.model, spec.steps, threads, ema)
    checkpoints = Checkpoints(job.out / "work" / "checkpoints")
    log = _Log(job, spec.steps)
    state = _State(objective.model, optimizer, ema, log)
    first = state.restore(checkpoints)
    job.report.rewind(first)
    skipped, saved = 0, first
    with _batches(objective, positions(first, spec.steps), job) as batches:
        for step, batch in zip(range(first, spec.steps), batches, strict=False):
            if job.stop.is_set():
                if step > saved:
                    state.save(checkpoints, step)
                raise Interrupted
            figures = differentiate(objective, batch, threads)
            norm = optimizer.norm()
            if torch.isfinite(norm):
                optimizer.step(step, norm)
                skipped = 0
                log.add(step, objective.num_items(batch), {**figures, "grad_norm": norm})
            else:
                skipped = _skip(optimizer, job, step, skipped, spec.max_skipped)
                log.add(step, objective.num_items(batch), {"skipped": torch.ones(())})
            on_step(step + 1)  # before saving: what it writes is never missed by a run that goes on from here
            if (step + 1) % spec.save_every == 0 and step + 1 < spec.steps:
                state.save(checkpoints, step + 1)
                saved = step + 1


@contextmanager
def _batches(objective: Objective, steps: range, job: Job) -> Iterator[Iterator[Any]]:
    """The batches of these steps on the device, loaded ahead until the block ends."""

    def finish(loaded: Any) -> Any:
        return pinned(objective.finish(loaded), objective.device)

    with closing(prefetched(objective.load, finish, steps, job.recipe.runtime.loaders)) as batches:
        yield on_device(batches, objective.device)


def differentiate(objective: Objective, batch: Any, threads: Threads) -> dict[str, Tensor]:
    """Put the gradients of the loss on a batch into the parameters; the loss and its figures."""
    parameters = [p for p in objective.model.parameters() if p.requires_grad]

    def part(item: tuple[Any, float]) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        piece, share = item
        loss, figures = objective.loss(piece)
        gradients = torch.autograd.grad(loss * share, parameters, allow_unused=True)
        return gradients, {name: value.detach() * share for name, value in {"loss": loss, **figures}.items()}

    parts = threads.map(part, objective.split(batch, threads.count))
    _keep_sums(parameters, [gradients for gradients, _ in parts])
    return {name: torch.stack([figures[name] for _, figures in parts]).sum() for name in parts[0][1]}


def _keep_sums(parameters: Sequence[Tensor], parts: Sequence[Sequence[Tensor | None]]) -> None:
    """Put the sums of the parts' gradients into the parameters, laid out as those and in memory of their own:
    optimizers read both by address and clip in place, and what `autograd.grad` gives may be transposed, and a piece of
    another or the same."""
    found = [[gradient for gradient in gradients if gradient is not None] for gradients in zip(*parts, strict=True)]
    owners = Counter(_memory(gradient) for gradients in found for gradient in gradients)
    for parameter, gradients in zip(parameters, found, strict=True):
        parameter.grad = None
        if gradients:
            total, *others = gradients
            is_own = owners[_memory(total)] == 1 and total.untyped_storage().nbytes() == total.nbytes
            if not is_own or total.stride() != parameter.stride():
                total = torch.empty_like(parameter).copy_(total)
            for other in others:
                total += other
            parameter.grad = total


def _memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _skip(optimizer: Optimizer, job: Job, step: int, skipped: int, most: int) -> int:
    """Drop the gradients of a step whose norm is not a number; give up after `most` in a row."""
    optimizer.clear()
    job.report.warn(f"step {step}: the gradient is not finite; the step is skipped")
    if skipped + 1 > most:
        raise StageError(f"{skipped + 1} steps in a row had no finite gradient", hint="lower `train.optim.lr`")
    return skipped + 1


@dataclass
class _State:
    """All that changes from step to step: what a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    ema: EMA | None
    log: _Log

    def save(self, checkpoints: Checkpoints, step: int) -> None:
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.tensors(), "log": self.log.sums}
        checkpoints.save(step, parts | ({"ema": self.ema.model.state_dict()} if self.ema else {}))

    def restore(self, checkpoints: Checkpoints) -> int:
        """The step to go on from: that of the newest checkpoint, or 0."""
        saved = checkpoints.latest()
        if saved is None:
            return 0
        step, parts = saved
        self.model.load_state_dict(parts["model"])
        self.optimizer.load(parts["optimizer"])
        self.log.sums = parts["log"]
        if self.ema:
            self.ema.model.load_state_dict(parts["ema"])
        return step


class _Log:
    """Means of the figures since the last row, written every `log_every` steps; skipped steps are counted apart.

    The sums go into checkpoints, so that a run that was interrupted between two rows writes the same ones.
    """

    def __init__(self, job: Job, steps: int):
        self.job, self.steps = job, steps
        self.sums: dict[str, Tensor] = {}
        self.timed, self.start = 0, time.perf_counter()  # items since, in this process

    def add(self, step: int, num_items: int, figures: dict[str, Tensor]) -> None:
        for name, value in {"counted": torch.ones(()), **figures}.items():
            self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value
        self.timed += num_items
        done = step + 1
        if done % self.job.recipe.runtime.log_every and done < self.steps:
            return
        sums = {name: float(value) for name, value in self.sums.items()}
        skipped = sums.pop("skipped", 0.0)
        counted = sums.pop("counted") - skipped
        means = {name: round(value / counted, 6) for name, value in sums.items()}
        rate = self.timed / (time.perf_counter() - self.start)
        counts = {"skipped": int(skipped)} if skipped else {}
        self.job.report.log(step=done, **means, **counts, items_per_s=round(rate, 2))
        self.job.report.progress("train", done, self.steps, **{n: v for n, v in means.items() if n == "loss"})
        self.sums, self.timed, self.start = {}, 0, time.perf_counter()
