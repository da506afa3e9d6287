from __future__ import annotations

from collections.abc import Callable

from avctl.schema import Runtime

Refusal = Callable[[Callable[[], object]], str]


def test_how_to_run_is_checked_too(refusal: Refusal):
    assert Runtime().workers is None
    assert "`Runtime.threads`" in refusal(lambda: Runtime(threads=0))
