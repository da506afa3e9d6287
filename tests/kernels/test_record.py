"""What is written down of a launch is what Triton's JIT would compile."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from avctl.kernels import groups
from avctl.kernels.cases import CASES, Draw
from avctl.kernels.record import VARIANTS, Launch, Recorder, launches, recording


@triton.jit
def _kernel(x_ptr, y_ptr, N, M, stride, scale, BLOCK: tl.constexpr):
    tl.store(y_ptr, tl.load(x_ptr) * scale)


def record(*arguments, **options) -> Launch:
    seen: list[Launch] = []
    Recorder(_kernel, seen)[lambda bound: (bound["N"] // 16, 2)](*arguments, **options)
    return seen[0]


def test_pointers_and_integers_are_specialised_as_they_are() -> None:
    x = torch.empty(100, dtype=torch.bfloat16)
    launch = record(x, x[1:].float()[1:], 64, 1, 2**31, 0.5, BLOCK=128, num_warps=8)
    assert launch.signature == {
        "x_ptr": "*bf16", "y_ptr": "*fp32", "N": "i32", "M": "constexpr", "stride": "i64", "scale": "fp32",
        "BLOCK": "constexpr",
    }  # fmt: skip
    assert launch.constants == {(3,): 1, (6,): 128} and launch.grid == (4, 2)
    assert [place for (place,), attributes in launch.attributes.items() if attributes] == [0, 2, 4]
    assert launch.options == {"num_warps": 8, "num_stages": 3}


def test_the_passes_of_an_operation_say_what_they_launch_and_compute_nothing() -> None:
    made = launches(CASES["norm_modulate"])
    names = {name: [launch.name for launch in each] for name, each in made.items()}
    assert names == {
        "forward": ["norm_modulate._forward"],
        "backward": ["norm_modulate._backward", "groups._sum_tiles"],
    }
    assert made["forward"][0].grid == (32_768,) and made["forward"][0].signature["x_ptr"] == "*bf16"


def test_variants_launch_what_the_design_does_as_their_names_say() -> None:
    made = {(name, variant.name): launches(CASES[name], variant) for variant in VARIANTS for name in variant.cases}
    designed = {name: launches(CASES[name]) for name, _ in made}
    for (name, _), passes in made.items():
        assert passes != designed[name], "it is compiled no differently"
        for each in passes:
            assert [launch.name for launch in passes[each]] == [launch.name for launch in designed[name][each]]
    wide = made["gate_residual_norm_modulate", "6144 wide, float32 residual"]["backward"][0]
    assert {wide.signature[name] for name in ("x_ptr", "dout_ptr", "dx_ptr")} == {"*fp32"}
    assert {wide.signature[name] for name in ("y_ptr", "dh_ptr", "dy_ptr", "scale_ptr")} == {"*bf16"}
    assert constant(wide, "BLOCK") == 8_192
    assert constant(made["qk_norm_rope", "heads of 64"]["backward"][0], "BLOCK") == 32
    assert constant(made["av_window_attention", "rows and columns"]["backward"][0], "IN_PLACE") is True


def constant(launch: Launch, name: str) -> object:
    return launch.constants[launch.kernel.arg_names.index(name),]


def test_kernels_are_themselves_again_afterwards() -> None:
    kernel, choice = groups._sum_tiles, groups.runs_triton
    with recording():
        assert groups._sum_tiles is not kernel and groups.runs_triton()
    assert groups._sum_tiles is kernel and groups.runs_triton is choice


def test_inputs_are_a_function_of_the_seed() -> None:
    case = CASES["norm_modulate"]
    one, same, other = (case.make(40, 8, Draw(torch.bfloat16, "cpu", seed)) for seed in (0, 0, 1))
    for x, y, z in zip(one.tensors, same.tensors, other.tensors, strict=True):
        assert x.dtype == torch.bfloat16 and torch.equal(x, y) and not torch.equal(x, z)
