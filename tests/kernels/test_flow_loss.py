"""Flow matching with noise from seeds: the kernels against the references in float64, and the references themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from avctl.kernels import flow_loss as module
from avctl.kernels.flow_loss import BLOCK, Predict, flow_loss, flow_loss_reference, flow_mix, flow_mix_reference
from avctl.kernels.noise import noise_reference
from avctl.kernels.segments import Segments, segments

SHAPES = [  # tokens of each clip, numbers of a token
    ((5, 5, 5), 7),
    ((1,), 3),
    ((3, 0, 11, 1), 120),
    ((9, 3), 1_000),  # several programs a clip, which end inside tokens, or have nothing to do
    ((6,), BLOCK // 2),  # and at the end of one
    ((30, 20, 3, 3), 1),  # tokens of one number
]
LOSSES: list[tuple[Predict, float]] = [("velocity", 25.0), ("clean", 25.0)]


class Drawn(NamedTuple):
    output: Tensor
    clean: Tensor
    t: Tensor
    given: Tensor
    share: Tensor
    seeds: Tensor
    clips: Segments

    @property
    def path(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Segments]:
        """What `flow_mix` takes."""
        return self.clean, self.t, self.given, self.seeds, self.clips

    @property
    def loss(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Segments]:
        """What `flow_loss` takes first."""
        return self.output, self.clean, self.t, self.share, self.seeds, self.clips


def case(lengths: Sequence[int], width: int, dtype: torch.dtype = torch.float32) -> Drawn:
    """The output in `dtype`; the last clip is given whole if there are several."""
    generator, clips = torch.Generator().manual_seed(sum(lengths) + width), segments(torch.tensor(lengths))
    output, clean = torch.randn(2, sum(lengths), width, generator=generator)
    given = (torch.rand(sum(lengths), generator=generator) < 0.3).float()
    given[:1], given[int(clips.cu_seqlens[1:][-2:][0]) :] = 0, 1
    share = (1 - given) * torch.rand(sum(lengths), generator=generator)
    seeds = torch.randint(-(2**63), 2**63 - 1, (len(lengths),), generator=generator)
    t = torch.rand(len(lengths), generator=generator)
    return Drawn(output.to(dtype), clean, t, given, share, seeds, clips)


@pytest.mark.parametrize(("lengths", "width"), SHAPES)
def test_the_mix_is_that_of_the_reference(
    lengths: tuple[int, ...], width: int, interpreted: None, guarded: None
) -> None:
    drawn = case(lengths, width)
    exact = flow_mix_reference(*drawn._replace(clean=drawn.clean.double(), t=drawn.t.double()).path)
    eager = (flow_mix_reference(*drawn.path) - exact).abs().max()
    assert (flow_mix(*drawn.path) - exact).abs().max() <= 2 * eager + 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("predict", "max_weight"), LOSSES)
@pytest.mark.parametrize(("lengths", "width"), SHAPES)
def test_the_loss_and_its_gradient_are_those_of_the_reference(
    lengths: tuple[int, ...], width: int, predict: Predict, max_weight: float, dtype: torch.dtype,
    interpreted: None, guarded: None, as_exact_as_eager,
) -> None:  # fmt: skip
    drawn = case(lengths, width, dtype)

    def reference(output: Tensor) -> Tensor:
        precise = torch.promote_types(output.dtype, torch.float32)
        exact = {name: getattr(drawn, name).to(precise) for name in ("clean", "t", "share")}
        return flow_loss_reference(*drawn._replace(output=output, **exact).loss, predict, max_weight)

    def operation(output: Tensor) -> Tensor:
        return flow_loss(*drawn._replace(output=output).loss, predict, max_weight)

    as_exact_as_eager(operation, reference, [drawn.output])


@pytest.mark.parametrize(("predict", "max_weight"), LOSSES)
def test_the_answer_that_it_asks_for_costs_nothing(predict: Predict, max_weight: float, interpreted: None) -> None:
    _, clean, t, given, _, seeds, clips = case((9, 9), 1_000)
    noise = noise_reference(seeds, torch.Size((9, 1_000))).flatten(0, 1)
    right = clean - noise if predict == "velocity" else clean
    share = 1 - given
    assert (flow_loss(right, clean, t, share, seeds, clips, predict, max_weight) < 1e-8).all()
    assert (flow_loss(right + 1, clean, t, share, seeds, clips, predict, max_weight)[:-1] > 0.9).all()


def test_what_is_given_is_clean_and_has_no_gradient(interpreted: None) -> None:
    drawn = case((5, 4, 6), 7)
    mixed, given = flow_mix(*drawn.path), drawn.given > 0
    assert torch.equal(mixed[given], drawn.clean[given]) and (mixed != drawn.clean)[~given].all()
    drawn.output.requires_grad_()
    loss = flow_loss(*drawn.loss, "velocity", 1.0)
    (doutput,) = torch.autograd.grad(loss.sum(), drawn.output)
    assert loss[2] == 0 and not doutput[given].any() and doutput[~given].all()


def test_tokens_count_by_their_share(interpreted: None) -> None:
    _, clean, t, _, _, seeds, clips = case((2, 3), 8)
    far = clean + torch.tensor([1.0, 2, 3, 4, 5])[:, None]
    share = torch.tensor([0.75, 0.25, 0.5, 0, 0.5])
    losses = flow_loss(far, clean, torch.zeros_like(t), share, seeds, clips, "clean", 25.0)
    assert torch.allclose(losses, torch.tensor([0.75 + 0.25 * 4, 0.5 * 9 + 0.5 * 25]))


def test_the_weight_of_a_clean_estimate_is_capped(interpreted: None) -> None:
    _, clean, _, _, _, seeds, clips = case((5, 5, 5), 7)
    t = torch.tensor([0.5, 0.9, 0.9999])
    losses = flow_loss(clean + 1, clean, t, torch.full((15,), 0.2), seeds, clips, "clean", 25.0)
    assert torch.allclose(losses, torch.tensor([4.0, 25.0, 25.0]), rtol=1e-5)


@pytest.mark.parametrize("on_kernels", [True, False])
def test_a_clip_alone_has_the_noise_and_the_loss_that_it_has_in_a_pack(
    on_kernels: bool, request: pytest.FixtureRequest
) -> None:
    if on_kernels:
        request.getfixturevalue("interpreted")
    drawn = case((3, 9, 4), 1_000)
    mixed, loss = flow_mix(*drawn.path), flow_loss(*drawn.loss, "velocity", 1.0)
    output, clean, given, share = (x[3:12] for x in (drawn.output, drawn.clean, drawn.given, drawn.share))
    t, seeds, alone = drawn.t[1:2], drawn.seeds[1:2], segments(torch.tensor([9]))
    assert torch.equal(flow_mix(clean, t, given, seeds, alone), mixed[3:12])
    assert torch.equal(flow_loss(output, clean, t, share, seeds, alone, "velocity", 1.0), loss[1:2])


def test_a_clip_of_many_programs_is_summed_in_parts(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = case((9, 5), 1_000)
    at_once = flow_loss(*drawn.loss, "velocity", 1.0)
    monkeypatch.setattr(module, "SUMS", 2)
    assert torch.allclose(flow_loss(*drawn.loss, "velocity", 1.0), at_once, rtol=1e-6)


@pytest.mark.parametrize("lengths", [(), (0, 0)])
def test_no_clips_and_no_tokens_have_no_loss(lengths: tuple[int, ...], interpreted: None, guarded: None) -> None:
    clips = segments(torch.tensor(lengths, dtype=torch.int64))
    t, seeds = torch.rand(len(lengths)), torch.zeros(len(lengths), dtype=torch.int64)
    clean, none, output = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 4, requires_grad=True)
    loss = flow_loss(output, clean, t, none, seeds, clips, "velocity", 1.0)
    (doutput,) = torch.autograd.grad(loss.sum(), output)
    assert torch.equal(loss, torch.zeros(len(lengths)))
    assert doutput.shape == flow_mix(clean, t, none, seeds, clips).shape == (0, 4)


def test_tensors_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    drawn = case((3, 4), 5)
    mixed, loss = flow_mix(*drawn.path), flow_loss(*drawn.loss, "velocity", 1.0)
    apart = drawn._replace(
        output=drawn.output.mT.contiguous().mT,
        clean=torch.stack([drawn.clean, drawn.clean], -1)[..., 0],
        **{name: torch.stack([getattr(drawn, name)] * 2, 1)[:, 0] for name in ("t", "given", "share", "seeds")},
    )
    assert torch.equal(flow_mix(*apart.path), mixed)
    assert torch.equal(flow_loss(*apart.loss, "velocity", 1.0), loss)


@pytest.mark.parametrize(("predict", "max_weight"), LOSSES)
def test_they_are_operators_that_compile_whole(predict: Predict, max_weight: float, interpreted: None) -> None:
    drawn = case((5, 2, 4), 7, torch.bfloat16)
    output, clean, t, share, seeds, clips = drawn.loss
    output.requires_grad_()
    torch.library.opcheck(module._apply_mix, (clean, t, drawn.given, seeds, *clips))
    operands = output, clean, t, share, seeds, *clips, predict == "velocity", max_weight
    torch.library.opcheck(module._apply_loss, operands)

    def step(output: Tensor, clean: Tensor, t: Tensor) -> Tensor:
        mixed = flow_mix(clean, t, drawn.given, seeds, clips)
        return flow_loss(output * mixed.bfloat16(), clean, t, share, seeds, clips, predict, max_weight).sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    made, expected = compiled(output, clean, t), step(output, clean, t)
    assert torch.equal(made, expected)
    assert torch.equal(*(torch.autograd.grad(loss, output)[0] for loss in (made, expected)))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("output", lambda x: x[1:], r"\(tokens, channels\) is needed, the same of all"),
        ("output", lambda x: x.to("meta"), "output, clean are on different devices"),
        ("share", lambda x: x[1:], r"share \(10,\): one a token is needed, \(11,\)"),
        ("share", lambda x: x.bool(), "share is of torch.bool"),
        ("given", lambda x: x[1:], r"given \(10,\): one a token is needed, \(11,\)"),
        ("t", lambda x: x[1:], r"t \(2,\): one a clip is needed, \(3,\)"),
        ("t", lambda x: x.int(), "t is of torch.int32"),
        ("seeds", lambda x: x[:, None], r"seeds \(3, 1\): one a clip is needed"),
        ("seeds", lambda x: x.int(), "seeds of torch.int32 on cpu: torch.int64 on cpu is needed"),
        ("seeds", lambda x: x.to("meta"), "seeds of torch.int64 on meta: torch.int64 on cpu is needed"),
        ("clips", lambda x: x._replace(cu_seqlens=x.cu_seqlens.to("meta")), "clips on meta: cpu is needed"),
        ("clean", lambda x: x.requires_grad_(), "clean requires a gradient, and there is none"),
        ("clean", lambda x: x[:, :, None], r"\(tokens, channels\) is needed"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(name: str, change: Callable[[Any], Any], words: str) -> None:
    drawn = case((5, 2, 4), 7)
    drawn = drawn._replace(**{name: change(getattr(drawn, name))})
    if name not in ("output", "share"):
        with pytest.raises(ValueError, match=words):
            flow_mix(*drawn.path)
    if name != "given":
        with pytest.raises(ValueError, match=words):
            flow_loss(*drawn.loss, predict="velocity", max_weight=1.0)
