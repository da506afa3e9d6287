"""Backends of a GPU: what they mean is tested where there is one, how they are called everywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from avctl.errors import MachineError
from avctl.kernels import attention_gpu as module
from avctl.kernels.attention import _asked, attention, attention_reference
from avctl.kernels.attention_backends import BACKENDS
from avctl.kernels.attention_choice import chosen, use
from avctl.kernels.exact import with_gradients
from avctl.kernels.segments import Segments, segments

Inputs = tuple[Tensor, Tensor, Tensor]
ON_GPU = [name for name, backend in BACKENDS.items() if "cuda" in backend.devices and name != "reference"]
LENGTHS = {"batch": (130, 130), "lengths": (257, 0, 33, 33, 1), "short": (1, 2, 3)}
skip = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")


@pytest.fixture(autouse=True)
def the_best_is_used() -> Iterator[None]:
    use("auto")
    yield
    use("auto")


def of(*lengths: int, device: str = "cpu") -> Segments:
    made = segments(torch.tensor(lengths))
    return made._replace(cu_seqlens=made.cu_seqlens.to(device))


def packed(tokens: int, dtype: torch.dtype = torch.float32, device: str = "cpu", width: int = 64) -> Inputs:
    made = torch.randn(tokens, 3, 2, width, generator=torch.Generator().manual_seed(tokens))
    q, k, v = made.to(device, dtype).unbind(1)
    return q, k, v


def of_leaves(inputs: Inputs) -> Inputs:
    q, k, v = (x.detach().requires_grad_() for x in inputs)
    return q, k, v


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("keys", [None, of(0, 10, 30, 10)])
def test_the_mask_of_flex_is_the_reference(keys: Segments | None) -> None:
    (q, k, v), where = packed(50), of(20, 0, 29, 1)
    exist = None if keys is None else torch.arange(50) % 3 > 0
    made = module.by_flex(q, k, v, where, where if keys is None else keys, exist, compiles=False)
    assert torch.allclose(made, attention_reference(q, k, v, where, keys, exist), atol=1e-6)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_layers_share_the_mask_of_their_sequences() -> None:
    (q, k, _), where = packed(50), of(20, 30)
    masks = [module._mask(q, k, where, where, None, compiles=False) for _ in range(2)]
    other = module._mask(q, k, of(30, 20), of(20, 30), None, compiles=False)
    assert masks[0] is masks[1] and other is not masks[0]
    assert len(module._masks) == 1
    where.cu_seqlens.copy_(of(30, 20).cu_seqlens)
    assert module._mask(q, k, where, where, None, compiles=False) is not masks[0], "other sequences stand there"
    del where
    assert not len(module._masks)


def test_more_programs_than_a_function_has_by_itself_are_compiled() -> None:
    """With a compiler that fuses nothing: of formats, heads, widths and lengths."""
    from torch._dynamo.utils import counters
    from torch.nn.attention.flex_attention import flex_attention

    compiled, before, shapes = module._compiled(flex_attention, "eager"), counters["stats"]["unique_graphs"], 0
    for dtype in (torch.float32, torch.bfloat16):
        for heads, width in ((1, 16), (2, 16), (3, 16), (1, 32), (2, 32)):
            for tokens in (130, 200, 300):
                q, k, v = torch.randn(3, 1, heads, tokens, width, dtype=dtype)
                made = compiled(q, k, v, scale=1.0)
                exact = (q.double() @ k.double().mT).softmax(-1) @ v.double()
                assert torch.allclose(made.double(), exact, atol=2e-2 if dtype == torch.bfloat16 else 1e-5)
            shapes += 1
    assert shapes <= counters["stats"]["unique_graphs"] - before <= 2 * shapes


def test_flex_is_refused_where_it_is_not_compiled() -> None:
    (q, k, v), where = packed(50), of(20, 30)
    with torch.compiler.set_stance("force_eager"), pytest.raises(MachineError, match="would keep all scores"):
        module.by_flex(q, k, v, where, where, None)


@pytest.mark.parametrize("kernels", ["", "FA3"])
def test_rows_go_through_an_operator_forward_and_backward(kernels: str) -> None:
    """On tensors without numbers; strides are as in packed queries, keys and values."""
    inputs, where = packed(9, torch.bfloat16, "meta"), of(3, 6, device="meta")
    for run in (lambda q, k, v: module.by_flash(q, k, v, where, where, None, kernels), _efficiently(where)):
        made = with_gradients_of_shapes(run, inputs)
        assert [x.shape for x in made] == [(9, 2, 64)] * 4 and {x.dtype for x in made} == {torch.bfloat16}


def test_what_rows_give_stands_side_by_side_whatever_the_order_of_heads() -> None:
    q, k, v = (torch.empty(2, 9, 64, dtype=torch.bfloat16, device="meta").transpose(0, 1) for _ in range(3))
    where = of(3, 6, device="meta").cu_seqlens
    out, sums = module._flash(q, k, v, where, where, 6, 6, "")
    gradients = module._flash_backward(out, q, k, v, where, where, out, sums, 6, 6, "")
    assert all(x.is_contiguous() for x in (out, sums, *gradients)) and not torch.empty_like(q).is_contiguous()


class Package:
    """Kernels of a package, as far as they are called: what they are given, and tensors of the right shapes."""

    def __init__(self) -> None:
        self.given: list[dict] = []

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **where: object) -> tuple[Tensor, Tensor, None, None]:
        self.given.append(where)
        return q.transpose(0, 1).contiguous().transpose(0, 1), q.new_zeros(q.shape[1], q.shape[0]), None, None

    def backward(self, dout: Tensor, q: Tensor, k: Tensor, *_: Tensor, **where: object) -> tuple[Tensor, ...]:
        self.given.append(where)
        return dout, q, k, dout


@pytest.mark.parametrize("is_deterministic", [True, False])
def test_fa4_is_called_where_it_is_and_nothing_is_registered_for_others(
    is_deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from torch.nn.attention import current_flash_attention_impl

    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: is_deterministic)
    package = Package()
    fa4 = SimpleNamespace(_flash_attn_fwd=package.forward, _flash_attn_bwd=package.backward)
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "flash_attn.cute", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "flash_attn.cute.interface", fa4)
    where, inputs = of(3, 6), of_leaves(packed(9, torch.bfloat16))
    out = module.by_flash(*inputs, where, where, None, "FA4")
    gradients = torch.autograd.grad(out, inputs, torch.ones_like(out))
    assert all(x.is_contiguous() for x in (out, *gradients))
    forward, backward = package.given
    assert forward["max_seqlen_q"] == backward["max_seqlen_k"] == 6 and forward["return_lse"]
    assert torch.equal(forward["cu_seqlens_q"], where.cu_seqlens) and backward["deterministic"] is is_deterministic
    assert current_flash_attention_impl() is None


def _efficiently(where: Segments) -> Callable[..., Tensor]:
    return lambda q, k, v: module.by_efficient(q, k, v, where, where, None)


def with_gradients_of_shapes(run: Callable[..., Tensor], inputs: Inputs) -> list[Tensor]:
    leaves = of_leaves(inputs)
    out = run(*leaves)
    return [out, *torch.autograd.grad(out, leaves, torch.empty_like(out))]


@pytest.mark.gpu
@skip
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("name", ON_GPU)
def test_a_backend_is_the_reference(name: str, lengths: tuple[int, ...], width: int, dtype: torch.dtype) -> None:
    where, inputs = of(*lengths, device="cuda"), packed(sum(lengths), dtype, "cuda", width)
    _is_reference(name, inputs, where, where, None)


@pytest.mark.gpu
@skip
@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize("name", ON_GPU)
def test_other_keys_and_padding_are_the_reference(name: str, is_padded: bool) -> None:
    queries, keys = of(257, 40, 33, 3, device="cuda"), of(80, 0, 130, 1, device="cuda")
    q, *_ = packed(333, torch.bfloat16, "cuda")
    _, k, v = packed(211, torch.bfloat16, "cuda")
    exist = torch.arange(211, device="cuda") % 4 > 0 if is_padded else None
    _is_reference(name, (q, k, v), queries, keys, exist)


def _is_reference(name: str, inputs: Inputs, queries: Segments, keys: Segments, padding: Tensor | None) -> None:
    leaves = of_leaves(inputs)
    if reason := BACKENDS[name].refusal(_asked(*leaves, queries, keys, padding)):
        pytest.skip(f"{name} {reason}")
    dtype = inputs[0].dtype
    made = with_gradients(lambda q, k, v: attention(q, k, v, queries, keys, padding, name), inputs)
    eager = with_gradients(lambda q, k, v: attention_reference(q, k, v, queries, keys, padding), inputs)
    exact = with_gradients(
        lambda q, k, v: attention_reference(q, k, v, queries, keys, padding), [x.double() for x in inputs]
    )
    for ours, theirs, true in zip(made, eager, exact, strict=True):
        allowed = 2 * (theirs - true).abs().max() + 2 * torch.finfo(dtype).eps * true.abs().max()
        if dtype == torch.float32:
            allowed = 2e-3 * true.abs().max()  # products of float32 may be in TensorFloat-32, whose eps is 1e-3
        assert (ours - true).abs().max() <= allowed


@pytest.mark.gpu
@skip
@pytest.mark.parametrize("lengths", [(130, 130), (257, 0, 33, 33, 1)], ids=["batch", "lengths"])
def test_the_best_is_measured_and_written_down(lengths: tuple[int, ...]) -> None:
    where = of(*lengths, device="cuda")
    inputs = of_leaves(packed(sum(lengths), torch.bfloat16, "cuda"))
    attention(*inputs, where).sum().backward()
    (choice,) = chosen().values()
    assert choice.reason == "measured" and len(choice.milliseconds) > 1
    assert choice.milliseconds[choice.backend] == min(choice.milliseconds.values())
    assert not set(choice.milliseconds) & set(choice.refused)
    assert set(choice.milliseconds) | set(choice.refused) | {"reference", "flex"} == set(BACKENDS)
    attention(*inputs, where, backend="flash")
    attention(*inputs, where)
    assert [again is choice for again in chosen().values()] == [True]  # measured once


@pytest.mark.gpu
@skip
@pytest.mark.parametrize("name", ON_GPU)
def test_it_compiles_whole_on_a_gpu(name: str) -> None:
    where = of(130, 0, 57, device="cuda")
    inputs = packed(187, torch.bfloat16, "cuda")
    leaves = of_leaves(inputs)
    if reason := BACKENDS[name].refusal(_asked(*leaves, where, where, None)):
        pytest.skip(f"{name} {reason}")
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, where, backend=name), fullgraph=True)
    made = with_gradients(compiled, inputs)
    plain = with_gradients(lambda q, k, v: attention(q, k, v, where, backend=name), inputs)
    assert all(torch.allclose(a, b, atol=2e-2, rtol=2e-2) for a, b in zip(made, plain, strict=True))


@pytest.mark.gpu
@skip
@pytest.mark.parametrize("name", ["flash3", "flash4", "flash"])
def test_heads_that_stand_one_behind_the_other_compile_too(name: str) -> None:
    """Kernels of PyTorch give what has the strides of their inputs."""
    where = of(130, 0, 57, device="cuda")
    q, k, v = (x.transpose(0, 1).contiguous().transpose(0, 1) for x in packed(187, torch.bfloat16, "cuda"))
    inputs = q, k, v
    if reason := BACKENDS[name].refusal(_asked(*of_leaves(inputs), where, where, None)):
        pytest.skip(f"{name} {reason}")
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, where, backend=name).sin(), fullgraph=True)
    made = with_gradients(compiled, inputs)
    plain = with_gradients(lambda q, k, v: attention(q, k, v, where, backend=name).sin(), inputs)
    assert all(torch.allclose(a, b, atol=2e-2, rtol=2e-2) for a, b in zip(made, plain, strict=True))


@pytest.mark.gpu
@skip
def test_training_twice_gives_the_same_bytes() -> None:
    where, inputs = of(257, 0, 33, 33, 700, device="cuda"), packed(1_023, torch.bfloat16, "cuda")
    torch.use_deterministic_algorithms(True)
    try:
        once, again = (with_gradients(lambda q, k, v: attention(q, k, v, where), inputs) for _ in range(2))
        assert [choice.reason for choice in chosen().values()] == ["rule"]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
