"""Rates follow their schedule, Muon gets the matrices of blocks only, and state survives a checkpoint."""

from __future__ import annotations

import pytest
import torch

from avctl.compute.threads import Threads
from avctl.errors import StageError
from avctl.models.pretrained import Pretrained
from avctl.schema import Optim
from avctl.training.ema import EMA
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
    optimizer.step(4, optimizer.norm())
    assert abs(weight.weight.item() - before) == pytest.approx(0.05, rel=1e-3)  # the first step of Adam is its rate
    assert weight.weight.grad is None


def test_muon_gets_the_matrices_of_blocks_and_nothing_else(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(MUON, model, 10, Threads(1))
    (hand,) = optimizer.muons
    names = {id(p): name for name, p in model.named_parameters()}
    muon = {names[id(p)] for p in hand.param_groups[0]["params"]}
    kinds = {"to_qkv.weight", "from_heads.weight", "to_hidden.weight", "from_hidden.weight"}
    assert {name.split(".", 5)[-1] for name in muon} == kinds
    assert all(name.startswith(("transformer.dual", "transformer.single")) for name in muon)
    assert len(muon) == 4 * (3 + 1)  # three streams in the dual block, one in the single
    assert muon | optimizer.moments.keys() == set(names.values()) and not muon & optimizer.moments.keys()


def test_muon_without_matrices_to_train_is_refused() -> None:
    with pytest.raises(StageError, match="no block matrices"):
        Optimizer(MUON, torch.nn.Linear(4, 4), 10, Threads(1))


def test_without_muon_everything_is_adams(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(Optim(), model, 10, Threads(1))
    assert not optimizer.muons and optimizer.moments.keys() == dict(model.named_parameters()).keys()


def test_what_is_frozen_is_not_touched(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    model.text.requires_grad_(False)
    optimizer = Optimizer(MUON, model, 10, Threads(1))
    assert not any("text" in name for name in (*optimizer.named, *optimizer.moments, *optimizer.matrices))


def test_saved_state_fits_any_number_of_threads(tiny_model: Pretrained) -> None:
    model = tiny_model.generator.requires_grad_(True)
    optimizer = Optimizer(MUON, model, 10, Threads(1))
    gradients(model, 0)
    optimizer.step(0, optimizer.norm())
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
        optimizer.step(step, optimizer.norm())
    weights = {name: x.clone() for name, x in model.state_dict().items()}
    state = {name: x.clone() for name, x in optimizer.tensors().items()}
    ends = []
    for new in (optimizer, Optimizer(spec, model, 10, Threads(1))):
        model.load_state_dict(weights)
        if new is not optimizer:
            new.load(state)
        for step in range(3, 6):
            gradients(model, step)
            new.step(step, new.norm())
        ends.append({name: x.clone() for name, x in model.state_dict().items()})
    assert all(torch.equal(x, ends[1][name]) for name, x in ends[0].items())


@pytest.mark.parametrize(("spec", "rounding"), [(Optim(lr=1e-3), 1e-6), (MUON, 5e-4)])  # Muon computes in bfloat16
def test_gradients_are_clipped_to_a_norm(tiny_model: Pretrained, spec: Optim, rounding: float) -> None:
    spec = spec.model_copy(update={"clip_norm": 0.5})
    model = tiny_model.generator.requires_grad_(True)
    first = {name: x.clone() for name, x in model.state_dict().items()}
    ends = []
    for scale in (0.01, 100.0):
        model.load_state_dict(first)
        optimizer = Optimizer(spec, model, 10, Threads(1))
        for step, size in enumerate((1e-3, scale)):  # whatever the second is, it weighs no more than the bound
            gradients(model, step)
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.grad *= size
            optimizer.step(step, optimizer.norm())
        ends.append([x.clone() for x in model.state_dict().values()])
    assert max((a - b).abs().max() for a, b in zip(*ends, strict=True)) < rounding


def test_the_norm_is_that_of_all_gradients() -> None:
    model = torch.nn.Linear(10, 10)
    gradients(model, 0)
    whole = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert float(Optimizer(Optim(), model, 10, Threads(1)).norm()) == pytest.approx(float(whole.norm()))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("spec", [Optim(lr=0.1), MUON])
def test_all_weights_are_averaged(tiny_model: Pretrained, spec: Optim, count: int) -> None:
    model = tiny_model.generator.requires_grad_(True)
    ema = EMA(model, 0.9)
    threads = Threads(count)
    optimizer = Optimizer(spec, model, 10, threads, ema)
    expected = {name: x.detach().clone() for name, x in model.named_parameters()}
    for step in range(3):
        gradients(model, step)
        optimizer.step(step, optimizer.norm())
        for name, x in model.named_parameters():
            expected[name].lerp_(x.detach(), 1 - ema.decay_at(step))
    assert all(torch.equal(x, ema.weights[name]) for name, x in expected.items())
    assert any(not torch.equal(x, ema.weights[name]) for name, x in model.named_parameters())
    assert not any(x.requires_grad for x in ema.weights.values())  # no graph grows behind them


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
                optimizer.step(step, optimizer.norm())
        ends.append({name: x.clone() for name, x in model.state_dict().items()})
    assert all(torch.allclose(x, ends[1][name], atol=1e-6) for name, x in ends[0].items())
