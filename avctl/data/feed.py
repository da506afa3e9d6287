"""Batches on their way to the device: pinned in memory, and copied while the model works on the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def pinned(batch: T, device: torch.device) -> T:
    """The batch in page-locked memory, from which a GPU copies by itself; for a CPU as it is."""
    return over_tensors(batch, Tensor.pin_memory) if device.type == "cuda" else batch


def on_device(batches: Iterator[T], device: torch.device) -> Iterator[T]:
    """The batches, on the device. The next one is copied on a stream of its own while this one is used."""
    if device.type != "cuda":
        yield from batches
        return
    copies = torch.cuda.Stream(device)
    waiting: tuple[T, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copies):
            copied = over_tensors(batch, lambda x: x.to(device, non_blocking=True))
        event = torch.cuda.Event()
        event.record(copies)
        if waiting:
            yield _arrived(*waiting, device)
        waiting = copied, event
    if waiting:
        yield _arrived(*waiting, device)


def over_tensors(batch: T, function: Callable[[Tensor], Tensor]) -> T:
    """`function` on every tensor of nested tuples; what else is in them stays as it is."""
    found: Any = batch
    if isinstance(batch, Tensor):
        found = function(batch)
    elif isinstance(batch, tuple):
        parts = [over_tensors(part, function) for part in batch]
        found = type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    return cast(T, found)


def _arrived(batch: T, event: torch.cuda.Event, device: torch.device) -> T:
    """The batch for the stream that computes: it waits for the copy, and the memory is not reused before it is done."""
    current = torch.cuda.current_stream(device)
    current.wait_event(event)

    def keep(x: Tensor) -> Tensor:
        x.record_stream(current)
        return x

    return over_tensors(batch, keep)
