"""Which backend of attention runs: the one that is asked for, the one that a rule names, or the fastest of all.

On a GPU all that can be used are timed once for every class of shapes, with the numbers of the first call; where the
same bytes are wanted twice, those that are deterministic, and what was found is kept in a file, from which a run that
goes on has it. On a processor, and in what is being traced, a rule decides that depends on the machine alone. Who ran,
why, and how long the others took is kept: `chosen`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from avctl.errors import MachineError
from avctl.files import write_text
from avctl.kernels.attention_backends import BACKENDS, Asked
from avctl.kernels.attention_cpu import MOST_SCORES
from avctl.kernels.segments import Segments

AUTO = "auto"
ROUNDS = 5  # of measuring, after one that compiles
QUEUED_MS = 2.0  # of work that is timed at once, and the most calls of it, whose launches all fit in a GPU's queue
MOST_QUEUED = 50
CYCLES = 2e9  # of a GPU in a second, or fewer: then it waits for longer
LONGEST_WAIT_S = 0.1  # if a call compiles
FEW_TOKENS = 128  # at once on a processor: below, what a call costs decides; measured on one core, K = 32 to 128
SHORT = 128  # keys of which there may be any number of weights, with AMX
LONG = 1_024  # keys, from which on the 16-bit flash kernel trains faster than the float32 one: 0.8 to 0.9 of its time
Inputs = tuple[Tensor, Tensor, Tensor, Segments, Segments, Tensor | None]
Clock = Callable[[Callable[[], object]], float]


class Choice(NamedTuple):
    """The backend, why it, what the measured ones took, and why others could not be used."""

    backend: str
    reason: Literal["asked for", "rule", "measured"]
    milliseconds: Mapping[str, float] = MappingProxyType({})
    refused: Mapping[str, str] = MappingProxyType({})


_wanted = AUTO  # by the process: threads that compute see it, which a context variable would hide from them
_best: dict[Asked, Choice] = {}  # by rule or measured
_chosen: dict[Asked, Choice] = {}  # that ran last
_others: set[str] = set()  # that ran and are not chosen among
_file: Path | None = None  # of what was measured


def use(backend: str, kept: Path | None = None) -> None:
    """From now on this backend computes attention, in the whole process; "auto": the best one. ValueError for others.

    What is measured is looked up in the file `kept` before, and is written to it. Programs that are compiled already
    keep their backend.
    """
    global _wanted, _file
    if backend not in (AUTO, *BACKENDS):
        raise ValueError(f"no backend of attention is called {backend!r}: {', '.join((AUTO, *BACKENDS))}")
    _wanted, _file = backend, kept
    _chosen.clear()
    _best.clear()
    _others.clear()


def chosen() -> Mapping[Asked, Choice]:
    """What ran since `use`, by class of shapes."""
    return MappingProxyType(_chosen.copy())


def who_ran() -> str:
    """In words."""
    return ", ".join(sorted({f"{choice.backend} ({choice.reason})" for choice in _chosen.values()} | _others))


def note(name: str) -> None:
    """That attention ran which is not chosen among backends."""
    _others.add(name)


def choose(asked: Asked, backend: str | None, inputs: Inputs) -> str:
    """The name of the backend. MachineError where the one that is asked for cannot be used."""
    may_measure = not torch.compiler.is_compiling() and _can_be_timed(asked, inputs[0])
    return _settled(asked, backend, may_measure) or _measured(asked, inputs)


def _can_be_timed(asked: Asked, q: Tensor) -> bool:
    if asked.device.type != "cuda" or isinstance(q, FakeTensor):
        return False
    return not torch.cuda.is_current_stream_capturing()


def _settled(asked: Asked, backend: str | None, may_measure: bool) -> str | None:
    """The name; None where it is to be measured first. A program that is traced has the answer as a constant."""
    wanted = backend or _wanted
    if wanted != AUTO:
        choice = _asked_for(asked, wanted)
    else:
        choice = _best.get(asked)
        if may_measure and (choice is None or choice.reason == "rule"):
            return None
        choice = _best[asked] = choice or by_rule(asked)
    _chosen[asked] = choice
    return choice.backend


# what `torch.compiler.assume_constant_result` does, and takes more than a second to import
_settled._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def _asked_for(asked: Asked, name: str) -> Choice:
    if name not in BACKENDS:
        raise ValueError(f"no backend of attention is called {name!r}: {', '.join(BACKENDS)}")
    if reason := BACKENDS[name].refusal(asked):
        raise MachineError(
            f"attention by `{name}` is asked for, which {reason}; here: {asked}", hint="-o runtime.attention=auto"
        )
    return Choice(name, "asked for")


def by_rule(asked: Asked) -> Choice:
    """What runs where nothing is measured: depends on the machine alone."""
    refused = {name: reason for name, backend in BACKENDS.items() if (reason := backend.refusal(asked))}
    first = next(name for name in BACKENDS if name not in refused)
    return Choice(_on_processor(asked) if asked.device.type == "cpu" else first, "rule", refused=refused)


def _on_processor(asked: Asked) -> str:
    """Medians of nine rounds in turns on one core with AVX512-BF16, forward and backward, K = 32 and 64: against
    `products`, the flash kernel takes 2.0 to 9.3 of their time in bfloat16 and 0.98 to 2.2 in float32, for more than
    128 tokens and scores below 32 MiB; above those 0.6 to 0.9 and 0.7 to 1.1. Forward alone 0.9 to 1.6 below, 0.4 to
    0.9 above. Of float32 inputs products took 0.7 to 5 times the flash kernel's time, the longer the sequences, the
    more. In float16 only what is widened is quick: 0.03 to 0.2 of the time of products, and of the 16-bit kernel's. Of
    different lengths most calls compute few, and bounds are about the longest.
    """
    if asked.dtype in (torch.float32, torch.float64):
        return "sdpa"
    if asked.dtype == torch.float16:
        return "sdpa_float32"
    if torch.cpu._is_amx_tile_supported():  # tiles of bfloat16
        return _with_amx(asked)
    if asked.at_once > FEW_TOKENS and asked.num_scores <= MOST_SCORES:
        return "products"
    return "sdpa_float32" if asked.is_trained and asked.longest < LONG else "sdpa"


def _with_amx(asked: Asked) -> str:
    """In bfloat16. Medians of 7 to 101 rounds in turns, twice, on one core of a Xeon with AMX, K = 32, 64 and 128: the
    flash kernel takes 0.10 to 1.05 of the time of the others forward. Forward and backward, against `products`, for
    more than 128 tokens and scores below 32 MiB it takes 0.94 to 5.7 of their time, in float32 0.9 to 2.4; for 64 keys
    and 32 MiB 2.0 to 2.3, and 1.4 to 1.6; above those 0.3 to 1.2, and 0.4 to 1.4. For fewer tokens 1.1 to 3.4, and 0.4
    to 1.2. Of eight packs of different lengths this takes 1.0 to 1.06 of the time of the fastest.
    """
    if not asked.is_trained:
        return "sdpa"
    if asked.at_once <= FEW_TOKENS:
        return "sdpa_float32"
    return "products" if asked.longest <= SHORT or asked.num_scores <= MOST_SCORES else "sdpa"


def _measured(asked: Asked, inputs: Inputs) -> str:
    """Whoever watches operations or what they save, a counter or a checkpoint, does not see those that are timed."""
    choice = _kept(asked)
    if choice is None:
        hooks = torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is)
        with _disable_current_modes(), hooks, torch.cuda.device_of(inputs[0]):
            choice = measure(asked, inputs, milliseconds)
        _keep(asked, choice)
    _chosen[asked] = _best[asked] = choice
    return choice.backend


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _kept(asked: Asked) -> Choice | None:
    """What an earlier process measured on such a device, unless it can no longer be used."""
    for row in _rows():
        if row["asked"] == _description(asked) and not BACKENDS[row["backend"]].refusal(asked):
            return Choice(row["backend"], "measured", row["milliseconds"], row["refused"])
    return None


def _keep(asked: Asked, choice: Choice) -> None:
    if _file:
        found = choice._asdict()
        del found["reason"]
        write_text(_file, json.dumps([*_rows(), {"asked": _description(asked), **found}], indent=1) + "\n")


def _rows() -> list[dict[str, Any]]:
    return json.loads(_file.read_text()) if _file and _file.exists() else []


def _description(asked: Asked) -> dict[str, Any]:
    """In numbers and words, whichever of the devices of a kind it is."""
    device = torch.cuda.get_device_name(asked.device) if asked.device.type == "cuda" else asked.device.type
    return asked._asdict() | {
        "device": device,
        "dtype": str(asked.dtype).removeprefix("torch."),
        "torch": torch.__version__,
    }


def measure(asked: Asked, inputs: Inputs, clock: Clock) -> Choice:
    """Times all that can be used, in turns, forward and where it is trained backward; a failure is kept with its
    reason. What compiles for seconds takes part where nothing else works, what keeps all scores where nothing else can
    be used."""
    refused = {name: reason for name, backend in BACKENDS.items() if (reason := backend.refusal(asked))}
    usable = [name for name in BACKENDS if name not in refused]
    fused = [name for name in usable if not BACKENDS[name].keeps_scores] or usable
    for compiles in (False, True):
        taking_part = [name for name in fused if BACKENDS[name].compiles is compiles]
        if medians := _medians(taking_part, asked, inputs, clock, refused):
            return Choice(min(medians, key=lambda name: medians[name]), "measured", medians, refused)
    raise MachineError(f"no backend of attention works for {asked}: {refused}", hint="-o runtime.attention=reference")


def _medians(
    names: Sequence[str], asked: Asked, inputs: Inputs, clock: Clock, refused: dict[str, str]
) -> dict[str, float]:
    """Milliseconds of those that work; why others do not is added to `refused`."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS + 1):
        for name in names[:: 1 if number % 2 else -1]:
            if name in refused:
                continue
            try:
                took = clock(lambda name=name: _once(name, inputs, asked.is_trained))
            except Exception as error:  # of kernels and packages: whatever it is, the others are there
                refused[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                continue
            if number:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items() if name not in refused}


def _once(name: str, inputs: Inputs, is_trained: bool) -> None:
    q, k, v, *rest = inputs
    with torch.set_grad_enabled(is_trained):
        leaves = [x.detach().requires_grad_(is_trained) for x in (q, k, v)]
        out = BACKENDS[name].run(*leaves, *rest)
        if is_trained:
            torch.autograd.grad(out, leaves, out.detach())


def milliseconds(call: Callable[[], object]) -> float:
    """What a call takes the current GPU, not Python: it is kept waiting until as many as it does in 2 ms are queued."""
    host_s, took = _queued(call, 1, 0.0)
    if took > 5e4 * host_s:  # all of it was queued before a fiftieth of it was done
        return took
    _, took = _queued(call, 1, host_s)
    count = min(MOST_QUEUED, ceil(QUEUED_MS / max(took, 1e-3)))
    return took if count == 1 else _queued(call, count, count * host_s)[1] / count


def _queued(call: Callable[[], object], count: int, host_s: float) -> tuple[float, float]:
    """The seconds that it takes to queue so many calls, and the milliseconds from the first to the last behind a wait
    of half as long again as `host_s`."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(int(CYCLES * min(1.5 * host_s, LONGEST_WAIT_S)))
    begin.record()
    start = time.perf_counter()
    for _ in range(count):
        call()
    took_s = time.perf_counter() - start
    end.record()
    end.synchronize()
    return took_s, begin.elapsed_time(end)
