"""`avctl ls`: the artifacts of a store, what they were made from, whether they are sound, what failed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from avctl.cli.options import json_option, store_option
from avctl.cli.table import Row, print_table, size
from avctl.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from avctl.artifact import Store

WATCH_S = 2.0  # from one look to the next


@click.command()
@click.argument("artifact", required=False)
@store_option
@click.option("--lineage", metavar="ARTIFACT", help="What it was made from, down to the crawl.")
@click.option("--failed", is_flag=True, help="Unfinished artifacts; of one ARTIFACT, its dead letters.")
@click.option("--verify", is_flag=True, help="Read every file and compare checksums.")
@click.option("--source", metavar="URL|HOST|PATH", help="The files from there, and all that was made from them.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@json_option
def ls(
    artifact: str | None,
    store: Path,
    lineage: str | None,
    failed: bool,
    verify: bool,
    source: str | None,
    watch: bool,
    as_json: bool,
) -> None:
    """List the artifacts of the store, or one ARTIFACT (a path, a folder's name or a fingerprint)."""
    from avctl.artifact import Store
    from avctl.artifact import lineage as chain

    if sum((bool(lineage), failed, verify, bool(source))) > 1:
        raise click.UsageError("`--lineage`, `--failed`, `--verify` and `--source` exclude each other")
    if lineage and artifact:
        raise click.UsageError("`--lineage ARTIFACT` already names an artifact")
    if watch and (verify or as_json):
        raise click.UsageError("`--watch` shows a table: it goes with neither `--verify` nor `--json`")
    place = Store(store)

    def named() -> list[Path]:
        return [chain.artifact(place, artifact)] if artifact else list(place.folders())

    def look() -> list[Row]:
        if lineage:
            return _lineage(place, chain.artifact(place, lineage))
        if source:
            return _from_source(place, named(), source)
        if failed:
            return _dead_letters(named()[0]) if artifact else _unfinished(place, named())
        return [_row(place, folder) for folder in named()]

    while watch:
        click.clear()  # a terminal
        print_table(look(), "nothing")
        time.sleep(WATCH_S)
    rows, folders = look(), named()
    problems = _problems(folders) if verify else []
    if as_json:
        click.echo(json.dumps({"rows": rows, "problems": problems} if verify else {"rows": rows}, default=str))
        click.get_current_context().exit(InputError.code if problems else 0)
    print_table(rows, "nothing")
    _complain(problems)
    if verify:
        click.echo(f"{len(folders)} verified", err=True)


def _row(store: Store, folder: Path) -> Row:
    from avctl.artifact import manifest

    try:
        made = manifest.read(folder)
    except InputError:
        unknown = dict.fromkeys(("files", "size", "time", "took"), "?")
        return {"stage": folder.parent.name, "artifact": str(folder), "state": "damaged", **unknown}
    num_bytes = sum(file["bytes"] for file in made.files.values())
    when = made.finished or (made.started[-1] if made.started else 0)
    return {
        "stage": made.stage,
        "artifact": str(folder),
        "state": _state(store, folder, made.state),
        "files": len(made.files),
        "size": size(num_bytes),
        "time": time.strftime("%Y-%m-%d %H:%M", time.localtime(when)),
        "took": f"{made.seconds:.0f} s",
    }


def _state(store: Store, folder: Path, recorded: str) -> str:
    """A working folder by who holds its lock; a folder that was moved aside as such."""
    from avctl.artifact import manifest

    made = manifest.read(folder)
    if folder.name.endswith(f"-{made.fingerprint}.partial"):
        return store.working_state(made.stage, made.fingerprint)
    return recorded if folder.name.endswith(f"-{made.fingerprint}") else "aside"


def _unfinished(store: Store, folders: list[Path]) -> list[Row]:
    """Artifacts that wait to be resumed, each with the last line of its error."""
    rows = []
    for folder in folders:
        row = {name: value for name, value in _row(store, folder).items() if name in ("stage", "artifact", "state")}
        if row["state"] in ("failed", "interrupted", "damaged"):
            error = folder / "error.txt"
            last = error.read_text().strip().splitlines()[-1:] if error.exists() else []
            rows.append({**row, "error": "".join(last)})
    return rows


def _dead_letters(folder: Path) -> list[Row]:
    from avctl.artifact.letters import dead_letters

    return list(dead_letters(folder))


def _lineage(store: Store, folder: Path) -> list[Row]:
    from avctl.artifact.lineage import ancestry

    rows = []
    for link in ancestry(store, folder):
        state = "gone" if link.folder is None else "has changed since" if link.has_changed else "there"
        name = str(link.folder) if link.folder else link.fingerprint
        rows.append({"input": "  " * link.depth + link.role, "artifact": name, "state": state})
    return rows


def _from_source(store: Store, folders: list[Path], source: str) -> list[Row]:
    """Files of crawls first, then whatever was made from those crawls."""
    from avctl.artifact import manifest
    from avctl.artifact.letters import files_from
    from avctl.artifact.lineage import descendants

    rows, digests = [], set()
    for folder in folders:
        for file in files_from(folder, source):
            rows.append({"stage": "crawl", "artifact": str(folder), "file": file["path"], "url": file["url"]})
            digests.add(manifest.read(folder).digest)
    for folder in descendants(store, digests):
        rows.append({"stage": manifest.read(folder).stage, "artifact": str(folder), "file": None, "url": None})
    return rows


def _problems(folders: list[Path]) -> list[str]:
    from avctl.artifact import manifest
    from avctl.artifact.store import verify

    problems = []
    for folder in folders:
        try:
            found = verify(folder) if manifest.read(folder).state == "done" else []
        except InputError as error:
            found = [error.message]
        problems += [f"`{folder}`: {problem}" for problem in found]
    return problems


def _complain(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"damaged: {problem}", err=True)
    if problems:
        raise InputError("some artifacts are damaged", "make them again with `--force`; old folders are moved aside")
