"""`avctl doctor`: what this machine has and lacks. Works where only click and rich are installed."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click

from avctl.cli.options import json_option, store_option
from avctl.cli.table import Row, print_table, size
from avctl.errors import InputError, MachineError, UsageError

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*(?P<wants>[^;]*)(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"](?P<extra>\w+)['\"]")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--parity", is_flag=True, help="Compare what the decode engines of this machine make of FILES.")
@click.option("--min-psnr", type=float, help="With --parity: decibels that are enough; a recipe's default without it.")
@store_option
@json_option
def doctor(files: tuple[Path, ...], parity: bool, min_psnr: float | None, store: Path, as_json: bool) -> None:
    """Say what this machine has and what it lacks; leave with 6 if avctl cannot run.

    With --parity FILES: a line for every file and decode engine, against PyAV; leave with 4 where one decodes wrongly.
    """
    if parity != bool(files) or (min_psnr is not None and not parity):
        raise UsageError("`--parity` takes files, and only it does: avctl doctor --parity FILE...")
    if parity:
        _parity(files, min_psnr, as_json)
        return
    rows = [*_machine(store), *_packages()]
    if as_json:
        click.echo(json.dumps({"rows": rows}))
    else:
        print_table(rows, "nothing")
    missing = [f"{row['what']} {row['wants']}".strip() for row in rows if row["state"] == "missing"]
    if missing:
        raise MachineError(f"missing: {', '.join(missing)}", "pip install -e .")


def _parity(files: tuple[Path, ...], min_psnr: float | None, as_json: bool) -> None:
    from avctl.media.parity import compare, engines
    from avctl.media.probe import MediaError
    from avctl.schema import Decode

    least = Decode().min_psnr_db if min_psnr is None else min_psnr
    found, lacking = engines()
    rows, undecoded = [], []
    for path in files:
        try:
            rows += compare(path, found)
        except MediaError as error:
            undecoded.append(f"`{path}`: {error}")
    if as_json:
        click.echo(json.dumps({"rows": [row.plain() for row in rows], "lacking": lacking, "undecoded": undecoded}))
    else:
        print_table([_short(row.plain()) for row in rows], "nothing")
        for name, why in lacking.items():
            click.echo(f"not compared: {name}, {why}", err=True)
        for text in undecoded:
            click.echo(f"does not decode: {text}", err=True)
    wrong = [f"{row.engine} on {row.file}" for row in rows if row.is_below(least)]
    if wrong:
        hint = "`decode=Decode(engine=...)` of a recipe: files below its `min_psnr_db` fall back to PyAV"
        raise InputError(f"not the frames or the sound of PyAV, or below {least:g} dB: {', '.join(wrong)}", hint)
    if undecoded:
        raise InputError(f"{len(undecoded)} of {len(files)} files do not decode, with any engine")


def _short(row: Row) -> Row:
    """Numbers to four digits, and nothing where there is nothing."""
    texts = {name: f"{value:.4g}" for name, value in row.items() if isinstance(value, float)}
    return {name: "" if value is None else value for name, value in row.items()} | texts


def _machine(store: Path) -> list[Row]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = store.absolute()
    while not disk.exists():
        disk = disk.parent
    is_new = sys.version_info >= (3, 11)
    return [
        _row("python", platform.python_version(), "ok" if is_new else "missing", "3.11 or newer"),
        _row("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        _row("processor", f"{cores} cores{_bfloat16()}"),
        _row("memory", size(memory)),
        _row(f"disk of {store}", f"{size(shutil.disk_usage(disk).free)} free"),
        _gpu(),
        _program("git", "--version", "commits are not recorded"),
    ]


def _row(what: str, found: str, state: str = "ok", wants: str = "") -> Row:
    return {"what": what, "state": state, "found": found, "wants": wants}


def _bfloat16() -> str:
    """Whether training on this processor may compute in bfloat16, as Linux tells."""
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.exists() else ""
    return ", bfloat16" if "avx512_bf16" in text or "amx_bf16" in text else ""


def _gpu() -> Row:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return _row("gpu", "none: stages run on the processor", "optional")
    return _row("gpu", found.replace("\n", "; "))


def _program(name: str, option: str, without: str) -> Row:
    try:
        found = subprocess.run([name, option], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return _row(name, f"none: {without}", "optional")
    return _row(name, found)


def _packages() -> list[Row]:
    """What avctl's own metadata requires, and what each extra would add."""
    try:
        requirements = metadata.requires("avctl") or []
    except metadata.PackageNotFoundError:
        return [_row("avctl", "not installed", "missing")]
    return [row for text in requirements for row in _package(text)]


def _package(requirement: str) -> list[Row]:
    parts = _REQUIREMENT.match(requirement)
    assert parts
    name, wants, marker = parts["name"], parts["wants"].strip(" ()"), parts["marker"] or ""
    if "sys_platform" in marker and sys.platform not in marker:
        return []
    extra = _EXTRA.search(marker)
    label = f"{wants} [{extra['extra']}]".strip() if extra else wants
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return [_row(name, "", "optional" if extra else "missing", label)]
    if _satisfies(version, wants):
        return [_row(name, version, "ok", label)]
    return [_row(name, version, "other version" if extra else "missing", label)]


def _satisfies(version: str, wants: str) -> bool:
    """The forms that avctl's setup uses: `==2.11.*`, `>=17`, `<3`, joined by commas."""
    number = _number(version)
    for one in filter(None, wants.split(",")):
        operator, bound = one[:2] if one[1] == "=" else one[:1], one.lstrip("=<>!~")
        limit = _number(bound)
        same = number[: len(limit)] == limit
        if not {"==": same, ">=": number >= limit, "<": number < limit}.get(operator, True):
            return False
    return True


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))
