"""The bench of attention has a row for every backend, and says what is chosen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from avctl.kernels.attention_choice import use
from avctl.kernels.attention_flops import BACKWARD
from benches import attention
from benches.attention import Call, Setting
from benches.device import Device

HERE = Device(torch.device("cpu"), torch.bfloat16, 2**20)
SMALL = Setting("small", (40, 9, 1), 2, 32)


@pytest.fixture(autouse=True)
def the_best_is_used() -> Iterator[None]:
    use("auto")
    yield
    use("auto")


@pytest.mark.parametrize("is_trained", [False, True])
def test_every_backend_of_the_device_has_a_rate_and_one_is_chosen(is_trained: bool) -> None:
    rows = list(attention._backends(SMALL, HERE, 1e12, is_trained))
    *backends, chosen = rows
    assert {row.details["backend"] for row in backends} == {"sdpa", "sdpa_float32", "products"}
    assert all(row.median > 0 and row.details["of matmul"] == pytest.approx(row.median) for row in backends)
    assert chosen.details["backend"] == ("sdpa_float32" if is_trained else "sdpa") and chosen.unit == "%"
    assert (chosen.details["best"] == chosen.details["backend"]) == (chosen.values == (0.0,) * attention.ROUNDS)


def test_what_is_asked_for_runs_and_its_operations_are_counted() -> None:
    forward, both = (Call(SMALL, HERE, is_trained) for is_trained in (False, True))
    assert forward.flops() == 4 * 2 * 32 * (40**2 + 9**2 + 1) and both.flops() == forward.flops() * (1 + BACKWARD)
    with torch.profiler.profile(acc_events=True) as profile:
        both.run("products")
    names = {event.name for event in profile.events() or ()}
    assert {"avctl::attention_rows", "avctl::attention_rows_backward"} <= names
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" not in names


def test_the_lengths_of_the_mixture_end_at_the_longest() -> None:
    lengths = attention._lengths(256, 256)
    assert len(lengths) == 256 and max(lengths) == 256 and min(lengths) >= 1
    assert 256 / (sum(lengths) / 256) == pytest.approx(2.77, abs=0.01)  # max / mean


def test_settings_are_named_apart() -> None:
    for device in ("cpu", "cuda"):
        names = [setting.name for setting in attention._settings(HERE._replace(torch=torch.device(device)))]
        assert len(names) == len(set(names)) >= 3
