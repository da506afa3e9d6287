"""The bench of attention has a row for every backend, and says what is chosen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from avctl.kernels import attention as operation
from avctl.kernels import attention_choice as choice
from avctl.kernels.attention_backends import BACKENDS, Backend
from avctl.kernels.attention_choice import use
from avctl.kernels.attention_flops import BACKWARD
from benches import attention
from benches.attention import Rows, Setting
from benches.device import Device

HERE = Device(torch.device("cpu"), torch.bfloat16, 2**20)
SMALL = Setting("small", (40, 9, 1), 2, 32)


@pytest.fixture(autouse=True)
def the_best_is_used(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attention, "ROUNDS", 2)
    use("auto")
    yield
    use("auto")


@pytest.mark.parametrize("is_trained", [False, True])
def test_every_backend_of_the_device_has_a_rate_and_one_is_chosen(is_trained: bool) -> None:
    rows = list(attention._backends(SMALL, HERE, 1e12, is_trained))
    *backends, chosen, above = rows
    assert [row.what.split(": ")[1] for row in backends] == ["sdpa", "sdpa_float32", "products"]
    timed = [row for row in (*backends, chosen) if not row.failure]
    assert all(row.median > 0 and row.details["of matmul"] == pytest.approx(row.median) for row in timed)
    assert chosen.details["backend"] == ("sdpa_float32" if is_trained else "sdpa")
    best = max((row for row in timed if row is not chosen), key=lambda row: row.median)
    assert above.unit == "%" and above.details["best"] == best.details["backend"]
    expected = [100 * (b / a - 1) for a, b in zip(chosen.values, best.values, strict=True)]
    assert above.values == pytest.approx(expected)


def test_what_is_chosen_first_is_kept_and_is_what_is_timed() -> None:
    rows = Rows(SMALL, HERE, is_trained=True)
    (asked,) = choice.chosen()
    choice._best[asked] = choice.Choice("products", "measured")
    assert rows.refusal(None) is None
    rows.lap(rows.draw(0, 2), None)()
    assert choice.chosen()[asked].backend == "products" and rows.choice.backend == "sdpa_float32"


def test_who_is_not_exact_is_not_timed_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(backend: Backend) -> Backend:
        return backend._replace(run=lambda *inputs: 1.1 * backend.run(*inputs))

    wrong = {**BACKENDS, **{name: spoiled(BACKENDS[name]) for name in ("sdpa", "products")}}
    for module in (attention, choice, operation):
        monkeypatch.setattr(module, "BACKENDS", wrong)
    rows = {row.what.split(": ")[1]: row for row in attention._backends(SMALL, HERE, 1e12, is_trained=False)}
    assert (rows["sdpa"].failure or "").startswith("is not exact") and rows["sdpa_float32"].values
    assert (rows["chosen"].failure or "").startswith("is not exact") and rows["chosen"].details["provider"] == "avctl"
    assert "chosen above the fastest" not in rows
    monkeypatch.setattr(attention, "NUM_CLIPS", 8)
    packed, padded = attention._packed_and_padded(HERE, is_trained=False)
    assert not packed.values and not padded.values and packed.failure and packed.details["provider"] == "avctl"


def test_what_is_asked_for_runs_and_its_operations_are_counted() -> None:
    forward, both = (Rows(SMALL, HERE, is_trained) for is_trained in (False, True))
    assert forward.flops == 4 * 2 * 32 * (40**2 + 9**2 + 1) and both.flops == forward.flops * (1 + BACKWARD)
    with torch.profiler.profile(acc_events=True) as profile:
        both.lap(both.draw(0, 1), "products")()
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
