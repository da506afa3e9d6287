"""Attention in windows: the kernels against the reference in float64, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from math import inf

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from avctl.kernels import attention_choice, av_window_tiles, windows
from avctl.kernels import av_window_attention as module
from avctl.kernels.av_window_attention import av_window_attention, av_window_attention_reference, flops
from avctl.kernels.av_window_tiles import Cut, Cuts
from avctl.kernels.dispatch import exported
from avctl.kernels.exact import with_gradients
from avctl.kernels.segments import Segments, batch_segments, segments
from avctl.kernels.windows import AUDIO, TEXT, VIDEO, BlockMap, Windows, av_windows, block_map, count_live
from tests.kernels.test_windows import NEAR, brute_force, tokens

NOWHERE = Windows(((-1.0,) * 3,) * 3)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 32 tokens, of which every kernel takes one side whole and the other in halves."""
    cuts = Cuts(Cut(1, 2, 4, 1), Cut(1, 2, 4, 1), Cut(2, 1, 4, 1))
    monkeypatch.setattr(windows, "BLOCK", 32)
    monkeypatch.setattr(av_window_tiles, "CUTS", {256: cuts})
    monkeypatch.setattr(av_window_tiles, "CUTS_TIGHT", {256: cuts})
    monkeypatch.setattr(av_window_tiles, "CUTS_FLOAT32", cuts)


def case(
    lengths: Sequence[int], windows: Windows, K: int = 32, dtype: torch.dtype = torch.float32
) -> tuple[list[Tensor], BlockMap]:
    """q, k and v (S, 2, K), and their windows."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(sum(lengths), 2, K, generator=generator).to(dtype) for _ in range(3)]
    return inputs, block_map(*tokens(lengths), windows)


def both(map: BlockMap) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The operation and its reference in the same windows."""
    return lambda *qkv: av_window_attention(*qkv, map=map), lambda *qkv: av_window_attention_reference(*qkv, map=map)


@pytest.mark.parametrize(
    ("lengths", "windows", "dtype"),
    [
        ((37, 0, 1, 58), NEAR, torch.float32),
        ((37, 0, 1, 58), NEAR, torch.bfloat16),
        ((37, 0, 1, 58), av_windows(0.5), torch.bfloat16),
        ((96,), NEAR, torch.float16),
        ((96,), av_windows(0.5), torch.float32),
    ],
)
def test_it_is_the_reference_forward_and_backward(
    lengths: Sequence[int], windows: Windows, dtype: torch.dtype, interpreted: None, guarded: None, as_exact_as_eager
) -> None:
    inputs, map = case(lengths, windows, dtype=dtype)
    as_exact_as_eager(*both(map), inputs)


@pytest.mark.parametrize("K", [24, 64, 128])
def test_heads_are_of_any_width(K: int, interpreted: None, guarded: None, as_exact_as_eager) -> None:
    inputs, map = case((40,), NEAR, K)
    as_exact_as_eager(*both(map), inputs)


def test_the_reference_is_softmax_over_the_pairs_that_live() -> None:
    (q, k, v), map = case((20, 13), NEAR)
    made = av_window_attention_reference(q, k, v, map, scale=0.3)
    lives = brute_force(*tokens((20, 13)), NEAR)
    for query in range(33):
        for head in range(2):
            weights = (0.3 * k[lives[query], head] @ q[query, head]).softmax(0)
            assert torch.allclose(made[query, head], weights @ v[lives[query], head], atol=1e-6)


@pytest.fixture(params=["kernels", "processor"])
def everywhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """With kernels, and without."""
    if request.param == "kernels":
        request.getfixturevalue("interpreted")
    yield


def test_queries_and_keys_on_the_edge_of_a_window_meet(everywhere: None) -> None:
    """Sound half a second from a picture, and a frame more: values are 0 and 1."""
    kind = torch.tensor([VIDEO, AUDIO, AUDIO], dtype=torch.int8)
    place = torch.tensor([[1.0, 0, 0], [1.5, 0, 0], [1.5625, 0, 0]])
    map = block_map(kind, place, segments(torch.tensor([3])), Windows(((-1, -1, -1), (-1, -1, 0.5), (-1, 0.5, -1))))
    q, v = torch.zeros(3, 1, 32), torch.tensor([1.0, 2.0, 4.0])[:, None, None].expand(3, 1, 32).contiguous()
    made = av_window_attention(q, q, v, map)
    assert made[:, 0, 0].tolist() == [2.0, 1.0, 0.0] and (made == made[..., :1]).all()


@pytest.mark.parametrize("missing", [TEXT, VIDEO, AUDIO])
def test_a_kind_may_be_missing(missing: int, everywhere: None, as_exact_as_eager) -> None:
    kind, place, packed = tokens((40, 9))
    kind[kind == missing] = (missing + 1) % 3
    as_exact_as_eager(*both(block_map(kind, place, packed, NEAR)), case((40, 9), NEAR)[0])


@pytest.mark.parametrize("lengths", [(), (0,), (1,), (1, 0, 1)])
def test_there_may_be_few_tokens_or_none(lengths: Sequence[int], everywhere: None) -> None:
    inputs, map = case(lengths, av_windows(1.0))
    out, dq, dk, _ = with_gradients(both(map)[0], inputs)
    assert torch.allclose(out, inputs[2]), "whoever is alone attends to itself"
    assert dq.shape == dk.shape == (sum(lengths), 2, 32)


def test_a_query_without_a_key_gives_zeros_and_gets_no_gradient(everywhere: None) -> None:
    pictures_see_nothing = Windows(((inf, inf, inf), (-1.0, -1.0, -1.0), (inf, inf, inf)))
    for looks, kinds in ((pictures_see_nothing, [VIDEO]), (NOWHERE, [TEXT, VIDEO, AUDIO])):
        inputs, map = case((70,), looks)
        out, dq, dk, dv = with_gradients(both(map)[0], inputs)
        blind = torch.isin(map.kind, torch.tensor(kinds))
        assert not out[blind].any() and not dq[blind].any() and out[~blind].all()
        assert all(x.isfinite().all() for x in (out, dq, dk, dv))
    assert not dk.any() and not dv.any(), "nobody looks anywhere"


def test_packed_queries_keys_and_values_are_read_where_they_are(everywhere: None) -> None:
    inputs, map = case((37, 20), NEAR)
    expected = with_gradients(both(map)[0], inputs)
    packed = torch.stack(inputs, 1).requires_grad_()
    out = av_window_attention(*packed.unbind(1), map=map)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(out, packed, upstream)
    assert torch.equal(out, expected[0])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradient.unbind(1), expected[1:], strict=True))
    apart = [torch.stack([x, x], -1)[..., 0] for x in inputs]
    assert torch.allclose(av_window_attention(*apart, map=map), expected[0], atol=1e-6)


def test_scores_are_scaled(everywhere: None, as_exact_as_eager) -> None:
    inputs, map = case((40,), NEAR)
    as_exact_as_eager(
        lambda *qkv: av_window_attention(*qkv, map=map, scale=0.7),
        lambda *qkv: av_window_attention_reference(*qkv, map=map, scale=0.7),
        inputs,
    )


def test_it_is_an_operator_that_compiles_whole(everywhere: None, compiles_whole) -> None:
    inputs, map = case((10, 7), NEAR)
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.library.opcheck(module._apply, (*leaves, *map[:3], *map.by_query, *map.by_key, *map[5:], 0.2))
    compiles_whole(lambda *qkv: av_window_attention(*qkv, map=map).sin(), inputs)


def test_live_pairs_are_what_a_counter_of_operations_counts(everywhere: None) -> None:
    inputs, map = case((37, 58), NEAR)
    with FlopCounterMode(display=False) as counter:
        with_gradients(both(map)[0], inputs)
    pairs = int(brute_force(*tokens((37, 58)), NEAR).sum())
    assert counter.get_total_flops() == sum(flops(pairs, 2, 32)) == 14 * pairs * 2 * 32
    assert count_live(map).pairs == pairs


def test_tensors_without_numbers_are_counted_as_if_all_pairs_lived() -> None:
    inputs, map = case((37, 58), NEAR)
    with FakeTensorMode() as mode, FlopCounterMode(display=False) as counter:
        fake = tree_map(lambda x: mode.from_tensor(x) if isinstance(x, Tensor) else x, (inputs, map))
        (q, k, v), of_fake = fake
        av_window_attention(q, k, v, of_fake)
    assert counter.get_total_flops() == flops(95**2, 2, 32)[0]


def test_autocast_changes_nothing(everywhere: None) -> None:
    inputs, map = case((37, 58), NEAR)
    plain = with_gradients(both(map)[0], inputs)
    with torch.autocast("cpu", torch.bfloat16):
        made = with_gradients(both(map)[0], inputs)
    assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(made, plain, strict=True))


def test_what_ran_is_told(everywhere: None, request: pytest.FixtureRequest) -> None:
    attention_choice.use("auto")
    (q, k, v), map = case((16,), NEAR)
    av_window_attention(q, k, v, map)
    where = "Triton" if request.node.callspec.params["everywhere"] == "kernels" else "processor"
    assert attention_choice.who_ran() == f"windows ({where})"
    attention_choice.use("auto")
    assert attention_choice.who_ran() == ""


@pytest.mark.slow  # it is compiled for shapes that are symbols, for half a minute
def test_one_program_is_for_rows_of_any_length() -> None:
    torch._dynamo.reset()

    def attend(q: Tensor, k: Tensor, v: Tensor, kind: Tensor, place: Tensor, packed: Segments) -> Tensor:
        return av_window_attention(q, k, v, block_map(kind, place, packed, NEAR)).sin()

    program = torch.compile(attend, fullgraph=True, dynamic=True, backend="aot_eager")
    for number, lengths in enumerate(((40, 9, 33), (70, 20, 50), (31, 80, 90))):
        (q, k, v), _ = case(lengths, NEAR)
        inputs = q, k, v, *tokens(lengths)
        with nullcontext() if number == 0 else torch.compiler.set_stance("fail_on_recompile"):
            made = program(*inputs)
        assert torch.equal(made, attend(*inputs))


def test_a_program_that_is_exported_is_the_reference() -> None:
    class Attention(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor, kind: Tensor, place: Tensor) -> Tensor:
            return av_window_attention(q, k, v, block_map(kind, place, batch_segments(2, len(q) // 2, q.device), NEAR))

    inputs, map = case((16, 16), NEAR)
    kind, place, _ = tokens((16, 16))
    with exported():
        program = torch.export.export(Attention(), (*inputs, kind, place))
    assert not any("avctl" in str(node.target) for node in program.graph.nodes)
    assert torch.allclose(program.module()(*inputs, kind, place), av_window_attention(*inputs, map=map), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda q, k, v, m: (q[0], k, v, m), r"q, k, v \(2, 32\), \(40, 2, 32\), \(40, 2, 32\): \(tokens, heads"),
        (lambda q, k, v, m: (q, k[:, :1], v, m), r"\(40, 1, 32\), .* the same of all"),
        (lambda q, k, v, m: (*[torch.zeros(40, 2, 257)] * 3, m), "at most 256 channels"),
        (lambda q, k, v, m: (q[1:], k[1:], v[1:], m), "windows of 40 tokens for 39"),
        (lambda q, k, v, m: (q, k.half(), v, m), "q, k, v are of torch.float32, torch.float16, torch.float32"),
        (lambda q, k, v, m: (q.int(), k, v, m), "q is of torch.int32"),
        (lambda q, k, v, m: (q, k, v.to("meta"), m), "q, k, v are on different devices"),
        (lambda q, k, v, m: (*(x.to("meta") for x in (q, k, v)), m), "are on meta, their windows on cpu"),
        (lambda q, k, v, m: (q, k, v, m, 0.0), "scale 0.0: a positive number is needed"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(change: Callable[..., tuple], words: str) -> None:
    inputs, map = case((40,), NEAR)
    with pytest.raises(ValueError, match=words):
        av_window_attention(*change(*inputs, map))
