"""The runtime section is obeyed or refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from avctl.compute.device import prepare
from avctl.errors import MachineError
from avctl.kernels.attention import attention
from avctl.kernels.attention_choice import chosen, use
from avctl.kernels.segments import segments
from avctl.schema import Runtime
from avctl.schema.runtime import Attention


@pytest.fixture(autouse=True)
def nobody_in_particular() -> Iterator[None]:
    yield
    use("auto")


def test_threads_and_determinism_are_set() -> None:
    assert prepare(Runtime(device="cpu", threads=1)) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def test_attention_is_computed_by_whom_the_recipe_says() -> None:
    x = torch.randn(6, 2, 32)
    asked_for: dict[Attention, str] = {"products": "products", "auto": "sdpa"}
    for name, expected in asked_for.items():
        prepare(Runtime(device="cpu", threads=1, attention=name))
        attention(x, x, x, segments(torch.tensor([2, 4])))
        assert [choice.backend for choice in chosen().values()] == [expected]


def test_a_backend_that_the_machine_has_not_is_refused() -> None:
    prepare(Runtime(device="cpu", threads=1, attention="flash"))
    x = torch.randn(6, 2, 32)
    with pytest.raises(MachineError, match="`flash` is asked for, which runs on cuda") as error:
        attention(x, x, x, segments(torch.tensor([2, 4])))
    assert error.value.hint == "-o runtime.attention=auto"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(MachineError, match="cuda"):
        prepare(Runtime(device="cuda", threads=1))
    assert prepare(Runtime(device="auto", threads=1)) == torch.device("cpu")
