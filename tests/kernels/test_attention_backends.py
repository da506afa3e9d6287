"""What each backend can be used for is said beforehand."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from avctl.kernels.attention_backends import BACKENDS, Asked, attention_reference
from avctl.kernels.segments import segments
from avctl.schema.runtime import Attention

CUDA = torch.device("cuda", 5)
ASKED = Asked(CUDA, torch.bfloat16, 64, False, False, False, True, True, 256, 1_024, 256, 2**20)


@pytest.fixture(autouse=True)
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0) if device == CUDA else (12, 0))


def test_recipes_know_all_names() -> None:
    assert set(get_args(Attention)) == {"auto", *BACKENDS}


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("flash", {}, None),
        ("flash", {"device": torch.device("cpu")}, "runs on cuda"),
        ("flash", {"dtype": torch.float32}, "computes in bfloat16, float16"),
        ("flash", {"width": 36}, "takes heads of 8 to 256 channels in steps of 8"),
        ("flash", {"is_padded": True}, "lacks padding"),
        ("cudnn", {}, "lacks different lengths and determinism"),
        ("cudnn", {"is_batch": True, "is_deterministic": False}, None),
        ("efficient", {"dtype": torch.float32}, None),
        ("flash4", {"width": 256}, "takes heads of 8 to 128 channels in steps of 8"),
        ("flash3", {"width": 200}, "is deterministic for heads of up to 192 channels"),
        ("flash3", {"device": torch.device("cuda", 6)}, "runs on GPUs of capability 9.0 to 9.0"),
        ("flex", {"is_padded": True, "is_cross": True}, None),
        ("sdpa", {}, "runs on cpu"),
        ("reference", {"dtype": torch.float64, "is_padded": True}, None),
    ],
)
def test_what_cannot_be_used_says_why(name: str, change: dict, reason: str | None) -> None:
    assert BACKENDS[name].refusal(ASKED._replace(**change)) == reason


def test_a_package_that_is_not_here_is_the_reason() -> None:
    absent = BACKENDS["flash"]._replace(package="no_such_package")
    assert absent.refusal(ASKED) == "no_such_package does not import: No module named 'no_such_package'"


def test_the_reference_is_every_sequence_for_itself() -> None:
    q, k, v = torch.randn(9, 3, 2, 8, dtype=torch.float64).unbind(1)
    made = attention_reference(q, k, v, segments(torch.tensor([4, 0, 5])))
    for part in (slice(0, 4), slice(4, 9)):
        weights = torch.einsum("snk,tnk->nst", q[part], k[part]).div(8**0.5).softmax(-1)
        assert torch.allclose(made[part], torch.einsum("nst,tnk->snk", weights, v[part]))
