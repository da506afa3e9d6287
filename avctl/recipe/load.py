"""Run a recipe file and take the recipe out of it: `path.py`, `path.py::name`, or a frozen `recipe.yaml`.

While a recipe loads, its folder is the package `recipes` (and bears its own name too, unless an installed package
has it), so that recipes derive by `from recipes.tiny import recipe as tiny` wherever the folder stands. What is not
found there is looked for in a folder `recipes` beside or above it, then among the recipes shipped with avctl.
`sys.path` stays untouched: a recipe cannot shadow an installed package by the name of its neighbour.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Generic, TypeVar

from avctl.recipe.errors import RecipeError, Where
from avctl.recipe.explain import near
from avctl.recipe.purity import pure
from avctl.recipe.snapshot import thaw
from avctl.recipe.spec import Spec, all_problems

S = TypeVar("S", bound=Spec)
SHIPPED = Path(__file__).resolve().parents[2] / "recipes"


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A recipe and the source files that made it."""

    recipe: S
    ref: str  # as it was asked for
    sources: tuple[Path, ...]  # the file itself first, then the recipes that it imported


def load(ref: str | Path, kind: type[S]) -> S:
    """The recipe at `ref`. The file is ordinary Python: run only what you would run. Raises RecipeError."""
    return read(ref, kind).recipe


def read(ref: str | Path, kind: type[S]) -> Loaded[S]:
    """Like `load`, with the sources. `kind` is the section that `ref` must name (a `Recipe`)."""
    text, _, name = str(ref).partition("::")
    path = Path(text).absolute()
    if not path.is_file():
        raise RecipeError(f"no recipe at `{text}`", hint=_neighbour(path))
    if path.suffix in (".yaml", ".yml"):
        if name:
            raise RecipeError(f"`{text}` holds one recipe, without names", hint=f"leave out `::{name}`")
        return Loaded(thaw(path, kind), str(ref), (path,))
    if path.suffix != ".py":
        raise RecipeError(f"`{text}` is not a recipe", hint="a recipe is a `.py` file, or a frozen `recipe.yaml`")
    with _package(path) as (folders, names), pure(lambda frame: _is_recipe(frame, names)), all_problems():
        module = _run(path, folders, names)
        found = _named(module, name or "recipe", text, kind)
        files = (getattr(m, "__file__", None) for key, m in sys.modules.items() if key.partition(".")[0] in names)
        imported = {Path(file) for file in files if file}
    return Loaded(found, str(ref), (path, *sorted(imported - {path})))


def _named(module: ModuleType, name: str, text: str, kind: type[S]) -> S:
    known = [key for key, value in vars(module).items() if isinstance(value, kind)]
    if not hasattr(module, name):
        hint = near(name, known) or (f"it has {', '.join(f'`{text}::{key}`' for key in known)}" if known else None)
        raise RecipeError(f"`{text}` defines no `{name}`", hint=hint or f"write `{name} = {kind.__name__}(...)`")
    found = getattr(module, name)
    if not isinstance(found, kind):
        hint = f"it has {', '.join(f'`{key}`' for key in known)}" if known else None
        raise RecipeError(f"`{name}` in `{text}` is of type `{type(found).__name__}`, not `{kind.__name__}`", hint=hint)
    return found


@contextmanager
def _package(path: Path) -> Iterator[tuple[list[Path], list[str]]]:
    """Make the folder of `path` importable for as long as the recipe loads, and leave no trace.

    Gives the folders that are searched and the names of the packages that they are.
    """
    folder = path.parent
    beside = [above / "recipes" for above in folder.parents]
    folders = list(dict.fromkeys([folder, *[f for f in beside if f.is_dir()][:1], *([SHIPPED] * SHIPPED.is_dir())]))
    names = ["recipes"]
    own = folder.name
    if own != "recipes" and own.isidentifier() and own not in sys.modules and not importlib.util.find_spec(own):
        names.append(own)
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if key.partition(".")[0] in names}
    for name in names:
        package = ModuleType(name)
        package.__path__ = [str(each) for each in (folders if name == "recipes" else [folder])]
        sys.modules[name] = package
    importlib.invalidate_caches()
    try:
        yield folders, names
    finally:
        for key in [key for key in sys.modules if key.partition(".")[0] in names]:
            del sys.modules[key]
        sys.modules.update(before)


def _run(path: Path, folders: list[Path], names: list[str]) -> ModuleType:
    try:
        with redirect_stdout(sys.stderr):  # standard output is for data
            name = f"recipes.{path.stem}"
            namesake = next((folder / path.name for folder in folders[1:] if (folder / path.name).is_file()), None)
            if namesake and _imports(path, name):  # a recipe that is called like the one that it derives from
                _execute(name, namesake)
                name = "recipes.__main__"
            return _execute(name, path)
    except RecipeError:
        raise
    except SyntaxError as error:
        raise RecipeError(f"syntax error: {error.msg}", _syntax(error, path)) from error
    except (Exception, SystemExit) as error:
        hint = _importable(error, folders) if isinstance(error, ImportError) else None
        raise RecipeError(f"{type(error).__name__}: {error}", _last_line(error, names), hint) from error


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _imports(path: Path, name: str) -> bool:
    nodes = ast.walk(ast.parse(path.read_bytes(), str(path)))
    return any(isinstance(node, ast.ImportFrom) and node.module == name for node in nodes)


def _syntax(error: SyntaxError, path: Path) -> Where:
    line, text = error.lineno or 1, error.text or ""
    start = len(text[: max((error.offset or 1) - 1, 0)].encode())
    stop = len(text[: max((error.end_offset or 0) - 1, 0)].encode()) if (error.end_lineno or line) == line else 0
    return Where(error.filename or str(path), line, line, start, max(stop, start + 1))


def _last_line(error: BaseException, names: list[str]) -> Where | None:
    """The innermost line of a recipe that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    is_recipe = [_is_recipe(frame, names) for frame, _ in traceback.walk_tb(error.__traceback__)]
    inner = [summary for summary, ours in zip(frames, is_recipe, strict=True) if ours]
    if not inner:
        return None
    last, line = inner[-1], inner[-1].lineno or 1
    return Where(last.filename, line, last.end_lineno or line, last.colno or 0, last.end_colno or (last.colno or 0) + 1)


def _importable(error: ImportError, folders: list[Path]) -> str | None:
    package, _, name = (error.name or "").partition(".")
    if package == "recipes":
        return near(name, [f.stem for folder in folders for f in folder.glob("*.py")])
    if package in sys.modules:
        quoted = str(error).split("'")  # "cannot import name 'Cilp' from 'avctl.schema'"
        return near(quoted[1], dir(sys.modules.get(error.name or ""))) if len(quoted) > 1 else None
    if any((folder / f"{package}.py").is_file() for folder in folders):
        return f"a neighbour is imported by `from recipes.{package} import ...`"
    return f"`{package}` is not installed here" if isinstance(error, ModuleNotFoundError) else None


def _is_recipe(frame: FrameType, names: list[str]) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in names


def _neighbour(path: Path) -> str | None:
    return near(path.name, [f.name for f in path.parent.glob("*.py")]) if path.parent.is_dir() else None
