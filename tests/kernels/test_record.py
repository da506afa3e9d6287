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


def test_variants_are_of_cases_that_there_are_and_launch_what_the_design_does() -> None:
    assert {name for variant in VARIANTS for name in variant.cases} <= CASES.keys()
    for variant in VARIANTS:
        for name in variant.cases:
            made, designed = launches(CASES[name], variant), launches(CASES[name])
            assert {key: [x.name for x in each] for key, each in made.items()} == {
                key: [x.name for x in each] for key, each in designed.items()
            }
            assert made != designed, "it is compiled no differently"


def test_variants_are_launched_as_their_names_say() -> None:
    made = {
        (name, variant.name): launches(CASES[name], variant)["backward"][0]
        for variant in VARIANTS
        for name in variant.cases
    }
    wide = made["gate_residual_norm_modulate", "6144 wide, float32 residual"]
    assert wide.signature["x_ptr"] == wide.signature["dout_ptr"] == wide.signature["dx_ptr"] == "*fp32"
    assert wide.signature["y_ptr"] == wide.signature["dh_ptr"] == wide.signature["scale_ptr"] == "*bf16"
    assert wide.constants[wide.kernel.arg_names.index("BLOCK"),] == 8_192
    heads = made["qk_norm_rope", "heads of 64"]
    assert heads.constants[heads.kernel.arg_names.index("BLOCK"),] == 32
    in_place = made["av_window_attention", "rows and columns"]
    assert in_place.constants[in_place.kernel.arg_names.index("IN_PLACE"),] is True


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
