"""Rates follow their schedule, Muon gets the matrices of blocks only, and state survives a checkpoint."""

from __future__ import annotations

import pytest
import torch

from avctl.compute.threads import Threads
from avctl.errors import StageError
from avctl.models.pretrained import Pretrained
from avctl.schema import Optim
from avctl.training.optim import Optimizer, rate_factor

MUON = Optim(lr=1e-3, muon_lr=0.02)


def gradients(model: torch.nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_the_rate_warms_up_holds_and_falls_linearly() -> None:
    spec = Optim(warmup_steps=4, decay_from=0.5, final_lr=0.1)
    factors = [rate_factor(spec, step, 100) for step in range(100)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert set(factors[4:51]) == {1.0}
    assert factors[75] == pytest.approx(0.5)
    assert factors[90:] == [pytest.approx(max(0.1, 2 * (100 - step) / 100)) for step in range(90, 100)]
    assert factors[99] == 0.1


def test_a_rate_that_never_falls_stays_at_one() -> None:
    assert {rate_factor(Optim(decay_from=1.0), step, 10) for step in range(10)} == {1.0}


def test_warming_up_and_falling_go_together() -> None:
    assert rate_factor(Optim(warmup_steps=10, decay_from=0.0, final_lr=0.0), 4, 10) == pytest.approx(0.5 * 0.6)


def test_a_step_uses_the_rate_of_that_step() -> None:
    weight = torch.nn.Linear(1, 1, bias=False)
    optimizer = Optimizer(Optim(lr=0.1, warmup_steps=10), weight, 100, Threads(1))
    before = weight.weight.item()
    gradients(weight, 0)
    optimizer.step(4)
    assert abs(weight.weight.item() - before) == pytest.approx(0.05, rel=1e-3)  # the first step of Adam is its rate
    assert weight.weight.grad is None


def test_muon_gets_the_matrices_of_blocks_and_nothing_else(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(MUON, model, 10, Threads(1))
    names = {id(p): name for name, p in model.named_parameters()}
    muon = {names[id(p)] for group in optimizer.parts[1][0].param_groups for p in group["params"]}
    kinds = {"to_qkv.weight", "from_heads.weight", "to_hidden.weight", "from_hidden.weight"}
    assert {name.split(".", 5)[-1] for name in muon} == kinds
    assert all(name.startswith(("transformer.dual", "transformer.single")) for name in muon)
    assert len(muon) == 4 * (3 + 1)  # three streams in the dual block, one in the single
    rest = {names[id(p)] for group in optimizer.parts[0][0].param_groups for p in group["params"]}
    assert muon | rest == set(names.values()) and not muon & rest


def test_muon_without_matrices_to_train_is_refused() -> None:
    with pytest.raises(StageError, match="no block matrices"):
        Optimizer(MUON, torch.nn.Linear(4, 4), 10, Threads(1))


def test_without_muon_everything_is_adams(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(Optim(), model, 10, Threads(1))
    assert len(optimizer.parts) == 1
    assert len(optimizer.parts[0][0].param_groups[0]["params"]) == len(list(model.parameters()))


def test_what_is_frozen_is_not_touched(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    model.text.requires_grad_(False)
    assert all("text" not in name for name in _trained_names(Optimizer(MUON, model, 10, Threads(1)), model))


def _trained_names(optimizer: Optimizer, model: torch.nn.Module) -> set[str]:
    ids = {id(p) for p in optimizer.parameters}
    return {name for name, p in model.named_parameters() if id(p) in ids}


def test_saved_state_fits_any_number_of_threads(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(MUON, model, 10, Threads(1))
    gradients(model, 0)
    optimizer.step(0)
    with Threads(3) as threads:
        other = Optimizer(MUON, model, 10, threads)
        other.load(optimizer.tensors())
        assert all(torch.equal(x, other.tensors()[name]) for name, x in optimizer.tensors().items())


@pytest.mark.parametrize("spec", [Optim(lr=1e-3, weight_decay=0.1), MUON])
def test_going_on_from_saved_state_is_going_on(tiny_model: Pretrained, spec: Optim) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(spec, model, 10, Threads(1))
    for step in range(3):
        gradients(model, step)
        optimizer.step(step)
    weights = {name: x.clone() for name, x in model.state_dict().items()}
    state = {name: x.clone() for name, x in optimizer.tensors().items()}
    ends = []
    for new in (optimizer, Optimizer(spec, model, 10, Threads(1))):
        model.load_state_dict(weights)
        if new is not optimizer:
            new.load(state)
        for step in range(3, 6):
            gradients(model, step)
            new.step(step)
        ends.append({name: x.clone() for name, x in model.state_dict().items()})
    assert all(torch.equal(x, ends[1][name]) for name, x in ends[0].items())


def test_gradients_are_clipped_to_a_norm_and_the_norm_before_is_told() -> None:
    model = torch.nn.Linear(10, 10)
    gradients(model, 0)
    before = float(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm())
    told = Optimizer(Optim(clip_norm=0.5), model, 10, Threads(1)).clip()
    after = float(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm())
    assert float(told) == pytest.approx(before) and after == pytest.approx(0.5, rel=1e-4)


def test_the_number_of_threads_changes_no_weight(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    first = {name: x.clone() for name, x in model.state_dict().items()}
    ends = []
    for count in (1, 3):
        model.load_state_dict(first)
        with Threads(count) as threads:
            optimizer = Optimizer(MUON, model, 10, threads)
            for step in range(3):
                gradients(model, step)
                optimizer.step(step)
        ends.append({name: x.clone() for name, x in model.state_dict().items()})
    assert all(torch.allclose(x, ends[1][name], atol=1e-6) for name, x in ends[0].items())
