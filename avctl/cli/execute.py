"""One step from its fingerprint to its finished artifact, with everything that can get in between."""

from __future__ import annotations

import errno
import importlib
import shutil
import sqlite3
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from avctl.artifact import Workspace
from avctl.artifact.store import require_intact
from avctl.cli.report import StageReport, view_for
from avctl.cli.resolve import Resolved
from avctl.cli.signals import Stopper
from avctl.errors import Failure, Interrupted, MachineError, StageError
from avctl.job import Job
from avctl.pipeline import Step

Run = Callable[[Job], None]
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # on the disk, in a quota


def stage_run(name: str) -> Run:
    """The stage's `run`, imported now and not before."""
    return importlib.import_module(f"avctl.stages.{name}").run


class Executor:
    """Makes the steps of one command, under one set of signal handlers and one view."""

    def __init__(self, resolved: Resolved, run_of: Callable[[str], Run] = stage_run, stopper: Stopper | None = None):
        self.resolved, self.options, self.run_of = resolved, resolved.options, run_of
        self.view = view_for(self.options.as_json, self.options.verbosity)
        self.stopper = stopper or Stopper()
        self.planned: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        self.stopper.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stopper.__exit__(kind, error, at)
        self.view.close()

    def make(self, step: Step) -> Path | None:
        """The step's artifact, made if it is missing; None in a dry run."""
        if self.stopper.event.is_set():
            raise Interrupted()
        found = self.resolved.usable(step)
        if found:
            self.view.note(f"{step.stage.name} {step.folder} is done")
            self.planned.append(_planned(step, "nothing"))
            return found
        if self.options.is_dry:
            self._say_plan(step)
            return None
        old = self.resolved.store.find(step.stage.name, step.fingerprint)
        if old and not self.resolved.is_asked_again(step):
            self.view.warn(f"`{old}` was made from other data: making it again, the old one is kept aside")
        return self._work(step)

    def conclude(self, made: Mapping[str, Path]) -> None:
        """Where the things are that people want to look at."""
        if "eval" in made:
            self.view.note(f"report: {made['eval'] / 'report.html'}")
        if "sample" in made:
            sets = sorted(path.parent for path in made["sample"].glob("*/clips"))
            self.view.note(f"clips:  {made['sample']}/*/clips/*.mp4 ({', '.join(path.name for path in sets)})")
        if "export" in made:
            self.view.note(f"model:  {made['export']}")

    def _work(self, step: Step) -> Path:
        inputs = self.resolved.inputs(step)
        rows = {name: _input_row(self.resolved.store.root, path) for name, path in inputs.items()}
        workspace = Workspace(self.resolved.store, step, rows, self.options.overrides)
        try:
            if found := self.resolved.usable(step):  # made by another process since we looked
                return found
            seed = self.resolved.store.find(step.stage.name, step.fingerprint) if self.resolved.retries(step) else None
            is_finished = workspace.open(self.resolved.sources, afresh=self.options.force, seed=seed)
            if not is_finished:
                self._run(step, inputs, workspace)
            return workspace.finish()
        except Exception as error:
            if not isinstance(error, Failure) and (full := _disk_full(error, workspace.path)):
                raise full from error
            raise
        finally:
            workspace.release()

    def _run(self, step: Step, inputs: Mapping[str, Path], workspace: Workspace) -> None:
        name = step.stage.name
        self.view.begin(name, f"{name} {step.folder}")
        error_file = workspace.path / "error.txt"
        try:
            with StageReport(workspace.path / "log.jsonl", self.view) as report:
                run = self.run_of(name)
                run(Job(step.recipe, inputs, workspace.path, report, self.stopper.event, self.resolved.retries(step)))
        except (Interrupted, KeyboardInterrupt):
            workspace.leave("interrupted")
            raise
        except Failure as error:
            workspace.leave("failed", traceback.format_exc())
            error.hint = error.hint or f"traceback in `{error_file}`"
            raise
        except (Exception, SystemExit) as error:
            workspace.leave("failed", traceback.format_exc())
            raise _meant(name, error, workspace.path) from error
        finally:
            self.view.end()

    def _say_plan(self, step: Step) -> None:
        would = self.resolved.would(step)
        self.planned.append(_planned(step, would))
        self.view.say(f"would {would} {step.stage.name} {step.folder}")


def _planned(step: Step, would: str) -> dict[str, str]:
    return {"stage": step.stage.name, "fingerprint": step.fingerprint, "would": would}


def _input_row(root: Path, path: Path) -> dict[str, str]:
    made = require_intact(path, to_be_read=True)
    place = path.relative_to(root) if path.is_relative_to(root) else path.absolute()
    return {"stage": made.stage, "fingerprint": made.fingerprint, "digest": made.digest or "", "path": str(place)}


def _meant(stage: str, error: BaseException, folder: Path) -> Failure:
    """What a stage's unforeseen exception means to its user."""
    if full := _disk_full(error, folder):
        return full
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("avctl"):
        package = (error.name or "").partition(".")[0]
        return MachineError(f"`{stage}` needs the package `{package}`", f"pip install {package}")
    last = traceback.format_exception_only(error)[-1].strip()
    hint = f"traceback in `{folder / 'error.txt'}`; once the cause is mended, the same command goes on"
    return StageError(f"{stage} failed: {last}", hint)


def _disk_full(error: BaseException, folder: Path) -> MachineError | None:
    """The clean error for a full disk (or quota), wherever in the chain of causes it stands."""
    cause: BaseException | None = error
    while cause is not None:
        is_full = isinstance(cause, OSError) and cause.errno in _NO_SPACE
        is_full |= isinstance(cause, sqlite3.Error) and "disk is full" in str(cause)
        is_full |= f"(os error {errno.ENOSPC})" in str(cause)  # as libraries in Rust say it
        if is_full:
            disk = folder.absolute()
            while not disk.is_mount():
                disk = disk.parent
            free = shutil.disk_usage(disk).free / 1e9
            where = getattr(cause, "filename", None) or folder
            message = f"no space left on the disk of `{disk}` ({free:.1f} GB free) while writing `{where}`"
            return MachineError(message, "free some space and run the same command again: it goes on from here")
        cause = cause.__cause__ or cause.__context__
    return None
