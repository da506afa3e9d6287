"""Optimizers and their learning rate as a function of the step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from avctl.compute.threads import Threads
from avctl.errors import StageError
from avctl.kernels.adamw_ema import Settings, Slots, adamw_ema, gradient_norm
from avctl.schema import Optim
from avctl.training.ema import EMA


class Optimizer:
    """AdamW for all parameters, or Muon for the matrices inside blocks and AdamW for the rest; and their averages.

    Where there are several threads Muon's matrices are dealt out to a few optimizers each: what one does has nothing to
    do with the others.
    """

    def __init__(self, spec: Optim, model: nn.Module, steps: int, threads: Threads, ema: EMA | None = None):
        self.spec, self.steps, self.threads, self.ema = spec, steps, threads, ema
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        matrices = {name: p for name, p in self.named.items() if spec.muon_lr and _is_block_matrix(name)}
        if spec.muon_lr and not matrices:
            raise StageError("`train.optim.muon_lr` is given, and the model has no block matrices", "leave it out")
        count = HANDS * threads.count if threads.count > 1 else 1
        hands = [list(matrices.items())[i::count] for i in range(count)]
        self.muons = [
            torch.optim.Muon(hand, lr=spec.muon_lr or 0.0, weight_decay=spec.weight_decay) for hand in hands if hand
        ]
        self.matrices = matrices
        self.moments = {
            name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in self.named.items() if name not in matrices
        }
        self.count = torch.zeros((), dtype=torch.int64)  # steps that were applied

    def norm(self) -> Tensor:
        """Of all gradients, before they are clipped."""
        return gradient_norm([p.grad for p in self.named.values() if p.grad is not None])

    def step(self, step: int, norm: Tensor) -> None:
        """Apply the gradients, whose norm is given and is clipped, at the rates of `step`; average the weights."""
        factor = rate_factor(self.spec, step, self.steps)
        decay = self.ema.decay_at(step) if self.ema else 0.0
        self.count += 1
        work: list[Callable[[], None]] = [partial(self._adamw, norm, factor, decay)]
        work += [partial(self._muon, muon, norm, factor, step) for muon in self.muons]
        self.threads.map(lambda part: part(), work)
        self.clear()

    @torch.no_grad()  # here, because the threads that run it do not know what is set outside of them
    def _adamw(self, norm: Tensor, factor: float, decay: float) -> None:
        named = {name: p for name, p in self.named.items() if name in self.moments and p.grad is not None}
        if not named:
            return
        first, second = zip(*(self.moments[name] for name in named), strict=True)
        averages = [self.ema.weights[name] for name in named] if self.ema else []
        gradients = [p.grad for p in named.values() if p.grad is not None]
        spec = self.spec
        settings = Settings(spec.lr * factor, spec.betas, spec.weight_decay, spec.clip_norm, decay)
        adamw_ema(Slots(list(named.values()), gradients, first, second, averages), norm, int(self.count), settings)

    @torch.no_grad()
    def _muon(self, muon: torch.optim.Muon, norm: Tensor, factor: float, step: int) -> None:
        (group,) = muon.param_groups
        group["lr"] = (self.spec.muon_lr or 0.0) * factor
        clip = (self.spec.clip_norm / (norm + 1e-6)).clamp(max=1)
        torch._foreach_mul_([p.grad for p in group["params"] if p.grad is not None], clip)  # pyright: ignore[reportPrivateImportUsage]
        muon.step()
        if self.ema:
            self.ema.update(dict(zip(group["param_names"], group["params"], strict=True)), step)

    def clear(self) -> None:
        for parameter in self.named.values():
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """All state, by `parameter:name`, for a checkpoint."""
        moments = {
            f"{name}:{kind}": x for name, pair in self.moments.items() for kind, x in zip(MOMENTS, pair, strict=True)
        }
        momenta = {
            f"{name}:{key}": x for name, matrix in self.matrices.items() for key, x in self._momentum(matrix).items()
        }
        return {":count": self.count, **moments, **momenta}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for key, value in tensors.items():
            name, _, kind = key.rpartition(":")
            if name in self.matrices:
                self._momentum(self.matrices[name])[kind] = value.to(self.matrices[name].device)
            elif name:
                self.moments[name][MOMENTS.index(kind)].copy_(value)
            else:
                self.count.copy_(value)

    def _momentum(self, matrix: Tensor) -> dict[str, Tensor]:
        """The state that one of the Muons keeps for a matrix."""
        owner = next(muon for muon in self.muons if any(p is matrix for p in muon.param_groups[0]["params"]))
        return owner.state[matrix]


MOMENTS = ("first", "second")
HANDS = 4  # a thread: whoever ends first takes the next


def rate_factor(spec: Optim, step: int, steps: int) -> float:
    """Linear warm-up, then 1, then a linear fall from share `decay_from` of the steps to `final_lr`."""
    warm = min(1.0, (step + 1) / max(1, spec.warmup_steps))
    left = (1 - step / steps) / max(1e-9, 1 - spec.decay_from)
    return warm * max(spec.final_lr, min(1.0, left))


def _is_block_matrix(name: str) -> bool:
    """Whether Muon trains it: matrices between hidden states (Jordan et al. 2024), not tables or modulation."""
    return ".streams." in name and name.endswith(".weight") and "modulate" not in name
