"""Optimizers and their learning rate as a function of the step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avctl.compute.threads import Threads
from avctl.errors import StageError
from avctl.schema import Optim


class Optimizer:
    """AdamW for all parameters, or Muon for the matrices inside blocks and AdamW for the rest.

    Muon's matrices are dealt out to one optimizer a thread: what it does to one has nothing to do with the others.
    """

    def __init__(self, spec: Optim, model: nn.Module, steps: int, threads: Threads):
        self.spec, self.steps, self.threads = spec, steps, threads
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        matrices = [p for name, p in self.named.items() if spec.muon_lr and _is_block_matrix(name, p)]
        if spec.muon_lr and not matrices:
            raise StageError("`train.optim.muon_lr` is given, and the model has no block matrices", "leave it out")
        rest = [p for p in self.parameters if all(p is not m for m in matrices)]
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.AdamW(rest, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=True), spec.lr)
        ]
        for hand in (matrices[i :: threads.count] for i in range(threads.count)):
            if spec.muon_lr and hand:
                muon = torch.optim.Muon(hand, lr=spec.muon_lr, weight_decay=spec.weight_decay)
                self.parts.append((muon, spec.muon_lr))

    def clip(self) -> Tensor:
        """Scale the gradients to a norm of at most `clip_norm`; the norm before that."""
        return nn.utils.clip_grad_norm_(self.parameters, self.spec.clip_norm, foreach=True)

    def step(self, step: int) -> None:
        """Apply the gradients at the rates of `step`, and clear them."""
        factor = rate_factor(self.spec, step, self.steps)

        def advance(part: tuple[torch.optim.Optimizer, float]) -> None:
            optimizer, rate = part
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()

        self.threads.map(advance, self.parts)
        self.clear()

    def clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """All state, by `parameter:name`, for a checkpoint."""
        return {
            f"{parameter_name}:{name}": value
            for parameter_name, parameter in self.named.items()
            for name, value in self._state(parameter).items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for key, value in tensors.items():
            parameter_name, name = key.split(":")
            parameter = self.named[parameter_name]
            self._state(parameter)[name] = value.to(parameter.device)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state that one of the parts keeps for a parameter."""
        owner = next(part for part, _ in self.parts if any(p is parameter for p in part.param_groups[0]["params"]))
        return owner.state[parameter]


def rate_factor(spec: Optim, step: int, steps: int) -> float:
    """Linear warm-up, then 1, then a linear fall from share `decay_from` of the steps to `final_lr`."""
    warm = min(1.0, (step + 1) / max(1, spec.warmup_steps))
    left = (1 - step / steps) / max(1e-9, 1 - spec.decay_from)
    return warm * max(spec.final_lr, min(1.0, left))


def _is_block_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon trains it: matrices between hidden states (Jordan et al. 2024), not tables or modulation."""
    return parameter.ndim == 2 and ".streams." in name and "modulate" not in name
