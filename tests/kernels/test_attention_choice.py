"""Which backend runs, and that it is written down."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from avctl.errors import MachineError
from avctl.kernels import attention_choice as module
from avctl.kernels.attention import _asked, attention
from avctl.kernels.attention_backends import BACKENDS, Asked
from avctl.kernels.attention_choice import LONG, Inputs, by_rule, chosen, measure, use
from avctl.kernels.attention_flops import BACKWARD
from avctl.kernels.segments import batch_segments, segments

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_is_chosen() -> Iterator[None]:
    use("auto")
    yield
    use("auto")


def small() -> Inputs:
    x, where = torch.randn(8, 2, 64, requires_grad=True), segments(torch.tensor([3, 5]))
    return x, x.detach(), x.detach(), where, where, None


def asked(clips: int, tokens: int, dtype: torch.dtype, is_trained: bool, heads: int = 5, width: int = 32) -> Asked:
    q = torch.empty(clips * tokens, heads, width, dtype=dtype, requires_grad=is_trained)
    where = batch_segments(clips, tokens, CPU)
    return _asked(q, q, q, where, where, None)


@pytest.mark.parametrize(
    ("clips", "tokens", "dtype", "is_trained", "expected", "with_amx"),
    [
        (12, 52, torch.bfloat16, True, "products", "products"),
        (12, 52, torch.bfloat16, False, "products", "sdpa"),
        (1, 1_090, torch.bfloat16, True, "products", "products"),
        (1, 16, torch.bfloat16, True, "sdpa_float32", "sdpa_float32"),
        (1, 16, torch.bfloat16, False, "sdpa", "sdpa"),
        (1, 4_096, torch.bfloat16, True, "sdpa", "sdpa"),
        (1, 4_096, torch.bfloat16, False, "sdpa", "sdpa"),
        (4_096, 64, torch.bfloat16, True, "sdpa_float32", "products"),
        (64, 256, torch.bfloat16, True, "sdpa_float32", "sdpa"),
        (12, 52, torch.float32, True, "sdpa", "sdpa"),
        (1, 4_096, torch.float32, True, "sdpa", "sdpa"),
        (12, 52, torch.float16, True, "sdpa_float32", "sdpa_float32"),
        (12, 52, torch.float16, False, "sdpa_float32", "sdpa_float32"),
        (12, 52, torch.float64, True, "sdpa", "sdpa"),
    ],
)
def test_on_a_processor_the_rule_is_what_was_measured(
    clips: int, tokens: int, dtype: torch.dtype, is_trained: bool, expected: str, with_amx: str, amx: bool
) -> None:
    choice, expected = by_rule(asked(clips, tokens, dtype, is_trained)), with_amx if amx else expected
    assert (choice.backend, choice.reason) == (expected, "rule")
    assert choice.refused["flash"] == "runs on cuda" and expected not in choice.refused


@pytest.mark.parametrize("amx", [False], indirect=True)
def test_the_bounds_of_the_rule_are_exact(amx: bool) -> None:
    assert by_rule(asked(1, 128, torch.bfloat16, False)).backend == "sdpa"
    assert by_rule(asked(1, 129, torch.bfloat16, False)).backend == "products"
    assert by_rule(asked(4, 1_023, torch.bfloat16, True, heads=4)).backend == "products"
    assert by_rule(asked(4, 1_024, torch.bfloat16, True, heads=4)).backend == "sdpa"  # 32 MiB of scores
    assert by_rule(asked(100, LONG // 2, torch.bfloat16, True)).backend == "sdpa_float32"


@pytest.mark.parametrize("amx", [True], indirect=True)
def test_with_amx_its_bounds_are_exact(amx: bool) -> None:
    assert by_rule(asked(1, 128, torch.bfloat16, True)).backend == "sdpa_float32"
    assert by_rule(asked(1, 129, torch.bfloat16, True)).backend == "products"
    assert by_rule(asked(4, 1_023, torch.bfloat16, True, heads=4)).backend == "products"
    assert by_rule(asked(4, 1_024, torch.bfloat16, True, heads=4)).backend == "sdpa"  # 32 MiB of scores
    assert by_rule(asked(1_000, 128, torch.bfloat16, True)).backend == "products"
    assert by_rule(asked(1_000, 129, torch.bfloat16, True)).backend == "sdpa"


@pytest.mark.parametrize("amx", [False], indirect=True)
def test_of_different_lengths_the_longest_decides(amx: bool) -> None:
    q = torch.empty(20_000, 4, 64, dtype=torch.bfloat16)
    for lengths, expected in (([128, 128, 100], "sdpa"), ([129, 4], "products"), ([2_048, 2], "sdpa")):
        where = segments(torch.tensor(lengths))
        tokens = q[: sum(lengths)]
        assert by_rule(_asked(tokens, tokens, tokens, where, where, None)).backend == expected


@pytest.mark.parametrize("is_deterministic", [True, False])
def test_on_a_gpu_the_rule_takes_the_first_that_can(is_deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    gpu = asked(4, 256, torch.bfloat16, True)._replace(
        device=torch.device("cuda", 7), is_deterministic=is_deterministic
    )
    present = [name for name in BACKENDS if BACKENDS[name].refusal(gpu) is None]
    assert by_rule(gpu).backend == present[0]
    assert ("cudnn" in present) is not is_deterministic and {"flash", "efficient", "flex"} <= set(present)
    assert by_rule(gpu._replace(is_padded=True)).backend == "flex"
    assert by_rule(gpu._replace(dtype=torch.float64)).backend == "reference"
    assert by_rule(gpu._replace(dtype=torch.float32)).backend == "efficient"


def test_what_ran_is_kept_by_class_of_shapes(amx: bool) -> None:
    x = torch.randn(300, 2, 32, dtype=torch.bfloat16)
    attention(x, x, x, segments(torch.tensor([100, 200])))
    attention(x[:290], x[:290], x[:290], segments(torch.tensor([95, 195])))  # of the same class
    attention(x[:10], x[:10], x[:10], segments(torch.tensor([10])))
    (first, second), (large, small) = chosen().keys(), chosen().values()
    assert (large.backend, small.backend) == ("sdpa" if amx else "products", "sdpa")
    assert (first.num_tokens, first.longest, first.is_batch) == (512, 256, False)
    assert (second.num_tokens, second.longest, second.is_batch) == (16, 16, True)


def test_who_is_asked_for_runs_on_every_thread() -> None:
    from concurrent.futures import ThreadPoolExecutor

    use("products")
    x = torch.randn(6, 2, 32)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(attention, x, x, x, segments(torch.tensor([2, 4]))).result()
    (choice,) = chosen().values()
    assert (choice.backend, choice.reason) == ("products", "asked for")


def test_who_is_asked_for_in_a_call_runs_in_that_call_only() -> None:
    x = torch.randn(6, 2, 32)
    where = segments(torch.tensor([2, 4]))
    ran = []
    for backend in ("products", None, "reference"):
        attention(x, x, x, where, backend=backend)
        ran += [choice.backend for choice in chosen().values()]
    assert ran == ["products", "sdpa", "reference"]


def test_the_compiler_is_not_imported_before_it_is_used() -> None:
    code = "import sys, avctl.kernels.attention; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd="/").returncode == 0


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no backend of attention is called 'fastest': auto, flash3"):
        use("fastest")


def test_the_fastest_is_taken_and_failures_are_kept() -> None:
    """Of backends of the processor, with times that are given: those that keep scores do not take part."""
    inputs = small()
    times = iter([9.0, 9.0] + [1.0, 4.0, 2.0, 3.0] * 9)

    def clock(call) -> float:
        call()
        return next(times)

    choice = measure(_asked(*inputs), inputs, clock)
    assert choice.reason == "measured" and set(choice.milliseconds) == {"sdpa", "sdpa_float32"}
    assert choice.backend == min(choice.milliseconds, key=lambda name: choice.milliseconds[name])

    def broken(call) -> float:
        if len(seen) < 1:
            seen.append(call)
            raise RuntimeError("no kernel image\nand more")
        return 1.0

    seen: list = []
    choice = measure(_asked(*inputs), inputs, broken)
    (failed,) = {"sdpa", "sdpa_float32"} - set(choice.milliseconds)
    assert choice.backend != failed and choice.refused[failed] == "RuntimeError: no kernel image"


def test_what_compiles_for_seconds_is_timed_where_nothing_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sdpa_float32` as if it were FlexAttention."""
    changed = {**BACKENDS, "sdpa_float32": BACKENDS["sdpa_float32"]._replace(compiles=True)}
    monkeypatch.setattr(module, "BACKENDS", changed)
    inputs = small()
    assert set(measure(_asked(*inputs), inputs, lambda call: 1.0).milliseconds) == {"sdpa"}
    monkeypatch.setitem(changed, "sdpa", changed["sdpa"]._replace(run=lambda *_: pytest.fail("it was called")))
    ran: list[str] = []

    def broken(call) -> float:
        ran.append("")
        if len(ran) == 1:
            raise RuntimeError("no kernel image")
        call()
        return 1.0

    choice = measure(_asked(*inputs), inputs, broken)
    assert choice.backend == "sdpa_float32" and choice.refused["sdpa"] == "RuntimeError: no kernel image"
    assert len(ran) == 1 + module.ROUNDS + 1


class Gpu:
    """A clock, and a GPU whose queue Python fills: what `torch.cuda` says of it. Calls take it and Python so long."""

    def __init__(self, gpu_s: float, host_s: float):
        self.gpu_s, self.host_s = gpu_s, host_s
        self.now = self.idle_at = 0.0
        self.calls, self.waits = 0, []

    def call(self) -> None:
        self.calls += 1
        self.now += self.host_s
        self.queue(self.gpu_s)

    def queue(self, seconds: float) -> None:
        self.idle_at = max(self.idle_at, self.now) + seconds

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool):
                self.at = 0.0

            def record(self) -> None:
                self.at = max(gpu.idle_at, gpu.now)

            def synchronize(self) -> None:
                gpu.now = max(gpu.now, self.at)

            def elapsed_time(self, other: Event) -> float:
                return 1e3 * (other.at - self.at)

        def sleep(cycles: int) -> None:
            self.waits.append(cycles / module.CYCLES)
            self.queue(self.waits[-1])

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: setattr(self, "now", max(self.now, self.idle_at)))
        monkeypatch.setattr(torch.cuda, "_sleep", sleep)
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)


@pytest.mark.parametrize(
    ("gpu_s", "host_s", "calls"),
    [(1e-5, 3e-4, 52), (5e-5, 3e-4, 42), (2e-4, 1e-4, 12), (5e-3, 3e-4, 2), (5e-2, 3e-4, 1), (1e-4, 10.0, 2)],
)
def test_what_python_takes_is_not_measured(
    gpu_s: float, host_s: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(gpu_s, host_s)
    gpu.install(monkeypatch)
    took = module.milliseconds(gpu.call)
    assert abs(gpu.calls - calls) <= 1 and max(gpu.waits) <= module.LONGEST_WAIT_S
    if host_s < 1:  # else it compiles, in a round that does not count
        assert took == pytest.approx(1e3 * gpu_s, rel=0.02)


def test_where_all_fail_it_is_said() -> None:
    def broken(call) -> float:
        raise RuntimeError("nothing works")

    inputs = small()
    with pytest.raises(MachineError, match="nothing works"):
        measure(_asked(*inputs), inputs, broken)


def test_what_is_timed_is_not_counted_and_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the first call of a class of shapes is timed: in a checkpoint, while one counts operations."""
    timed: list[str] = []

    def clock(call) -> float:
        timed.append("")
        call()
        return 1.0

    monkeypatch.setattr(module, "_can_be_timed", lambda *_: True)
    monkeypatch.setattr(module, "milliseconds", clock)
    q = torch.randn(6, 2, 32, requires_grad=True)
    where = segments(torch.tensor([2, 4]))
    with FlopCounterMode(display=False) as counter:
        out = checkpoint(lambda q: attention(q, q, q, where), q, use_reentrant=False)
        assert isinstance(out, torch.Tensor) and len(timed) == 2 * (module.ROUNDS + 1)
        torch.autograd.grad(out.sum(), q)
    forward = 4 * 2 * 32 * (2**2 + 4**2)
    assert len(timed) == 2 * (module.ROUNDS + 1) and counter.get_total_flops() == forward * (2 + BACKWARD)


def test_a_run_that_goes_on_chooses_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: what is fastest is measured in the first process, and kept for the others."""
    monkeypatch.setattr(module, "_can_be_timed", lambda *_: True)
    monkeypatch.setattr(module, "milliseconds", lambda call: 1.0)
    x, file = torch.randn(6, 2, 32), tmp_path / "attention.json"
    shapes = [segments(torch.tensor(lengths)) for lengths in ([2, 4], [6])]
    use("auto", file)
    for where in shapes:
        attention(x, x, x, where)
    first = chosen()
    assert len(first) == len(json.loads(file.read_text())) == 2
    monkeypatch.setattr(module, "measure", lambda *_: pytest.fail("it was measured again"))
    use("auto", file)
    for where in shapes:
        attention(x, x, x, where)
    assert chosen() == first and {choice.reason for choice in first.values()} == {"measured"}
    use("auto")  # keeps nothing
    monkeypatch.setattr(module, "measure", measure)
    attention(x, x, x, shapes[0])
    assert len(json.loads(file.read_text())) == 2


def test_what_can_no_longer_be_used_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_can_be_timed", lambda *_: True)
    monkeypatch.setattr(module, "milliseconds", lambda call: 1.0)
    x, where, file = torch.randn(6, 2, 32), segments(torch.tensor([2, 4])), tmp_path / "attention.json"
    use("auto", file)
    attention(x, x, x, where)
    (row,) = json.loads(file.read_text())
    file.write_text(json.dumps([row | {"backend": "flash"}]))
    use("auto", file)
    attention(x, x, x, where)
    (choice,) = chosen().values()
    assert choice.backend == row["backend"] and choice.refused["flash"] == "runs on cuda"


def test_what_must_give_the_same_bytes_twice_is_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among those that do, which `needs` tells."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    gpu = asked(4, 256, torch.bfloat16, True)._replace(device=torch.device("cuda", 0), is_deterministic=True)
    assert module._can_be_timed(gpu, torch.empty(0))


def test_nothing_is_timed_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure", lambda *_: pytest.fail("it was measured"))
    x = torch.randn(6, 2, 32)
    attention(x, x, x, segments(torch.tensor([2, 4])))
    assert [choice.reason for choice in chosen().values()] == ["rule"]
