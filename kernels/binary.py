"""What the compiler makes of a launch, read from the machine code: no GPU and no driver are needed.

Triton's wheel brings the compiler and, with it, `cuobjdump`, which lists a kernel's registers and instructions.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from threading import RLock
from typing import Any

import triton
from triton import knobs
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from avctl.kernels.record import Launch

PARSING = RLock()
CUOBJDUMP = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][A-Z0-9_.]*)", re.MULTILINE)
WIDTHS = {"256": "256", "128": "128", "64": "64", "U16": "16", "S16": "16", "U8": "8", "S8": "8"}  # else 32 bits


class _Source(ASTSource):
    """Is parsed by one thread at a time: Python 3.11 counts how deep a syntax tree is for all threads together, and now
    and then fails (github.com/python/cpython/issues/106905)."""

    def hash(self) -> str:
        with PARSING:
            return super().hash()

    def make_ir(self, *args: Any) -> Any:
        with PARSING:
            return super().make_ir(*args)


def read_all(launches: Sequence[tuple[Launch, int]]) -> list[dict[str, Any]]:
    """The facts of launches, each for a compute capability as in 90, on all cores."""
    with _empty_cache(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda each: read(*each), launches))


def read(launch: Launch, capability: int) -> dict[str, Any]:
    """Registers of a thread; stack in bytes and spills in instructions; shared memory of a program in bytes; loads and
    stores of global memory by width in bits, and instructions of the tensor cores, by kind and all, as they stand in
    the code: HMMA of a warp on 8.0 and where nothing better is made, HGMMA of four on 9.0, those of UTC on 10.0."""
    source = _Source(launch.kernel, dict(launch.signature), dict(launch.constants), dict(launch.attributes))
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=dict(launch.options))
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [CUOBJDUMP, "-res-usage", "-sass", file.name]
        listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return facts(listing) | {"shared": made.metadata.shared}


def facts(listing: str) -> dict[str, Any]:
    """What `read` finds, but for shared memory, in what `cuobjdump -res-usage -sass` prints."""
    usage = re.search(r"REG:(\d+) STACK:(\d+)", listing)
    codes = [code.split(".") for code in INSTRUCTION.findall(listing)]
    if not usage or not codes:
        raise ValueError(f"cuobjdump lists no kernel: {listing[:200]!r}")
    names = Counter(code[0] for code in codes)
    products = {name: names[name] for name in sorted(names) if name.endswith("MMA")}
    return {
        "registers": int(usage[1]),
        "stack": int(usage[2]),
        "spills": names["LDL"] + names["STL"],
        "loads": _by_width(code for code in codes if code[0] in ("LDG", "LDGSTS")),
        "stores": _by_width(code for code in codes if code[0] == "STG"),
        "products": products,
        "tensor_cores": sum(products.values()),
    }


def _by_width(codes: Iterator[list[str]]) -> dict[str, int]:
    counted = Counter(next((WIDTHS[word] for word in code if word in WIDTHS), "32") for code in codes)
    return {width: counted[width] for width in sorted(counted, key=int, reverse=True)}


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Everything is compiled, nothing taken from where Triton keeps what it once compiled, and nothing left there."""
    with knobs.cache.scope(), knobs.compilation.scope(), TemporaryDirectory() as folder:
        knobs.cache.dir = folder
        knobs.compilation.always_compile = True
        yield
