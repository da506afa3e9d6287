"""Products are computed in the format that the recipe names."""

from __future__ import annotations

import torch

from avctl.compute.precision import autocast, computes_in_bfloat16

CPU = torch.device("cpu")


def product(dtype: str) -> torch.dtype:
    with autocast(dtype, CPU):  # pyright: ignore[reportArgumentType]
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_a_named_format_is_obeyed() -> None:
    assert product("float32") == torch.float32
    assert product("bfloat16") == torch.bfloat16


def test_auto_is_bfloat16_exactly_where_the_processor_computes_in_it() -> None:
    flags = open("/proc/cpuinfo").read()  # noqa: SIM115
    has = "avx512_bf16" in flags or "amx_tile" in flags
    assert computes_in_bfloat16(CPU) == has
    assert product("auto") == (torch.bfloat16 if has else torch.float32)
