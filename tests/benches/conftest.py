"""Benches are imported from their folder: the root of the repository is not on the path, where `kernels` would be."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benches"

spec = spec_from_file_location("benches", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)])
assert spec and spec.loader
sys.modules["benches"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["benches"])
