from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from avctl.artifact import Store, Workspace, manifest
from avctl.artifact.workspace import move_aside
from avctl.errors import LockedError
from avctl.pipeline import Step
from avctl.recipe import replace as spec_replace

Make = Callable[..., Path]
INPUTS = {"crawl": {"stage": "crawl", "fingerprint": "0" * 12, "digest": "one", "path": "x"}}


@pytest.fixture
def workspace(store: Store, step: Step):
    workspace = Workspace(store, step, {}, ["seed=1"])
    workspace.open([Path("small.py")])
    yield workspace
    workspace.release()


def again(store: Store, step: Step, **how: object) -> tuple[Path, bool]:
    """The working folder that the next run of the same command gets, and whether it is finished already."""
    workspace = Workspace(store, step, INPUTS if how.pop("changed", False) else {})
    is_finished = workspace.open(**how)  # pyright: ignore
    workspace.release()
    return workspace.path, is_finished


def test_a_finished_folder_is_named_for_its_recipe_and_read_only(store: Store, step: Step, workspace: Workspace):
    (workspace.path / "deep").mkdir()
    (workspace.path / "deep" / "a").write_text("a")
    (workspace.path / "deep" / ".a.part").write_text("half of an")
    (workspace.path / "deep" / "a").chmod(0o600)
    (workspace.path / "work").mkdir()
    (workspace.path / "work" / "scratch").write_text("")
    made = workspace.finish()
    assert made == store.root / "crawl" / f"small-{step.fingerprint}"
    assert not workspace.path.exists() and not (made / "work").exists()
    assert all(path.stat().st_mode & 0o222 == 0 for path in made.rglob("*") if path.is_file())
    assert (made / "deep" / "a").stat().st_mode == (made / "manifest.json").stat().st_mode
    found = manifest.read(made)
    assert found.state == "done" and list(found.files) == ["deep/a"] and found.overrides == ["seed=1"]
    assert len(found.started) == 1 and found.finished and found.digest
    assert (made / "recipe" / "small.py").exists() and (made / "recipe.yaml").exists()


def test_an_unfinished_folder_is_handed_to_the_next_run(store: Store, step: Step, workspace: Workspace):
    (workspace.path / "half").write_text("half")
    workspace.leave("interrupted")
    workspace.release()
    assert store.status("crawl", step.fingerprint) == "interrupted"
    path, is_finished = again(store, step)
    assert (path / "half").exists() and not is_finished
    assert len(manifest.read(path).started) == 2


def test_a_run_that_was_killed_counts_as_interrupted(store: Store, step: Step, workspace: Workspace):
    assert store.status("crawl", step.fingerprint) == "running"
    workspace.release()
    assert manifest.read(workspace.path).state == "running"
    assert store.status("crawl", step.fingerprint) == "interrupted"


def test_a_failure_leaves_its_traceback_until_the_next_run(store: Store, step: Step, workspace: Workspace):
    workspace.leave("failed", "Traceback: why")
    workspace.release()
    assert store.status("crawl", step.fingerprint) == "failed"
    assert (workspace.path / "error.txt").read_text() == "Traceback: why"
    path, _ = again(store, step)
    assert not (path / "error.txt").exists()


def test_two_runs_of_one_artifact_exclude_each_other(store: Store, step: Step, workspace: Workspace):
    with pytest.raises(LockedError):
        Workspace(store, step, {})


def test_a_kill_between_sealing_and_renaming_needs_no_second_run(store: Store, step: Step, workspace: Workspace):
    (workspace.path / "a").write_text("a")
    workspace.seal()
    workspace.release()
    taken = Workspace(store, step, {})
    assert taken.open() is True
    assert list(manifest.read(taken.finish()).files) == ["a"]
    taken.release()


def test_work_made_from_other_inputs_is_not_gone_on_with(store: Store, step: Step, workspace: Workspace):
    (workspace.path / "half").write_text("half")
    workspace.leave("interrupted")
    workspace.release()
    path, _ = again(store, step, changed=True)
    assert not (path / "half").exists()
    assert (path.with_name(path.name + ".1") / "half").exists()


def test_afresh_moves_another_commands_work_aside_and_deletes_nothing(
    store: Store, step: Step, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    (workspace.path / "half").write_text("half")
    workspace.release()
    path, _ = again(store, step, afresh=True)
    assert (path / "half").exists()  # the same command again goes on
    monkeypatch.setattr(sys, "argv", ["avctl", "crawl", "small.py", "--force"])
    path, _ = again(store, step, afresh=True)
    assert not (path / "half").exists() and (path.with_name(path.name + ".1") / "half").exists()


def test_a_new_artifact_moves_the_old_one_aside(make: Make, step: Step, store: Store):
    first, second = make(a="1"), make(a="2")
    assert first == second == store.find("crawl", step.fingerprint)
    assert (second / "a").read_text() == "2"
    assert (second.with_name(second.name + ".1") / "a").read_text() == "1"


def test_a_seed_is_a_copy_that_can_be_written(make: Make, store: Store, step: Step):
    made = make(a="1")
    path, is_finished = again(store, step, seed=made)
    assert not is_finished
    (path / "a").write_text("2")
    assert (made / "a").read_text() == "1"


def test_a_working_folder_goes_on_under_a_new_name(store: Store, step: Step, workspace: Workspace):
    (workspace.path / "half").write_text("half")
    workspace.release()
    renamed = replace(step, recipe=spec_replace(step.recipe, name="renamed"))
    taken = Workspace(store, renamed, {})
    taken.open()
    assert (taken.path / "half").exists()
    assert taken.finish().name == f"renamed-{step.fingerprint}"
    taken.release()


def test_moving_aside_counts_up(tmp_path: Path):
    for _ in range(3):
        (tmp_path / "a").mkdir()
        move_aside(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.1", "a.2", "a.3"]
    assert move_aside(tmp_path / "a") is None
