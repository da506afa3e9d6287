from __future__ import annotations

from collections.abc import Callable

from avctl.schema import Export

Refusal = Callable[[Callable[[], object]], str]


def test_a_tolerance_is_positive(refusal: Refusal):
    assert Export().onnx
    assert "`Export.tolerance`" in refusal(lambda: Export(tolerance=0.0))
