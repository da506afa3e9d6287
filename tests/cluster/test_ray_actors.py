from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from avctl.artifact.manifest import commit
from avctl.cluster.ray_actors import Encoding, require_alike
from avctl.job import MachineError
from avctl.schema import Decode


def test_a_machine_says_what_it_does_not_see(tmp_path: Path):
    hello = Encoding(print).hello([tmp_path, tmp_path / "x"], Decode())
    assert hello.missing == (tmp_path / "x",)
    with pytest.raises(MachineError, match=f"`{hello.host}` does not see `{tmp_path}/x`"):
        require_alike(hello, Decode())


def test_a_machine_with_other_versions_is_refused(tmp_path: Path):
    hello = Encoding(print).hello([tmp_path], Decode())
    require_alike(hello, Decode())
    with pytest.raises(MachineError, match=f"has av 1, and this machine {hello.versions['av']}"):
        require_alike(replace(hello, versions={**hello.versions, "av": "1"}), Decode())
    with pytest.raises(MachineError, match="no numpy"):
        require_alike(replace(hello, versions={k: v for k, v in hello.versions.items() if k != "numpy"}), Decode())


def test_a_machine_with_another_checkout_is_refused(tmp_path: Path):
    hello = Encoding(print).hello([tmp_path], Decode())
    assert (commit()[0] or "unknown") in hello.versions["avctl's code"]
    other = replace(hello, versions={**hello.versions, "avctl's code": "at commit 0"})
    with pytest.raises(MachineError, match="has avctl's code at commit 0, and this machine at commit"):
        require_alike(other, Decode())


def test_a_machine_where_another_engine_decodes_is_refused(tmp_path: Path):
    hello = Encoding(print).hello([tmp_path], Decode())
    with pytest.raises(MachineError, match="no dali"):
        require_alike(hello, Decode(engine="dali"))
