"""What runs the kernels: the first GPU, or this processor where there is none; its caches, its names and its clocks."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

PACKAGES = (
    "torch", "triton", "liger-kernel", "quack-kernels", "diffusers", "flash-attn", "flash-attn-3", "flash-attn-4",
)  # fmt: skip
QUERY = ("driver_version", "uuid", "clocks.sm", "clocks.mem", "clocks.max.sm", "temperature.gpu", "power.draw")
SMALLEST_CACHE = 2**25  # bytes, where nobody says how large it is


class Device(NamedTuple):
    """`cache` is that before memory, in bytes: L2 of a GPU, the last level of a processor."""

    torch: torch.device
    dtype: torch.dtype  # of the model on it
    cache: int

    @property
    def is_gpu(self) -> bool:
        return self.torch.type == "cuda"

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Work inside goes to a stream that can be captured, which a GPU's first one cannot."""
        if not self.is_gpu:
            yield
            return
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream(self.torch)):
            yield
        torch.cuda.synchronize()


def device() -> Device:
    """The first GPU, or the processor."""
    if torch.cuda.is_available():
        return Device(torch.device("cuda", 0), torch.bfloat16, torch.cuda.get_device_properties(0).L2_cache_size)
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return Device(torch.device("cpu"), torch.bfloat16 if has_bfloat16 else torch.float32, _last_cache())


def identity(device: Device) -> dict[str, Any]:
    """What a figure depends on besides the commit: figures of different ones are not compared."""
    return _names(device) | ({} if device.is_gpu else {"threads": torch.get_num_threads()})


@cache
def _names(device: Device) -> dict[str, Any]:
    """What stays as it is."""
    found = [package for package in PACKAGES if _version(package)]
    names: dict[str, Any] = {"packages": {package: _version(package) for package in found}}
    if not device.is_gpu:
        return names | {"device": f"{platform.machine()} processor"}
    properties = torch.cuda.get_device_properties(device.torch)
    names |= {"device": properties.name, "cuda": torch.version.cuda, "driver": _ask().get("driver_version")}
    return names


def state(device: Device) -> dict[str, Any]:
    """What tells one device from another of its kind, and how it is now: clocks in MHz, degrees, watts."""
    if not device.is_gpu:
        return {}
    asked = _ask()
    uuid = asked.pop("uuid", "") or str(torch.cuda.get_device_properties(device.torch).uuid)
    asked.pop("driver_version", None)
    return {"device_id": hashlib.sha256(uuid.removeprefix("GPU-").encode()).hexdigest()[:12], "now": asked}


def _ask() -> dict[str, str]:
    """What `nvidia-smi` says of the first GPU; nothing where there is none."""
    command = ["nvidia-smi", "-i", "0", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        line = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(QUERY, (word.strip() for word in line.split(",")), strict=False))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _last_cache() -> int:
    """Bytes, as Linux tells them of the first processor."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 2**10, "M": 2**20}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=SMALLEST_CACHE)
