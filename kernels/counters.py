"""Counters by which programs find out who of them ends last, who then resets them: they are zero between launches.

So nothing has to be filled before a launch. Launches that may run at once have counters of their own: each stream, and
each launch that is captured in a graph, which may be replayed on any stream.
"""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 2**16  # that are filled together
_unused: dict[torch.device, Tensor] = {}
_of_streams: dict[tuple[torch.device, int], Tensor] = {}


def counters(count: int, device: torch.device) -> Tensor:
    """At least `count` zeros, int32, for one launch on the current stream of the device."""
    if device.type != "cuda":
        return torch.zeros(count, dtype=torch.int32, device=device)
    if torch.cuda.is_current_stream_capturing():
        return _taken(count, device, is_captured=True)
    stream = device, torch.cuda.current_stream(device).cuda_stream
    if stream not in _of_streams or len(_of_streams[stream]) < count:
        _of_streams[stream] = _taken(count, device, is_captured=False)
    return _of_streams[stream]


def _taken(count: int, device: torch.device, *, is_captured: bool) -> Tensor:
    """Some that nobody else has."""
    if device not in _unused or len(_unused[device]) < count:
        zeros = torch.zeros(count if is_captured else max(AT_ONCE, count), dtype=torch.int32, device=device)
        if is_captured:
            return zeros  # which the graph fills: nothing may be waited for now
        torch.cuda.synchronize(device)  # other streams will use them
        _unused[device] = zeros
    taken, _unused[device] = _unused[device].split([count, len(_unused[device]) - count])
    return taken
