"""`python -m avctl.kernels.ledger`: what every kernel is compiled to, in `ledger.json`, which is committed.

Every case is compiled at the size of the design for three generations of GPUs, and in a few more variants, those of
their kernels that are compiled differently there. With it stands the time that the passes of the design should take:
bytes over the bandwidth of a copy or operations over that of a matrix product, whichever is longer. `--check` compares
with what is kept and leaves with 1 where a kernel got worse or is launched otherwise.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import triton

from avctl.kernels.binary import read_all
from avctl.kernels.cases import CASES, ROWS, WIDTH, Case
from avctl.kernels.record import DESIGN, VARIANTS, Launch, launches

FILE = Path(__file__).with_name("ledger.json")
SIZE = 2  # bytes of a number in bfloat16
FACTS = ("registers", "stack", "shared")  # that should not grow
LINE = 150  # characters: what is found of a kernel on a GPU


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
    distinct: list[Launch] = []
    for launch in map(_compiled, found.values()):
        if launch not in distinct:
            distinct.append(launch)
    facts = iter(read_all([(launch, arch) for launch in distinct for arch in CEILINGS]))
    on_gpus = [{f"sm_{arch}": next(facts) for arch in CEILINGS} for _ in distinct]
    return {
        "triton": triton.__version__,
        "size": {"rows": ROWS, "width": WIDTH, "format": "bfloat16"},
        "ceilings": {f"sm_{arch}": ceiling._asdict() for arch, ceiling in CEILINGS.items()},
        "operations": {name: _predicted(case) for name, case in CASES.items()},
        "kernels": {
            key: _launched(launch) | on_gpus[distinct.index(_compiled(launch))] for key, launch in found.items()
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
    for kind, count in then["products"].items():  # HGMMA is one of four warps, and not to be had for many HMMA
        if now["products"].get(kind, 0) < count:
            yield f"products {now['products']} by instruction, the ledger says {then['products']}"


def _wide(by_width: Mapping[str, int]) -> int:
    """Accesses of 128 bits and more."""
    return sum(count for width, count in by_width.items() if int(width) >= 128)


def _launches(case: Case) -> Iterator[tuple[str, Launch]]:
    """Launches that are compiled differently, under names that do not change with others."""
    seen: dict[str, list[Launch]] = {}
    for variant in (DESIGN, *(variant for variant in VARIANTS if case.name in variant.cases)):
        numbers: Counter[str] = Counter()
        for name, made in launches(case, variant).items():
            before = seen.setdefault(name, [])
            for launch in made:
                if _compiled(launch) not in before:
                    before.append(_compiled(launch))
                    key = ", ".join(filter(None, (f"{case.name} {name}: {launch.name}", variant.name)))
                    numbers[key] += 1
                    yield f"{key} {numbers[key]}" if numbers[key] > 1 else key, launch


def _compiled(launch: Launch) -> Launch:
    """What of it the compiler sees."""
    return launch._replace(grid=())


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
    """JSON in which what fits stands on one line, and names of words follow each other."""
    line = json.dumps(value)
    if len(line) < LINE or not isinstance(value, dict):
        return line
    space = " " * (indent + 2)
    if all(isinstance(each, str) for each in value.values()):
        pairs = line[1:-1].replace(": ", ":\N{NO-BREAK SPACE}")
        lines = textwrap.fill(pairs, LINE, initial_indent=space, subsequent_indent=space)
        return f"{{\n{lines}\n{' ' * indent}}}".replace("\N{NO-BREAK SPACE}", " ")
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
