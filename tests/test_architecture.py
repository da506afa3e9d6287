"""Data flows one way, so imports do too; what must start fast imports nothing heavy; the tree stays readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AVCTL = ROOT / "avctl"
LAYERS = (
    "cli", "stages", "generate", "inputs", "cluster", "training", "metrics", "data", "diffusion", "models", "codecs",
    "curate", "crawl", "store", "media", "compute", "kernels",
    "job", "artifact", "pipeline", "schema", "recipe", "files", "errors",
)  # fmt: skip
LIGHT = ("cli", "recipe", "schema", "pipeline", "artifact", "job", "files", "errors")
HEAVY = ("torch", "torchvision", "torchaudio", "numpy", "av", "zarr", "scipy", "onnx", "matplotlib")
TOP = {"avctl", "recipes", "kernels", "benches", "tests", "setup.py", "README.md", "LICENSE"}
MODULES = sorted(path for path in AVCTL.rglob("*.py") if not path.is_relative_to(AVCTL / "kernels"))
SOURCES = sorted(
    path for folder in ("avctl", "recipes", "kernels", "benches", "tests") for path in (ROOT / folder).rglob("*.py")
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layer(path: Path) -> str:
    return path.relative_to(AVCTL).parts[0].removesuffix(".py")


def imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """Full names of what a file imports; those for the type checker only are left out, as they are never run."""
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not is_types_only and (inside_functions or not is_function):
            todo += ast.iter_child_nodes(node)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path: Path):
    own = layer(path)
    if own in ("__init__", "__main__"):
        return
    assert own in LAYERS, f"{own} has no place among the layers"
    for imported in imports(path):
        if imported.startswith("avctl.") and (parts := imported.split("."))[1] in LAYERS:
            assert LAYERS.index(parts[1]) >= LAYERS.index(own), f"{own} imports {imported}"


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in LIGHT], ids=name)
def test_light_layers_import_nothing_heavy(path: Path):
    assert not [each for each in imports(path) if each.partition(".")[0] in HEAVY]


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in ("models", "codecs")], ids=name)
def test_models_know_one_device(path: Path):
    assert not [each for each in imports(path) if each.startswith("torch.distributed")]


@pytest.mark.parametrize("module", ["avctl", "avctl.cli.main", "avctl.schema", "avctl.job", "avctl.artifact"])
def test_light_packages_do_not_bring_torch(module: str):
    code = f"import {module}, sys; assert not {{'torch', 'numpy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_every_stage_of_the_pipeline_is_a_file():
    assert {path.stem for path in (AVCTL / "stages").glob("*.py")} - {"__init__"} <= {
        "crawl", "preprocess", "train", "sample", "eval", "export"
    }  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_file_is_too_long_to_read(path: Path):
    assert len(path.read_text().splitlines()) <= 400


def test_the_top_of_the_tree_holds_what_it_should():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: what is tracked cannot be told")
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert {entry for entry in top if not entry.startswith(".")} <= TOP


def test_the_kernels_are_not_taken_for_the_package_of_that_name():
    look = "import importlib.metadata, kernels; print(kernels.__version__); importlib.metadata.version('kernels')"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "0\n" and "PackageNotFoundError" in done.stderr
    subprocess.run([sys.executable, "-c", "import avctl.kernels"], cwd="/", check=True)


def test_nothing_changes_the_search_path():
    assert [name(path) for path in MODULES if "sys.path" in path.read_text().replace("`sys.path`", "")] == []
