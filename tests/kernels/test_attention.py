"""Attention within sequences of a row, against a dense mask in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from avctl.errors import MachineError
from avctl.kernels.attention import attention, attention_reference
from avctl.kernels.attention_choice import chosen, use
from avctl.kernels.dispatch import exported
from avctl.kernels.exact import with_gradients
from avctl.kernels.segments import Segments, batch_segments, segments

Inputs = tuple[Tensor, Tensor, Tensor]
FORMATS = [torch.float32, torch.bfloat16, torch.float16]
LENGTHS = [(40, 40, 40), (0, 33, 33, 1, 57, 33, 0, 20, 1), (61,), (0, 0), ()]


@pytest.fixture(autouse=True)
def the_best_is_used() -> Iterator[None]:
    use("auto")
    yield
    use("auto")


def of(*lengths: int) -> Segments:
    return segments(torch.tensor(lengths, dtype=torch.long))


def rows(*tokens: int, dtype: torch.dtype = torch.float32, width: int = 64) -> list[Tensor]:
    """Tensors (tokens, heads, width) of so many tokens each."""
    generator = torch.Generator().manual_seed(sum(tokens) + width)
    return [torch.randn(count, 3, width, generator=generator).to(dtype) for count in tokens]


def packed(*lengths: int, dtype: torch.dtype = torch.float32, width: int = 64) -> Inputs:
    """q, k and v, views of one tensor."""
    q, k, v = torch.stack(rows(*[sum(lengths)] * 3, dtype=dtype, width=width), 1).unbind(1)
    return q, k, v


@pytest.mark.parametrize("backend", ["sdpa", "sdpa_float32", "products", None])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_it_is_the_reference_forward_and_backward(
    lengths: tuple[int, ...], dtype: torch.dtype, backend: str | None, as_exact_as_eager
) -> None:
    where = of(*lengths)
    as_exact_as_eager(
        lambda q, k, v: attention(q, k, v, where, backend=backend),
        lambda q, k, v: attention_reference(q, k, v, where),
        packed(*lengths, dtype=dtype),
    )


@pytest.mark.parametrize("backend", ["sdpa", "sdpa_float32", "products"])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("lengths", "of_keys"), [((29, 29), (61, 61)), ((35, 0, 17, 17, 3, 17), (23, 7, 31, 90, 0, 31))], ids=str
)
def test_keys_of_other_sequences_and_padding_are_the_reference(
    lengths: tuple[int, ...], of_keys: tuple[int, ...], dtype: torch.dtype, backend: str, as_exact_as_eager
) -> None:
    queries, keys = of(*lengths), of(*of_keys)
    exist = torch.arange(sum(of_keys)) % 3 > 0
    exist[: of_keys[0]] = False  # the first sequence has no keys at all
    for padding in (None, exist):
        as_exact_as_eager(
            lambda q, k, v, padding=padding: attention(q, k, v, queries, keys, padding, backend),
            lambda q, k, v, padding=padding: attention_reference(q, k, v, queries, keys, padding),
            rows(sum(lengths), sum(of_keys), sum(of_keys), dtype=dtype),
        )


@pytest.mark.parametrize("backend", ["sdpa", "sdpa_float32", "products"])
def test_a_sequence_of_one_token_is_its_value(backend: str) -> None:
    for lengths in ((1, 1, 1), (1, 0, 1)):
        q, k, v = packed(*lengths)
        made, dq, dk, dv = with_gradients(partial(attention, queries=of(*lengths), backend=backend), (q, k, v))
        assert torch.allclose(made, v) and (dq.abs() < 1e-5).all() and (dk.abs() < 1e-5).all() and (dv != 0).all()


@pytest.mark.parametrize("width", [32, 72, 128, 256])
@pytest.mark.parametrize("lengths", [(40, 40), (33, 7, 7)], ids=str)
def test_heads_of_any_width_are_near_the_reference(lengths: tuple[int, ...], width: int) -> None:
    where, inputs = of(*lengths), packed(*lengths, width=width)
    made = with_gradients(lambda q, k, v: attention(q, k, v, where), inputs)
    exact = with_gradients(lambda q, k, v: attention_reference(q, k, v, where), [x.double() for x in inputs])
    assert all(torch.allclose(a.double(), b, atol=1e-5) for a, b in zip(made, exact, strict=True))


@pytest.mark.parametrize("backend", ["sdpa", "products", "reference"])
def test_doubles_are_computed_in_doubles(backend: str) -> None:
    where, inputs = of(12, 0, 5), packed(12, 0, 5, dtype=torch.float64)
    made = with_gradients(lambda q, k, v: attention(q, k, v, where, backend=backend), inputs)
    exact = with_gradients(lambda q, k, v: attention_reference(q, k, v, where), inputs)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(made, exact, strict=True))


def test_a_query_without_a_key_gives_zeros_and_no_gradient() -> None:
    q, k, v = (x.requires_grad_() for x in rows(7, 5, 5))
    exist = torch.tensor([True, True, False, False, False])
    for backend in ("sdpa", "products"):
        for keys in (of(2, 0, 3), of(0, 2, 3)):
            out = attention(q, k, v, of(2, 3, 2), keys, exist, backend=backend)
            alone = [not exist[begin:end].any() for begin, end in keys.cu_seqlens.unfold(0, 2, 1).tolist()]
            empty = torch.tensor(alone).repeat_interleave(torch.tensor([2, 3, 2]))
            dq, dk, dv = torch.autograd.grad(out.square().sum(), (q, k, v))
            assert (out[empty] == 0).all() and (out[~empty] != 0).all()
            assert (dq[empty] == 0).all() and (dk[~exist] == 0).all() and (dv[~exist] == 0).all()
            assert all(x.isfinite().all() for x in (dq, dk, dv))
    out = attention(q, k[:0], v[:0], of(2, 3, 2), of(0, 0, 0))
    assert (out == 0).all() and all((x == 0).all() for x in torch.autograd.grad(out.sum(), (q, k, v)))


def test_a_batch_is_seen_where_it_stands() -> None:
    (q, k, v), where = packed(4, 4), of(4, 4)
    with torch.profiler.profile(acc_events=True) as profile:
        attention(q, k, v, where)
    assert not {event.name for event in profile.events() or ()} & {"aten::copy_", "aten::clone", "aten::cat"}


@pytest.mark.parametrize("lengths", [(20, 20), (20, 0, 33)], ids=str)
def test_what_is_widened_is_rounded_once(lengths: tuple[int, ...]) -> None:
    (q, k, v), where = packed(*lengths, dtype=torch.bfloat16), of(*lengths)
    made = attention(q, k, v, where, backend="sdpa_float32")
    wide = attention(q.float(), k.float(), v.float(), where, backend="sdpa")
    assert torch.equal(made, wide.bfloat16())


def test_autocast_changes_nothing() -> None:
    for lengths in ((20, 20), (20, 3)):
        inputs = packed(*lengths)
        for backend in ("sdpa", "products"):
            plain = attention(*inputs, of(*lengths), backend=backend)
            with torch.autocast("cpu", torch.bfloat16):
                made = attention(*inputs, of(*lengths), backend=backend)
            assert made.dtype == torch.float32 and torch.equal(made, plain)


@pytest.mark.parametrize("lengths", [(9, 9), (9, 0, 4, 4)], ids=str)
@pytest.mark.parametrize("backend", ["sdpa", "sdpa_float32", "products", None])
def test_it_compiles_whole(lengths: tuple[int, ...], backend: str | None, compiles_whole) -> None:
    where, inputs = of(*lengths), packed(*lengths, dtype=torch.bfloat16)
    exist = torch.arange(sum(lengths)) % 4 > 0
    compiles_whole(lambda q, k, v: attention(q, k, v, where, backend=backend).sin(), inputs)
    compiles_whole(lambda q, k, v: attention(q, k, v, where, where, exist, backend).sin(), inputs)
    assert {choice.backend for choice in chosen().values()} == {backend or "sdpa_float32"}


def test_a_program_for_many_lengths_is_compiled_once() -> None:
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager", dynamic=True)
    with torch.compiler.set_stance("default"):
        for lengths in ((9, 0, 14, 4), (9, 10, 4, 5), (13, 9, 8, 1)):
            inputs = packed(*lengths)
            assert torch.equal(compiled(*inputs, of(*lengths)), attention(*inputs, of(*lengths)))
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(*packed(12, 9, 8, 1), of(12, 9, 8, 1))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.to_qkv = nn.Linear(8, 96)

    def forward(self, x: Tensor, exist: Tensor) -> Tensor:
        where = batch_segments(x.shape[0], x.shape[1], x.device)
        q, k, v = self.to_qkv(x.flatten(0, 1)).unflatten(-1, (3, 2, 16)).unbind(1)
        mixed = attention(q, k, v, where) + attention(q, k, v, where, padding=exist.flatten())
        return mixed.flatten(1).unflatten(0, x.shape[:2])


def test_a_batch_is_exported_for_any_number_and_length() -> None:
    dims = {0: torch.export.Dim("clips"), 1: torch.export.Dim("tokens")}
    exist = torch.rand(2, 7) > 0.3
    with exported():
        program = torch.export.export(Model(), (torch.randn(2, 7, 8), exist), dynamic_shapes=(dims, dims))
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count("aten.scaled_dot_product_attention.default") == 2
    assert not [target for target in targets if target.startswith("avctl") or "autocast" in target]
    model, x = Model(), torch.randn(3, 5, 8)
    model.load_state_dict(program.state_dict)
    exist = torch.rand(3, 5) > 0.3
    assert torch.allclose(program.module()(x, exist), model(x, exist), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda q, k, v, s: (q[None], k, v, s), r"q \(1, 120, 3, 64\)"),
        (lambda q, k, v, s: (q, k, v[:, :2], s), r"v \(120, 2, 64\)"),
        (lambda q, k, v, s: (q, k.half(), v, s), "torch.float32, torch.float16, torch.float32"),
        (lambda q, k, v, s: (q, k.to("meta"), v, s), r"\['cpu', 'meta', 'cpu', 'cpu', 'cpu'\]"),
        (lambda q, k, v, s: (q, k, v, s, of(60, 60)), "3 sequences of queries, 2 of keys"),
        (lambda q, k, v, s: (q, k, v, s, s, torch.ones(4, dtype=torch.bool)), r"padding torch.bool \(4,\): bool"),
        (lambda q, k, v, s: (q, k, v, s, s, torch.ones(120)), "padding torch.float32"),
        (lambda q, k, v, s: (q, k, v, s, s, None, "fastest"), "no backend of attention is called 'fastest'"),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[..., tuple], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        attention(*change(*packed(40, 40, 40), of(40, 40, 40)))


def test_a_backend_that_cannot_is_refused_by_name() -> None:
    with pytest.raises(MachineError, match="`sdpa_float32` is asked for, which computes in") as error:
        attention(*packed(4, dtype=torch.float64), of(4), backend="sdpa_float32")
    assert error.value.hint == "-o runtime.attention=auto"
