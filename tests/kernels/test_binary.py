"""What is read from machine code changes as the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from triton import knobs

from avctl.kernels.binary import facts, read_all
from avctl.kernels.cases import CASES
from avctl.kernels.record import Launch, launches

LISTING = """
 Function _f:
  REG:40 STACK:8 SHARED:1024 LOCAL:0
        /*0000*/                   LDC R1, c[0x0][0x28] ;   /* 0x1 */
                                                            /* 0x2 */
        /*0010*/              @!P0 LDG.E.EF.128 R4, desc[UR4][R2.64] ;
        /*0020*/              @P0  LDG.E.U16 R4, desc[UR4][R2.64] ;
        /*0030*/                   LDGSTS.E.BYPASS.128 [R2], desc[UR4][R2.64] ;
        /*0040*/             @!UP1 STG.E.64 desc[UR4][R2.64], R4 ;
        /*0050*/                   STG.E desc[UR4][R2.64], R4 ;
        /*0060*/                   STL.128 [R1], R4 ;
        /*0070*/                   LDL R4, [R1] ;
        /*1080*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*1090*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], R24, gsb0 ;
        /*10a0*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;
"""


@pytest.fixture(scope="module")
def backward() -> Launch:
    return launches(CASES["norm_modulate"])["backward"][0]


def test_a_listing_is_counted_by_kind_and_width() -> None:
    assert facts(LISTING) == {
        "registers": 40, "stack": 8, "spills": 2, "loads": {"128": 2, "16": 1}, "stores": {"64": 1, "32": 1},
        "products": {"HGMMA": 2, "HMMA": 1}, "tensor_cores": 3,
    }  # fmt: skip


def test_what_lists_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kernel"):
        facts("cuobjdump info")


def test_too_few_registers_are_seen_as_spills_and_unknown_strides_as_narrow_accesses(backward: Launch) -> None:
    names = list(backward.signature)
    kept = {place: each for place, each in backward.attributes.items() if "stride" not in names[place[0]]}
    tight = backward._replace(options={**backward.options, "maxnreg": 32})
    plain, spilled, narrow = read_all([(backward, 90), (tight, 90), (backward._replace(attributes=kept), 90)])
    assert plain["spills"] == 0 and spilled["spills"] > 0 and spilled["stack"] > plain["stack"]
    assert plain["loads"]["128"] > narrow["loads"].get("128", 0)


def test_it_compiles_every_time_and_leaves_nothing_where_triton_keeps_what_it_compiled(
    backward: Launch, tmp_path: Path
) -> None:
    hits: list[bool] = []
    with knobs.cache.scope(), knobs.compilation.scope():
        knobs.cache.dir = str(tmp_path)
        knobs.compilation.listener = lambda *, cache_hit, **others: hits.append(cache_hit)
        assert read_all([(backward, 90)]) == read_all([(backward, 90)])
    assert hits == [False, False] and list(tmp_path.iterdir()) == []
