from __future__ import annotations

import subprocess
import sys

import pytest

import avctl


def test_the_python_face_comes_only_when_asked_for():
    code = "import avctl, sys; assert 'torch' not in sys.modules; avctl.AVPipeline; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        avctl.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    assert avctl.__version__.count(".") == 2


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "avctl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(avctl.__version__)
