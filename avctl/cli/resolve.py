"""From the command line to steps: the recipe with its overrides, and the fingerprints of all that it describes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from avctl.artifact import Manifest, Store, manifest
from avctl.artifact.store import require_intact
from avctl.cli.given import apply_given
from avctl.cli.options import HAVE_DEAD_LETTERS, Options
from avctl.errors import InputError, UsageError
from avctl.pipeline import STAGES, Step, stage_of, steps
from avctl.recipe.load import read
from avctl.recipe.override import override
from avctl.schema import Recipe


@dataclass(frozen=True)
class Resolved:
    """A recipe as this command line means it."""

    ref: str
    recipe: Recipe
    sources: tuple[Path, ...]
    store: Store
    steps: list[Step]
    options: Options

    def own_step(self, stage: str) -> Step:
        """The step of this recipe's own `stage`. Raises UsageError if the recipe has no such section."""
        for step in self.steps:
            if step.stage.name == stage and not step.is_codec:
                return step
        has = [name for name in STAGES if getattr(self.recipe, name) is not None]
        if stage in has:
            raise UsageError(f"`{stage}` is given by `--with`: there is nothing to make")
        raise UsageError(f"`{self.ref}` has no section `{stage}`", f"it has {', '.join(f'`{name}`' for name in has)}")

    def would(self, step: Step) -> str:
        """What a run would do with the step: `nothing` where its artifact can be used. Raises as `usable`."""
        if self.usable(step):
            return "nothing"
        status = self.store.status(step.stage.name, step.fingerprint)
        return {"done": "make again", "running": "wait for", "absent": "make"}.get(status, "go on with")

    def usable(self, step: Step) -> Path | None:
        """The finished artifact, unless it is to be made again. Raises InputError if it is damaged."""
        found = self.store.find(step.stage.name, step.fingerprint)
        if not found or self.is_asked_again(step):
            return None
        return found if self._is_current(step, require_intact(found)) else None

    def is_asked_again(self, step: Step) -> bool:
        return self.options.force or self.retries(step)

    def retries(self, step: Step) -> bool:
        return self.options.retry and step.stage.name in HAVE_DEAD_LETTERS

    def _is_current(self, step: Step, made: Manifest) -> bool:
        """Whether every input that still exists holds the data that the artifact was made from."""
        for name, fingerprint in step.inputs.items():
            now = self.store.find_input(stage_of(name), fingerprint)
            if now and name in made.inputs and manifest.read(now).digest != made.inputs[name]["digest"]:
                return False
        return True

    def inputs(self, step: Step) -> dict[str, Path]:
        """The finished artifacts that the step reads. Raises InputError with the command that makes a missing one."""
        for name in (need for need in step.stage.needs if need not in ("codec", *step.inputs)):
            hint = f"add the section, or give a finished artifact: `--with {self.options.store}/{name}/...`"
            raise UsageError(f"`{step.stage.name}` needs a {name}, and `{self.ref}` has no section `{name}`", hint)
        return {name: self.input(name, fingerprint) for name, fingerprint in step.inputs.items()}

    def input(self, name: str, fingerprint: str) -> Path:
        if found := self.store.find_input(stage_of(name), fingerprint):
            return found
        command = "run" if name == "codec" else name
        words = shlex.join(["avctl", command, self.ref, *self.options.words()])
        raise InputError(f"no {name} artifact `{fingerprint}` in `{self.store.root}`", f"make it: {words}")


def resolve(ref: str, options: Options) -> Resolved:
    """Load, override, and name every artifact. Raises RecipeError, UsageError, InputError."""
    loaded = read(ref, Recipe)
    recipe = override(loaded.recipe, *options.overrides)
    given = apply_given(recipe, options.given)
    store = Store(options.store, given.stores, given.paths)
    todo = steps(given.recipe, store.content, given.prints)
    return Resolved(ref, given.recipe, loaded.sources, store, todo, options)
