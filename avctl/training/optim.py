"""Optimizers and their learning rate as a function of the step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avctl.schema import Optim


class Optimizer:
    """AdamW for all parameters, or Muon for the matrices inside blocks and AdamW for the rest."""

    def __init__(self, spec: Optim, model: nn.Module, steps: int):
        self.spec, self.steps = spec, steps
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        matrices = [name for name, p in named.items() if spec.muon_lr and _is_block_matrix(name, p)]
        rest = [p for name, p in named.items() if name not in set(matrices)]
        self.parameters = list(named.values())
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=True)
        ]
        self.rates = [spec.lr]
        if spec.muon_lr and matrices:
            muon = torch.optim.Muon([named[n] for n in matrices], lr=spec.muon_lr, weight_decay=spec.weight_decay)
            self.parts.append(muon)
            self.rates.append(spec.muon_lr)

    def clip(self) -> Tensor:
        """Scale the gradients to a norm of at most `clip_norm`; the norm before that."""
        return nn.utils.clip_grad_norm_(self.parameters, self.spec.clip_norm, foreach=True)

    def step(self, step: int) -> None:
        """Apply the gradients at the rates of `step`, and clear them."""
        factor = rate_factor(self.spec, step, self.steps)
        for part, rate in zip(self.parts, self.rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
        self.clear()

    def clear(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """All state, by `part.parameter.name`, for a checkpoint."""
        return {
            f"{i}.{j}.{name}": value
            for i, part in enumerate(self.parts)
            for j, p in enumerate(part.param_groups[0]["params"])
            for name, value in part.state.get(p, {}).items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for key, value in tensors.items():
            i, j, name = key.split(".")
            part = self.parts[int(i)]
            parameter = part.param_groups[0]["params"][int(j)]
            part.state[parameter][name] = value.to(parameter.device)


def rate_factor(spec: Optim, step: int, steps: int) -> float:
    """Linear warm-up, then 1, then a linear fall from share `decay_from` of the steps to `final_lr`."""
    warm = min(1.0, (step + 1) / max(1, spec.warmup_steps))
    left = (1 - step / steps) / max(1e-9, 1 - spec.decay_from)
    return warm * max(spec.final_lr, min(1.0, left))


def _is_block_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon trains it: matrices between hidden states (Jordan et al. 2024), not tables or modulation."""
    return parameter.ndim == 2 and ".streams." in name and "modulate" not in name
