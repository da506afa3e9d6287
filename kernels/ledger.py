"""`python -m avctl.kernels.ledger`: what every kernel is compiled to, in `ledger.json`, which is committed.

Every case is compiled at the size of the design for three generations of GPUs, with the time that its passes should
take: bytes over the bandwidth of a copy or operations over that of a matrix product, whichever is longer. `--check`
compares with what is kept and leaves with 1 where a kernel got worse or is launched otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import triton

from avctl.kernels.binary import read_all
from avctl.kernels.cases import CASES, ROWS, WIDTH, Case
from avctl.kernels.record import Launch, launches

FILE = Path(__file__).with_name("ledger.json")
SIZE = 2  # bytes of a number in bfloat16
FACTS = ("registers", "stack", "shared")  # that should not grow


class Ceiling(NamedTuple):
    """What a GPU can do at most: bytes read and written, and operations of matrix products in bfloat16, a second."""

    bytes_s: float
    flops_s: float
    source: str


CEILINGS = {
    80: Ceiling(2.0e12, 312e12, "A100 80 GB, datasheet"),
    90: Ceiling(4.3e12, 790e12, "H200, measured: a copy, and a matrix product of random numbers"),
    100: Ceiling(8.0e12, 2_250e12, "B200, datasheet"),
}

Ledger = Mapping[str, Any]


def ledger() -> Ledger:
    """Compile everything."""
    found = {key: launch for case in CASES.values() for key, launch in _launches(case)}
    compiled = iter(read_all([(launch, arch) for launch in found.values() for arch in CEILINGS]))
    return {
        "triton": triton.__version__,
        "size": {"rows": ROWS, "width": WIDTH, "format": "bfloat16"},
        "ceilings": {f"sm_{arch}": ceiling._asdict() for arch, ceiling in CEILINGS.items()},
        "operations": {name: _predicted(case) for name, case in CASES.items()},
        "kernels": {
            key: _launched(launch) | {f"sm_{arch}": next(compiled) for arch in CEILINGS}
            for key, launch in found.items()
        },
    }


def problems(made: Ledger, kept: Ledger) -> Iterator[str]:
    """What is worse in `made` than in `kept`, and where they are not of the same things."""
    for part in ("triton", "size", "ceilings", "operations"):
        if made[part] != kept[part]:
            yield f"{part}: {made[part]}, the ledger says {kept[part]}"
    for key in sorted(made["kernels"].keys() ^ kept["kernels"].keys()):
        yield f"{key}: {'not in the ledger' if key in made['kernels'] else 'in the ledger, and no longer launched'}"
    for key in sorted(made["kernels"].keys() & kept["kernels"].keys()):
        now, then = made["kernels"][key], kept["kernels"][key]
        for name in sorted(now.keys() | then.keys()):
            yield from (f"{key}, {name}: {words}" for words in _worse(name, now.get(name), then.get(name)))


def _worse(name: str, now: Any, then: Any) -> Iterator[str]:
    if not name.startswith("sm_") or now is None or then is None:
        if now != then:
            yield f"{now}, the ledger says {then}"
        return
    if now["spills"]:
        yield f"{now['spills']} spills"
    for fact in FACTS:
        if now[fact] > then[fact]:
            yield f"{now[fact]} {fact}, the ledger says {then[fact]}"
    for fact in ("loads", "stores"):
        if _wide(now[fact]) < _wide(then[fact]):
            yield f"{fact} {now[fact]} by width, the ledger says {then[fact]}"
    if now["tensor_cores"] < then["tensor_cores"]:
        yield f"{now['tensor_cores']} instructions of tensor cores, the ledger says {then['tensor_cores']}"


def _wide(by_width: Mapping[str, int]) -> int:
    """Accesses of 128 bits and more."""
    return sum(count for width, count in by_width.items() if int(width) >= 128)


def _launches(case: Case) -> Iterator[tuple[str, Launch]]:
    """Launches that are compiled differently, under names that do not change with others."""
    for name, made in launches(case).items():
        seen: list[Launch] = []
        for launch in made:
            if all(launch._replace(grid=()) != other._replace(grid=()) for other in seen):
                seen.append(launch)
                number = sum(other.name == launch.name for other in seen)
                yield f"{case.name} {name}: {launch.name}{f' {number}' if number > 1 else ''}", launch


def _launched(launch: Launch) -> dict[str, Any]:
    """As in `*bf16:16`, a pointer that 16 divides."""
    names = list(launch.signature)
    divided = {names[place] for (place,), attributes in launch.attributes.items() if attributes}
    types = {name: kind + (":16" if name in divided else "") for name, kind in launch.signature.items()}
    constants = {names[place]: value for (place,), value in launch.constants.items()}
    return {
        "grid": list(launch.grid),
        "parameters": {name: kind for name, kind in types.items() if name not in constants},
        "constants": constants,
        "options": dict(sorted(launch.options.items())),
    }


def _predicted(case: Case) -> dict[str, Any]:
    made = {}
    for name, work in case.floor(ROWS, WIDTH, SIZE).items():
        seconds = {arch: max(work.bytes / c.bytes_s, work.flops / c.flops_s) for arch, c in CEILINGS.items()}
        made[name] = work._asdict() | {"us": {f"sm_{arch}": round(1e6 * s, 1) for arch, s in seconds.items()}}
    return made


def _text(value: Any, indent: int = 0) -> str:
    """JSON in which what fits stands on one line."""
    line = json.dumps(value)
    if len(line) < 90 or not isinstance(value, dict):
        return line
    space = " " * (indent + 2)
    entries = ",\n".join(f"{space}{json.dumps(key)}: {_text(each, indent + 2)}" for key, each in value.items())
    return f"{{\n{entries}\n{' ' * indent}}}"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; leave with 1 where something is worse than it was.")
def main(check: bool) -> None:
    """Compile all kernels, and keep what came of it."""
    made = ledger()
    if not check:
        FILE.write_text(_text(made) + "\n")
        return
    found = list(problems(made, json.loads(FILE.read_text())))
    print("\n".join(found) or f"{len(made['kernels'])} kernels are as {FILE.name} says")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
